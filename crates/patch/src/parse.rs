//! Reading the text of a patch, as git writes it and no other way.
//!
//! In order: anything up to the first `diff --git`; for each file its headers, then its hunks, which must be complete;
//! at the end nothing, or git's own signature. A line that has no place in this is an error: `patch(1)` would skip it.

use crate::hunk::{ends_once, follows, hunk, proves_something};
use crate::summary::Summary;
use crate::{Change, FilePatch, PatchError};
use std::collections::BTreeSet;

/// A patch of more than this was read by nobody.
pub(crate) const MAX_BYTES: usize = 4 << 20;

/// The longest path: what every file system takes.
const MAX_PATH: usize = 1024;

/// Reads all files of a patch.
pub(crate) fn files(bytes: &[u8]) -> Result<Vec<FilePatch>, PatchError> {
    if bytes.len() > MAX_BYTES {
        return Err(PatchError::TooLarge { bytes: bytes.len(), limit: MAX_BYTES });
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(PatchError::Empty);
    }
    if !bytes.ends_with(b"\n") {
        return Err(PatchError::CutOff("its last line has no end".to_owned()));
    }
    let mut reader =
        Reader { lines: bytes.split_inclusive(|byte| *byte == b'\n').collect(), at: 0 };
    let preamble = preamble(&mut reader)?;
    let mut files = Vec::new();
    while reader.peek().is_some_and(|line| line.starts_with(b"diff --git ")) {
        files.push(file(&mut reader)?);
    }
    let signed = end(&mut reader)?;
    if preamble.mail && !signed {
        return Err(PatchError::CutOff("git's signature is not at its end".to_owned()));
    }
    if preamble.mail && preamble.summary.is_none() {
        let why = "its summary (`3 files changed, …`) is missing; make it without --no-stat";
        return Err(PatchError::CutOff(why.to_owned()));
    }
    if let Some(summary) = preamble.summary {
        summary.check(&files)?;
    }
    no_file_twice(&files)?;
    Ok(files)
}

/// The lines that are still to be read.
pub(crate) struct Reader<'a> {
    lines: Vec<&'a [u8]>,
    pub(crate) at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn peek(&self) -> Option<&'a [u8]> {
        self.lines.get(self.at).copied()
    }

    pub(crate) fn next(&mut self) -> Option<&'a [u8]> {
        let line = self.peek()?;
        self.at += 1;
        Some(line)
    }

    /// Returns the number of the line that comes next, from 1.
    pub(crate) fn number(&self) -> usize {
        self.at + 1
    }

    /// Returns the next line of a header as text, if it begins so.
    pub(crate) fn header(&mut self, begin: &str) -> Result<Option<&'a str>, PatchError> {
        let Some(rest) = self.peek().and_then(|line| line.strip_prefix(begin.as_bytes())) else {
            return Ok(None);
        };
        if rest.ends_with(b"\r\n") {
            return Err(PatchError::LineEnds { line: self.number() });
        }
        let text = std::str::from_utf8(rest).map_err(|_not_text| self.unexpected())?;
        self.at += 1;
        Ok(Some(text.trim_end_matches('\n')))
    }

    pub(crate) fn unexpected(&self) -> PatchError {
        let text = self.peek().map(String::from_utf8_lossy).unwrap_or_default();
        let text = text.trim_end_matches('\n').chars().take(60).collect();
        PatchError::Unexpected { line: self.number(), text }
    }
}

/// What stands before the first file.
struct Preamble {
    /// Whether it is a mail, as `git format-patch` writes it.
    mail: bool,
    summary: Option<Summary>,
}

fn preamble(reader: &mut Reader<'_>) -> Result<Preamble, PatchError> {
    let mail = reader.peek().is_some_and(begins_mail);
    let mut summary = None;
    loop {
        let number = reader.number();
        let Some(line) = reader.peek() else { return Err(PatchError::NotAPatch) };
        if line.starts_with(b"diff --git ") {
            return Ok(Preamble { mail, summary });
        }
        if [&b"--- a/"[..], b"--- /dev/null", b"+++ ", b"@@ -"]
            .iter()
            .any(|it| line.starts_with(it))
        {
            return Err(PatchError::NotGit { line: number });
        }
        summary = std::str::from_utf8(line).ok().and_then(Summary::parse).or(summary);
        reader.at += 1;
    }
}

fn begins_mail(line: &[u8]) -> bool {
    let hex = |word: &[u8]| word.len() >= 40 && word.iter().all(u8::is_ascii_hexdigit);
    let rest = line.strip_prefix(b"From ").unwrap_or_default();
    rest.split(|byte| *byte == b' ').next().is_some_and(hex)
}

/// Reads what may stand after the last file; returns whether git has signed there.
fn end(reader: &mut Reader<'_>) -> Result<bool, PatchError> {
    let signed = reader.peek() == Some(b"-- \n");
    if signed {
        reader.at += 1;
        let version = reader.next().unwrap_or_default();
        if version.iter().all(u8::is_ascii_whitespace) {
            return Err(PatchError::CutOff("git's signature is not whole".to_owned()));
        }
    }
    while let Some(line) = reader.peek() {
        if begins_mail(line) {
            return Err(PatchError::SeveralCommits { line: reader.number() });
        }
        if line != b"\n" {
            return Err(reader.unexpected());
        }
        reader.at += 1;
    }
    Ok(signed)
}

