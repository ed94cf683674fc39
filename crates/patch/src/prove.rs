//! Whether a build contains a patch, file by file, and what the patch makes of the build's files.
//!
//! Both directions are tried for each file, each for itself:
//!
//! | forward | reverse | the build |
//! |---|---|---|
//! | fits | does not | does not contain it, and it can be applied |
//! | does not | fits | contains it |
//! | does not | does not | conflicts, or contains some of its hunks |
//! | fits | fits | has both texts: ambiguous |
//! | fits at several places | | ambiguous |
//!
//! The text check is a second opinion: a build may have the fix in other words, which looks like a conflict.

use crate::apply::{Applied, Direction, Mismatch, apply, is_somewhere};
use crate::{Change, FilePatch, Hunk, PatchFile, sha256};
use serin_model::{DebVersion, FileChange, PackageName, Patch, PatchedFile, Sha256};
use std::collections::BTreeMap;
use std::fmt;

/// What a build has at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Present {
    /// Nothing.
    Absent,
    /// A regular file with one name.
    File(Vec<u8>),
    /// Something that is never patched: a link, a folder.
    Other(&'static str),
}

/// Whether a build contains a patch, or a file of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Contains {
    /// All of it is there.
    Contained,
    /// Nothing of it is there, and it applies.
    NotContained,
    /// Some of it is there.
    Partial,
    /// It cannot be told: the text fits in more than one way.
    Ambiguous,
    /// It is not there, and does not apply.
    Conflict,
}

/// What was found out about one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProof {
    /// Its path on hosts.
    pub path: String,
    /// What the patch does to it.
    pub change: Change,
    /// Whether the build contains that.
    pub contains: Contains,
    /// Why it is neither contained nor can be applied.
    pub why: Option<Why>,
    /// Its bytes without the patch, where both are known; `None` in a proven file: it is not there.
    pub before: Option<Sha256>,
    /// Its bytes with the patch, in the same way.
    pub after: Option<Sha256>,
    /// The bytes to be put on hosts: of a file that can be patched and is not deleted.
    pub content: Option<Vec<u8>>,
}

/// What was found out about a patch and a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Its files.
    pub files: Vec<FileProof>,
    /// The whole: contained, or not contained, only when every file is.
    pub contains: Contains,
}

/// Why a file is in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The build does not have it.
    Missing,
    /// The build has it, with other bytes than the patch's.
    Exists,
    /// The build has other bytes than those that the patch deletes.
    Differs,
    /// It is nothing that can be patched.
    NotAFile(&'static str),
    /// A hunk does not fit.
    Hunk {
        /// Which, from 1.
        hunk: usize,
        /// Why.
        why: Mismatch,
    },
    /// A hunk fits at several lines.
    Several {
        /// Which, from 1.
        hunk: usize,
        /// Where.
        lines: Vec<usize>,
    },
    /// The file has the lines of before, and also those of after.
    Both,
    /// Some hunks are in.
    Some {
        /// How many.
        contained: usize,
        /// Of how many.
        all: usize,
    },
}

/// Proves a patch against a build's files. Paths in it begin in `root`; `present` has what the build has at each.
pub fn prove(patch: &PatchFile, root: &str, present: &BTreeMap<String, Present>) -> Proof {
    let files: Vec<FileProof> = patch
        .files
        .iter()
        .map(|file| {
            let path = format!("{root}/{}", file.path);
            let present = present.get(&path).unwrap_or(&Present::Absent);
            prove_file(file, path, present)
        })
        .collect();
    let all = |contains| files.iter().all(|file| file.contains == contains);
    let any = |contains| files.iter().any(|file| file.contains == contains);
    let contains = if all(Contains::Contained) {
        Contains::Contained
    } else if all(Contains::NotContained) {
        Contains::NotContained
    } else if any(Contains::Conflict) {
        Contains::Conflict
    } else if any(Contains::Ambiguous) {
        Contains::Ambiguous
    } else {
        Contains::Partial
    };
    Proof { files, contains }
}

impl Proof {
    /// Returns what is to be put on hosts of the build, with the bytes by their SHA-256; `None` unless it applies cleanly
    /// and nothing of it is there.
    pub fn patch(
        &self,
        file: &PatchFile,
        (package, version): (&PackageName, &DebVersion),
    ) -> Option<(Patch, BTreeMap<Sha256, Vec<u8>>)> {
        if self.contains != Contains::NotContained {
            return None;
        }
        let mut contents = BTreeMap::new();
        let mut files = Vec::new();
        for proof in &self.files {
            let FileProof { path, change, before, after, content, contains: _, why: _ } = proof;
            let change = match (change, before.clone(), after.clone()) {
                (Change::Modify, Some(before), Some(after)) => FileChange::Modify { before, after },
                (Change::Create { mode }, None, Some(after)) => {
                    FileChange::Create { after, mode: *mode }
                }
                (Change::Delete, Some(before), None) => FileChange::Delete { before },
                (Change::Modify | Change::Create { .. } | Change::Delete, _, _) => return None,
            };
            files.push(PatchedFile { path: path.clone(), change });
            contents.extend(after.clone().zip(content.clone()));
        }
        let (package, version) = (package.clone(), version.clone());
        Some((Patch { id: file.id.clone(), package, version, files }, contents))
    }
}

