//! What Alertmanager and Prometheus answer, and matchers of labels as people write them.
//!
//! An answer that is not understood is a doubt, never an empty list; what is shown of one is a line of text.

use super::{MIB, Target, is_for_people};
use serin_adapters::alerts::{Matcher, fuzzing};
use serin_runtime::ports::AlertReading;

pub(super) const ALERTMANAGER: Target = Target {
    name: "alertmanager",
    hold: alertmanager,
    memory: 4 * MIB,
    words: &[
        b"{\"labels\":",
        b"\"alertname\":\"Watchdog\"",
        b"\"status\":",
        b"\"silencedBy\":[]",
        b"\"endsAt\":\"2026-11-22T08:20:43Z\"",
        b"\"updatedAt\":",
        b"null",
        b"[[[[[[",
        b"\\u0000",
        b"\\ud800",
        b"\"cluster\":{\"status\":\"ready\"}",
        b"1970-01-01T00:00:00Z",
        b"9999-12-31T23:59:59Z",
        b"-009999-01-01T00:00:00Z",
    ],
    mutations: 800,
};

pub(super) const PROMETHEUS: Target = Target {
    name: "prometheus",
    hold: prometheus,
    memory: 4 * MIB,
    words: &[
        b"{\"status\":\"success\",\"data\":",
        b"\"alerts\":[",
        b"\"groups\":[",
        b"\"yaml\":\"global:\\n  external_labels:\\n    a: b\\n\"",
        b"\"state\":\"firing\"",
        b"\"health\":\"err\"",
        b"\"lastError\":\"",
        b"\"interval\":1e308",
        b"-1e999",
        b"null",
        b"[[[[[[",
        b"\"warnings\":[\"x\"]",
        b"\"lastEvaluation\":\"9999-12-31T23:59:59Z\"",
    ],
    mutations: 800,
};

pub(super) const MATCHER: Target = Target {
    name: "matcher",
    hold: matcher,
    // A regular expression that repeats itself is refused when its program is larger than 10 MB.
    memory: 64 * MIB,
    words: &[
        b"=",
        b"!=",
        b"=~",
        b"!~",
        b"\"",
        b"\\\"",
        b"severity",
        b"(a|b)",
        b"a{1000}",
        b"{1000}",
        b"\\p{L}",
        b".*",
        b"(?i)",
        b"^",
        b"$",
    ],
    mutations: 60,
};

fn alertmanager(input: &[u8]) {
    shown(&fuzzing::alertmanager(input));
}

fn prometheus(input: &[u8]) {
    shown(&fuzzing::prometheus(input));
}

fn shown(reading: &AlertReading) {
    for doubt in &reading.doubts {
        assert!(!doubt.is_empty(), "a doubt says why");
        is_for_people(doubt, 1001);
    }
    for alert in &reading.firing {
        is_for_people(&alert.name, 1001);
        is_for_people(&alert.labels, 400);
        is_for_people(alert.about.as_deref().unwrap_or_default(), 1001);
    }
}

fn matcher(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    // Longer ones are no matcher that somebody wrote; compiling them takes seconds without optimisation.
    let Some(text) = text.get(..text.len().min(200)) else { return };
    let Ok(matcher) = Matcher::parse(text) else { return };
    let shown = matcher.to_string();
    let again = Matcher::parse(&shown).expect("what is shown can be written");
    assert_eq!(again.to_string(), shown);
    for value in ["", "critical", text, &shown] {
        let name = shown.split(['=', '!']).next().unwrap_or_default();
        let labels = [(name.to_owned(), value.to_owned())].into();
        assert_eq!(matcher.fits(&labels), again.fits(&labels), "{shown} and {value:?}");
    }
}
