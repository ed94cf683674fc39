//! Builds: a package version, its bytes, and where they came from.

use crate::{DebVersion, PackageName, Sha256};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A package version in a repository, pinned to its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// The package.
    pub package: PackageName,
    /// Its complete version.
    pub version: DebVersion,
    /// The bytes: what passed staging and canary is the only thing that may be installed on main.
    pub sha256: Sha256,
    /// Size of the file in bytes, for the check of free space.
    pub size: u64,
    /// Where it came from.
    pub kind: BuildKind,
}

impl Build {
    /// Returns how many bytes must be free on a host: the file, what it unpacks to, and what it replaces. omnibus
    /// packages unpack to about two and a half times their size.
    pub fn room(&self) -> u64 {
        self.size.saturating_mul(4)
    }
}

/// Where a build came from. Decided by configured patterns, never guessed from the version's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BuildKind {
    /// Built from the tip of development.
    Nightly,
    /// A release candidate.
    Candidate,
    /// A final release.
    Official,
    /// No configured pattern fits.
    Unknown,
}

impl fmt::Display for BuildKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nightly => "nightly",
            Self::Candidate => "candidate",
            Self::Official => "official",
            Self::Unknown => "unknown",
        })
    }
}
