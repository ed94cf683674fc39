//! Why a package cannot be read.

use std::path::PathBuf;

/// Why a package's contents are not known. Nothing of it is believed then.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// The file cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not a package, or not a whole one.
    #[error("{} is not a whole Debian package: {why}", path.display())]
    NotADeb {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// One of its two archives cannot be read to its end.
    #[error("{member} of {} cannot be read to its end: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The archive in it.
        member: String,
        /// What is wrong with it.
        why: String,
    },
    /// It has more of something than any package has.
    #[error("{} has {what}, more than {limit}: no package of this kind has that", path.display())]
    TooMuch {
        /// The file.
        path: PathBuf,
        /// What there is too much of.
        what: String,
        /// What would have been accepted.
        limit: u64,
    },
    /// It would write outside of its own paths, or twice to one of them.
    #[error("{} {what}: dpkg and Serin might not mean the same file", path.display())]
    Hostile {
        /// The file.
        path: PathBuf,
        /// What it does.
        what: String,
    },
}
