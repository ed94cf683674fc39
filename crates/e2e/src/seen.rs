//! What happens while a scenario is told: which damage was done how often, what `serin` did about it, how many requests
//! were sent and failed, how many hosts were out. Only what processes printed and did is counted.

use crate::process::Ended;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

/// The account of one scenario, shared by all that add to it.
pub(crate) type Account = Rc<RefCell<Seen>>;

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Damage by its name, and how often it was done.
    pub(crate) damage: BTreeMap<String, usize>,
    /// What `serin` said that it did, and how often.
    pub(crate) deeds: BTreeMap<&'static str, usize>,
    /// From the end of a damage, or of a process, to the next thing that succeeded.
    pub(crate) recoveries: Vec<Duration>,
    /// Requests that were sent.
    pub(crate) requests: u64,
    /// Those of them that failed.
    pub(crate) failed: u64,
    /// Why requests that failed could not be saved; empty while none failed.
    pub(crate) excuse: String,
    /// The most hosts of a fleet that were out of a backend at once; nothing when nobody watched.
    pub(crate) most_out: Option<usize>,
    /// What the oracle found to be so in the end.
    pub(crate) held: Vec<&'static str>,
}

/// What `serin` does, and the words of a line, for people or for programs, by which it is known.
const DEEDS: [(&str, [&str; 2]); 6] = [
    ("looked again", ["no answer, looking again", "\"outcome\":\"lost\""]),
    ("drained again", ["forgot the drain of", "\"event\":\"drain-lost\""]),
    ("took the share again", ["HAProxy was reloaded and gave traffic", "\"event\":\"share-lost\""]),
    (
        "began nothing new without alerts",
        ["nothing new is started until", "\"text\":\"Inconclusive"],
    ),
    ("halted", ["  halting: ", "\"event\":\"halt-requested\""]),
    ("was resumed", [" resumes the run: ", "\"event\":\"resumed\""]),
];

impl Seen {
    /// Counts a damage.
    pub(crate) fn damaged(&mut self, what: &str) {
        *self.damage.entry(what.to_owned()).or_default() += 1;
    }

    /// Counts something that `serin` did.
    pub(crate) fn did(&mut self, what: &'static str) {
        *self.deeds.entry(what).or_default() += 1;
    }

    /// Reads what a `serin` printed that was killed or has ended; the second: whether it was asked to take a run over.
    pub(crate) fn read(&mut self, log: &[String], adopts: Adopts) {
        for line in log {
            for (deed, words) in &DEEDS {
                if words.iter().any(|word| line.contains(word)) {
                    self.did(deed);
                }
            }
        }
        let took = |line: &String| {
            line.contains("takes the run over") || line.contains("\"event\":\"adopted\"")
        };
        if adopts == Adopts::Yes && log.iter().any(took) {
            self.did("adopted");
        }
    }

    /// Counts how a `serin` ended.
    pub(crate) fn ended(&mut self, ended: &Ended) {
        match ended.code {
            Some(4) => self.did("refused"),
            Some(7) => self.did("stopped: another process acts"),
            Some(8) => self.did("stopped: the journal"),
            Some(_) | None => {}
        }
    }

    /// Keeps what one look of the oracle found.
    pub(crate) fn holds(&mut self, what: &'static str) {
        if !self.held.contains(&what) {
            self.held.push(what);
        }
    }
}

/// Whether a process was asked to take a run over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Adopts {
    Yes,
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_for_people_and_for_programs_is_counted_alike() {
        let people = [
            "12:00:00  root@vm (pid 7) takes the run over",
            "12:00:01    web-01.gstg        install      no answer, looking again: cut",
            "12:00:02  halting: install on web-01.gstg: no room. Nothing new is started",
        ];
        let programs = [
            r#"{"run":"r-1","event":"adopted","text":"root@vm"}"#,
            r#"{"run":"r-1","event":"attempt-ended","step":"3/web-01.gstg/install","outcome":"lost"}"#,
            r#"{"run":"r-1","event":"halt-requested","text":"no room"}"#,
        ];
        for log in [people, programs] {
            let mut seen = Seen::default();
            seen.read(&log.map(str::to_owned), Adopts::Yes);
            let deeds: Vec<_> = seen.deeds.into_iter().collect();
            assert_eq!(deeds, [("adopted", 1), ("halted", 1), ("looked again", 1)]);
        }
    }

    #[test]
    fn a_first_start_is_no_adoption() {
        let mut seen = Seen::default();
        seen.read(&[r#"{"event":"adopted"}"#.to_owned()], Adopts::No);
        assert!(seen.deeds.is_empty());
    }
}
