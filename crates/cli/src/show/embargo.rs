//! The veil over embargoed builds: everything that is printed passes through here, and versions that a pattern of the
//! configuration fits become `embargoed-` and the beginning of the build's SHA-256.
//!
//! It keeps versions off screens, out of logs of CI and out of chats. It is no lock: whoever may read the journal or the
//! repository sees them there. It is the one thing that is global here, for what must never be forgotten at any one of a
//! hundred places must not be done there.

use crate::failure::{Code, Failure};
use serin_adapters::repository::Pattern;
use serin_model::{Build, DebVersion};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The veil, for whoever must not see through it.
static VEIL: OnceLock<Veil> = OnceLock::new();

/// What is hidden, and how the builds are called that are known.
pub(crate) struct Veil {
    patterns: Vec<Pattern>,
    known: Mutex<BTreeMap<String, String>>,
}

/// Draws the veil, unless nothing is under embargo or the person is one of its readers.
pub(crate) fn draw(patterns: &[String], readers: &[String], person: impl FnOnce() -> String) {
    if patterns.is_empty() || readers.contains(&person()) {
        return;
    }
    let patterns = patterns.iter().map(Pattern::new).collect();
    // Only one configuration is read in a process; a second drawing changes nothing.
    drop(VEIL.set(Veil { patterns, known: Mutex::default() }));
}

/// Returns the veil for places that many read, such as a channel of a chat: it hides from everybody, whoever asks.
pub(crate) fn from_everybody(patterns: &[String]) -> Veil {
    Veil { patterns: patterns.iter().map(Pattern::new).collect(), known: Mutex::default() }
}

/// Tells whether anything is hidden.
pub(crate) fn is_drawn() -> bool {
    VEIL.get().is_some()
}

/// Takes in how builds are called, so that they can be told apart.
pub(crate) fn learn<'a>(builds: impl IntoIterator<Item = &'a Build>) {
    if let Some(veil) = VEIL.get() {
        veil.learn(builds);
    }
}

/// Returns a text as it may be printed: also without what terminals obey, for much of it was written by hosts, load
/// balancers and other people.
pub(crate) fn veiled(text: &str) -> Cow<'_, str> {
    let plain = plain(text);
    match VEIL.get() {
        Some(veil) => Cow::Owned(veil.over(&plain)),
        None => plain,
    }
}

fn plain(text: &str) -> Cow<'_, str> {
    let is_obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    if text.contains(is_obeyed) {
        Cow::Owned(text.replace(is_obeyed, ""))
    } else {
        Cow::Borrowed(text)
    }
}

/// Refuses to look into builds that the person must not even see named.
pub(crate) fn refuse_contents(versions: &[&DebVersion]) -> Result<(), Failure> {
    let hidden =
        |version: &&&DebVersion| VEIL.get().is_some_and(|veil| veil.hides(version.as_str()));
    match versions.iter().find(hidden) {
        None => Ok(()),
        Some(version) => {
            let what = format!("{version} is under embargo: what is in it is shown to few");
            Err(Failure::new(Code::Refused, what)
                .hint("`embargo_readers` under [repository] lists them"))
        }
    }
}

/// Writes what is logged through the veil.
pub(crate) struct Veiled<W>(pub(crate) W);

impl<W: Write> Write for Veiled<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The subscriber writes a whole line at once.
        self.0.write_all(veiled(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Veil {
    fn hides(&self, version: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.fits(version))
    }

    /// Takes in how builds are called.
    pub(crate) fn learn<'a>(&self, builds: impl IntoIterator<Item = &'a Build>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for build in builds.into_iter().filter(|build| self.hides(build.version.as_str())) {
            let name = format!("embargoed-{}", build.sha256.short());
            known.insert(build.version.as_str().to_owned(), name);
        }
    }

    /// Returns a text as it may be shown.
    pub(crate) fn over(&self, text: &str) -> String {
        let mut text = text.to_owned();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<(&String, &String)> = known.iter().collect();
        // One version can be the beginning of another.
        names.sort_by_key(|(version, _)| std::cmp::Reverse(version.len()));
        for (version, name) in names {
            text = text.replace(version, name);
        }
        let part_of_version = |c: char| c.is_ascii_alphanumeric() || ".+~:-".contains(c);
        let mut result = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(begin) = rest.find(part_of_version) {
            let (before, from) = rest.split_at(begin);
            let length = from.find(|c| !part_of_version(c)).unwrap_or(from.len());
            let (word, after) = from.split_at(length);
            result.push_str(before);
            let parts: Vec<String> = word.split("..").map(|part| self.over_word(part)).collect();
            result.push_str(&parts.join(".."));
            rest = after;
        }
        result + rest
    }

    /// Hides a version that nobody has told of; signs at its end are those of the sentence.
    fn over_word(&self, word: &str) -> String {
        let version = word.trim_matches([':', '.', '-', '+', '~']);
        if version.starts_with(|c: char| c.is_ascii_digit()) && self.hides(version) {
            word.replace(version, "embargoed-unknown")
        } else {
            word.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serin_model::BuildKind;

    fn build(version: &str, digit: &str) -> Build {
        Build {
            package: "demo".parse().unwrap(),
            version: version.parse().unwrap(),
            sha256: digit.repeat(64).parse().unwrap(),
            size: 1,
            kind: BuildKind::Official,
        }
    }

    fn veil() -> Veil {
        let patterns = vec![Pattern::new("*+security*")];
        let veil = Veil { patterns, known: Mutex::default() };
        veil.learn(&[
            build("1.0+security-1", "a"),
            build("1.0+security-10", "b"),
            build("1.0-1", "c"),
        ]);
        veil
    }

    #[test]
    fn embargoed_versions_are_hidden_wherever_they_stand_and_others_are_not() {
        let (a, b) = ("embargoed-aaaaaaaaaaaa", "embargoed-bbbbbbbbbbbb");
        for (text, shown) in [
            ("1.0+security-1", a.to_owned()),
            (
                "run r-7: to-canary of demo 1.0+security-10.",
                format!("run r-7: to-canary of demo {b}."),
            ),
            ("1.0-1..1.0+security-1", format!("1.0-1..{a}")),
            ("demo=1.0+security-1: gone", format!("demo={a}: gone")),
            ("demo_1.0+security-1_amd64.deb", format!("demo_{a}_amd64.deb")),
            ("{\"build\":\"1.0+security-1\"}", format!("{{\"build\":\"{a}\"}}")),
            ("--version=2:3.0+security-4, then", "--version=embargoed-unknown, then".to_owned()),
            ("9.9+security.1-1..1.0-1", "embargoed-unknown..1.0-1".to_owned()),
            (
                "demo 1.0-1 at 12:00:00, 25%, 10.0.0.1:80 …",
                "demo 1.0-1 at 12:00:00, 25%, 10.0.0.1:80 …".to_owned(),
            ),
            ("", String::new()),
        ] {
            assert_eq!(veil().over(text), shown, "{text}");
        }
    }
}
