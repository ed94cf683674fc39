//! What must not pass: QA that hangs, alerts that nobody could read, alerts that were there for a moment.

use crate::events::{self, Event};
use crate::lab::{Lab, PATIENCE};
use crate::oracle;
use crate::scenarios::{Scenario, give_up, named_or_in_service, scenario};
use crate::traffic::Traffic;
use anyhow::{Context, Result, bail};

/// A command that no other process of the machine is called like.
const HUNG: [&str; 2] = ["sleep", "36061"];

/// How long the bake is that a brief alert is aimed at, in milliseconds.
const BAKE: u64 = 5000;

/// How often it is aimed: on a busy machine the alert may be there too late.
const AIMS: u32 = 4;

/// How long the bake of staging's fleet is in the lab's configuration, in milliseconds.
const FLEET_BAKE: u64 = 8000;

pub(crate) fn hung_qa() -> Scenario {
    scenario("qa_that_hangs_is_ended_and_is_no_pass", |lab| {
        let before = oracle::versions(lab)?;
        let version = lab.publish(None)?;
        let config = lab.changed_config(with_hung_qa)?;
        let mut running = lab.serin_with(config.path(), &["run", "to-canary", &version])?;
        running.until(&["staging", "qa smoke", "running"], PATIENCE)?;
        while !is_running(&HUNG)? {
            if running.until(&["QA gave no result"], std::time::Duration::ZERO).is_ok() {
                bail!("the suite was over before it was seen");
            }
        }
        let ended = running.end(PATIENCE)?;
        ended.expect(5)?;
        let halt = ended.says(&["has halted", "QA gave no result", "did not end within 3 s"])?;
        if is_running(&HUNG)? {
            bail!("the suite was left running");
        }
        oracle::main_untouched(&before, lab)?;
        oracle::nothing_left_out(lab)?;
        give_up(lab)?;
        Ok(halt.trim().to_owned())
    })
}

fn with_hung_qa(text: &str) -> String {
    let mut section = "";
    let changed = text.lines().map(|line| {
        if line.starts_with('[') {
            section = line;
        }
        match (section, line.split_once(" = ")) {
            ("[environments.staging.qa.smoke]", Some(("command", _))) => {
                format!("command = {HUNG:?}\n")
            }
            ("[environments.staging.qa.smoke]", Some(("timeout", _))) => {
                "timeout = \"3s\"\n".to_owned()
            }
            _ => format!("{line}\n"),
        }
    });
    changed.collect()
}

