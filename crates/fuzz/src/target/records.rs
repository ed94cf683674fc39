//! Records of the journal, one a line: of a run, and of an environment.
//!
//! What is read is written and read again to the same. Events that do not follow from one another are refused, and those
//! that do lead to the same state twice.

use super::{MIB, Target};
use serin_engine::{EnvironmentState, Run};
use serin_journal::Record;
use serin_model::{EnvironmentName, RunId, Timestamp};
use serin_runtime::records;

const WORDS: &[&[u8]] = &[
    b"{\"format\":1,\"event\":\"",
    b"\"attempt-started\"",
    b"\"halted\"",
    b"\"resumed\"",
    b"\"started\"",
    b"\n",
    b"null",
    b"{}",
    b"\"h-3\"",
    b"\"r-7\"",
    b"\"step\":\"1/environment/guard\"",
    b"\"attempt\":4294967295",
    b"\"fence\":18446744073709551615",
    b"\"at\":18446744073709551615",
    b"[[[[[[",
    b"\"format\":2",
];

pub(super) const RUN: Target =
    Target { name: "run-records", hold: run, memory: 4 * MIB, words: WORDS, mutations: 150 };

pub(super) const ENVIRONMENT: Target = Target {
    name: "environment-records",
    hold: environment,
    memory: 4 * MIB,
    words: WORDS,
    mutations: 1500,
};

fn run(input: &[u8]) {
    let id: RunId = "r-7".parse().expect("it is an id");
    let mut events = Vec::new();
    for record in all(input) {
        let Ok(event) = records::read(&id, &record) else { continue };
        let body = records::write(&event).expect("events are JSON");
        let again = records::read(&id, &Record { body, ..record });
        assert_eq!(again.ok().as_ref(), Some(&event), "what was written is read");
        events.push(event);
    }
    let replayed = Run::replay(&events);
    assert_eq!(replayed, Run::replay(&events), "the same events lead to the same");
}

fn environment(input: &[u8]) {
    let name: EnvironmentName = "production".parse().expect("it is a name");
    let mut state = EnvironmentState::new(name.clone());
    for record in all(input) {
        let Ok(event) = records::read_environment(&name, &record) else { continue };
        let body = records::write_environment(&event).expect("events are JSON");
        let again = records::read_environment(&name, &Record { body, ..record });
        assert_eq!(again.ok().as_ref(), Some(&event), "what was written is read");
        let before = state.clone();
        if state.apply(&event).is_err() {
            assert_eq!(state, before, "what is refused changes nothing");
        }
    }
}

fn all(input: &[u8]) -> Vec<Record> {
    let text = String::from_utf8_lossy(input);
    let record = |(seq, line): (u64, &str)| Record {
        seq,
        at: Timestamp::from_millis(seq),
        body: line.to_owned(),
    };
    (1..).zip(text.lines()).map(record).collect()
}
