//! JUnit XML, in the dialects that are about: suites may nest, counters may be missing or wrong, so tests are counted.
//!
//! A file is read to its end or refused: the report of a killed run is a shorter list of tests that passed. There is no
//! DTD and no entity of anybody's own.

use super::ansi;
use super::report::Report;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// Suites within suites; real ones have three.
const MAX_DEPTH: usize = 64;

/// An element that is open.
enum Open {
    Suites,
    Suite(String),
    Case(Case),
    /// Anything else: nothing in it counts.
    Other,
}

/// A test case, and what was found in it so far.
#[derive(Default)]
struct Case {
    name: String,
    failed: bool,
    skipped: bool,
    tried_again: bool,
}

/// Parses one report. The error follows "the report NAME".
pub(super) fn parse(text: &str) -> Result<Report, String> {
    // Escape sequences of terminals in failure messages are not XML.
    let text = ansi::strip(text);
    let mut reader = Reader::from_str(&text);
    let mut open: Vec<Open> = Vec::new();
    let mut report =
        Report { passed: Some(std::collections::BTreeSet::new()), ..Report::default() };
    let mut roots = 0_usize;
    loop {
        let event = reader.read_event().map_err(|error| format!("is not XML: {error}"))?;
        if open.is_empty() {
            roots += usize::from(matches!(event, Event::Start(_) | Event::Empty(_)));
        }
        match event {
            Event::Start(start) => {
                let element = begin(&start, &mut open, &mut report)?;
                open.push(element);
            }
            Event::Empty(start) => {
                let element = begin(&start, &mut open, &mut report)?;
                end(element, &mut report)?;
            }
            Event::End(_) => {
                let element = open.pop().ok_or("closes what it did not open")?;
                end(element, &mut report)?;
            }
            Event::Text(text) if open.is_empty() && !text.trim().is_empty() => {
                return Err("has text outside of its tests".to_owned());
            }
            Event::DocType(_) => return Err("has a DTD, which is not read".to_owned()),
            Event::Eof => break,
            // What tests print, and what tools write about themselves.
            Event::Text(_)
            | Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::GeneralRef(_) => {}
        }
    }
    match (open.is_empty(), roots) {
        (false, _) => Err("breaks off before its end".to_owned()),
        (true, 0) => Err("is empty".to_owned()),
        (true, 1) => Ok(report),
        (true, _) => Err("holds more than one document".to_owned()),
    }
}

/// Opens an element, by its name and by what it is in.
fn begin(start: &BytesStart<'_>, open: &mut [Open], report: &mut Report) -> Result<Open, String> {
    if open.len() >= MAX_DEPTH {
        return Err("is nested too deeply".to_owned());
    }
    let local = start.local_name();
    let element: &str = local.as_ref();
    let names = Names::of(start)?;
    match (element, open.last_mut()) {
        ("testsuites", None) => Ok(Open::Suites),
        ("testsuite", None | Some(Open::Suites | Open::Suite(_))) => Ok(Open::Suite(names.name)),
        ("testcase", Some(Open::Suites | Open::Suite(_))) => {
            Ok(Open::Case(Case { name: names.test(), ..Case::default() }))
        }
        ("testcase" | "testsuite", Some(_)) => Err(format!("has a {element} in a wrong place")),
        ("failure" | "error", Some(Open::Case(case))) => {
            case.failed = true;
            Ok(Open::Other)
        }
        ("skipped", Some(Open::Case(case))) => {
            case.skipped = true;
            Ok(Open::Other)
        }
        ("flakyFailure" | "flakyError", Some(Open::Case(case))) => {
            case.tried_again = true;
            Ok(Open::Other)
        }
        // Some tools report what failed before or after the tests in the suite itself.
        ("failure" | "error", Some(Open::Suite(suite))) => {
            report.failures = report.failures.saturating_add(1);
            report.failed.insert(format!("suite {suite}"));
            Ok(Open::Other)
        }
        (_, None) => Err(format!("starts with <{element}>, which is no test report")),
        (_, Some(_)) => Ok(Open::Other),
    }
}

fn end(element: Open, report: &mut Report) -> Result<(), String> {
    let Open::Case(case) = element else { return Ok(()) };
    if case.skipped && !case.failed {
        return Ok(());
    }
    report.executed = report.executed.checked_add(1).ok_or("has too many tests")?;
    if case.failed {
        report.failures = report.failures.saturating_add(1);
        report.failed.insert(case.name);
        return Ok(());
    }
    if case.tried_again {
        report.flaky.insert(case.name.clone());
    }
    report.passed.get_or_insert_default().insert(case.name);
    Ok(())
}

/// The attributes that name a test.
#[derive(Default)]
struct Names {
    class: String,
    name: String,
}

