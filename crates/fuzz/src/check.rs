//! One input given to one target: whether it holds, and in how much memory.

use crate::{MEMORY, Target};
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a target may take for each byte of its input: a diagnostic quotes lines, a parsed table has a value for each cell.
const FOR_EACH_BYTE: usize = 256;

/// How a target did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// It panicked: something it promises is not so.
    Panicked(String),
    /// It took more memory than it may.
    Memory {
        /// What it took at its peak, in bytes.
        peak: usize,
        /// What it may take for such an input, in bytes.
        limit: usize,
    },
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(what) => f.write_str(what),
            Self::Memory { peak, limit } => write!(f, "it took {peak} bytes, and may take {limit}"),
        }
    }
}

/// Gives an input to a target. Memory is that of the whole process: only one target may be at work in it.
///
/// # Errors
/// When the target does not hold.
pub fn check(target: &Target, input: &[u8]) -> Result<(), Broken> {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let held = catch_unwind(AssertUnwindSafe(|| (target.hold)(input)));
    let peak = MEMORY.peak_usage().saturating_sub(before);
    held.map_err(|panic| Broken::Panicked(words(panic.as_ref())))?;
    let limit = target.memory + input.len() * FOR_EACH_BYTE;
    if peak > limit { Err(Broken::Memory { peak, limit }) } else { Ok(()) }
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("it panicked without words").to_owned()
}
