//! Records of an environment as they are written: a change here is a change of the format of journals that exist.

use serin_engine::EnvironmentEvent;
use serin_engine::environment::{Asked, Ramp, Refused};
use serin_journal::Record;
use serin_model::{HeldBy, HoldId, MidRun, Timestamp};
use serin_runtime::records;
use std::time::Duration;

const AT: Timestamp = Timestamp::from_millis(5_000);

fn golden() -> Vec<(EnvironmentEvent, &'static str)> {
    let (by, why) = ("mira".to_owned(), "patching".to_owned());
    vec![
        (
            EnvironmentEvent::Attempted {
                what: Asked::SetShare { fleet: "canary".parse().unwrap(), percent: 101 },
                by: by.clone(),
                why: why.clone(),
            },
            r#"{"format":1,"event":"attempted","what":{"set-share":{"fleet":"canary","percent":101}},"by":"mira","why":"patching"}"#,
        ),
        (
            EnvironmentEvent::Refused { why: Refused::TooMuch(101) },
            r#"{"format":1,"event":"refused","why":{"too-much":101}}"#,
        ),
        (
            EnvironmentEvent::HoldPlaced {
                id: HoldId(3),
                fleet: None,
                reason: why.clone(),
                by: by.clone(),
                until: Some(AT),
                mid_run: MidRun::NextStage,
                patch: None,
            },
            r#"{"format":1,"event":"hold-placed","id":"h-3","fleet":null,"reason":"patching","by":"mira","until":5000,"mid_run":"next-stage"}"#,
        ),
        (
            EnvironmentEvent::HoldLifted { id: HoldId(3), by: by.clone(), why: why.clone() },
            r#"{"format":1,"event":"hold-lifted","id":"h-3","by":"mira","why":"patching"}"#,
        ),
        (
            EnvironmentEvent::Overridden {
                run: "r-7".parse().unwrap(),
                what: vec![HeldBy::Hold(HoldId(3)), HeldBy::Window { from: AT }],
                by: by.clone(),
                why: why.clone(),
                second: Some("ada".to_owned()),
            },
            r#"{"format":1,"event":"overridden","run":"r-7","what":[{"hold":"h-3"},{"window":{"from":5000}}],"by":"mira","why":"patching","second":"ada"}"#,
        ),
        (
            EnvironmentEvent::ShareSet {
                fleet: "canary".parse().unwrap(),
                ramp: Ramp { from: 0, to: 5, begins: AT, length: Duration::from_mins(10) },
                by: by.clone(),
                why,
            },
            r#"{"format":1,"event":"share-set","fleet":"canary","ramp":{"from":0,"to":5,"begins":5000,"length":600000},"by":"mira","why":"patching"}"#,
        ),
        (
            EnvironmentEvent::DriftFixed { found: vec!["web-01".to_owned()], by },
            r#"{"format":1,"event":"drift-fixed","found":["web-01"],"by":"mira"}"#,
        ),
    ]
}

fn record(body: &str) -> Record {
    Record { seq: 4, at: AT, body: body.to_owned() }
}

#[test]
fn records_are_written_and_read_as_they_always_were() {
    let production = "production".parse().unwrap();
    for (event, text) in golden() {
        assert_eq!(records::write_environment(&event).unwrap(), text);
        assert_eq!(records::read_environment(&production, &record(text)).unwrap(), event);
    }
}

#[test]
fn a_record_of_another_format_is_refused_by_name() {
    let production = "production".parse().unwrap();
    let read = |text: &str| records::read_environment(&production, &record(text)).unwrap_err();
    let newer = read(r#"{"format":2,"event":"hold-lifted","id":"h-3","by":"mira","why":"x"}"#);
    let expected = "record 4 of production cannot be read: it has format 2, this Serin knows 1";
    assert_eq!(newer.to_string(), expected);
    assert!(read("hello").to_string().starts_with("record 4 of production cannot be read"));
}
