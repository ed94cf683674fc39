//! Rules about packages: who may know whom, and why each library from outside is there.

use super::Findings;
use super::sources::PURE;
use crate::tree::{File, Tree};
use std::collections::{BTreeMap, BTreeSet};

/// Which packages of ours a package may depend on. Tests may depend on more.
const EDGES: &[(&str, &[&str])] = &[
    ("model", &[]),
    // What is said in chats: it reads nothing and carries out nothing.
    ("chat", &["model"]),
    ("config", &["model"]),
    // What a patch's text means must be readable without the fleet around it.
    ("patch", &["model"]),
    ("planner", &["model"]),
    ("engine", &["model"]),
    // The journal stores text: it does not know the engine's events.
    ("journal", &["model"]),
    ("runtime", &["engine", "journal", "model"]),
    ("adapters", &["model", "runtime"]),
    ("sim", &["engine", "journal", "model", "planner", "runtime"]),
    ("traffic", &[]),
    ("standin", &[]),
    // The lab is the world outside: it must work however Serin changes.
    ("lab", &[]),
    // It tries whatever reads what others write.
    ("fuzz", &["adapters", "config", "engine", "journal", "model", "patch", "runtime"]),
    // It reads what people read.
    ("e2e", &[]),
    (
        "cli",
        &[
            "adapters", "chat", "config", "engine", "journal", "model", "patch", "planner",
            "runtime", "sim", "traffic",
        ],
    ),
];

/// The only libraries from outside that the pure packages may use: neither can do anything.
const PURE_MAY_USE: &[&str] = &["serde", "thiserror"];

const REASONS: &str = "docs/design/dependencies.md";

pub(super) fn depend_in_one_direction(tree: &Tree, findings: &mut Findings) {
    for (package, file) in packages(tree) {
        let allowed = EDGES.iter().find(|(name, _)| *name == package);
        let Some((_, allowed)) = allowed else {
            let instead = "say in EDGES (xtask/src/tidy/packages.rs) what it may depend on";
            findings.add(&file.path, None, "is a package without a place in the house", instead);
            continue;
        };
        for dependency in dependencies(file, "dependencies") {
            let own = dependency.strip_prefix("serin-");
            if own.is_some_and(|own| !allowed.contains(&own)) {
                let what = format!("{package} may not depend on {dependency}");
                let instead = "move the type to where both may see it; ARCHITECTURE.md says why";
                findings.add(&file.path, None, what, instead);
            }
            let pure = PURE.contains(&package.as_str());
            if pure && own.is_none() && !PURE_MAY_USE.contains(&dependency.as_str()) {
                let what = format!("{package} is pure and may not use {dependency}");
                findings.add(&file.path, None, what, "take what it gives as an argument");
            }
        }
    }
}

pub(super) fn have_the_lints_of_the_workspace(tree: &Tree, findings: &mut Findings) {
    for file in tree.ending("/Cargo.toml") {
        let lints = table(file).get("lints").and_then(|lints| lints.get("workspace")).cloned();
        if lints.and_then(|lints| lints.as_bool()) != Some(true) {
            let instead = "[lints] workspace = true; an exception is an `#[expect]` with a reason";
            findings.add(&file.path, None, "does not have the lints of the workspace", instead);
        }
    }
}

pub(super) fn depend_on_nothing_without_a_reason(tree: &Tree, findings: &mut Findings) {
    let mut used: BTreeMap<String, &str> = BTreeMap::new();
    for file in tree.ending("/Cargo.toml") {
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let names = dependencies(file, section).into_iter();
            let outside = names.filter(|name| !name.starts_with("serin-"));
            used.extend(outside.map(|name| (name, file.path.as_str())));
        }
    }
    let rows = tree.text(REASONS).lines().filter_map(|line| line.strip_prefix("| `"));
    let explained: BTreeSet<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    for (name, path) in &used {
        if !explained.contains(name.as_str()) {
            let what = format!("{name} has no line in {REASONS}");
            let instead = "say what it is for and why not without it, or do without it";
            findings.add(path, None, what, instead);
        }
    }
    for name in explained.iter().filter(|name| !used.contains_key(**name)) {
        findings.add(REASONS, None, format!("{name} is not used"), "remove the line");
    }
}

fn packages(tree: &Tree) -> impl Iterator<Item = (String, &File)> {
    tree.ending("/Cargo.toml").filter_map(|file| {
        let package = file.path.strip_prefix("crates/")?.strip_suffix("/Cargo.toml")?;
        Some((package.to_owned(), file))
    })
}

fn dependencies(file: &File, section: &str) -> Vec<String> {
    let table = table(file);
    let names = table.get(section).and_then(|section| section.as_table());
    names.map(|names| names.keys().cloned().collect()).unwrap_or_default()
}

/// Cargo has read the file before: what cannot be read here is another's error.
fn table(file: &File) -> toml::Table {
    file.text.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::violations;

    #[test]
    fn an_edge_against_the_direction_is_found() {
        let engine = "[dependencies]\nserin-journal.workspace = true\ntokio.workspace = true\n\
                      serde.workspace = true\n[dev-dependencies]\nserin-planner.workspace = true\n";
        assert_eq!(
            violations(depend_in_one_direction, &[("crates/engine/Cargo.toml", engine)]),
            [
                "crates/engine/Cargo.toml: engine may not depend on serin-journal",
                "crates/engine/Cargo.toml: engine is pure and may not use tokio",
            ]
        );
        assert_eq!(violations(depend_in_one_direction, &[("crates/new/Cargo.toml", "")]).len(), 1);
    }

    #[test]
    fn a_package_without_the_lints_is_found() {
        let files = [("crates/a/Cargo.toml", "[lints]\nworkspace = true"), ("b/Cargo.toml", "")];
        assert_eq!(violations(have_the_lints_of_the_workspace, &files).len(), 1);
    }

    #[test]
    fn a_library_needs_a_reason_and_a_reason_a_library() {
        let files = [
            (
                "crates/a/Cargo.toml",
                "[dependencies]\nserde = \"1\"\n[dev-dependencies]\nrand = \"1\"",
            ),
            (REASONS, "| `serde` | reads |\n| `gone` | was |\n"),
        ];
        assert_eq!(
            violations(depend_on_nothing_without_a_reason, &files),
            [
                format!("crates/a/Cargo.toml: rand has no line in {REASONS}"),
                format!("{REASONS}: gone is not used"),
            ]
        );
    }
}