fn prove_file(file: &FilePatch, path: String, present: &Present) -> FileProof {
    let proof = FileProof {
        path,
        change: file.change,
        contains: Contains::Conflict,
        why: None,
        before: None,
        after: None,
        content: None,
    };
    match (file.change, present) {
        (_, Present::Other(what)) => FileProof { why: Some(Why::NotAFile(what)), ..proof },
        (Change::Modify, Present::Absent) => FileProof { why: Some(Why::Missing), ..proof },
        (Change::Modify, Present::File(bytes)) => modified(proof, &file.hunks, bytes),
        (Change::Create { .. }, present) => {
            created(proof, whole(file, Direction::Reverse), present)
        }
        (Change::Delete, present) => deleted(proof, &whole(file, Direction::Forward), present),
    }
}

/// Returns the only side that a new or deleted file has.
fn whole(file: &FilePatch, side: Direction) -> Vec<u8> {
    file.hunks.iter().flat_map(|hunk| hunk.side(side).concat()).collect()
}

fn created(proof: FileProof, content: Vec<u8>, present: &Present) -> FileProof {
    let after = Some(sha256(&content));
    match present {
        Present::Absent => {
            FileProof { contains: Contains::NotContained, after, content: Some(content), ..proof }
        }
        Present::File(bytes) if *bytes == content => {
            FileProof { contains: Contains::Contained, after, ..proof }
        }
        Present::File(_) | Present::Other(_) => FileProof { why: Some(Why::Exists), ..proof },
    }
}

fn deleted(proof: FileProof, content: &[u8], present: &Present) -> FileProof {
    let before = Some(sha256(content));
    match present {
        Present::Absent => FileProof { contains: Contains::Contained, before, ..proof },
        Present::File(bytes) if bytes == content => {
            FileProof { contains: Contains::NotContained, before, ..proof }
        }
        Present::File(_) | Present::Other(_) => FileProof { why: Some(Why::Differs), ..proof },
    }
}

fn modified(proof: FileProof, hunks: &[Hunk], bytes: &[u8]) -> FileProof {
    let forward = apply(bytes, hunks, Direction::Forward);
    let reverse = apply(bytes, hunks, Direction::Reverse);
    let ambiguous =
        |why| FileProof { contains: Contains::Ambiguous, why: Some(why), ..proof.clone() };
    match (forward, reverse) {
        (Applied::Fits(after), Applied::Not { .. }) => FileProof {
            contains: Contains::NotContained,
            before: Some(sha256(bytes)),
            after: Some(sha256(&after)),
            content: Some(after),
            ..proof
        },
        (Applied::Not { .. }, Applied::Fits(before)) => FileProof {
            contains: Contains::Contained,
            before: Some(sha256(&before)),
            after: Some(sha256(bytes)),
            ..proof
        },
        (Applied::Fits(_), Applied::Fits(_)) => ambiguous(Why::Both),
        (Applied::Several { hunk, lines }, _) | (_, Applied::Several { hunk, lines }) => {
            ambiguous(Why::Several { hunk, lines })
        }
        (Applied::Not { hunk, why }, Applied::Not { .. }) => {
            let contained = |hunk: &&Hunk| is_somewhere(bytes, hunk, Direction::Reverse);
            let missing = |hunk: &&Hunk| is_somewhere(bytes, hunk, Direction::Forward);
            let (contained, missing) =
                (hunks.iter().filter(contained).count(), hunks.iter().filter(missing).count());
            if contained > 0 && missing > 0 && contained + missing == hunks.len() {
                let why = Some(Why::Some { contained, all: hunks.len() });
                FileProof { contains: Contains::Partial, why, ..proof }
            } else {
                FileProof { why: Some(Why::Hunk { hunk, why }), ..proof }
            }
        }
    }
}

impl fmt::Display for Contains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Contained => "contained",
            Self::NotContained => "not contained",
            Self::Partial => "partly contained",
            Self::Ambiguous => "ambiguous",
            Self::Conflict => "conflict",
        })
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("the build does not have the file"),
            Self::Exists => f.write_str("the build has such a file already, with other bytes"),
            Self::Differs => {
                f.write_str("the build's file has other bytes than the one to be deleted")
            }
            Self::NotAFile(what) => write!(f, "it is {what}, which is never patched"),
            Self::Hunk { hunk, why } => write!(f, "hunk {hunk}: {why}"),
            Self::Several { hunk, lines } => {
                let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
                write!(f, "hunk {hunk} fits at lines {}", lines.join(", "))
            }
            Self::Both => f.write_str("the lines of before and of after are both there"),
            Self::Some { contained, all } => write!(f, "{contained} of {all} hunks are there"),
        }
    }
}