/// Tells whether a process with these arguments runs on this machine.
fn is_running(arguments: &[&str]) -> Result<bool> {
    let wanted = arguments.join("\0") + "\0";
    for entry in std::fs::read_dir("/proc")? {
        // A process may be gone before it is looked at.
        let line = std::fs::read(entry?.path().join("cmdline")).unwrap_or_default();
        if line == wanted.as_bytes() {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(crate) fn brief_alert() -> Scenario {
    scenario("an_alert_of_a_second_in_a_bake_halts_even_at_its_end", |lab| {
        let before = oracle::versions(lab)?;
        let version = lab.publish(None)?;
        let mut seen = Vec::new();
        for (part, from) in [("the middle", 2000), ("the last second", BAKE - 1000)] {
            let mut tries = 0..AIMS;
            let watched = loop {
                tries.next().with_context(|| format!("{part} of a bake was never hit"))?;
                let hit = alert_in_bake(lab, &version, from)
                    .with_context(|| format!("an alert in {part} of a bake"))?;
                if let Some(watched) = hit {
                    break watched;
                }
            };
            seen.push(format!("{part}, after {watched} ms"));
        }
        oracle::main_untouched(&before, lab)?;
        oracle::nothing_left_out(lab)?;
        Ok(format!("halted in {}", seen.join("; in ")))
    })
}

/// Fires an alert for one second when so much of the first stage's bake is watched; returns how much it was, or
/// nothing if the bake had passed before the alert was there.
///
/// Alerts are read twice a second here: what lasts less than two polls may fall between two readings.
fn alert_in_bake(lab: &Lab, version: &str, from: u64) -> Result<Option<u64>> {
    const STEP: &str = "1/staging/bake";
    let config = lab.changed_config(|text| {
        let often = text.replace("poll = \"1s\"", "poll = \"500ms\"");
        // The first stage's.
        often.replacen("bake = \"2s\"", &format!("bake = \"{BAKE}ms\""), 1)
    })?;
    let mut running = lab.serin_with(config.path(), &["--json", "run", "to-canary", version])?;
    let aim = |event: &Event| {
        event.is("bake-progressed", STEP) && event.watched().is_some_and(|watched| watched >= from)
    };
    let fired = events::until(&mut running, aim)?;
    lab.lab(&["break", "alert-briefly", "staging", "1"])?.expect(0)?;
    let ended = running.end(PATIENCE)?;
    ended.expect(5)?;
    let reason = events::halt(&ended.log)?;
    if !reason.contains("BriefAlert") {
        bail!("it halted because {reason}");
    }
    let events = events::all(&ended.log);
    if events.iter().any(|event| event.is_done(STEP)) {
        give_up(lab)?;
        return Ok(None);
    }
    let failed = events.iter().find(|event| event.is("attempt-ended", STEP));
    let after = failed.context("the bake did not end")?.at().saturating_sub(fired.at());
    if after > 2000 {
        bail!("the alert was noticed only after {after} ms");
    }
    lab.serin(&["status"])?.says(&["halted in stage 1", "BriefAlert"])?;
    named_or_in_service(lab)?;
    give_up(lab)?;
    fired.watched().map(Some).context("a bake without progress")
}

pub(crate) fn alertmanager_restarted() -> Scenario {
    scenario("an_alertmanager_that_restarts_is_waited_for_and_the_bake_begins_again", |lab| {
        const STEP: &str = "3/staging/bake";
        let before = oracle::versions(lab)?;
        let version = lab.publish(None)?;
        let traffic = Traffic::start(lab)?;
        let mut running = lab.serin_running(&["--json", "run", "to-canary", &version])?;
        // Once while hosts are to be taken out, once in the middle of a bake.
        for (kind, step) in [("attempt-started", "3/web-01.gstg/drain"), ("bake-progressed", STEP)]
        {
            events::until(&mut running, |event| event.is(kind, step))?;
            lab.lab(&["break", "alertmanager-restart"])?.expect(0)?;
            events::until(&mut running, is_inconclusive)?;
            events::until(&mut running, |event| event.is_a("alerts-changed"))?;
        }
        let ended = running.end(PATIENCE)?;
        let sent = traffic.stop();
        ended.expect(0)?;
        let sent = sent?;
        let events = events::all(&ended.log);
        nothing_passes_unread(&events)?;
        let passed = events.iter().find(|event| event.is_done(STEP)).context("no bake")?;
        let read = events.iter().rfind(|event| {
            event.is_a("alerts-changed") && event.text() == "Pass" && event.at() < passed.at()
        });
        let watched = passed.at().saturating_sub(read.context("alerts were never read")?.at());
        if watched < FLEET_BAKE {
            bail!("the bake passed {watched} ms after alerts could be read again");
        }
        oracle::delivered(lab, &version)?;
        oracle::main_untouched(&before, lab)?;
        Ok(format!("the bake passed {watched} ms after alerts could be read again; {sent}"))
    })
}

fn is_inconclusive(event: &Event) -> bool {
    event.is_a("alerts-changed") && event.text().starts_with("Inconclusive")
}

/// While alerts cannot be read no gate passes, and no host that serves is taken out or prepared.
fn nothing_passes_unread(events: &[Event]) -> Result<()> {
    let mut unread = false;
    for event in events {
        if event.is_a("alerts-changed") {
            unread = is_inconclusive(event);
        }
        let gate = ["guard", "bake"].iter().any(|gate| event.is_done_of(gate));
        let begins = ["drain", "fetch", "check"].iter().any(|step| event.begins(step));
        if unread && (gate || begins) {
            bail!("while alerts could not be read: {}", event.show());
        }
    }
    Ok(())
}
