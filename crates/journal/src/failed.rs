//! What went wrong, as the port names it.

use crate::port::JournalError;

/// Makes the error of which nothing more is known.
pub(crate) fn storage(
    what: &str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> JournalError {
    JournalError::Storage { what: what.to_owned(), source: source.into() }
}

/// Returns what an error of the file system means for the journal.
pub(crate) fn file_failed(what: &str, error: std::io::Error) -> JournalError {
    if error.kind() == std::io::ErrorKind::StorageFull {
        return JournalError::Full;
    }
    storage(what, error)
}
