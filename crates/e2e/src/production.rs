//! On from the canary, and back: promotion, rollbacks from anywhere, and how fast the expedited ones are.

use crate::lab::{Lab, PATIENCE};
use crate::monitor::Monitor;
use crate::oracle::{self, Versions};
use crate::process::Running;
use crate::scenarios::{MAX_OUT, Scenario, named_or_in_service, scenario};
use crate::traffic::Traffic;
use crate::work::{at_work, timed};
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use std::time::Duration;

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
            let back = roll_back(lab, round).with_context(|| format!("after {moment}"))?;
            let sent = traffic.stop().with_context(|| format!("after {moment}"))?;
            same_as_before(lab, &before).with_context(|| format!("after {moment}"))?;
            told.push(format!("\n        after `{moment}`: {}; {sent}", back.show()));
        }
        Ok(told.concat())
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

/// Which rounds' rollbacks are killed: half of them, of those after a kill as of those after a halt.
fn is_to_be_killed(round: usize) -> bool {
    matches!(round % 4, 1 | 2)
}

/// How a promotion was taken back.
struct RolledBack {
    took: Duration,
    /// When the rollback was killed, and how soon the same command was at work again.
    killed: Option<(String, Option<Duration>)>,
}

impl RolledBack {
    fn show(&self) -> String {
        let seconds = |time: &Duration| format!("{:.1} s", time.as_secs_f64());
        let killed = self.killed.as_ref().map(|(moment, at_work)| {
            let at_work = at_work.as_ref().map_or("never".to_owned(), seconds);
            format!("; itself killed after `{moment}`, at work again after {at_work}")
        });
        format!("back in {}{}", seconds(&self.took), killed.unwrap_or_default())
    }
}

/// Rolls production back; half of the time the rollback is killed on its way, and asked for once more.
fn roll_back(lab: &mut Lab, round: usize) -> Result<RolledBack> {
    let (done, took) = timed(|| {
        let first = lab.serin_running(&ROLLBACK)?;
        let kill = is_to_be_killed(round);
        let (running, killed) = if kill { killed_once(lab, first)? } else { (first, None) };
        anyhow::Ok((running.end(PATIENCE)?, killed))
    });
    let (ended, killed) = done?;
    if ended.code == Some(4) && ended.says(&["nothing to go back from"]).is_ok() {
        // It was interrupted before it had changed anything.
        lab.serin(&["halt", "--reason", "nothing was changed"])?;
        lab.serin(&["cancel", "--reason", "nothing was changed"])?.expect(6)?;
    } else {
        let moment = || format!("the rollback was killed: {killed:?}");
        ended.expect(0).with_context(moment)?;
    }
    Ok(RolledBack { took, killed })
}

const ROLLBACK: [&str; 4] = ["rollback", "production", "--reason", "it looks wrong"];

/// Kills a rollback and asks for it again; one in four is killed while it plans, or takes over from the promotion.
fn killed_once(lab: &mut Lab, mut first: Running) -> Result<Rolling> {
    let (early, wait) = (lab.random(4) == 0, lab.random(40));
    let begun = early || first.until(&["begins; from another terminal"], PATIENCE)?;
    if !begun || !first.lines(1 + wait, PATIENCE)? {
        return Ok((first, None));
    }
    let moment = first.log.last().map(|line| line.trim().to_owned()).unwrap_or_default();
    first.kill()?;
    let (second, at_work) = at_work(lab, &[&["--json"], &ROLLBACK[..]].concat())?;
    Ok((second, Some((moment, at_work))))
}

/// A rollback on its way, and what killed it before.
type Rolling = (Running, Option<(String, Option<Duration>)>);

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
