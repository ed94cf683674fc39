//! Why a repository cannot be believed or read, and what a person can do about it.

use crate::http::HttpError;
use serin_model::{DebVersion, PackageName, Sha256};
use std::path::PathBuf;

/// Why builds could not be read. Addresses in it hold no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryError {
    /// The configured address cannot be one.
    #[error("{url:?} is not a repository's address: write http://…, https://… or file:///…")]
    BadAddress {
        /// The address.
        url: String,
    },
    /// There was no complete answer.
    #[error("{url} cannot be read: {source}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// What came back.
        source: HttpError,
    },
    /// A file of a `file://` repository cannot be read.
    #[error("{url} cannot be read: {why}")]
    Unreadable {
        /// The file.
        url: String,
        /// Why.
        why: String,
    },
    /// There is no such suite.
    #[error(
        "the repository has no suite {suite:?}: {url} is not there; look at `repository.suite` and `repository.url`"
    )]
    NoSuite {
        /// The configured suite.
        suite: String,
        /// What was asked for.
        url: String,
    },
    /// The keyring cannot be used.
    #[error("the keyring {} cannot be used: {why}", path.display())]
    Keyring {
        /// The file.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// The signature could not be checked at all.
    #[error("the signature of {url} cannot be checked: {why}")]
    NotChecked {
        /// The signed file.
        url: String,
        /// Why, and what to do.
        why: String,
    },
    /// There is no signature.
    #[error("{url} is not signed: nothing in this repository can be believed")]
    Unsigned {
        /// The file.
        url: String,
    },
    /// The signature does not fit the text.
    #[error(
        "{url} was changed after it was signed: do not install from this repository until its owner has explained why"
    )]
    BadSignature {
        /// The file.
        url: String,
    },
    /// Only keys that are not in the keyring have signed.
    #[error(
        "{url} is signed by {keys}, which is not in the configured keyring; if the repository's key was changed, add the new one to `repository.keyring`"
    )]
    WrongKey {
        /// The file.
        url: String,
        /// The keys, as far as they are known.
        keys: String,
    },
    /// The key or the signature has expired, or the key was revoked.
    #[error("{url}: {what}; get the repository's current key or ask its owner to sign again")]
    ExpiredKey {
        /// The file.
        url: String,
        /// What has expired.
        what: String,
    },
    /// The signed text says that it is out of date: perhaps an old copy is replayed.
    #[error(
        "{url} was valid until {until} only: the repository is not being updated, or an old copy of it is served"
    )]
    Expired {
        /// The file.
        url: String,
        /// Until when.
        until: String,
    },
    /// The signed text is of another suite.
    #[error("{url} is about suite {found}, not {wanted}")]
    OtherSuite {
        /// The file.
        url: String,
        /// What is configured.
        wanted: String,
        /// What it says.
        found: String,
    },
    /// The signed text cannot be understood.
    #[error("{url} cannot be understood: {why}")]
    BadRelease {
        /// The file.
        url: String,
        /// Why.
        why: String,
    },
    /// The signed text names no such index.
    #[error(
        "the repository lists no {index}; look at `repository.component` and `repository.architecture`"
    )]
    NotListed {
        /// The index.
        index: String,
    },
    /// The index is listed but not there.
    #[error(
        "{url} is listed by the repository but is not there; if the repository is being updated right now, try again"
    )]
    Gone {
        /// The index.
        url: String,
    },
    /// The index is not what the signed text says.
    #[error(
        "{url} is not what was signed (expected {expected}, found {found}); if the repository is being updated right now, try again"
    )]
    Tampered {
        /// The index.
        url: String,
        /// What the signed text says.
        expected: String,
        /// What was served.
        found: String,
    },
    /// A file is larger than anything that makes sense.
    #[error("{url} is larger than {limit} bytes, which no index of this kind is")]
    TooLarge {
        /// The file.
        url: String,
        /// What would have been accepted.
        limit: u64,
    },
    /// The index cannot be understood.
    #[error("{url} cannot be understood: {why}")]
    BadIndex {
        /// The index.
        url: String,
        /// Why.
        why: String,
    },
    /// The password cannot be read.
    #[error("the password for the repository cannot be read from {}: {why}", path.display())]
    Password {
        /// The file.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// A package cannot be kept, or what was kept cannot be read.
    #[error("{} cannot be used: {why}", path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// One version, two files.
    #[error("version {version} is listed twice with different contents (SHA-256 {} and {}): a version must name one file; remove one of them from the repository", hashes[0], hashes[1])]
    Ambiguous {
        /// The version.
        version: DebVersion,
        /// The two files.
        hashes: [Sha256; 2],
    },
    /// The version is not in the repository.
    #[error("{package} {version} is not in {url}; {}", suggest(similar))]
    NotFound {
        /// The package.
        package: PackageName,
        /// The version that was wanted.
        version: DebVersion,
        /// The repository.
        url: String,
        /// The versions that are most like it.
        similar: Vec<DebVersion>,
    },
}

fn suggest(similar: &[DebVersion]) -> String {
    if similar.is_empty() {
        return "it lists no version of that package at all".to_owned();
    }
    let names: Vec<_> = similar.iter().map(DebVersion::as_str).collect();
    format!("the nearest there: {}", names.join(", "))
}
