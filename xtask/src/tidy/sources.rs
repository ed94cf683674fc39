//! Rules about Rust files.

use super::Findings;
use crate::tree::Tree;
use regex::Regex;

/// Longer files are noted; STYLE: aim at 400 lines.
const AIMED: usize = 400;
/// Longer files are violations, tests apart.
const MOST: usize = 600;

/// Words that the glossary replaces, with the glossary's own.
const SYNONYMS: &[(&str, &str)] = &[
    ("rollout", "run"),
    ("node", "host"),
    ("hotfix", "patch"),
    ("artifact", "build"),
    ("artefact", "build"),
    ("workflow", "pipeline"),
    ("wave", "phase, or the window of `max_unavailable`"),
    ("abort", "halt"),
    ("revert", "rollback"),
    ("manager", "what it does, as a noun"),
    ("handler", "what it does, as a noun"),
    ("helper", "what it does, as a noun"),
    ("util", "what it is about"),
    ("utils", "what it is about"),
];

/// Packages that never read a clock, a file, the environment or a random number.
pub(super) const PURE: &[&str] = &["model", "planner", "engine"];

pub(super) fn start_with_what_they_are_for(tree: &Tree, findings: &mut Findings) {
    for file in tree.ending(".rs").filter(|file| !file.text.starts_with("//!")) {
        let instead =
            "begin with `//!`: what the file is for, and what it deliberately does not do";
        findings.add(&file.path, Some(1), "does not say what it is for", instead);
    }
}

pub(super) fn are_not_too_long(tree: &Tree, findings: &mut Findings) {
    for file in tree.ending(".rs") {
        let lines = file.text.lines().count();
        if lines > MOST && !file.is_test() {
            let what = format!("has {lines} lines, more than {MOST}");
            let instead = "a file for each command, step or case, and a procedure that reads aloud";
            findings.add(&file.path, None, what, instead);
        } else if lines > AIMED {
            findings.notes.push(format!("{} has {lines} lines; aim at {AIMED}", file.path));
        }
    }
}

/// Looks at names that are declared here; names of other libraries are used as they are.
pub(super) fn use_the_words_of_the_glossary(tree: &Tree, findings: &mut Findings) {
    let Ok(declared) = Regex::new(r"\b(?:fn|struct|enum|trait|mod|type|const|static)\s+(\w+)")
    else {
        return;
    };
    for file in tree.ending(".rs") {
        let code = (1..).zip(file.text.lines());
        for (number, line) in code.filter(|(_, line)| !line.trim_start().starts_with("//")) {
            for name in declared.captures_iter(line).filter_map(|found| found.get(1)) {
                for word in words(name.as_str()) {
                    if let Some((_, better)) = SYNONYMS.iter().find(|(bad, _)| *bad == word) {
                        let what = format!("`{}` says {word}", name.as_str());
                        let instead = format!("{better} (docs/GLOSSARY.md)");
                        findings.add(&file.path, Some(number), what, &instead);
                    }
                }
            }
        }
    }
}

pub(super) fn of_pure_packages_touch_nothing(tree: &Tree, findings: &mut Findings) {
    let outside =
        ["std::fs", "std::env", "std::net", "std::process", "std::io", "std::thread", "std::os"];
    for package in PURE {
        let folder = format!("crates/{package}/src/");
        for file in tree.ending(".rs").filter(|file| file.path.starts_with(&folder)) {
            // Tests, which come last in a file, may compare with the real thing.
            let code = file.text.lines().take_while(|line| *line != "#[cfg(test)]");
            for (number, line) in (1..).zip(code) {
                for module in outside.iter().filter(|module| line.contains(**module)) {
                    let what = format!("{package} is pure, and this is {module}");
                    let instead = "take it as an argument; the runtime's ports read the world";
                    findings.add(&file.path, Some(number), what, instead);
                }
            }
        }
    }
}

/// Splits `snake_case` and `CamelCase` into lower-case words.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for letter in name.chars() {
        if letter == '_' || (letter.is_uppercase() && after_lower) {
            words.push(String::new());
        }
        after_lower = letter.is_lowercase() || letter.is_ascii_digit();
        if let Some(word) = words.last_mut().filter(|_| letter != '_') {
            word.extend(letter.to_lowercase());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::violations;

    #[test]
    fn a_file_without_its_purpose_is_found() {
        let files = [("a.rs", "//! For x.\n"), ("b.rs", "fn main() {}\n")];
        assert_eq!(
            violations(start_with_what_they_are_for, &files),
            ["b.rs: does not say what it is for"]
        );
    }

    #[test]
    fn a_long_file_is_found_unless_it_is_a_test() {
        let long = "\n".repeat(601);
        let files = [("src/a.rs", long.as_str()), ("x/tests/a.rs", &long), ("src/tests.rs", &long)];
        assert_eq!(
            violations(are_not_too_long, &files),
            ["src/a.rs: has 601 lines, more than 600"]
        );
    }

    #[test]
    fn synonyms_are_found_in_names_that_are_declared() {
        // `%` keeps this very file from being found.
        let text = "fn% start_rollout() {}\nstruct% HostNode;\n// fn% node()\nlet x = nodename();\nfn% antinode() {}";
        let text = &text.replace('%', "");
        let found = violations(use_the_words_of_the_glossary, &[("a.rs", text)]);
        assert_eq!(found, ["a.rs: `start_rollout` says rollout", "a.rs: `HostNode` says node"]);
    }

    #[test]
    fn a_pure_package_that_reads_a_file_is_found() {
        let text = "use std::fs;\n";
        let files = [("crates/engine/src/a.rs", text), ("crates/cli/src/a.rs", text)];
        assert_eq!(violations(of_pure_packages_touch_nothing, &files).len(), 1);
    }

    #[test]
    fn names_are_split_into_words() {
        assert_eq!(words("LbServer_of9Hosts"), ["lb", "server", "of9", "hosts"]);
    }
}
