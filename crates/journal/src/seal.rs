//! Checksums of rows: what a database stores, it stores without any, or without one that we could check.
//!
//! They find accidents (a bad disk, a bad copy, an editor); a person who can write the journal can also write checksums.

use ring::digest::{Context, SHA256, digest};
use serin_model::Sha256;

/// A SHA-256 of what a row says.
pub(crate) type Seal = Vec<u8>;

/// Collects what a row says, unambiguously: every part is preceded by its length.
pub(crate) struct Sealer(Context);

impl Sealer {
    /// Starts with the name of the table, so that a row of one table is not a row of another.
    pub(crate) fn new(table: &str) -> Self {
        Self(Context::new(&SHA256)).bytes(table.as_bytes())
    }

    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.update(&bytes.len().to_be_bytes());
        self.0.update(bytes);
        self
    }

    pub(crate) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    pub(crate) fn number(self, number: u64) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    pub(crate) fn optional(self, text: Option<&str>) -> Self {
        match text {
            None => self.number(0),
            Some(text) => self.number(1).text(text),
        }
    }

    pub(crate) fn seal(self) -> Seal {
        self.0.finish().as_ref().to_vec()
    }
}

/// Returns the SHA-256 of a text, for records that name the one before them.
pub fn text_digest(text: &str) -> Sha256 {
    let mut bytes = [0; 32];
    // A SHA-256 has 32 bytes, always.
    bytes
        .iter_mut()
        .zip(digest(&SHA256, text.as_bytes()).as_ref())
        .for_each(|(to, from)| *to = *from);
    bytes.into()
}

/// Returns the seal of a row that says something about the journal itself. It must never change.
pub(crate) fn meta_seal(name: &str, value: &str) -> Seal {
    Sealer::new("meta").text(name).text(value).seal()
}
