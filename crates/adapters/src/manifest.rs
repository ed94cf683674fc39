//! The list of components in an omnibus package, and how the lists of two builds differ.
//!
//! It reads text and compares; where the text comes from is its caller's part.

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// What a package is made of: its components by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The components.
    pub components: BTreeMap<String, Component>,
}

/// One component of a package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Component {
    /// What people call its version: a tag or a branch.
    pub version: String,
    /// What exactly it is: a commit, or the checksum of an archive.
    pub revision: String,
    /// Where it was taken from.
    pub source: String,
}

/// How a component differs between two packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// Both have it, not the same.
    Changed {
        /// What the first has.
        from: Component,
        /// What the second has.
        to: Component,
    },
    /// Only the second has it.
    Added(Component),
    /// Only the first has it.
    Removed(Component),
}

/// Why a text is no list of components.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is not what omnibus writes.
    #[error("it is not the JSON that omnibus writes: {0}")]
    Format(String),
    /// It lists nothing.
    #[error("it lists no component")]
    Empty,
}

/// What omnibus writes; what is not needed is passed over.
#[derive(Deserialize)]
struct Written {
    software: BTreeMap<String, Software>,
}

#[derive(Deserialize)]
struct Software {
    locked_version: Option<String>,
    described_version: Option<String>,
    display_version: Option<String>,
    locked_source: Option<serde_json::Value>,
}

impl Manifest {
    /// Reads a `version-manifest.json`.
    ///
    /// # Errors
    /// When it is something else, or lists nothing.
    pub fn parse(text: &[u8]) -> Result<Self, ManifestError> {
        let written: Written = serde_json::from_slice(text)
            .map_err(|error| ManifestError::Format(error.to_string()))?;
        if written.software.is_empty() {
            return Err(ManifestError::Empty);
        }
        let components = written.software.into_iter().map(|(name, software)| {
            let Software { locked_version, described_version, display_version, locked_source } =
                software;
            let revision = locked_version.unwrap_or_default();
            let version = display_version.or(described_version).unwrap_or_else(|| revision.clone());
            let source = locked_source.filter(|source| !source.is_null());
            let source = source.map(|source| source.to_string()).unwrap_or_default();
            (name, Component { version, revision, source })
        });
        Ok(Self { components: components.collect() })
    }

    /// Returns how the components of another package differ from these, by name.
    pub fn differences(&self, other: &Self) -> BTreeMap<String, Difference> {
        let names: BTreeSet<&String> =
            self.components.keys().chain(other.components.keys()).collect();
        let difference =
            |name: &String| match (self.components.get(name), other.components.get(name)) {
                (Some(from), Some(to)) if from == to => None,
                (Some(from), Some(to)) => {
                    Some(Difference::Changed { from: from.clone(), to: to.clone() })
                }
                (None, Some(to)) => Some(Difference::Added(to.clone())),
                (Some(from), None) => Some(Difference::Removed(from.clone())),
                (None, None) => None,
            };
        names.into_iter().filter_map(|name| Some((name.clone(), difference(name)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r#"{"manifest_format": 2, "build_version": "16.2.0", "software": {
        "gitlab-rails": {"locked_version": "aaaa", "locked_source": {"git": "g"}, "source_type": "git",
            "described_version": "v16.2.0-ee", "display_version": "16.2.0-ee", "vendor": null},
        "redis": {"locked_version": "7.0.1", "locked_source": null, "described_version": "7.0.1"},
        "runit": {"locked_version": null, "described_version": null},
        "zlib": {"locked_version": "1.2", "described_version": "1.2", "locked_source": {"url": "a"}}}}"#;

    #[test]
    fn components_that_changed_came_or_went_are_told() {
        let new = OLD
            .replace("aaaa", "bbbb")
            .replace("\"redis\"", "\"valkey\"")
            .replace("{\"url\": \"a\"}", "{\"url\": \"b\"}");
        let [old, new] = [OLD, &new].map(|text| Manifest::parse(text.as_bytes()).unwrap());
        let told: Vec<_> = old
            .differences(&new)
            .into_iter()
            .map(|(name, difference)| match difference {
                Difference::Changed { from, to } => {
                    format!(
                        "{name} {} {}{} {}{}",
                        from.version, from.revision, from.source, to.revision, to.source
                    )
                }
                Difference::Added(to) => format!("+{name} {}", to.version),
                Difference::Removed(from) => format!("-{name} {}", from.version),
            })
            .collect();
        assert_eq!(
            told,
            [
                "gitlab-rails 16.2.0-ee aaaa{\"git\":\"g\"} bbbb{\"git\":\"g\"}",
                "-redis 7.0.1",
                "+valkey 7.0.1",
                "zlib 1.2 1.2{\"url\":\"a\"} 1.2{\"url\":\"b\"}",
            ]
        );
        assert!(old.differences(&old).is_empty());
    }

    #[test]
    fn what_lists_nothing_is_not_the_same_as_everything() {
        for bad in
            ["", "{}", "[]", "{\"software\": []}", "{\"software\": {}}", &OLD[..OLD.len() - 1]]
        {
            assert!(Manifest::parse(bad.as_bytes()).is_err(), "{bad:?} was accepted");
        }
    }
}
