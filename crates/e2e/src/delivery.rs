//! A delivery to the canary under traffic and under watch, in the middle of which something is broken.

use crate::events::{self, Event};
use crate::lab::{Lab, PATIENCE};
use crate::monitor::Monitor;
use crate::oracle::{self, Versions};
use crate::process::{Ended, Running};
use crate::scenarios::{MAX_OUT, Scenario, named_or_in_service, scenario};
use crate::traffic::{Excuse, Traffic};
use crate::work::timed;
use anyhow::{Result, bail};

/// What has to be looked at when the run is over.
pub(crate) struct Delivery {
    before: Versions,
    pub(crate) version: String,
    traffic: Traffic,
    monitor: Monitor,
}

impl Delivery {
    /// Publishes a build, starts traffic and watch; the run is for the caller to start.
    pub(crate) fn of(lab: &mut Lab, flaw: Option<&str>) -> Result<Self> {
        let traffic = Traffic::start(lab)?;
        Self::under(lab, traffic, flaw)
    }

    /// The same, under traffic that was started already.
    pub(crate) fn under(lab: &mut Lab, traffic: Traffic, flaw: Option<&str>) -> Result<Self> {
        let before = oracle::versions(lab)?;
        let version = lab.publish(flaw)?;
        Ok(Self { before, version, traffic, monitor: Monitor::start(lab)? })
    }

    /// Starts the run.
    pub(crate) fn run(&self, lab: &Lab) -> Result<Running> {
        lab.serin_running(&["--json", "run", "to-canary", &self.version])
    }

    /// Waits for the end of the run, which must be success, and asks the oracle.
    pub(crate) fn end(
        self,
        lab: &Lab,
        run: Running,
        excuse: Option<&Excuse<'_>>,
    ) -> Result<String> {
        self.look(lab, &run.end(PATIENCE)?, excuse)
    }

    /// The run has ended, with success, and the oracle says the same.
    pub(crate) fn look(
        self,
        lab: &Lab,
        ended: &Ended,
        excuse: Option<&Excuse<'_>>,
    ) -> Result<String> {
        let seen = self.monitor.stop(MAX_OUT);
        let sent = self.traffic.stop_excusing(excuse);
        ended.expect(0)?;
        let (seen, sent) = (seen?, sent?);
        oracle::delivered(lab, &self.version)?;
        oracle::main_untouched(&self.before, lab)?;
        oracle::records_hold(lab)?;
        Ok(format!("{sent}; {seen}"))
    }
}

/// A story of one delivery; `damage` gets the run, and returns the one that goes on to the end.
pub(crate) fn during(
    name: &'static str,
    damage: impl Fn(&mut Lab, Running) -> Result<Running> + 'static,
) -> Scenario {
    scenario(name, move |lab| {
        let delivery = Delivery::of(lab, None)?;
        let run = delivery.run(lab)?;
        let run = damage(lab, run)?;
        delivery.end(lab, run, None)
    })
}

/// Reads on until an event is as wanted, and counts how long it took: the damage is undone when this is called.
pub(crate) fn until_again(
    lab: &Lab,
    run: &mut Running,
    wanted: impl Fn(&Event) -> bool,
) -> Result<Event> {
    let (event, took) = timed(|| events::until(run, wanted));
    let event = event?;
    lab.account().borrow_mut().recoveries.push(took);
    Ok(event)
}

/// The run halts; the words are in its reason, and what is out is named.
pub(crate) fn halts(lab: &Lab, run: Running, words: &[&str]) -> Result<String> {
    let reason = halts_for(run, words)?;
    out_is_named(lab)?;
    Ok(reason)
}

/// The run halts, and the words are in its reason.
pub(crate) fn halts_for(run: Running, words: &[&str]) -> Result<String> {
    let ended = run.end(PATIENCE)?;
    ended.expect(5)?;
    let reason = events::halt(&ended.log)?;
    match words.iter().find(|word| !reason.contains(**word)) {
        Some(missing) => bail!("`{missing}` is not in the reason of the halt: {reason}"),
        None => Ok(reason),
    }
}

/// Whoever is out on any load balancer is named by `serin status`.
pub(crate) fn out_is_named(lab: &Lab) -> Result<()> {
    named_or_in_service(lab)?;
    lab.account().borrow_mut().holds("who is out is named");
    Ok(())
}

/// A person lets it go on, and the first step that succeeds ends the recovery.
pub(crate) fn resumed(lab: &Lab, why: &str) -> Result<Running> {
    let mut run = lab.serin_running(&["--json", "resume", "--reason", why])?;
    until_again(lab, &mut run, Event::is_success)?;
    Ok(run)
}
