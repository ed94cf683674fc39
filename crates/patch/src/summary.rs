//! What a patch says of itself before it begins: `3 files changed, 5 insertions(+), 2 deletions(-)`.
//!
//! `git format-patch` always writes it, and a patch that was cut off between two files is told by nothing else.

use crate::{FilePatch, LineKind, PatchError};
use std::fmt;

/// Numbers of files and lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Summary {
    files: usize,
    added: usize,
    removed: usize,
}

impl Summary {
    /// Reads the line; `None`: it is another one.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut parts = line.strip_prefix(' ')?.trim_end().split(", ");
        let files = numbered(parts.next()?, &["file changed", "files changed"])?;
        let mut summary = Self { files, added: 0, removed: 0 };
        for part in parts {
            if let Some(added) = numbered(part, &["insertion(+)", "insertions(+)"]) {
                summary.added = added;
            } else {
                summary.removed = numbered(part, &["deletion(-)", "deletions(-)"])?;
            }
        }
        Some(summary)
    }

    /// Compares with what there is.
    pub(crate) fn check(self, files: &[FilePatch]) -> Result<(), PatchError> {
        let of = |kind: LineKind| {
            let lines = files.iter().flat_map(|file| &file.hunks).flat_map(|hunk| &hunk.lines);
            lines.filter(|line| line.kind == kind).count()
        };
        let has =
            Self { files: files.len(), added: of(LineKind::Add), removed: of(LineKind::Remove) };
        if has == self {
            return Ok(());
        }
        Err(PatchError::Summary { says: self.to_string(), has: has.to_string() })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, added, removed } = self;
        write!(f, "{files} files, +{added} -{removed}")
    }
}

fn numbered(text: &str, words: &[&str]) -> Option<usize> {
    let (number, rest) = text.split_once(' ')?;
    words.contains(&rest).then(|| number.parse().ok())?
}
