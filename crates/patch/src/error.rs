//! Why a text is not taken for a patch, or not for a whole one.

/// Why a patch is refused. Line numbers are those of the patch, from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// It is larger than anything that a person reads before it goes to production.
    #[error("the patch has {bytes} bytes, more than {limit}: that is a release, not a patch")]
    TooLarge {
        /// What it has.
        bytes: usize,
        /// What would have been accepted.
        limit: usize,
    },
    /// It has nothing in it.
    #[error("the patch is empty")]
    Empty,
    /// It is some other text.
    #[error("there is no `diff --git` in it: make the patch with `git diff` or `git format-patch`")]
    NotAPatch,
    /// It ends too early.
    #[error("the patch was cut off: {0}")]
    CutOff(String),
    /// Its own lines end as on Windows.
    #[error(
        "line {line}: the patch's own lines end in CR LF: it was changed on its way; get it again as git made it"
    )]
    LineEnds {
        /// The line.
        line: usize,
    },
    /// A file begins as in other diffs.
    #[error(
        "line {line}: a file begins without `diff --git`: make the patch with `git diff` or `git format-patch`"
    )]
    NotGit {
        /// The line.
        line: usize,
    },
    /// The names of one file do not fit together.
    #[error("line {line}: {why}")]
    Names {
        /// The line.
        line: usize,
        /// What does not fit.
        why: String,
    },
    /// A path could lead elsewhere.
    #[error("line {line}: the path {path:?} is refused: {why}")]
    Path {
        /// The line.
        line: usize,
        /// The path.
        path: String,
        /// Why.
        why: &'static str,
    },
    /// A file comes twice, or as a file and as a folder.
    #[error("{path} comes twice: make one patch of all commits (`git diff BASE HEAD`)")]
    Twice {
        /// The file.
        path: String,
    },
    /// It does what Serin does not do on hosts.
    #[error(
        "line {line}: {what}: only changes of lines, new files and deleted files can be patched"
    )]
    Unsupported {
        /// The line.
        line: usize,
        /// What it does.
        what: &'static str,
    },
    /// A hunk contradicts itself, or proves nothing.
    #[error("line {line}: hunk {hunk} of {path} {why}")]
    Hunk {
        /// The line of its header.
        line: usize,
        /// The file.
        path: String,
        /// Which of its hunks, from 1.
        hunk: usize,
        /// What is wrong with it.
        why: String,
    },
    /// A line is not understood.
    #[error(
        "line {line} is not understood: {text:?}; was the patch edited, or changed on its way?"
    )]
    Unexpected {
        /// The line.
        line: usize,
        /// How it begins.
        text: String,
    },
    /// It holds several commits.
    #[error(
        "line {line}: another commit begins: make one patch of all commits (`git diff BASE HEAD`)"
    )]
    SeveralCommits {
        /// The line.
        line: usize,
    },
    /// It has other changes than its own summary says.
    #[error("the patch says of itself {says}, and has {has}: a part is missing, or it was edited")]
    Summary {
        /// What is announced.
        says: String,
        /// What is there.
        has: String,
    },
}
