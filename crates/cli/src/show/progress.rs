//! The observer of a run in the foreground: lines in a pipe, JSON lines, or lines with a live foot in a terminal.

use super::{
    Format, embargo, environment, json, line, lines::Lines, lines::name, lines::subject,
    sections::Sections,
};
use crate::context::in_gitlab;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serin_engine::{Due, EnvironmentEvent, Event, Run, StepState};
use serin_model::{Action, BakeWatch, EnvironmentName, RunId, Timestamp, verdict::seconds};
use serin_runtime::{Observer, ports::Alert};
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::time::Duration;

/// How many lanes at work are shown at the foot; the rest are counted.
const SHOWN: usize = 10;

/// Shows a run as it goes.
pub(crate) struct Progress {
    id: RunId,
    lines: Lines,
    form: Form,
    /// Where the log is one that knows sections.
    sections: Option<Sections>,
    said: BTreeSet<String>,
}

enum Form {
    Plain,
    Json,
    Terminal(Foot),
}

/// The live foot of a terminal: what is at work now.
struct Foot {
    bars: MultiProgress,
    rows: Vec<ProgressBar>,
}

impl Progress {
    pub(crate) fn new(id: RunId, format: Format) -> Self {
        let form = if format == Format::Json {
            Form::Json
        } else if std::io::stdout().is_terminal() {
            Form::Terminal(Foot::new())
        } else {
            Form::Plain
        };
        let sections = (matches!(form, Form::Plain) && in_gitlab()).then(Sections::default);
        Self { id, lines: Lines::default(), form, sections, said: BTreeSet::new() }
    }

    fn say(&self, text: &str) {
        match &self.form {
            Form::Plain => line(text),
            Form::Json => {}
            Form::Terminal(foot) => foot.bars.suspend(|| line(text)),
        }
    }

    /// Says a thing that would be repeated every moment once.
    fn say_once(&mut self, text: &str) {
        if self.said.insert(text.to_owned()) {
            self.say(text);
        }
    }
}

impl Observer for Progress {
    fn event(&mut self, run: &Run, at: Timestamp, event: &Event) {
        if let Form::Json = self.form {
            line(json::event(&self.id, run, at, event));
            return;
        }
        if matches!(event, Event::AttemptEnded { .. }) {
            self.said.clear();
        }
        if let Some(sections) = &mut self.sections {
            sections.before(run, at, event);
        }
        for text in self.lines.render(run, at, event) {
            self.say(&text);
        }
        if let Some(sections) = &mut self.sections {
            sections.after(run, at);
        }
        if let Form::Terminal(foot) = &mut self.form {
            foot.show(run);
        }
    }

    fn due(&mut self, _run: &Run, due: &Due) {
        for (host, why) in &due.waiting {
            // Waiting for a slot is the ordinary way of a sliding window; only what no step of ours ends is news.
            if matches!(why, serin_engine::NotAdmitted::LastUp(_)) {
                self.say_once(&format!("            {host} {why}"));
            }
        }
    }

    fn attributed(&mut self, alerts: &[Alert]) {
        for alert in alerts {
            let about = alert.about.as_deref().unwrap_or("a host");
            self.say_once(&format!(
                "            {} is firing about {about}, which this run has out of service: not counted",
                alert.name
            ));
        }
    }

    fn trouble(&mut self, what: &str) {
        self.say_once(&format!("            {what}"));
    }

    fn environment(&mut self, name: &EnvironmentName, at: Timestamp, event: &EnvironmentEvent) {
        if let Some(text) = environment::line(name, at, event) {
            self.say(&text);
        }
    }

    fn told(&mut self, what: &str) {
        self.say(&format!("            {what}"));
    }
}

impl Foot {
    fn new() -> Self {
        Self {
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::stdout()),
            rows: Vec::new(),
        }
    }

    fn show(&mut self, run: &Run) {
        let rows = if run.is_over() { Vec::new() } else { at_work(run) };
        while self.rows.len() < rows.len() {
            let bar = self.bars.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            self.rows.push(bar);
        }
        while self.rows.len() > rows.len() {
            if let Some(bar) = self.rows.pop() {
                bar.finish_and_clear();
            }
        }
        for (bar, text) in self.rows.iter().zip(rows) {
            bar.set_message(embargo::veiled(&text).into_owned());
        }
    }
}

/// Says what is at work now, and what of the stage is done.
fn at_work(run: &Run) -> Vec<String> {
    let Some((stage, number, lanes)) = run.current() else { return Vec::new() };
    let title = stage.phases.get(number).map_or("", |phase| phase.title.as_str());
    let done = lanes.iter().filter(|lane| run.next(lane).is_none()).count();
    let mut rows = vec![format!("stage {}: {title}, {done} of {} done", stage.number, lanes.len())];
    let mut busy = 0;
    for lane in lanes {
        let step =
            lane.steps.iter().find(|s| matches!(run.state(&s.id), StepState::Started { .. }));
        let Some(step) = step else { continue };
        busy += 1;
        if busy > SHOWN {
            continue;
        }
        let progress = if let Action::Bake { duration, watch: BakeWatch::Live } = &step.action {
            format!(" {} of {}", seconds(run.bake(&step.id).0), seconds(*duration))
        } else {
            String::new()
        };
        rows.push(format!("  {:<18} {}{progress}", subject(stage, lane), name(&step.action)));
    }
    if busy > SHOWN {
        rows.push(format!("  and {} more", busy - SHOWN));
    }
    rows
}
