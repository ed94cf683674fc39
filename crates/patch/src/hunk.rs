//! Reading one hunk, and what must hold before it is believed: it is whole, fits those above it, and proves a place.
//!
//! What surrounds hunks is read in `parse.rs`.

use crate::parse::{MAX_BYTES, Reader};
use crate::{Change, Hunk, Line, LineKind, PatchError};

/// How many lines that stay git writes before and after changes, unless the file begins or ends there. With fewer, a
/// place proves too little.
pub(crate) const CONTEXT: usize = 3;

/// Reads a hunk to its last line; inside are its own contradictions.
pub(crate) fn hunk(reader: &mut Reader<'_>) -> Result<Result<Hunk, String>, PatchError> {
    let Some(places) = reader.header("@@ ")? else { return Err(reader.unexpected()) };
    let Some((old, new)) = ranges(places) else {
        return Ok(Err("has a header that is not understood".to_owned()));
    };
    let (mut old_left, mut new_left) = (old.1, new.1);
    let mut lines: Vec<Line> = Vec::new();
    while old_left > 0 || new_left > 0 {
        let number = reader.number();
        let Some(line) = reader.next() else {
            return Err(PatchError::CutOff(format!(
                "its last hunk lacks {} lines",
                old_left.max(new_left)
            )));
        };
        let (kind, text) = match line.split_first() {
            Some((b' ', text)) => (LineKind::Keep, text),
            Some((b'-', text)) => (LineKind::Remove, text),
            Some((b'+', text)) => (LineKind::Add, text),
            Some((b'\\', _)) => {
                if !end_is_missing(line, &mut lines) {
                    return Ok(Err(format!("has a line that is not understood, {number}")));
                }
                continue;
            }
            Some(_) | None => {
                return Ok(Err(format!("is incomplete: line {number} is no part of it")));
            }
        };
        if text.contains(&0) {
            return Err(PatchError::Unsupported { line: number, what: "it changes a binary file" });
        }
        let takes = |left: usize, side: bool| if side { left.checked_sub(1) } else { Some(left) };
        let left =
            takes(old_left, kind != LineKind::Add).zip(takes(new_left, kind != LineKind::Remove));
        let Some((old, new)) = left else {
            return Ok(Err(format!("has more lines than its header says, at line {number}")));
        };
        (old_left, new_left) = (old, new);
        lines.push(Line { kind, text: text.to_vec() });
    }
    if let Some(line) = reader.peek().filter(|line| line.starts_with(b"\\")) {
        if !end_is_missing(line, &mut lines) {
            return Err(reader.unexpected());
        }
        reader.at += 1;
    }
    // Where a side has no lines, git names the line before.
    let first = |(start, count): (usize, usize)| if count == 0 { start + 1 } else { start };
    Ok(Ok(Hunk { old: first(old), new: first(new), lines }))
}

/// Takes `\ No newline at end of file` in, which is about the line before.
fn end_is_missing(line: &[u8], lines: &mut [Line]) -> bool {
    let Some(last) = lines.last_mut() else { return false };
    line.starts_with(b"\\ ") && last.text.pop() == Some(b'\n')
}

/// Reads `-12,7 +12,8 @@ …`.
fn ranges(text: &str) -> Option<((usize, usize), (usize, usize))> {
    let (ranges, _) = text.split_once(" @@")?;
    let (old, new) = ranges.split_once(' ')?;
    let range = |text: &str, sign: char| {
        let text = text.strip_prefix(sign)?;
        let (start, count) = text.split_once(',').unwrap_or((text, "1"));
        let number = |text: &str| text.parse().ok().filter(|number| *number < MAX_BYTES);
        Some((number(start)?, number(count)?))
    };
    Some((range(old, '-')?, range(new, '+')?))
}

/// Checks a hunk against those before it: a hunk that was taken out leaves its trace in the numbers.
pub(crate) fn follows(before: &[Hunk], hunk: &Hunk) -> Result<(), &'static str> {
    let (mut old_end, mut new_end) = (1, 1);
    for hunk in before {
        (old_end, new_end) =
            (hunk.old + hunk.count(LineKind::Add), hunk.new + hunk.count(LineKind::Remove));
        if hunk.lines.iter().any(|line| !line.text.ends_with(b"\n")) {
            return Err("comes after the end of the file");
        }
    }
    if hunk.old < old_end || hunk.new < new_end {
        return Err("begins before the one above it ends");
    }
    if hunk.old - old_end != hunk.new - new_end {
        return Err(
            "begins at lines that do not fit those above it: something is missing before it",
        );
    }
    Ok(())
}

/// Checks that a hunk's lines can show that it is, or is not, in a file.
pub(crate) fn proves_something(change: Change, hunk: &Hunk) -> Result<(), &'static str> {
    let has = |kind| hunk.lines.iter().any(|line| line.kind == kind);
    let (keep, remove, add) = (has(LineKind::Keep), has(LineKind::Remove), has(LineKind::Add));
    let whole_file = (hunk.old, hunk.new) == (1, 1);
    Err(match change {
        Change::Create { .. } if keep || remove || !whole_file => {
            "has old lines, and the file is new"
        }
        Change::Delete if keep || add || !whole_file => "leaves lines, and the file is deleted",
        Change::Modify if !remove && !add => "changes nothing",
        Change::Modify if !(keep || remove && add) => {
            "has no line that stays, so its place cannot be proven; use git's three lines of context"
        }
        Change::Modify if hunk.old > 1 && hunk.leading() < CONTEXT => {
            "has too few lines that stay before its changes; use git's three lines of context"
        }
        Change::Create { .. } | Change::Delete | Change::Modify => return Ok(()),
    })
}

/// Checks that only the last line of a side lacks its end.
pub(crate) fn ends_once(hunk: &Hunk) -> Result<(), &'static str> {
    let last = |other: LineKind| hunk.lines.iter().rposition(|line| line.kind != other);
    let (old_end, new_end) = (last(LineKind::Add), last(LineKind::Remove));
    let open = |(at, line): (usize, &Line)| {
        let fits = match line.kind {
            LineKind::Keep => old_end == Some(at) && new_end == Some(at),
            LineKind::Remove => old_end == Some(at),
            LineKind::Add => new_end == Some(at),
        };
        !line.text.ends_with(b"\n") && !fits
    };
    if hunk.lines.iter().enumerate().any(open) {
        return Err("ends the file before its own last line");
    }
    Ok(())
}

impl Hunk {
    /// Returns how many lines stay before the first change.
    pub(crate) fn leading(&self) -> usize {
        self.lines.iter().take_while(|line| line.kind == LineKind::Keep).count()
    }

    /// Returns how many lines stay after the last change.
    pub(crate) fn trailing(&self) -> usize {
        self.lines.iter().rev().take_while(|line| line.kind == LineKind::Keep).count()
    }

    /// Returns how many of its lines are of any kind but one.
    fn count(&self, but: LineKind) -> usize {
        self.lines.iter().filter(|line| line.kind != but).count()
    }
}
