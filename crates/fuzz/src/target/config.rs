//! `serin.toml`: what it is taken for, and what is said about it.
//!
//! No text that was accepted holds control characters, for most of it is printed and some of it is sent; what is refused
//! is shown with a place in the file, and never fills more than some screens.

use super::{MIB, Target};
use serin_config::Diagnostics;
use std::path::Path;

pub(super) const CONFIG: Target = Target {
    name: "config",
    hold,
    memory: 16 * MIB,
    words: &[
        b"[roles.web]\n",
        b"[environments.production]\n",
        b"[[pipelines.x.stages]]\n",
        b"fleets.main.hosts = ",
        b"services = ",
        b"\"\"\"",
        b"'''",
        b"[[",
        b"a.",
        b"{}",
        b"true",
        b"1979-05-27",
        b"0x",
        b"inf",
        b"\\u0000",
        b"\\u001b",
        b"\"5%\"",
        b"\"1h\"",
        b"web-[01:99999999]",
        b"web-[1:3].a",
    ],
    mutations: 60,
};

/// The most characters of all that is said about a file: thirty diagnostics of some lines each.
const MOST_SAID: usize = 64 << 10;

fn hold(input: &[u8]) {
    // The reader of the file refuses what is no UTF-8.
    let Ok(text) = std::str::from_utf8(input) else { return };
    let path = Path::new("serin.toml");
    match serin_config::parse(text, path) {
        Ok(config) => {
            let again = serin_config::parse(text, path);
            assert!(again.is_ok_and(|again| again == config), "the same text means the same");
            let topology = serde_json::to_value(&config.topology).expect("a topology is JSON");
            assert_eq!(serde_json::from_value(topology).ok(), Some(config.topology));
            let table: toml::Table = text.parse().expect("what was accepted is TOML");
            no_control(&toml::Value::Table(table));
        }
        Err(refusal) => {
            assert!(!refusal.all().is_empty(), "a refusal says why");
            points_into(&refusal, text);
            let said = refusal.to_string();
            let control = said.chars().find(|c| c.is_control() && *c != '\n');
            assert!(control.is_none(), "{control:?} in what is shown: {said:?}");
            assert!(said.chars().count() <= MOST_SAID, "{} characters", said.chars().count());
        }
    }
}

fn points_into(refusal: &Diagnostics, text: &str) {
    let lines = text.matches('\n').count() + 1;
    for diagnostic in refusal.all() {
        let (line, column) = refusal.position(diagnostic);
        assert!((1..=lines).contains(&line) && column >= 1, "{line}:{column} of {lines} lines");
    }
}

fn no_control(value: &toml::Value) {
    use toml::Value;
    let plain = |text: &str| assert!(!text.contains(char::is_control), "{text:?} was accepted");
    match value {
        Value::String(text) => plain(text),
        Value::Array(values) => values.iter().for_each(no_control),
        Value::Table(fields) => fields.iter().for_each(|(name, value)| {
            plain(name);
            no_control(value);
        }),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {}
    }
}
