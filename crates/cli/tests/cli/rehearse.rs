//! `serin rehearse`: in a pretend copy of the configured installation.

use crate::support::{Said, World};

const AT: &[&str] = &["--at", "2026-12-01T08:00"];

/// Alerts and QA that nobody reaches.
const MORE: &str = r#"
[environments.production.alerts]
alertmanagers = ["http://127.0.0.1:9"]
prometheus = ["http://127.0.0.1:9"]
matchers = ["env=\"gprd\""]
watchdog = ["alertname=\"Watchdog\""]
[environments.production.qa.smoke]
command = ["false"]
report = "rspec"
"#;

/// A window that begins ten minutes after [`AT`].
const FREEZE: &str = r#"
[[environments.production.freeze]]
reason = "the auditors are here"
from = "2026-12-01T08:10"
to = "2026-12-01T20:00"
"#;

fn rehearse(world: &World, words: &[&str]) -> Said {
    world.serin(&[&["rehearse"], words, AT].concat())
}

#[test]
fn a_rehearsal_is_the_same_in_every_word_and_leaves_nothing_behind() {
    let world = World::new("");
    let words = ["to-canary", "--runs", "5", "--seed", "7"];
    let said = rehearse(&world, &words);
    said.is(0, &[]);
    insta::assert_snapshot!("to_canary", said.out);
    assert_eq!(said.out, rehearse(&world, &words).out);
    assert!(!std::path::Path::new(&world.path("journal.db")).exists());
    let json = ["--json", "rehearse", "to-canary", "16.4.1-ee.0", "--runs", "2"];
    let said = world.serin(&[&json, AT].concat());
    said.is(0, &[]);
    let read: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(read["story"]["end"], "delivered");
    assert_eq!(read["build"], "16.4.1-ee.0");
    assert_eq!(read["forecast"]["delivered"], 2);
    assert!(read["forecast"]["duration"]["median"].as_u64().unwrap() > 60_000, "{read}");
    assert_eq!(read["violations"], serde_json::json!([]));
}

#[test]
fn a_fault_that_halts_is_told_with_what_a_person_would_see_and_the_code_of_a_halt() {
    let world = World::new(MORE);
    let said = rehearse(&world, &["to-main", "--fault", "host-dies=web-02.gprd", "--runs", "2"]);
    insta::assert_snapshot!("host_dies", said.out);
    assert_eq!(said.code, 5);
    let words =
        ["to-canary", "--fault", "controller-killed", "--fault", "lb-reload", "--runs", "1"];
    let adopted = ["another process adopts the run after", "HAProxy is told again what it forgot"];
    rehearse(&World::new(""), &words).is(0, &adopted);
}

#[test]
fn a_halt_is_repaired_and_resumed_when_that_is_asked_for() {
    let fault = ["to-canary", "--fault", "install-fails=web-02.gstg", "--runs", "1"];
    let world = World::new("");
    rehearse(&world, &fault).is(5, &["serin resume r-1", "OUT OF SERVICE  web-02.gstg"]);
    let resumed = rehearse(&world, &[&fault[..], &["--resume"]].concat());
    resumed.is(0, &["people repair it and resume", "longer than with nothing going wrong"]);
}

#[test]
fn a_freeze_window_that_is_on_refuses_and_one_that_comes_is_forecast() {
    let world = World::new(&format!("{MORE}{FREEZE}"));
    let on = ["rehearse", "to-main", "--runs", "1", "--at", "2026-12-01T09:00"];
    let hint = "it is over at 2026-12-01 20:00:00: rehearse that with --at";
    world.serin(&on).is(4, &["would be refused: a freeze window", "the auditors are here", hint]);
    let comes = rehearse(&world, &["to-canary", "--runs", "2"]);
    comes.is(
        5,
        &["0:10:00 (2026-12-01 08:10:00): a freeze window", "2 of 2 runs halt before stage 6"],
    );
}

#[test]
fn random_faults_say_how_likely_a_halt_is_and_where() {
    let words = ["to-canary", "--runs", "8", "--random-faults=2"];
    let said = rehearse(&World::new(""), &words);
    said.is(0, &["with 2 random faults each", "random faults\n", "runs halted", "delivered   "]);
}

#[test]
fn words_that_mean_nothing_are_refused_with_what_there_is() {
    let world = World::new("");
    let fault = |fault: &str| rehearse(&world, &["to-canary", "--fault", fault, "--runs", "1"]);
    rehearse(&world, &["to-moon"]).is(4, &["no pipeline to-moon", "there are: to-canary, to-main"]);
    fault("meteor").is(4, &["there is no fault meteor", "host-dies, ssh-cut", "--fault help"]);
    fault("host-dies=web-09").is(4, &["there is no web-09", "web-01.gstg, web-02.gstg"]);
    fault("lb-reload=web-01.gstg").is(4, &["there is no web-01.gstg", "lb-01.gprd, lb-01.gstg"]);
    fault("alert=prod").is(4, &["there is no prod", "there are: production, staging"]);
    fault("alert=staging@guard").is(4, &["staging has no alerts in the configuration"]);
    fault("qa-fails").is(4, &["this pipeline has no step qa", "it has:", "3:install"]);
    fault("host-dies=web-01.gstg@9:install").is(4, &["no step install on web-01.gstg in stage 9"]);
    fault("host-dies=web-01.gprd").is(4, &["no step install on web-01.gprd"]);
    fault("lb-reload,5m").is(4, &["it takes no TIME"]);
    fault("controller-killed=production").is(4, &["leave WHERE out"]);
    fault("install-fails@5m").is(4, &["say @install rather than a time"]);
    fault("alert@").is(2, &["write a step or a time"]);
    rehearse(&world, &["to-canary", "--runs", "0"]).is(2, &["1..=10000"]);
    world.serin(&["rehearse", "to-canary", "--at", "noon"]).is(4, &["not a date and a time"]);
    world.serin(&["rehearse", "x", "--fault", "help"]).is(0, &["dpkg-locked=HOST"]);
}
