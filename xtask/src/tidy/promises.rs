//! The rule about promises: every test that docs/RELIABILITY.md names is defined where it says.
//!
//! It reads the document as its table "Where tests are" explains it: a file and the tests in it, or `e2e` and the names of
//! scenarios. Whether a test proves what is promised is for people.

use super::Findings;
use crate::tree::{File, Tree};
use regex::Regex;

const PROMISES: &str = "docs/RELIABILITY.md";

/// Where scenarios of the lab are made.
const SCENARIOS: &str = "crates/e2e/src/";

/// How the document shortens the folders of tests.
const SHORT: &[(&str, &str)] = &[
    ("sim/", "crates/sim/tests/sim/"),
    ("engine/", "crates/engine/tests/engine/"),
    ("planner/", "crates/planner/tests/planner/"),
    ("journal/", "crates/journal/tests/journal/"),
    ("host/", "crates/adapters/tests/host/"),
    ("haproxy/", "crates/adapters/tests/haproxy/"),
    ("cli/", "crates/cli/tests/cli/"),
    ("packages/", "crates/cli/tests/packages/"),
    ("fuzz/", "crates/fuzz/tests/"),
];

/// Where a test that is named next is looked for.
enum Origin<'a> {
    Nowhere,
    File(&'a File),
    Scenarios,
}

pub(super) fn are_held_by_tests_that_exist(tree: &Tree, findings: &mut Findings) {
    let Ok(word) = Regex::new(r"`([^`]+)`|\be2e\b") else { return };
    let mut origin = Origin::Nowhere;
    for (number, line) in (1..).zip(tree.text(PROMISES).lines()) {
        // What a list item, or a paragraph, says of files holds to its end.
        if line.is_empty() || line.starts_with("* ") || line.starts_with(['#', '|']) {
            origin = Origin::Nowhere;
        }
        for found in word.captures_iter(line) {
            let Some(text) = found.get(1).map(|text| text.as_str()) else {
                origin = Origin::Scenarios;
                continue;
            };
            if text.rsplit_once('.').is_some_and(|(_, end)| end == "rs") {
                origin = Origin::Nowhere;
                match file(tree, text) {
                    Some(file) => origin = Origin::File(file),
                    None => findings.add(
                        PROMISES,
                        Some(number),
                        format!("names {text}, which does not exist"),
                        "the file as the table `Where tests are` has it; SHORT in this rule has it too",
                    ),
                }
            } else if is_name(text) && !is_defined(tree, &origin, text) {
                let place = match origin {
                    Origin::Nowhere => "and no file for it",
                    Origin::File(_) => "which is not in the file before it",
                    Origin::Scenarios => "which is no scenario",
                };
                let instead = "the test's name as it is now; if there is none any more, say under \
                               `Not held by a test yet` what was promised";
                let what = format!("names the test {text}, {place}");
                findings.add(PROMISES, Some(number), what, instead);
            }
        }
    }
}

/// Tells whether a text is the name of a test: a claim of some words.
fn is_name(text: &str) -> bool {
    let letters = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    text.matches('_').count() >= 2 && text.chars().all(letters)
}

fn file<'a>(tree: &'a Tree, text: &str) -> Option<&'a File> {
    let short = SHORT.iter().find_map(|(short, long)| Some((long, text.strip_prefix(short)?)));
    let paths = [short.map(|(long, rest)| format!("{long}{rest}")), Some(format!("crates/{text}"))];
    let existing = |path: &String| tree.files.iter().find(|file| file.path == *path);
    paths.iter().flatten().find_map(existing).or_else(|| existing(&text.to_owned()))
}

fn is_defined(tree: &Tree, origin: &Origin<'_>, name: &str) -> bool {
    match origin {
        Origin::Nowhere => false,
        // Some are made by a macro, which is given the name.
        Origin::File(file) => {
            let defined = Regex::new(&format!(r"\bfn {name}\(|(?m)^\s*{name}( = |,|;|$)"));
            defined.is_ok_and(|defined| defined.is_match(&file.text))
        }
        Origin::Scenarios => {
            let scenarios = tree.files.iter().filter(|file| file.path.starts_with(SCENARIOS));
            scenarios.flat_map(made_names).any(|made| fits(&made, name))
        }
    }
}

/// Returns every text of a file that may be the name of a scenario, or the pattern of one.
fn made_names(file: &File) -> Vec<String> {
    let Ok(text) = Regex::new(r#""([\w{}]+)""#) else { return Vec::new() };
    let texts = text.captures_iter(&file.text).filter_map(|found| found.get(1));
    texts
        .map(|text| text.as_str().to_owned())
        .filter(|text| text.matches('_').count() >= 2)
        .collect()
}

/// Tells whether a name is made of such a pattern: `{flaw}` is any word, which is `FLAW` where the document means all.
fn fits(made: &str, name: &str) -> bool {
    let Ok(hole) = Regex::new(r"\{\w+\}") else { return false };
    let parts: Vec<String> = hole.split(made).map(regex::escape).collect();
    Regex::new(&format!("^{}$", parts.join(".+"))).is_ok_and(|pattern| pattern.is_match(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::violations;

    const TESTS: &str = "fn a_crash_is_survived() {}\ncontract! {\n    a_lease_is_held,\n}\n";
    const STORIES: &str =
        "scenario(format!(\"a_build_by_{flaw}_stops_there\"))\nscenario(\"two_at_once_are_told\")";

    fn found(text: &str) -> Vec<String> {
        let files = [
            (PROMISES, text),
            ("crates/sim/tests/sim/crash.rs", TESTS),
            ("crates/model/src/version.rs", "fn a_version_is_plain() {}"),
            ("crates/e2e/src/a.rs", STORIES),
        ];
        violations(are_held_by_tests_that_exist, &files)
    }

    #[test]
    fn tests_that_exist_are_found_where_they_are() {
        let text = "* `sim/crash.rs`: `a_crash_is_survived`,\n  `a_lease_is_held`; `model/src/version.rs`:\n  \
                    `a_version_is_plain`\n* e2e (soak): `a_build_by_qa-fails_stops_there`, `a_build_by_FLAW_stops_there`,\n  \
                    `two_at_once_are_told`, for `never-ready`\n";
        assert_eq!(found(text), Vec::<String>::new());
    }

    #[test]
    fn a_test_that_nobody_defines_is_found() {
        let text = "* `sim/crash.rs`: `a_crash_is_forgotten`, `a_version_is_plain`\n* `a_crash_is_survived`\n\
                    * `sim/gone.rs`: `a_crash_is_survived`\n* e2e: `three_at_once_are_told`\n";
        let place = "and no file for it";
        assert_eq!(
            found(text),
            [
                format!(
                    "{PROMISES}: names the test a_crash_is_forgotten, which is not in the file before it"
                ),
                format!(
                    "{PROMISES}: names the test a_version_is_plain, which is not in the file before it"
                ),
                format!("{PROMISES}: names the test a_crash_is_survived, {place}"),
                format!("{PROMISES}: names sim/gone.rs, which does not exist"),
                format!("{PROMISES}: names the test a_crash_is_survived, {place}"),
                format!("{PROMISES}: names the test three_at_once_are_told, which is no scenario"),
            ]
        );
    }
}
