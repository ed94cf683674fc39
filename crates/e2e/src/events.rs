//! The events of a run as `serin --json run` prints them, one object a line: what aims at a moment, and tells it.

use crate::lab::PATIENCE;
use crate::process::Running;
use anyhow::{Context, Result};
use serde_json::Value;

/// An event of a run.
pub(crate) struct Event(Value);

impl Event {
    fn read(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        value.get("event").is_some().then_some(Self(value))
    }

    fn field(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// When it happened, in milliseconds.
    pub(crate) fn at(&self) -> u64 {
        self.0.get("at").and_then(Value::as_u64).unwrap_or_default()
    }

    /// Tells whether it is of a kind, such as `attempt-started`, and about a step, such as `3/web-01.gstg/drain`.
    pub(crate) fn is(&self, kind: &str, step: &str) -> bool {
        self.field("event") == kind && self.field("step") == step
    }

    /// Tells whether it is of a kind.
    pub(crate) fn is_a(&self, kind: &str) -> bool {
        self.field("event") == kind
    }

    /// Tells whether it is the end of a step, with success.
    pub(crate) fn is_done(&self, step: &str) -> bool {
        self.is("attempt-ended", step) && self.field("outcome").ends_with("done")
    }

    /// Tells whether it is the end of any step, with success.
    pub(crate) fn is_success(&self) -> bool {
        self.is_a("attempt-ended") && self.field("outcome").ends_with("done")
    }

    /// Tells whether nobody answered in a step.
    pub(crate) fn is_lost(&self, step: &str) -> bool {
        self.is("attempt-ended", step) && self.field("outcome") == "lost"
    }

    /// Tells whether it is the successful end of any step of an action, such as `bake`.
    pub(crate) fn is_done_of(&self, action: &str) -> bool {
        self.action() == action && self.is_done(self.field("step"))
    }

    /// Tells whether it is the first attempt of any step of an action.
    pub(crate) fn begins(&self, action: &str) -> bool {
        let first = self.0.get("attempt").and_then(Value::as_u64) == Some(1);
        self.action() == action && self.is_a("attempt-started") && first
    }

    fn action(&self) -> &str {
        self.field("step").rsplit('/').next().unwrap_or_default()
    }

    /// The whole of it, for people.
    pub(crate) fn show(&self) -> String {
        self.0.to_string()
    }

    /// How many milliseconds of a bake are watched.
    pub(crate) fn watched(&self) -> Option<u64> {
        self.field("text").strip_suffix(" ms")?.parse().ok()
    }

    /// What is said about it.
    pub(crate) fn text(&self) -> &str {
        self.field("text")
    }
}

/// Tells whether a line is of a controller that did something, or saw to something that it found in flight.
pub(crate) fn is_work(line: &str) -> bool {
    let kinds = ["attempt-started", "attempt-ended", "bake-progressed"];
    Event::read(line).is_some_and(|event| kinds.iter().any(|kind| event.is_a(kind)))
}

/// Reads on until an event is as wanted.
pub(crate) fn until(running: &mut Running, wanted: impl Fn(&Event) -> bool) -> Result<Event> {
    while running.lines(1, PATIENCE)? {
        let event = running.log.last().and_then(|line| Event::read(line));
        if let Some(event) = event.filter(&wanted) {
            return Ok(event);
        }
    }
    let last = running.log.last().map_or("nothing", String::as_str);
    anyhow::bail!("the run ended without the event that was waited for; the last line: {last}")
}

/// Returns all events of an output.
pub(crate) fn all(log: &[String]) -> Vec<Event> {
    log.iter().filter_map(|line| Event::read(line)).collect()
}

/// Returns what a run halted for.
pub(crate) fn halt(log: &[String]) -> Result<String> {
    let found = all(log).into_iter().find(|event| event.is_a("halt-requested"));
    found.map(|event| event.text().to_owned()).context("the run did not halt")
}
