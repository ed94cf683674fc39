//! Patches as text: what one says, what it makes of a build's files, and whether a build contains it already.
//!
//! It reads no file and changes none: bytes come as arguments. Nothing is guessed: there is no fuzz, a place is taken
//! only when it is the only one, and what `patch(1)` lets pass with a warning is an error. Read [`prove()`] first.

mod apply;
mod error;
mod hunk;
mod parse;
mod prove;
mod summary;
#[cfg(test)]
mod tests_parse;
#[cfg(test)]
mod tests_prove;

pub use apply::Mismatch;
pub use error::PatchError;
pub use prove::{Contains, FileProof, Present, Proof, Why, prove};

use serin_model::{PatchId, Sha256};

/// A patch as its file says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchFile {
    /// The SHA-256 of the file.
    pub id: PatchId,
    /// The files that it changes, each once.
    pub files: Vec<FilePatch>,
}

/// What a patch does to one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilePatch {
    /// Its path, from wherever the patch begins; without `..`.
    pub path: String,
    /// What becomes of the file.
    pub change: Change,
    /// Where its lines change, from top to bottom.
    pub hunks: Vec<Hunk>,
}

/// What becomes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Lines of it change.
    Modify,
    /// It is new.
    Create {
        /// Its mode: `0o644` or `0o755`.
        mode: u32,
    },
    /// It goes.
    Delete,
}

/// Lines that change together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hunk {
    /// The line of the old file at which it begins, from 1.
    pub old: usize,
    /// The line of the new file at which it begins, from 1.
    pub new: usize,
    /// Its lines.
    pub lines: Vec<Line>,
}

/// A line of a hunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What becomes of it.
    pub kind: LineKind,
    /// Its bytes, with the line end if it has one.
    pub text: Vec<u8>,
}

/// What becomes of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineKind {
    /// It stays, and shows the place.
    Keep,
    /// It goes.
    Remove,
    /// It comes.
    Add,
}

impl PatchFile {
    /// Reads a patch as git writes it.
    ///
    /// # Errors
    /// Whatever could be understood in two ways, or is only a part, is refused: see [`PatchError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, PatchError> {
        let files = parse::files(bytes)?;
        Ok(Self { id: sha256(bytes).into(), files })
    }

    /// Returns how many hunks it has in all.
    pub fn hunks(&self) -> usize {
        self.files.iter().map(|file| file.hunks.len()).sum()
    }
}

/// Returns the SHA-256 of bytes.
pub fn sha256(bytes: &[u8]) -> Sha256 {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let mut copy = [0; 32];
    copy.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    copy.into()
}
