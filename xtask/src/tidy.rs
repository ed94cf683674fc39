//! The house rules. A rule looks at the whole tree and names each violation, with what to do instead.
//!
//! Rules are about what neither the compiler nor clippy can see. Read [`RULES`] first.

mod documents;
mod packages;
mod promises;
mod sources;

use crate::tree::Tree;
use std::fmt;

/// A house rule.
type Rule = fn(&Tree, &mut Findings);

/// All house rules, but that of the CLI reference, which needs a built `serin`.
pub(crate) const RULES: &[Rule] = &[
    sources::start_with_what_they_are_for,
    sources::are_not_too_long,
    sources::use_the_words_of_the_glossary,
    sources::of_pure_packages_touch_nothing,
    packages::depend_in_one_direction,
    packages::have_the_lints_of_the_workspace,
    packages::depend_on_nothing_without_a_reason,
    documents::have_one_title,
    documents::link_to_what_exists,
    documents::list_every_exit_code,
    documents::of_design_are_dated,
    promises::are_held_by_tests_that_exist,
    everything_is_small_and_from_nowhere,
];

/// What the rules found.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) violations: Vec<Violation>,
    pub(crate) notes: Vec<String>,
}

/// A broken rule.
pub(crate) struct Violation {
    pub(crate) path: String,
    pub(crate) line: Option<usize>,
    pub(crate) what: String,
    pub(crate) instead: String,
}

impl Findings {
    fn add(&mut self, path: &str, line: Option<usize>, what: impl Into<String>, instead: &str) {
        let (what, instead) = (what.into(), instead.to_owned());
        self.violations.push(Violation { path: path.to_owned(), line, what, instead });
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.what)?,
            None => write!(f, "{}: {}", self.path, self.what)?,
        }
        write!(f, "\n    instead: {}", self.instead)
    }
}

/// Applies every rule.
pub(crate) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::default();
    for rule in RULES {
        rule(tree, &mut findings);
    }
    findings
}

/// Bigger files make every clone slow for ever.
const MOST_BYTES: u64 = 1_000_000;

fn everything_is_small_and_from_nowhere(tree: &Tree, findings: &mut Findings) {
    let checkout = format!("{}/", tree.root.display());
    for file in &tree.files {
        if file.bytes > MOST_BYTES {
            let what = format!("has {} bytes, more than {MOST_BYTES}", file.bytes);
            findings.add(&file.path, None, what, "generate it, or fetch it when it is needed");
        }
        for (number, line) in (1..).zip(file.text.lines()) {
            let home = ["/home/", "/Users/"].into_iter().any(|home| starts_a_path(line, home));
            if home || starts_a_path(line, &checkout) {
                let instead = "a path relative to the repository, or one of no machine's own";
                findings.add(&file.path, Some(number), "names a folder of one machine", instead);
            }
        }
    }
    let foreign = |line: &&str| {
        line.starts_with("source = ") && !line.contains("github.com/rust-lang/crates.io-index")
    };
    let lock = tree.text("Cargo.lock");
    for line in lock.lines().filter(foreign) {
        let what = format!("takes a package from elsewhere: {line}");
        findings.add("Cargo.lock", None, what, "a release on crates.io");
    }
}

/// Tells whether a path begins with `start` somewhere in the line: not in the middle of a longer one.
fn starts_a_path(line: &str, start: &str) -> bool {
    // This very list of forbidden starts is quoted.
    let quoted = format!("\"{start}\"");
    line.match_indices(start).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        let in_a_word = before.is_some_and(|c| c.is_alphanumeric() || "._-/}$*".contains(c));
        !in_a_word && !line.contains(&quoted)
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::tree::File;

    /// Applies one rule to files that exist only here, and returns what it says.
    pub(crate) fn violations(rule: Rule, files: &[(&str, &str)]) -> Vec<String> {
        let file = |(path, text): &(&str, &str)| File {
            path: (*path).to_owned(),
            bytes: u64::try_from(text.len()).unwrap(),
            text: (*text).to_owned(),
        };
        let tree = Tree { root: "/checkout".into(), files: files.iter().map(file).collect() };
        let mut findings = Findings::default();
        rule(&tree, &mut findings);
        findings.violations.iter().map(|found| format!("{}: {}", found.path, found.what)).collect()
    }

    #[test]
    fn folders_of_one_machine_and_foreign_packages_are_found() {
        let rule = everything_is_small_and_from_nowhere;
        let own = ["see /checkout/docs", "in /home", "a/home/b", "~/x", "/var/home/x"];
        let found = violations(rule, &[("a.md", &own.join("\n"))]);
        assert_eq!(found, ["a.md: names a folder of one machine"]);
        let found = violations(rule, &[("Cargo.lock", "source = \"git+https://example.com/x\"")]);
        assert_eq!(found.len(), 1);
        let big = "x".repeat(1_000_001);
        assert_eq!(violations(rule, &[("big.json", &big)]).len(), 1);
    }
}
