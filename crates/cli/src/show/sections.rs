//! Sections of a job's log, which GitLab folds: one for each phase of a run.
//!
//! A name must not come twice in a job, and a marker begins its line. The text around the markers is what `serin` prints
//! anywhere.

use super::embargo;
use serin_engine::{Event, Run, Status};
use serin_model::Timestamp;
use std::io::Write;

/// The section that is open, if one is.
#[derive(Debug, Default)]
pub(crate) struct Sections {
    open: Option<Open>,
    count: usize,
}

#[derive(Debug)]
struct Open {
    stage: u32,
    phase: usize,
    name: String,
}

impl Sections {
    /// Opens the section of the phase in which a step begins. To be called before the event is shown.
    pub(crate) fn before(&mut self, run: &Run, at: Timestamp, event: &Event) {
        let (Event::AttemptStarted { .. }, Some((stage, phase, _))) = (event, run.current()) else {
            return;
        };
        if self.open.as_ref().is_some_and(|open| (open.stage, open.phase) == (stage.number, phase))
        {
            return;
        }
        self.close(at);
        self.count += 1;
        let name = format!("stage_{}_phase_{}_{}", stage.number, phase + 1, self.count);
        let title = stage.phases.get(phase).map_or("", |phase| phase.title.as_str());
        start(at, &name, &format!("stage {}: {title}", stage.number));
        self.open = Some(Open { stage: stage.number, phase, name });
    }

    /// Closes the section when its phase is over, or the run comes to a rest. To be called after the event is shown.
    pub(crate) fn after(&mut self, run: &Run, at: Timestamp) {
        let Some(open) = &self.open else { return };
        let here = run.current().map(|(stage, phase, _)| (stage.number, phase));
        let goes_on = matches!(run.status, Status::Running | Status::Halting(_));
        if !goes_on || here != Some((open.stage, open.phase)) {
            self.close(at);
        }
    }

    fn close(&mut self, at: Timestamp) {
        if let Some(open) = self.open.take() {
            end(at, &open.name);
        }
    }
}

/// Begins a section.
pub(crate) fn start(at: Timestamp, name: &str, title: &str) {
    let title = embargo::veiled(title);
    print(&format!("\u{1b}[0Ksection_start:{}:{name}\r\u{1b}[0K{title}\n", seconds(at)));
}

/// Ends it.
pub(crate) fn end(at: Timestamp, name: &str) {
    print(&format!("\u{1b}[0Ksection_end:{}:{name}\r\u{1b}[0K\n", seconds(at)));
}

fn seconds(at: Timestamp) -> u64 {
    at.as_millis() / 1000
}

/// Markers are made of what `line` takes out of everything else.
fn print(marker: &str) {
    // Whoever reads no more is noticed at the next line.
    drop(std::io::stdout().write_all(marker.as_bytes()));
}
