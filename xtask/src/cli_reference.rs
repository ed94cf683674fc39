//! `docs/cli-reference.md`: the help of every command of `serin`, as the program itself prints it.
//!
//! The text is written in `crates/cli/src/args.rs` and nowhere else.

use crate::tidy::Violation;
use crate::tree::Tree;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

const PATH: &str = "docs/cli-reference.md";

const HEAD: &str = "\
# Commands of `serin`

Written by `make docs` from what the program prints: change `crates/cli/src/args.rs` instead. What the exit codes mean
is in [exit-codes.md](exit-codes.md).
";

/// Writes the document.
pub(crate) fn write(root: &Path) -> Result<()> {
    std::fs::write(root.join(PATH), render(root)?)?;
    Ok(())
}

/// Says so when the document is not what would be written now.
pub(crate) fn stale(tree: &Tree) -> Result<Option<Violation>> {
    let fresh = tree.text(PATH) == render(&tree.root)?;
    Ok((!fresh).then(|| Violation {
        path: PATH.to_owned(),
        line: None,
        what: "is not what `serin --help` says now".to_owned(),
        instead: "make docs".to_owned(),
    }))
}

fn render(root: &Path) -> Result<String> {
    let serin = build(root)?;
    let mut text = HEAD.to_owned();
    // Commands whose help is still to be shown, the next one last.
    let mut ahead = vec![Vec::new()];
    while let Some(words) = ahead.pop() {
        let help = help(&serin, &words)?;
        let title = [&["serin".to_owned()], words.as_slice()].concat().join(" ");
        text.extend(["\n## `", &title, "`\n\n```text\n", help.trim_end(), "\n```\n"]);
        let below = commands(&help).into_iter().rev();
        ahead.extend(below.map(|name| [words.as_slice(), &[name]].concat()));
    }
    Ok(text)
}

fn build(root: &Path) -> Result<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root).args(["build", "--quiet", "-p", "serin-cli"]);
    if !cargo.status()?.success() {
        bail!("`serin` could not be built, so its help cannot be read");
    }
    // This program lies where cargo puts the others too.
    let own = std::env::current_exe()?;
    Ok(own.parent().context("this program has no folder")?.join("serin"))
}

fn help(serin: &Path, words: &[String]) -> Result<String> {
    let mut command = Command::new(serin);
    command.args(words).arg("--help").env_remove("SERIN_CONFIG").env("COLUMNS", "100");
    let output = command.output().with_context(|| serin.display().to_string())?;
    if !output.status.success() {
        bail!("`serin {} --help` failed", words.join(" "));
    }
    let text = String::from_utf8(output.stdout)?;
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    Ok(lines.join("\n"))
}

/// Returns the names under `Commands:`, which are indented by two spaces.
fn commands(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::commands;

    #[test]
    fn commands_are_read_from_the_help() {
        let help = "Usage: x\n\nCommands:\n  run     Do it\n          now\n  config  Check\n  help    Print\n\nOptions:\n  -h\n";
        assert_eq!(commands(help), ["run", "config"]);
        assert!(commands("Usage: x\n").is_empty());
    }
}
