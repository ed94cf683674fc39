//! How soon a process that takes over from a killed one is at work, measured as a person would: from its start.

use crate::events;
use crate::lab::{Lab, PATIENCE};
use crate::process::Running;
use anyhow::{Context, Result, bail};
use std::time::{Duration, Instant};

/// How long it may take from the start of `serin adopt` to the first thing that it does.
const AT_WORK_WITHIN: Duration = Duration::from_secs(5);

/// Starts `serin --json …`, and returns it with the time until the first step that it starts, or ends, or watches; nothing
/// if it ended without one.
pub(crate) fn at_work(lab: &Lab, arguments: &[&str]) -> Result<(Running, Option<Duration>)> {
    let (worked, took) = timed(|| {
        let mut running = lab.serin_running(arguments)?;
        while running.lines(1, PATIENCE)? {
            if running.log.last().is_some_and(|line| events::is_work(line)) {
                return Ok((running, Some(())));
            }
        }
        anyhow::Ok((running, None))
    });
    let (running, worked) = worked?;
    if worked.is_some() {
        lab.account().borrow_mut().recoveries.push(took);
    }
    Ok((running, worked.map(|()| took)))
}

/// Tells the slowest of several, which must not be too slow.
pub(crate) fn slowest(times: &[Duration]) -> Result<String> {
    let most = times.iter().max().context("nobody took over")?;
    if *most > AT_WORK_WITHIN {
        bail!("a process that took over was at work after {:.1} s only", most.as_secs_f64());
    }
    Ok(format!("at work again within {:.1} s", most.as_secs_f64()))
}

/// Does something, and returns how long it took.
#[expect(clippy::disallowed_methods, reason = "a time that a person would measure")]
pub(crate) fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let done = act();
    (done, began.elapsed())
}