impl Names {
    fn of(start: &BytesStart<'_>) -> Result<Self, String> {
        let mut names = Self::default();
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|error| format!("is not XML: {error}"))?;
            // A reference that is not known stays as it is written: it is only a name.
            let value = attribute
                .normalized_value(XmlVersion::Explicit1_0)
                .unwrap_or_else(|_| attribute.value.clone());
            match attribute.key.as_ref() {
                "classname" => names.class = ansi::one_line(&value),
                "name" => names.name = ansi::one_line(&value),
                _ => {}
            }
        }
        Ok(names)
    }

    fn test(self) -> String {
        match (self.class.as_str(), self.name.as_str()) {
            ("", "") => "a test without name".to_owned(),
            ("", name) => name.to_owned(),
            (class, "") => class.to_owned(),
            (class, name) => format!("{class} {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RECORDED: &str = include_str!("fixtures/rspec-junit.xml");

    #[test]
    fn a_report_of_rspec_is_counted_test_by_test() {
        let report = parse(RECORDED).unwrap();
        assert_eq!(report.executed, 3);
        let failed: Vec<_> = report.failed.iter().map(String::as_str).collect();
        assert_eq!(
            failed,
            [
                "qa.specs.features.browser_ui.3_create.repository.clone_spec Create Git clone over HTTP user performs a deep clone"
            ]
        );
        let passed = report.passed.unwrap();
        assert!(passed.iter().any(|name| name.ends_with("user logs in & out")), "{passed:?}");
    }

    #[test]
    fn dialects_are_read() {
        let cases = [
            ("<testsuite/>", 0, 0),
            (
                "<testsuites tests='9'><testsuite><testcase name='a'/></testsuite></testsuites>",
                1,
                0,
            ),
            (
                "<testsuites><testsuite><testsuite><testcase name='a'/><testcase name='b'><error/></testcase></testsuite></testsuite></testsuites>",
                2,
                1,
            ),
            ("<testsuites><testcase name='a'/></testsuites>", 1, 0),
            ("<testsuite failures='3'><testcase name='a'><skipped/></testcase></testsuite>", 0, 0),
            (
                "<testsuite><testcase name='a'><skipped/><failure>x</failure></testcase></testsuite>",
                1,
                1,
            ),
            ("<testsuite name='s'><error message='setup'/><testcase name='a'/></testsuite>", 1, 1),
            ("<testsuite><testcase name='a'/><testcase name='a'/></testsuite>", 2, 0),
            ("<testsuite><testcase name='&nope; &#0;'/></testsuite>", 1, 0),
            (
                "\u{feff}<?xml version='1.0'?><!-- c --><testsuite><testcase name='\u{1b}[1ma'/></testsuite>\n",
                1,
                0,
            ),
            (
                "<testsuite><testcase name='a'><system-out>&lt;failure/&gt;</system-out></testcase></testsuite>",
                1,
                0,
            ),
        ];
        for (text, executed, failed) in cases {
            let report = parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!((report.executed, report.failed.len()), (executed, failed), "{text}");
        }
        let flaky = parse("<testsuite><testcase name='a'><flakyFailure/></testcase></testsuite>");
        assert_eq!(flaky.unwrap().flaky.len(), 1);
    }

    #[test]
    fn a_report_that_is_cut_anywhere_is_refused() {
        let end = RECORDED.trim_end().len();
        for length in (0..end).filter(|at| RECORDED.is_char_boundary(*at)) {
            assert!(parse(&RECORDED[..length]).is_err(), "cut at {length} of {end}");
        }
        assert!(parse(&RECORDED[..end]).is_ok());
    }

    #[test]
    fn what_is_no_report_is_refused() {
        for (text, why) in [
            ("", "is empty"),
            (" \n", "is empty"),
            ("<html/>", "no test report"),
            ("<testcase/>", "no test report"),
            ("hello", "text outside"),
            ("<testsuite/><testsuite/>", "more than one"),
            ("<testsuite></testsuites>", "is not XML"),
            ("<testsuite><testcase name='a' name='b'/></testsuite>", "is not XML"),
            ("<!DOCTYPE x [<!ENTITY a 'b'>]><testsuite/>", "DTD"),
            (
                "<testsuite><testcase><testcase><failure/></testcase></testcase></testsuite>",
                "wrong place",
            ),
            ("<testsuite><x><testcase/></x></testsuite>", "wrong place"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        let deep = "<testsuite>".repeat(MAX_DEPTH + 1);
        assert!(parse(&deep).unwrap_err().contains("deeply"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(
            text in "(<testsuite>|</testsuite>|<testcase name='a'>|</testcase>|<failure/>|<skipped/>|<!\\[CDATA\\[|\\]\\]>|&|<|>|[ -~é]){0,40}"
        ) {
            drop(parse(&text));
        }

        #[test]
        fn one_changed_character_never_panics(at in 0..1700_usize, with in any::<char>()) {
            let changed: String =
                RECORDED.chars().enumerate().map(|(i, c)| if i == at { with } else { c }).collect();
            drop(parse(&changed));
        }
    }
}
