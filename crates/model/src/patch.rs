//! Patches: files changed on hosts outside a build, each pinned to its bytes before and after.
//!
//! What a patch is here was computed from a build's package; hosts compare hashes and understand no diff. How the text of
//! a patch is read, and whether a build contains it, is for `serin-patch`.

use crate::{
    Build, DebVersion, EnvironmentName, FleetName, HostName, InvalidSha256, PackageName, Sha256,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// The identity of a patch: the SHA-256 of its file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PatchId(Sha256);

impl PatchId {
    /// Returns all 64 digits.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns the first 12 digits, enough for a person to compare.
    pub fn short(&self) -> &str {
        self.0.short()
    }
}

impl From<Sha256> for PatchId {
    fn from(digest: Sha256) -> Self {
        Self(digest)
    }
}

impl FromStr for PatchId {
    type Err = InvalidSha256;
    fn from_str(text: &str) -> Result<Self, InvalidSha256> {
        text.parse().map(Self)
    }
}

impl fmt::Display for PatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for PatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

/// A patch for one build: on another one, nothing is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    /// Which one it is.
    pub id: PatchId,
    /// The package that has the files.
    pub package: PackageName,
    /// Its version: a host that has another one is refused.
    pub version: DebVersion,
    /// The files, each once. All of them change on a host, or none.
    pub files: Vec<PatchedFile>,
}

/// A file that a patch changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchedFile {
    /// Its path on hosts, from `/`.
    pub path: String,
    /// What becomes of it.
    pub change: FileChange,
}

/// What becomes of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileChange {
    /// It is there before and after; owner and mode stay.
    Modify {
        /// Its bytes in the build.
        before: Sha256,
        /// Its bytes afterwards.
        after: Sha256,
    },
    /// It is not in the build.
    Create {
        /// Its bytes.
        after: Sha256,
        /// Its mode: `0o644` or `0o755`. Its owner is root, as that of all of a package's code.
        mode: u32,
    },
    /// It is gone afterwards.
    Delete {
        /// Its bytes in the build.
        before: Sha256,
    },
}

impl PatchedFile {
    /// Returns its bytes in the build; `None`: it is not there.
    pub fn before(&self) -> Option<&Sha256> {
        match &self.change {
            FileChange::Modify { before, .. } | FileChange::Delete { before } => Some(before),
            FileChange::Create { .. } => None,
        }
    }

    /// Returns its bytes with the patch; `None`: it is not there.
    pub fn after(&self) -> Option<&Sha256> {
        match &self.change {
            FileChange::Modify { after, .. } | FileChange::Create { after, .. } => Some(after),
            FileChange::Delete { .. } => None,
        }
    }
}

/// A patch with the bytes that it puts on hosts, as a plan has it: whoever adopts the run needs nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    /// The patch, for one version of the package.
    pub patch: Patch,
    /// The text of every file that is there afterwards, by its SHA-256.
    pub contents: BTreeMap<Sha256, String>,
}

/// An overlay on the hosts of some fleets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedOverlay {
    /// The environment.
    pub environment: EnvironmentName,
    /// The fleets.
    pub fleets: BTreeSet<FleetName>,
    /// What is put there.
    pub overlay: Overlay,
}

/// What a plan does about a patch and nothing else: no host's version changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patching {
    /// The patch.
    pub patch: PatchId,
    /// Whether it is put on hosts or taken off.
    pub direction: PatchDirection,
    /// The hosts, with the build that each has.
    pub hosts: BTreeMap<HostName, Build>,
    /// Those that have it, as an earlier run has verified.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub verified: BTreeSet<HostName>,
}

/// Whether a patch is put on hosts or taken off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PatchDirection {
    /// It is put on them.
    Apply,
    /// It is taken off them: files are as the host kept them.
    Remove,
}

/// A patch that a host carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedPatch {
    /// Which one.
    pub id: PatchId,
    /// The package.
    pub package: PackageName,
    /// Its version for which the patch was made. When another one is installed, the files are those of that one.
    pub version: DebVersion,
    /// How much of it is there.
    pub state: CarriedState,
}

/// How much of a patch a host carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CarriedState {
    /// All of it: every file has the bytes of afterwards.
    Applied,
    /// It was applied, and these files have other bytes now: a package was installed over it, or somebody edited them.
    Lost {
        /// Their paths.
        files: Vec<String>,
    },
    /// A job is changing the files, or died while it did: the next one puts that right.
    Half,
}

impl CarriedPatch {
    /// Tells whether all of the patch is there, on a version.
    pub fn is_whole_on(&self, version: &DebVersion) -> bool {
        self.version == *version && self.state == CarriedState::Applied
    }
}
