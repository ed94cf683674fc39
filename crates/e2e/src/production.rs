//! On from the canary, and back: promotion, rollbacks from anywhere, and how fast the expedited ones are.

use crate::lab::{Lab, PATIENCE};
use crate::monitor::Monitor;
use crate::oracle::{self, Versions};
use crate::scenarios::{MAX_OUT, Scenario, named_or_in_service, scenario};
use crate::traffic::Traffic;
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// How long the whole of the lab's production may take to go back at the expedited pace.
const EXPEDITED_WITHIN: Duration = Duration::from_secs(20);

/// A new build is on the canary.
fn on_canary(lab: &mut Lab) -> Result<String> {
    let version = lab.publish(None)?;
    lab.serin(&["run", "to-canary", &version])?.expect(0)?;
    Ok(version)
}

pub(crate) fn promoted() -> Scenario {
    scenario("the_build_on_the_canary_is_promoted_without_a_failed_request", |lab| {
        let version = on_canary(lab)?;
        let traffic = Traffic::start(lab)?;
        let monitor = Monitor::start(lab)?;
        let run = lab.serin_running(&["promote"])?.end(PATIENCE)?;
        let seen = monitor.stop(MAX_OUT);
        let sent = traffic.stop();
        run.expect(0)?.says(&["expose", "requests reached canary"])?;
        let (seen, sent) = (seen?, sent?);
        for (host, found) in oracle::versions(lab)? {
            if is_production(&host) && found != format!("{version} installed") {
                bail!("{host} has {found}");
            }
        }
        oracle::migrations_ran_once(lab)?;
        oracle::nothing_left_out(lab)?;
        let refused = lab.serin(&["rollback", "production", "--reason", "too late"])?;
        refused.expect(4)?.says(&["past its point of no return"])?;
        Ok(format!("{sent}; {seen}"))
    })
}

/// Halted or killed in the middle of a promotion, then rolled back; some rollbacks are killed as well.
pub(crate) fn rolled_back(times: usize) -> Scenario {
    scenario(format!("{times}_promotions_that_end_anywhere_are_rolled_back_exactly"), move |lab| {
        let mut told = Vec::new();
        for round in 0..times {
            on_canary(lab)?;
            let before = oracle::versions(lab)?;
            let traffic = Traffic::start(lab)?;
            let by = if round % 2 == 0 { By::Kill } else { By::Person };
            let moment = interrupt(lab, by)?;
            let kills = roll_back(lab, round)?;
            let sent = traffic.stop().with_context(|| format!("after {moment}"))?;
            same_as_before(lab, &before).with_context(|| format!("after {moment}"))?;
            told.push(format!("after {moment}, {kills} kill(s), {sent}"));
        }
        Ok(told.join("; "))
    })
}

#[derive(Clone, Copy)]
enum By {
    Kill,
    Person,
}

fn is_production(host: &str) -> bool {
    host.split('.').nth(1) == Some("gprd")
}

/// Ends a promotion before its point of no return, by a person or by a kill; returns the last thing that it said.
fn interrupt(lab: &mut Lab, by: By) -> Result<String> {
    let mut promotion = lab.serin_running(&["promote"])?;
    promotion.until(&["checks and fetches"], PATIENCE)?;
    promotion.until(&["fetch", "proven"], PATIENCE)?;
    // About 90 lines come from here to the point of no return.
    promotion.lines(1 + lab.random(80), PATIENCE)?;
    let last = promotion.log.last().cloned().unwrap_or_default();
    if last.contains("stage 9") {
        bail!("the promotion was over before it was interrupted: {last}");
    }
    match by {
        By::Kill => drop(promotion.kill()?),
        By::Person => {
            promotion.signal(Signal::INT)?;
            promotion.end(PATIENCE)?.expect(5)?;
        }
    }
    Ok(last.trim().to_owned())
}

/// Rolls production back; every third time the rollback is killed on its way, and asked for once more.
fn roll_back(lab: &mut Lab, round: usize) -> Result<usize> {
    let rollback = ["rollback", "production", "--reason", "it looks wrong"];
    let mut running = lab.serin_running(&rollback)?;
    let mut kills = 0;
    if round % 3 == 2 && running.until(&["begins; from another terminal"], PATIENCE)? {
        let wait = 1 + lab.random(40);
        if running.lines(wait, PATIENCE)? {
            running.kill()?;
            kills = 1;
            running = lab.serin_running(&rollback)?;
        }
    }
    let ended = running.end(PATIENCE)?;
    if ended.code == Some(4) && ended.says(&["nothing to go back from"]).is_ok() {
        // It was interrupted before it had changed anything.
        lab.serin(&["halt", "--reason", "nothing was changed"])?;
        lab.serin(&["cancel", "--reason", "nothing was changed"])?.expect(6)?;
        return Ok(kills);
    }
    ended.expect(0)?;
    Ok(kills)
}

fn same_as_before(lab: &Lab, before: &Versions) -> Result<()> {
    let after = oracle::versions(lab)?;
    for (host, version) in before {
        if after.get(host) != Some(version) {
            bail!("{host} had {version}, and has {:?}", after.get(host));
        }
    }
    oracle::migrations_ran_once(lab)?;
    named_or_in_service(lab)?;
    oracle::nothing_left_out(lab)
}

pub(crate) fn expedited() -> Scenario {
    scenario("the_whole_of_production_goes_back_within_20_s_when_it_must", |lab| {
        let before = oracle::versions(lab)?;
        on_canary(lab)?;
        let mut promotion = lab.serin_running(&["promote"])?;
        promotion.until(&["stage 8"], PATIENCE)?;
        promotion.until(&["bake", "watching alerts"], PATIENCE)?;
        promotion.signal(Signal::INT)?;
        promotion.end(PATIENCE)?.expect(5)?;
        let back = ["rollback", "--release", "--yes", "--pace", "expedited", "--reason", "now"];
        let (ended, took) = timed(|| lab.serin(&back));
        let ended = ended?;
        ended.expect(0)?.says(&["left as it is", "staging is past its point of no return"])?;
        let after = oracle::versions(lab)?;
        let gone: Vec<&String> = after
            .iter()
            .filter(|(host, version)| is_production(host) && before.get(*host) != Some(*version))
            .map(|(host, _)| host)
            .collect();
        if !gone.is_empty() {
            bail!("not what they had before: {gone:?}");
        }
        oracle::nothing_left_out(lab)?;
        if took > EXPEDITED_WITHIN {
            bail!("it took {:.1} s", took.as_secs_f64());
        }
        Ok(format!("{:.1} s, planning included", took.as_secs_f64()))
    })
}

#[expect(clippy::disallowed_methods, reason = "a time that a person would measure")]
fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let done = act();
    (done, began.elapsed())
}
