//! Debian package versions: their grammar, and dpkg's order.
//!
//! The order is dpkg's, to the letter (a test asks dpkg itself). It says nothing about which build is newer in the
//! project's own sense: a release candidate sorts after its final release. Identity is a build's SHA-256.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// The longest version that is accepted, in bytes. Debian sets no limit; file names do.
const MAX_LENGTH: usize = 200;

/// A complete version of a Debian package, for example `16.2.0-ee.0` or `1:2.0~rc1-3`.
///
/// Equality is dpkg's: `1.0` equals `0:1.0` and `1.0-0`. It keeps the text as it was written.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DebVersion(String);

/// Says that a text is not a version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a Debian version: {why}")]
pub struct InvalidVersion {
    /// The text that was given.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl DebVersion {
    /// Returns the version as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parts(&self) -> (&str, &str, &str) {
        let (epoch, rest) = self.0.split_once(':').unwrap_or(("0", &self.0));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
        (epoch, upstream, revision)
    }
}

impl FromStr for DebVersion {
    type Err = InvalidVersion;
    fn from_str(text: &str) -> Result<Self, InvalidVersion> {
        let refuse = |why| Err(InvalidVersion { text: text.to_owned(), why });
        if text.is_empty() {
            return refuse("it is empty");
        }
        if text.len() > MAX_LENGTH {
            return refuse("it is longer than 200 bytes");
        }
        // `*` and `?` are left out with everything else: apt would take them for a pattern.
        if !text.chars().all(|c| c.is_ascii_alphanumeric() || ".+~:-".contains(c)) {
            return refuse("only letters, digits and . + ~ : - are allowed");
        }
        let rest = match text.split_once(':') {
            Some((epoch, _)) if epoch.is_empty() || !epoch.bytes().all(|b| b.is_ascii_digit()) => {
                return refuse("the epoch before ':' must be a number");
            }
            Some((_, rest)) => rest,
            None => text,
        };
        if !rest.starts_with(|c: char| c.is_ascii_digit()) {
            return refuse("it must start with a digit");
        }
        // dpkg refuses the one as well; the other is never written, and no reason to install something else.
        if rest.ends_with(['-', '+']) {
            return refuse("apt would take a last - or + for an instruction to remove or install");
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for DebVersion {
    type Error = InvalidVersion;
    fn try_from(text: String) -> Result<Self, InvalidVersion> {
        text.parse()
    }
}

impl From<DebVersion> for String {
    fn from(version: DebVersion) -> String {
        version.0
    }
}

impl Ord for DebVersion {
    fn cmp(&self, other: &Self) -> Ordering {
        let (epoch, upstream, revision) = self.parts();
        let (other_epoch, other_upstream, other_revision) = other.parts();
        compare_numbers(epoch, other_epoch)
            .then_with(|| compare_parts(upstream, other_upstream))
            .then_with(|| compare_parts(revision, other_revision))
    }
}

impl PartialOrd for DebVersion {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for DebVersion {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for DebVersion {}

impl fmt::Display for DebVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for DebVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Compares two parts as dpkg does: runs of non-digits by character rank, runs of digits by value, in turn.
fn compare_parts(mut left: &str, mut right: &str) -> Ordering {
    while !left.is_empty() || !right.is_empty() {
        let (left_text, left_rest) = split_where(left, |b| b.is_ascii_digit());
        let (right_text, right_rest) = split_where(right, |b| b.is_ascii_digit());
        let (left_number, left_next) = split_where(left_rest, |b| !b.is_ascii_digit());
        let (right_number, right_next) = split_where(right_rest, |b| !b.is_ascii_digit());
        let order = compare_text(left_text, right_text)
            .then_with(|| compare_numbers(left_number, right_number));
        if order != Ordering::Equal {
            return order;
        }
        (left, right) = (left_next, right_next);
    }
    Ordering::Equal
}

fn split_where(text: &str, stop: impl Fn(u8) -> bool) -> (&str, &str) {
    text.split_at(text.bytes().position(stop).unwrap_or(text.len()))
}

/// `~` sorts before the end, the end before letters, letters before everything else.
fn compare_text(left: &str, right: &str) -> Ordering {
    let rank = |byte: Option<u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(b) if b.is_ascii_alphabetic() => i32::from(b),
        Some(b) => i32::from(b) + 256,
    };
    let (mut left_bytes, mut right_bytes) = (left.bytes(), right.bytes());
    loop {
        let (l, r) = (left_bytes.next(), right_bytes.next());
        match rank(l).cmp(&rank(r)) {
            Ordering::Equal if l.is_none() => return Ordering::Equal,
            Ordering::Equal => {}
            unequal @ (Ordering::Less | Ordering::Greater) => return unequal,
        }
    }
}

/// By value without converting, so that a number of any length is right.
fn compare_numbers(left: &str, right: &str) -> Ordering {
    let (left, right) = (left.trim_start_matches('0'), right.trim_start_matches('0'));
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const VERSIONS: &[&str] = &[
        "1.0",
        "0:1.0",
        "1.0-0",
        "1.0-1",
        "1.00",
        "1.0~rc1",
        "1.0~~",
        "1.0~",
        "1.0.",
        "1.0a",
        "1.0+b",
        "1.0+rnightly.1",
        "1:0.1",
        "2.0~rc10",
        "2.0~rc9",
        "16.9.0-ee.0",
        "16.10.0-ee.0",
        "16.2.0-ce.0",
        "16.2.0-ee.0",
        "11.3.0-rc4.ee.0",
        "11.3.0-ee.0",
        "11.4.0+rnightly.1-0",
        "12.3.201909251320-a1.b2",
        "12.3.1-ee.0",
        "1.0-1~bpo1",
        "1.0-1+b1",
        "9",
        "09",
        "99999999999999999999",
        "100000000000000000000",
        "1.2.3-4-5",
        "1.0-~",
        "0",
        "1a1",
        "1a01",
        "1:1.0",
        "99.0",
        "1.0-1.1",
        "13.1.1+rnightly.159756.b2b5f05e-0",
    ];

    #[test]
    fn the_order_is_dpkgs() {
        // Reason for the loop over a process: dpkg is the only authority on its own order.
        for left in VERSIONS {
            for right in VERSIONS {
                let ours = left.parse::<DebVersion>().unwrap() < right.parse().unwrap();
                let dpkg = Command::new("dpkg")
                    .args(["--compare-versions", left, "lt", right])
                    .status()
                    .expect("dpkg is on every Debian machine");
                assert_eq!(ours, dpkg.success(), "{left} < {right}");
            }
        }
    }

    #[test]
    fn a_version_that_apt_or_a_shell_could_misread_is_refused() {
        for bad in [
            "", "*", "2.0*", "a1", "1 0", "1;rm", "-1", ":1", "x:1", "1_0", "1/0", "1\n", "1.0-",
            "1+",
        ] {
            assert!(bad.parse::<DebVersion>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn equal_means_what_dpkg_means() {
        assert_eq!("1.0".parse::<DebVersion>().unwrap(), "0:1.0-0".parse().unwrap());
    }
}
