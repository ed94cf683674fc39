//! What a `serin` that acts for a run says, line by line in JSON, as the few words that a chat is told: that a run has
//! begun, and how it ended. Everything between is left out.

use crate::grammar::Asked;
use crate::notice;
use crate::reply::Reply;
use crate::value::{Shape, Value};
use serde::Deserialize;
use serin_model::RunId;

/// A line that `serin --json` prints. Others, and other keys, are none of our business.
#[derive(Debug, Deserialize)]
struct Line {
    run: String,
    event: String,
    #[serde(default)]
    text: Option<String>,
}

/// Follows one command.
#[derive(Debug)]
pub struct Follower {
    asked: Asked,
    run: Option<RunId>,
    reason: Option<String>,
    said_the_end: bool,
    /// What it says that is no event: that it asks the process which acts, and the answer.
    words: Vec<String>,
}

/// So many lines that are no events are kept, the last ones.
const KEPT: usize = 5;

impl Follower {
    /// Follows a command that was just begun.
    pub fn new(asked: Asked) -> Self {
        Self { asked, run: None, reason: None, said_the_end: false, words: Vec::new() }
    }

    /// Takes the next line in, and returns what is to be told.
    pub fn line(&mut self, line: &str) -> Vec<Reply> {
        let line = match serde_json::from_str::<Line>(line) {
            Ok(line) => line,
            Err(_) if line.starts_with('{') => return Vec::new(),
            Err(_) => {
                self.words.push(line.to_owned());
                let old = self.words.len().saturating_sub(KEPT);
                self.words.drain(..old);
                return Vec::new();
            }
        };
        let Ok(run) = line.run.parse::<RunId>() else { return Vec::new() };
        let mut told = Vec::new();
        if self.run.as_ref() != Some(&run) {
            self.run = Some(run.clone());
            (self.reason, self.said_the_end) = (None, false);
            let begun = Reply::to_channel(format!("run {run} has begun: {}", self.asked.text()));
            told.push(begun.with_button(notice::halt(&run)));
        }
        match line.event.as_str() {
            "halt-requested" => self.reason = line.text,
            "halted" => told.push(self.halted(&run)),
            "resumed" => (self.reason, self.said_the_end) = (None, false),
            "finished" => told.push(self.finished(&run)),
            "cancelled" => {
                self.said_the_end = true;
                let why = line.text.unwrap_or_default();
                told.push(Reply::to_channel(format!("run {run} was given up: {why}")));
            }
            _ => {}
        }
        told
    }

    /// Returns what is to be told when the command has ended with a code, and what it had printed as an error.
    pub fn ended(&mut self, code: Option<i32>, errors: &str) -> Option<Reply> {
        if self.said_the_end {
            return None;
        }
        let what = self.asked.text();
        let text = match (code, &self.run) {
            (Some(0), None) if self.words.is_empty() => format!("{what}: nothing had to be done"),
            (Some(0), None) => format!("{what}: {}", self.words.join("; ")),
            (Some(0), Some(run)) => format!("{what}: done (run {run})"),
            (Some(4), _) => format!("{what}: refused"),
            (Some(code), Some(run)) => {
                format!("{what}: ended with code {code}; `status` says how run {run} stands")
            }
            (Some(code), None) => format!("{what}: ended with code {code}"),
            (None, _) => format!(
                "{what}: its process was killed; `status` says how things stand, `adopt` goes on"
            ),
        };
        let reply = Reply::to_channel(text);
        Some(if errors.trim().is_empty() { reply } else { reply.with_output(errors.trim()) })
    }

    fn halted(&mut self, run: &RunId) -> Reply {
        self.said_the_end = true;
        let reason = self.reason.take().unwrap_or_else(|| "`why` says why".to_owned());
        let text = format!(
            "run {run} has halted: {reason}\n`why` says all that blocks. `resume {run}` tries again what failed; \
             `rollback {run}` takes its hosts back; a terminal also has `serin cancel {run}`"
        );
        Reply::to_channel(text).with_button(notice::resume(run)).with_button(notice::rollback(run))
    }

    fn finished(&mut self, run: &RunId) -> Reply {
        self.said_the_end = true;
        let reply = Reply::to_channel(format!("run {run} is finished: {}", self.asked.text()));
        let to_canary = matches!(self.asked.value(Shape::Pipeline), Some(Value::Pipeline(name)) if name.as_str() == "to-canary");
        if to_canary { reply.with_button(notice::promote()) } else { reply }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::{Said, parse};
    use crate::words::Dialect;

    fn follower(text: &str) -> Follower {
        match parse(text, Dialect::Plain) {
            Ok(Said::Asked(asked)) => Follower::new(asked),
            other => panic!("{other:?}"),
        }
    }

    fn told(follower: &mut Follower, lines: &[&str]) -> Vec<String> {
        lines.iter().flat_map(|line| follower.line(line)).map(|reply| reply.text).collect()
    }

    #[test]
    fn of_a_long_run_only_the_ends_are_told() {
        let mut run = follower("run to-canary");
        let lines = [
            r#"{"at":1,"run":"r-7","status":"running","event":"adopted","text":"mira"}"#,
            r#"{"at":2,"run":"r-7","status":"running","event":"attempt-started","step":"x"}"#,
            r#"{"at":2,"environment":"production","event":"share-set","text":"5%"}"#,
            "no JSON",
            r#"{"at":3,"run":"r-7","status":"finished","event":"finished"}"#,
        ];
        assert_eq!(
            told(&mut run, &lines),
            ["run r-7 has begun: run to-canary", "run r-7 is finished: run to-canary"]
        );
        assert_eq!(run.ended(Some(0), ""), None);
    }

    #[test]
    fn a_halt_says_why_and_what_to_do() {
        let mut run = follower("promote");
        let lines = [
            r#"{"run":"r-7","event":"adopted"}"#,
            r#"{"run":"r-7","event":"halt-requested","text":"web-01: disk full"}"#,
            r#"{"run":"r-7","event":"halted"}"#,
        ];
        let told: Vec<Reply> = lines.iter().flat_map(|line| run.line(line)).collect();
        assert!(
            told[1].text.starts_with("run r-7 has halted: web-01: disk full\n`why`"),
            "{told:?}"
        );
        assert_eq!(told[1].buttons.len(), 2);
        assert_eq!(run.ended(Some(5), ""), None);
    }

    #[test]
    fn a_refusal_is_told_with_its_reason() {
        let mut run = follower("run to-canary");
        let reply = run.ended(Some(4), "error: production belongs to run r-3\nhint: …\n").unwrap();
        assert_eq!(reply.text, "run to-canary: refused");
        assert!(reply.output.unwrap().contains("belongs to run r-3"));
        let mut asked = follower("resume r-7 --reason x");
        assert!(asked.line("run r-7: accepted").is_empty());
        let reply = asked.ended(Some(0), "").unwrap();
        assert_eq!(reply.text, "resume r-7 --reason \"x\": run r-7: accepted");
        assert_eq!(
            follower("run to-canary").ended(Some(0), "").unwrap().text,
            "run to-canary: nothing had to be done"
        );
    }

    #[test]
    fn a_run_that_is_planned_again_goes_on_under_its_new_name() {
        let mut run = follower("run to-canary");
        let lines = [
            r#"{"run":"r-7","event":"adopted"}"#,
            r#"{"run":"r-7","event":"cancelled","text":"mira: outdated"}"#,
            r#"{"run":"r-8","event":"adopted"}"#,
        ];
        assert_eq!(told(&mut run, &lines).len(), 3);
        assert!(run.ended(None, "").is_some(), "r-8 has not ended by itself");
    }
}
