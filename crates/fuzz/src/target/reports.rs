//! What QA suites leave behind: JUnit reports, and what RSpec prints.
//!
//! Counts agree with names, and a name is one line: the command that retries is given a file with a name a line.

use super::{MIB, Target};
use serin_adapters::qa::fuzzing::{Told, junit, rspec};

pub(super) const JUNIT: Target = Target {
    name: "junit",
    hold: hold_junit,
    memory: MIB,
    words: &[
        b"<testsuites>",
        b"</testsuites>",
        b"<testsuite name='a'>",
        b"</testsuite>",
        b"<testcase name='a'/>",
        b"<testcase classname='c' name='",
        b"</testcase>",
        b"<failure>",
        b"<error/>",
        b"<skipped/>",
        b"<flakyFailure/>",
        b"<![CDATA[",
        b"]]>",
        b"<!--",
        b"-->",
        b"&#10;",
        b"&#27;",
        b"&lol;",
        b"<!DOCTYPE x [",
        b"<!ENTITY a 'b'>",
        b"<?xml version='1.0'?>",
    ],
    mutations: 1000,
};

pub(super) const RSPEC: Target = Target {
    name: "rspec",
    hold: hold_rspec,
    memory: MIB,
    words: &[
        b"12 examples, ",
        b"1 failure",
        b"0 failures",
        b", 2 pending",
        b", 1 error occurred outside of examples",
        b"\nrspec ",
        b"./a_spec.rb:8 # A works",
        b"4294967295 examples, 4294967295 failures",
    ],
    mutations: 1500,
};

fn hold_junit(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Some(told) = told(junit(&text)) {
        let passed = told.passed.as_ref().map_or(0, std::collections::BTreeSet::len);
        // One name may stand for several tests, and a suite may fail besides its tests.
        assert!(u32::try_from(passed).is_ok_and(|passed| passed <= told.executed), "{told:?}");
    }
}

fn hold_rspec(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Some(told) = told(rspec(&text)) {
        assert_eq!(told.passed, None, "RSpec does not say who passed");
    }
}

fn told(told: Result<Told, String>) -> Option<Told> {
    let told = match told {
        Ok(told) => told,
        Err(why) => {
            assert!(!why.is_empty(), "a refusal says why");
            return None;
        }
    };
    let failed = u32::try_from(told.failed.len()).unwrap_or(u32::MAX);
    assert_eq!(told.failures == 0, failed == 0, "{told:?}");
    assert!(told.failures >= failed, "{told:?}");
    for name in told.failed.iter().chain(told.passed.iter().flatten()) {
        assert!(!name.contains(char::is_control), "{name:?} is more than a line of text");
    }
    Some(told)
}
