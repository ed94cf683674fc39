//! Rules about documents.

use super::Findings;
use crate::tree::{File, Tree};
use regex::Regex;
use std::collections::BTreeSet;

const EXIT_CODES: &str = "docs/exit-codes.md";
const CODES: &str = "crates/cli/src/failure.rs";

/// clap's own: the command line was not understood.
const USAGE: &str = "2";

pub(super) fn have_one_title(tree: &Tree, findings: &mut Findings) {
    for file in tree.ending(".md") {
        let titles = prose(file).filter(|(_, line)| line.starts_with("# ")).count();
        if titles != 1 {
            let instead = "one `#` line, its first; everything below is `##` or less";
            findings.add(&file.path, None, format!("has {titles} titles"), instead);
        }
    }
}

pub(super) fn link_to_what_exists(tree: &Tree, findings: &mut Findings) {
    let Ok(link) = Regex::new(r"\]\(([^)#\s]+)[^)]*\)") else { return };
    for file in tree.ending(".md") {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (number, line) in prose(file) {
            let targets = link.captures_iter(line).filter_map(|found| found.get(1));
            for target in targets.map(|target| target.as_str()) {
                if !target.contains(':') && !exists(tree, folder, target) {
                    let what = format!("links to {target}, which does not exist");
                    findings.add(&file.path, Some(number), what, "a path relative to the document");
                }
            }
        }
    }
}

pub(super) fn list_every_exit_code(tree: &Tree, findings: &mut Findings) {
    let (Ok(variant), Ok(row)) =
        (Regex::new(r"(?m)^    [A-Z]\w+ = (\d+),$"), Regex::new(r"(?m)^\| (\d+) \|"))
    else {
        return;
    };
    let numbers = |pattern: &Regex, path: &str| -> BTreeSet<String> {
        let found = pattern.captures_iter(tree.text(path)).filter_map(|found| found.get(1));
        found.map(|number| number.as_str().to_owned()).collect()
    };
    let mut codes = numbers(&variant, CODES);
    if codes.is_empty() {
        findings.add(CODES, None, "no exit codes were found in it", "adapt this rule");
    }
    codes.insert(USAGE.to_owned());
    let listed = numbers(&row, EXIT_CODES);
    for code in codes.symmetric_difference(&listed) {
        let what = format!("{code} is not both here and in {CODES}");
        findings.add(EXIT_CODES, None, what, "the same codes in both");
    }
}

pub(super) fn of_design_are_dated(tree: &Tree, findings: &mut Findings) {
    let notes = tree.ending(".md").filter(|file| file.path.starts_with("docs/design/"));
    for file in notes.filter(|file| !file.text.to_lowercase().contains("last revised")) {
        let instead = "a line `Last revised …`, so that a reader knows what to doubt";
        findings.add(&file.path, None, "does not say when it was last right", instead);
    }
}

/// Returns the lines of a document that are not inside a code block.
fn prose(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    (1..).zip(file.text.lines()).filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    })
}

fn exists(tree: &Tree, folder: &str, target: &str) -> bool {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    let path = parts.join("/");
    let below = format!("{path}/");
    tree.files.iter().any(|file| file.path == path || file.path.starts_with(&below))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::violations;

    #[test]
    fn a_document_has_one_title_outside_of_code() {
        let files = [
            ("a.md", "# A\n\n```sh\n# comment\n```\n## B\n"),
            ("b.md", "# A\n# B\n"),
            ("c.md", "text\n"),
        ];
        assert_eq!(
            violations(have_one_title, &files),
            ["b.md: has 2 titles", "c.md: has 0 titles"]
        );
    }

    #[test]
    fn a_dead_link_is_found() {
        let text = "[a](../b.md) [b](c.md#x) [c](https://x.y/z) [d](#here) [e](img/)";
        let files = [("docs/a.md", text), ("b.md", ""), ("docs/img/x.svg", "")];
        assert_eq!(
            violations(link_to_what_exists, &files),
            ["docs/a.md: links to c.md, which does not exist"]
        );
    }

    #[test]
    fn an_exit_code_that_is_missing_on_either_side_is_found() {
        let code = "    Done = 0,\n    Error = 1,\n";
        let files = [(CODES, code), (EXIT_CODES, "| 0 | x |\n| 2 | x |\n| 9 | x |\n")];
        let found = violations(list_every_exit_code, &files);
        assert_eq!(found.len(), 2, "{found:?}");
    }

    #[test]
    fn a_design_note_without_a_date_is_found() {
        let files = [("docs/design/a.md", "*Last revised today.*"), ("docs/design/b.md", "")];
        assert_eq!(violations(of_design_are_dated, &files).len(), 1);
    }
}
