//! Putting hunks to a file's lines, forwards or backwards, without any fuzz.
//!
//! A file is taken in one of two ways. All hunks fit exactly where their headers say: then that is their place. Or they
//! do not, because the file has changed elsewhere: then each hunk's lines must be in the whole file exactly once, in the
//! hunks' order. A hunk that begins at line 1 fits only at the beginning, and one with fewer than three lines that stay after
//! its changes only at the end: git writes fewer nowhere else. There is no third way.

use crate::hunk::CONTEXT;
use crate::{Hunk, LineKind};
use std::fmt;

/// Which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the old lines to the new ones.
    Forward,
    /// From the new lines to the old ones.
    Reverse,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Applied {
    /// The whole file afterwards.
    Fits(Vec<u8>),
    /// A hunk fits at several lines of the file (from 1).
    Several { hunk: usize, lines: Vec<usize> },
    /// A hunk does not fit.
    Not { hunk: usize, why: Mismatch },
}

/// Why a hunk does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// Its lines are nowhere in the file.
    Nowhere,
    /// They would be, but for the ends of the lines: LF in one, CR LF in the other.
    LineEnds,
    /// They are there, but the hunk is about the beginning or the end of the file, and they are elsewhere.
    NotAtTheEdge,
    /// They are there, but before those of the hunk above.
    OutOfOrder,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nowhere => "its lines are nowhere in the file",
            Self::LineEnds => "the lines end differently: LF in one, CR LF in the other",
            Self::NotAtTheEdge => {
                "it is about the file's beginning or end, and its lines are elsewhere"
            }
            Self::OutOfOrder => "its lines are there, but not below those of the hunk above",
        })
    }
}

/// Puts all hunks to a file.
pub(crate) fn apply(file: &[u8], hunks: &[Hunk], direction: Direction) -> Applied {
    let lines: Vec<&[u8]> = file.split_inclusive(|byte| *byte == b'\n').collect();
    let exact = |hunk: &Hunk| {
        let at = hunk.begins(direction).checked_sub(1)?;
        let side = hunk.side(direction);
        (fits_at(&lines, &side, at) && hunk.may_be_at(direction, at, side.len(), lines.len()))
            .then_some(at)
    };
    let places: Option<Vec<usize>> = hunks.iter().map(exact).collect();
    let places = match places {
        Some(places) => places,
        None => match only_places(&lines, hunks, direction) {
            Ok(places) => places,
            Err(applied) => return applied,
        },
    };
    Applied::Fits(replaced(&lines, hunks, &places, direction))
}

/// Tells whether a hunk's lines are in the file at all, at a place where the hunk may be.
pub(crate) fn is_somewhere(file: &[u8], hunk: &Hunk, direction: Direction) -> bool {
    let lines: Vec<&[u8]> = file.split_inclusive(|byte| *byte == b'\n').collect();
    !places(&lines, hunk, direction).is_empty()
}

fn only_places(
    lines: &[&[u8]],
    hunks: &[Hunk],
    direction: Direction,
) -> Result<Vec<usize>, Applied> {
    let mut found = Vec::new();
    let mut end = 0;
    for (number, hunk) in (1..).zip(hunks) {
        match places(lines, hunk, direction).as_slice() {
            [only] if *only < end => {
                return Err(Applied::Not { hunk: number, why: Mismatch::OutOfOrder });
            }
            [only] => {
                end = only + hunk.side(direction).len();
                found.push(*only);
            }
            [] => return Err(Applied::Not { hunk: number, why: why_not(lines, hunk, direction) }),
            several => {
                let lines = several.iter().map(|at| at + 1).collect();
                return Err(Applied::Several { hunk: number, lines });
            }
        }
    }
    Ok(found)
}

/// Returns every place, as an index, where a hunk may be and its lines are.
fn places(lines: &[&[u8]], hunk: &Hunk, direction: Direction) -> Vec<usize> {
    let side = hunk.side(direction);
    let fits = |at: &usize| {
        fits_at(lines, &side, *at) && hunk.may_be_at(direction, *at, side.len(), lines.len())
    };
    (0..lines.len()).filter(fits).collect()
}

fn fits_at(lines: &[&[u8]], side: &[&[u8]], at: usize) -> bool {
    lines.get(at..).is_some_and(|lines| lines.starts_with(side))
}

fn why_not(lines: &[&[u8]], hunk: &Hunk, direction: Direction) -> Mismatch {
    let side = hunk.side(direction);
    if (0..lines.len()).any(|at| fits_at(lines, &side, at)) {
        return Mismatch::NotAtTheEdge;
    }
    let bare = |line: &&[u8]| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        line.strip_suffix(b"\r").unwrap_or(line).to_vec()
    };
    let (file, side): (Vec<_>, Vec<_>) =
        (lines.iter().map(bare).collect(), side.iter().map(bare).collect());
    let there =
        (0..file.len()).any(|at| file.get(at..).is_some_and(|lines| lines.starts_with(&side)));
    if there { Mismatch::LineEnds } else { Mismatch::Nowhere }
}

fn replaced(lines: &[&[u8]], hunks: &[Hunk], places: &[usize], direction: Direction) -> Vec<u8> {
    let opposite = match direction {
        Direction::Forward => Direction::Reverse,
        Direction::Reverse => Direction::Forward,
    };
    let mut result = Vec::new();
    let mut copied = 0;
    for (hunk, place) in hunks.iter().zip(places) {
        result.extend(lines.get(copied..*place).unwrap_or_default().concat());
        result.extend(hunk.side(opposite).concat());
        copied = place + hunk.side(direction).len();
    }
    result.extend(lines.get(copied..).unwrap_or_default().concat());
    result
}

impl Hunk {
    /// Returns the lines that must be there before it is put to a file in that direction.
    pub(crate) fn side(&self, direction: Direction) -> Vec<&[u8]> {
        let other = match direction {
            Direction::Forward => LineKind::Add,
            Direction::Reverse => LineKind::Remove,
        };
        let lines = self.lines.iter().filter(|line| line.kind != other);
        lines.map(|line| line.text.as_slice()).collect()
    }

    fn begins(&self, direction: Direction) -> usize {
        match direction {
            Direction::Forward => self.old,
            Direction::Reverse => self.new,
        }
    }

    fn may_be_at(&self, direction: Direction, at: usize, length: usize, all: usize) -> bool {
        let at_end = self.trailing() < CONTEXT;
        (self.begins(direction) > 1 || at == 0) && (!at_end || at + length == all)
    }
}
