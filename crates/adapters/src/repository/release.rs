//! The signed text of a repository: which indexes there are, and until when that holds.
//!
//! It parses text that `gpgv` has put out, and nothing else.

use super::RepositoryError;
use crate::http;
use deb822_fast::Paragraph;
use jiff::Timestamp;
use serin_model::Sha256;

/// What a Release file says, as far as Serin needs it.
#[derive(Debug)]
pub(super) struct Release {
    /// Its names: suite and codename, whichever it has.
    names: Vec<String>,
    /// Until when it may be used.
    valid_until: Option<(String, Option<Timestamp>)>,
    /// Whether indexes can be asked for by their hash.
    pub(super) by_hash: bool,
    entries: Vec<Entry>,
}

/// One file that the Release file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) sha256: Sha256,
}

impl Release {
    /// Parses the one paragraph of a Release file.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let paragraph: Paragraph = text.parse().map_err(|error| format!("{error}"))?;
        let field = |name| paragraph.get(name).map(|value| value.trim().to_owned());
        let listed = field("SHA256").ok_or("it has no SHA256 section")?;
        let entries = listed.lines().filter(|line| !line.trim().is_empty());
        Ok(Self {
            names: ["Suite", "Codename"].into_iter().filter_map(field).collect(),
            valid_until: field("Valid-Until").map(|text| {
                let time = http::parse_date(&text);
                (text, time)
            }),
            by_hash: field("Acquire-By-Hash").is_some_and(|value| value == "yes"),
            entries: entries.map(parse_entry).collect::<Result<_, _>>()?,
        })
    }

    /// Checks that it is about this suite, and still valid. A date that cannot be read has passed.
    pub(super) fn check(
        &self,
        suite: &str,
        now: Timestamp,
        url: &str,
    ) -> Result<(), RepositoryError> {
        if !self.names.is_empty() && !self.names.iter().any(|name| name == suite) {
            return Err(RepositoryError::OtherSuite {
                url: url.to_owned(),
                wanted: suite.to_owned(),
                found: self.names.join(", "),
            });
        }
        match &self.valid_until {
            Some((_, Some(until))) if *until >= now => Ok(()),
            Some((until, _)) => {
                Err(RepositoryError::Expired { url: url.to_owned(), until: until.clone() })
            }
            None => Ok(()),
        }
    }

    /// Returns the indexes of packages in a folder, the smallest kind first.
    pub(super) fn indexes(&self, folder: &str) -> Vec<Entry> {
        let named = |end: &str| {
            let name = format!("{folder}/Packages{end}");
            self.entries.iter().find(|entry| entry.name == name).cloned()
        };
        [".xz", ".gz", ""].into_iter().filter_map(named).collect()
    }
}

fn parse_entry(line: &str) -> Result<Entry, String> {
    let refuse = || format!("{:?} is not a line of a SHA256 section", line.trim());
    let mut words = line.split_whitespace();
    let (Some(hash), Some(size), Some(name), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(refuse());
    };
    Ok(Entry {
        name: name.to_owned(),
        size: size.parse().ok().ok_or_else(refuse)?,
        sha256: hash.parse().ok().ok_or_else(refuse)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn release(more: &str) -> Release {
        let text = format!(
            "Origin: Lab\n{more}MD5Sum:\n 0 0 main/x\nSHA256:\n {HASH} 7 main/binary-amd64/Packages.gz\n {HASH} 9 main/binary-amd64/Packages\n"
        );
        Release::parse(&text).unwrap()
    }

    #[test]
    fn the_smallest_index_comes_first_and_others_are_not_looked_at() {
        let release = release("Acquire-By-Hash: yes\n");
        assert!(release.by_hash);
        let names: Vec<_> =
            release.indexes("main/binary-amd64").into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["main/binary-amd64/Packages.gz", "main/binary-amd64/Packages"]);
        assert!(release.indexes("main/binary-arm64").is_empty());
    }

    #[test]
    fn an_expired_or_foreign_text_is_refused() {
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        let check = |more: &str| release(more).check("bookworm", now, "u");
        assert!(check("").is_ok());
        assert!(check("Codename: bookworm\nSuite: stable\n").is_ok());
        assert!(check("Valid-Until: Sun, 22 Nov 2026 12:00:01 UTC\n").is_ok());
        let expired = check("Valid-Until: Sun, 22 Nov 2026 11:59:59 UTC\n");
        assert!(matches!(expired, Err(RepositoryError::Expired { .. })), "{expired:?}");
        let unreadable = check("Valid-Until: some day\n");
        assert!(matches!(unreadable, Err(RepositoryError::Expired { .. })), "{unreadable:?}");
        let other = check("Suite: sid\n");
        assert!(matches!(other, Err(RepositoryError::OtherSuite { .. })), "{other:?}");
    }

    #[test]
    fn a_text_without_hashes_is_refused() {
        assert!(Release::parse("Suite: bookworm\n").is_err());
        assert!(Release::parse("SHA256:\n zz 1 a\n").is_err());
        assert!(Release::parse(&format!("SHA256:\n {HASH} -1 a\n")).is_err());
        assert!(Release::parse(&format!("SHA256:\n {HASH} 1 a b\n")).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(SHA256:|Suite: |\n| |[ -~é]|[0-9a-f]{64}){0,40}") {
            drop(Release::parse(&text));
        }
    }
}
