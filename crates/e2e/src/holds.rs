//! What holds an environment: a freeze window, a person in the middle of a run, and who may start all the same.

use crate::events::{self, Event};
use crate::lab::{Lab, PATIENCE};
use crate::oracle;
use crate::process::{Ended, Running};
use crate::scenarios::{Scenario, give_up, named_or_in_service, scenario};
use anyhow::{Context, Result, bail};
use std::path::Path;

pub(crate) fn held() -> Scenario {
    scenario("a_freeze_and_holds_stop_runs_as_declared_and_are_overridden_by_two", |lab| {
        let before = oracle::versions(lab)?;
        let version = lab.publish(None)?;
        let config = lab.changed_config(with_freeze)?;
        let config = config.path();
        let run = ["run", "to-canary", &version];
        refused(lab, config, &run, "the year's end")?;
        let alone = ["run", "to-canary", &version, "--override", "a fix"];
        refused(lab, config, &alone, "needs a second person")?;
        let both = [&["--json"], &alone[..], &["--second", "berta"]].concat();
        let mut running = lab.serin_with(config, &both)?;
        // In the middle of stage 1: it goes on to its end, and no further.
        events::until(&mut running, |event| event.is_done("1/deploy-01.gstg/migrate"))?;
        lab.serin(&["hold", "place", "staging", "--reason", "lunch"])?.expect(0)?;
        let ended = running.end(PATIENCE)?;
        halted_by(&ended, "lunch")?;
        let passed = events::all(&ended.log).iter().any(|event| event.is_done("1/staging/bake"));
        if !passed {
            bail!("stage 1 was not finished");
        }
        lab.serin(&["status"])?.says(&["halted in stage 2", "lunch"])?;
        lift(lab, "lunch")?;
        // What the run was let through once, it is let through; what comes later stops it again.
        let resume = ["--json", "resume", "--reason", "lunch is over"];
        let mut running = lab.serin_with(config, &resume)?;
        events::until(&mut running, |event| event.is("attempt-started", "2/staging/bake"))?;
        let now = ["hold", "place", "staging", "--mid-run", "halt", "--reason", "an incident"];
        lab.serin(&now)?.expect(0)?;
        let at_once = within_the_stage(running)?;
        named_or_in_service(lab)?;
        lift(lab, "an incident")?;
        give_up(lab)?;
        let history = lab.serin(&["history", "staging"])?;
        history.expect(0)?;
        history.says(&["berta"])?;
        oracle::nothing_left_out(lab)?;
        oracle::main_untouched(&before, lab)?;
        Ok(format!("refused twice, started by two, and a hold halted it {at_once} ms into a bake"))
    })
}

/// Staging is frozen for as long as this lab may live, and an override takes two.
fn with_freeze(text: &str) -> String {
    format!(
        "{text}\n[[environments.staging.freeze]]\nfrom = \"2020-01-01T00:00\"\nto = \"2099-01-01T00:00\"\n\
         reason = \"the year's end\"\n[environments.staging.policy]\nsecond_person = true\n"
    )
}

fn refused(lab: &Lab, config: &Path, asked: &[&str], words: &str) -> Result<()> {
    let answer = lab.serin_with(config, asked)?.end(PATIENCE)?;
    answer.expect(4)?.says(&["error:", words]).map(drop)
}

fn halted_by(ended: &Ended, words: &str) -> Result<()> {
    ended.expect(5)?;
    let reason = events::halt(&ended.log)?;
    if !reason.contains(words) {
        bail!("it halted because {reason}");
    }
    Ok(())
}

/// Lifts the one hold of staging that was placed for this reason.
fn lift(lab: &Lab, reason: &str) -> Result<()> {
    let list = lab.serin(&["hold", "list"])?;
    let line = list.expect(0)?.says(&["staging/h-", reason])?;
    let word = |word: &&str| word.starts_with("staging/h-");
    let hold = line.split_whitespace().find(word).context("a hold without a name")?;
    lab.serin(&["hold", "lift", hold.trim_end_matches(':'), "--reason", "it is over"])?
        .expect(0)?;
    Ok(())
}

/// The run halts before the bake of 4 s that it is in has passed; returns how many milliseconds of it were over.
fn within_the_stage(running: Running) -> Result<u64> {
    const STEP: &str = "2/staging/bake";
    let ended = running.end(PATIENCE)?;
    halted_by(&ended, "an incident")?;
    let events = events::all(&ended.log);
    if events.iter().any(|event| event.is_done(STEP)) {
        bail!("the bake passed all the same");
    }
    let at = |wanted: &dyn Fn(&Event) -> bool| events.iter().find(|e| wanted(e)).map(Event::at);
    let began = at(&|event| event.is("attempt-started", STEP)).context("no bake began")?;
    let halted = at(&|event| event.is_a("halt-requested")).context("no halt")?;
    Ok(halted.saturating_sub(began))
}