fn file(reader: &mut Reader<'_>) -> Result<FilePatch, PatchError> {
    let line = reader.number();
    let names = reader.header("diff --git ")?.unwrap_or_default();
    let path = same_path(names, line)?;
    let change = extended(reader, &path)?;
    names_fit(reader, &path, change)?;
    let mut hunks = Vec::new();
    while reader.peek().is_some_and(|line| line.starts_with(b"@@ ")) {
        let line = reader.number();
        let number = hunks.len() + 1;
        let refuse = |why: String| PatchError::Hunk { line, path: path.clone(), hunk: number, why };
        let hunk = hunk(reader)?.map_err(refuse)?;
        let fits = follows(&hunks, &hunk)
            .and_then(|()| proves_something(change, &hunk))
            .and_then(|()| ends_once(&hunk));
        fits.map_err(|why| refuse(why.to_owned()))?;
        hunks.push(hunk);
    }
    if hunks.is_empty() {
        return Err(PatchError::CutOff(format!("{path} has no hunk")));
    }
    if change != Change::Modify && hunks.len() > 1 {
        let why = "is one too many for a new or deleted file".to_owned();
        return Err(PatchError::Hunk { line, path, hunk: 2, why });
    }
    Ok(FilePatch { path, change, hunks })
}

/// Reads `a/PATH b/PATH`: both are the same, or it is a rename.
fn same_path(names: &str, line: usize) -> Result<String, PatchError> {
    let why = "the two names are not `a/PATH` and `b/PATH` of one path".to_owned();
    let refused = || PatchError::Names { line, why: why.clone() };
    if names.starts_with('"') {
        return Err(PatchError::Path { line, path: names.to_owned(), why: "it is quoted" });
    }
    let length = names.len().checked_sub(5).ok_or_else(refused)? / 2;
    let path = names.get(2..2 + length).ok_or_else(refused)?;
    if names != format!("a/{path} b/{path}") {
        return Err(refused());
    }
    let bad = |why| Err(PatchError::Path { line, path: path.to_owned(), why });
    if path.len() > MAX_PATH {
        return bad("it is too long");
    }
    if path.contains(|c: char| c.is_control() || c == '\\') {
        return bad("it has characters that are no part of a source file's name");
    }
    if path.split('/').any(|part| matches!(part, "" | "." | ".." | ".git")) {
        return bad("it must lead down from its beginning, without `.`, `..` and `//`");
    }
    Ok(path.to_owned())
}

/// Reads git's own headers between `diff --git` and `---`.
fn extended(reader: &mut Reader<'_>, path: &str) -> Result<Change, PatchError> {
    let mut change = Change::Modify;
    loop {
        let line = reader.number();
        let unsupported = |what| PatchError::Unsupported { line, what };
        let regular = |mode: &str| match mode {
            "100644" => Ok(0o644),
            "100755" => Ok(0o755),
            "120000" => Err(unsupported("it is about a symbolic link")),
            _ => Err(unsupported("it is not about a regular file")),
        };
        if let Some(mode) = reader.header("new file mode ")? {
            change = Change::Create { mode: regular(mode)? };
        } else if let Some(mode) = reader.header("deleted file mode ")? {
            regular(mode)?;
            change = Change::Delete;
        } else if let Some(index) = reader.header("index ")? {
            if let Some((_, mode)) = index.split_once(' ') {
                regular(mode)?;
            }
        } else {
            let line = reader.peek().unwrap_or_default();
            let begins = |words: &[&str]| words.iter().any(|it| line.starts_with(it.as_bytes()));
            return if begins(&["--- "]) {
                Ok(change)
            } else if begins(&["old mode ", "new mode "]) {
                Err(unsupported("it changes a file's mode"))
            } else if begins(&["similarity ", "dissimilarity ", "rename ", "copy "]) {
                Err(unsupported("it renames, copies or rewrites a file"))
            } else if begins(&["GIT binary patch", "Binary files "]) {
                Err(unsupported("it changes a binary file"))
            } else if line.is_empty() || begins(&["diff --git ", "-- \n"]) {
                Err(PatchError::CutOff(format!("{path} has no hunk")))
            } else {
                Err(reader.unexpected())
            };
        }
    }
}

/// Reads `---` and `+++`, which must say the same as the headers before.
fn names_fit(reader: &mut Reader<'_>, path: &str, change: Change) -> Result<(), PatchError> {
    let (a, b, none) = (format!("a/{path}"), format!("b/{path}"), "/dev/null".to_owned());
    let (old, new) = match change {
        Change::Modify => (a, b),
        Change::Create { .. } => (none, b),
        Change::Delete => (a, none),
    };
    for (begin, wanted) in [("--- ", old), ("+++ ", new)] {
        let line = reader.number();
        let Some(found) = reader.header(begin)? else {
            let cut = || PatchError::CutOff(format!("{path} has no hunk"));
            return Err(if reader.peek().is_none() { cut() } else { reader.unexpected() });
        };
        // git ends names that hold spaces with a tab.
        let found = found.strip_suffix('\t').filter(|it| it.contains(' ')).unwrap_or(found);
        if found != wanted {
            let why =
                format!("{found:?} stands where {wanted:?} must be, by the headers before it");
            return Err(PatchError::Names { line, why });
        }
    }
    Ok(())
}

fn no_file_twice(files: &[FilePatch]) -> Result<(), PatchError> {
    let mut seen = BTreeSet::new();
    for file in files {
        if !seen.insert(file.path.as_str()) {
            return Err(PatchError::Twice { path: file.path.clone() });
        }
    }
    for file in files {
        let mut folders = file.path.match_indices('/').filter_map(|(at, _)| file.path.get(..at));
        if let Some(folder) = folders.find(|folder| seen.contains(folder)) {
            return Err(PatchError::Twice { path: folder.to_owned() });
        }
    }
    Ok(())
}
