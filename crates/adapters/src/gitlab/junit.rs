//! Writing tests as JUnit XML, for whoever reads such reports: a QA gate, or GitLab's own pages.

use super::pipelines::{TestCase, TestResult};
use quick_xml::Writer;
use quick_xml::events::BytesText;
use std::io;

/// Writes a report of tests. Signs that XML cannot hold are left out.
///
/// # Errors
/// Only of what is written to.
pub fn junit(cases: &[TestCase], to: impl io::Write) -> io::Result<()> {
    let failed = count(cases, TestResult::Failed);
    let skipped = count(cases, TestResult::Skipped);
    let mut writer = Writer::new_with_indent(to, b' ', 1);
    writer
        .create_element("testsuite")
        .with_attribute(("name", "pipeline"))
        .with_attribute(("tests", cases.len().to_string().as_str()))
        .with_attribute(("failures", failed.as_str()))
        .with_attribute(("skipped", skipped.as_str()))
        .write_inner_content(|writer| cases.iter().try_for_each(|each| case(writer, each)))?;
    Ok(())
}

fn case<W: io::Write>(writer: &mut Writer<W>, case: &TestCase) -> io::Result<()> {
    let (suite, name, output) = (plain(&case.suite), plain(&case.name), plain(&case.output));
    let element = writer
        .create_element("testcase")
        .with_attribute(("classname", suite.as_str()))
        .with_attribute(("name", name.as_str()));
    match case.result {
        TestResult::Passed => element.write_empty().map(drop),
        TestResult::Failed => element
            .write_inner_content(|writer| {
                let failure = writer.create_element("failure");
                failure.write_text_content(BytesText::new(&output)).map(drop)
            })
            .map(drop),
        TestResult::Skipped => element
            .write_inner_content(|writer| writer.create_element("skipped").write_empty().map(drop))
            .map(drop),
    }
}

fn count(cases: &[TestCase], result: TestResult) -> String {
    cases.iter().filter(|case| case.result == result).count().to_string()
}

/// Leaves out what XML 1.0 has no way to write.
fn plain(text: &str) -> String {
    let is_legal = |c: &char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    text.chars().filter(is_legal).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sign_is_written_so_that_it_reads_back() {
        let case = |name: &str, result| TestCase {
            suite: "a & \"b\"".to_owned(),
            name: name.to_owned(),
            result,
            output: "expected <1> \u{1b}[31m]]>\u{0}".to_owned(),
        };
        let cases = [
            case("logs in", TestResult::Passed),
            case("pushes <b>'&\u{7}", TestResult::Failed),
            case("pages", TestResult::Skipped),
        ];
        let mut text = Vec::new();
        junit(&cases, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let report = crate::qa::fuzzing::junit(&text).unwrap();
        assert_eq!((report.executed, report.failed.len()), (2, 1), "{text}");
        assert!(report.failed.iter().any(|name| name.contains("pushes <b>'&")), "{text}");
    }
}
