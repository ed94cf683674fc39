//! `cargo xtask`: the house rules as a program, and the documents that are generated from programs.
//!
//! `tidy` only looks; `docs` writes. What clippy or the compiler can check is left to them (`Cargo.toml`,
//! `clippy.toml`). Read [`tidy::RULES`] first.

mod cli_reference;
mod tidy;
mod transitions;
mod tree;

use anyhow::{Result, bail};
use std::process::ExitCode;

fn main() -> ExitCode {
    match perform() {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("xtask: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn perform() -> Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["tidy"] => tidy(),
        ["docs"] => {
            transitions::write(&tree::root())?;
            cli_reference::write(&tree::root())?;
            Ok(ExitCode::SUCCESS)
        }
        _ => bail!("say `cargo xtask tidy` (check the house rules) or `cargo xtask docs`"),
    }
}

fn tidy() -> Result<ExitCode> {
    let tree = tree::Tree::read(&tree::root())?;
    let mut findings = tidy::check(&tree);
    findings.violations.extend(cli_reference::stale(&tree)?);
    findings.violations.extend(transitions::stale(&tree));
    for note in &findings.notes {
        say(&format!("note: {note}"));
    }
    for violation in &findings.violations {
        complain(&violation.to_string());
    }
    let (files, rules) = (tree.files.len(), tidy::RULES.len() + 2);
    match findings.violations.len() {
        0 => say(&format!("tidy: {files} files keep all {rules} house rules")),
        count => complain(&format!("tidy: {count} violation(s) of the house rules")),
    }
    Ok(if findings.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[expect(clippy::print_stdout, reason = "the edge")]
fn say(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "the edge")]
fn complain(text: &str) {
    eprintln!("{text}");
}

#[cfg(test)]
mod tests {
    use super::{tidy, transitions, tree};

    /// All rules but that of the CLI reference, which needs a built `serin` (`cargo xtask tidy` builds it).
    #[test]
    fn the_repository_keeps_its_house_rules() {
        let tree = tree::Tree::read(&tree::root()).unwrap();
        let mut violations = tidy::check(&tree).violations;
        violations.extend(transitions::stale(&tree));
        let found: Vec<String> = violations.iter().map(ToString::to_string).collect();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}
