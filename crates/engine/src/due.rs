//! What is due now, derived from state alone.
//!
//! Asked after every event. The caller does not remember what it was told before: it starts each effect that is not
//! in flight, and asks again.

use crate::admission::{Admission, NotAdmitted, View, seen};
use crate::decide::{DEFAULT_POLL, is_watch};
use crate::run::{Run, Status, StepState};
use crate::steps::LaneState;
use crate::withdrawal;
use serin_model::{
    Action, AdminState, EnvironmentName, FleetName, HostName, Lane, LbServer, Reason, Stage, Step,
    StepId, Subject, Timestamp, Verdict,
};
use std::time::Duration;

/// How often load balancers are read while hosts are taken out of service. Short, because a reload must be noticed
/// before the drained host is touched, and because the next host waits for the reading.
pub const LB_POLL: Duration = Duration::from_millis(500);

/// How many lanes that leave their host in service work at once: enough to keep a fetch from a repository busy,
/// few enough not to be its denial of service.
pub const MAX_LANES: usize = 64;

/// How long every host may wait to be taken out of service, with nothing else going on, before the run halts: a host
/// that was restarted is back by then, one that is dead is not, and nobody should find a run waiting in the morning.
pub const MOST_WAITING: Duration = Duration::from_mins(10);

/// What is due.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// What is to be started now.
    pub effects: Vec<Effect>,
    /// What is to be read again and again, and how often.
    pub watches: Vec<Watch>,
    /// When to ask again although nothing happened.
    pub wake_at: Option<Timestamp>,
    /// Hosts that wait to be taken out of service, and why.
    pub waiting: Vec<(HostName, NotAdmitted)>,
    /// Why the run must halt: it has waited in vain.
    pub in_vain: Option<Reason>,
}

/// A request to the outside world.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Take an environment's claim and lease.
    Enter(EnvironmentName),
    /// Raise the fence on all hosts and load balancers of an environment.
    RaiseFence(EnvironmentName),
    /// Give an environment's claim and lease back.
    Leave(EnvironmentName),
    /// Perform a step.
    Act {
        /// The step.
        step: StepId,
        /// Whether it may have happened already.
        mode: Mode,
    },
    /// Tell HAProxy again that a host is drained.
    Redrain {
        /// The environment.
        environment: EnvironmentName,
        /// The host.
        host: HostName,
        /// Its servers that came back.
        servers: Vec<String>,
    },
    /// Take away the share that an exposure gave a fleet.
    Withdraw {
        /// The environment.
        environment: EnvironmentName,
        /// The fleet.
        fleet: FleetName,
    },
    /// Tell HAProxy again that a fleet gets no traffic but its own.
    Reweigh {
        /// The environment.
        environment: EnvironmentName,
        /// The fleet.
        fleet: FleetName,
        /// Its servers that have other weights.
        servers: Vec<String>,
    },
}

/// Whether an act may have happened already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// It has not.
    First,
    /// It may have: an attempt was lost, or belonged to a process that is gone.
    InDoubt,
}

/// Something that is read again and again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Watch {
    /// The alerts of an environment.
    Alerts(EnvironmentName, Duration),
    /// Its load balancers.
    LoadBalancers(EnvironmentName, Duration),
}

/// Returns what is due.
pub fn due(run: &Run, view: &View, now: Timestamp) -> Due {
    let mut due = Due::default();
    if run.is_over() {
        due.effects.extend(run.environments.keys().cloned().map(Effect::Leave));
        return due;
    }
    if let Status::Halted(_) = run.status {
        return due;
    }
    let Some((stage, number, _)) = run.current() else { return due };
    if let Some(done) = run.environments.keys().find(|name| **name != stage.environment) {
        due.effects.push(Effect::Leave(done.clone()));
        return due;
    }
    match run.environments.get(&stage.environment) {
        Some(entered) if entered.term == run.term => {
            // A host without the fence counts as unavailable, so it is tried again until it has it.
            if entered.unavailable.as_ref().is_none_or(|hosts| !hosts.is_empty()) {
                due.effects.push(Effect::RaiseFence(stage.environment.clone()));
            }
            if entered.unavailable.is_none() {
                return due;
            }
        }
        Some(_) | None => {
            due.effects.push(Effect::Enter(stage.environment.clone()));
            return due;
        }
    }
    let lanes = run.lanes();
    watches(run, stage, number, &mut due);
    due.effects.extend(lanes.iter().filter_map(|lane| redrain(run, stage, lane, view)));
    due.effects.extend(reweigh(run, stage, view));
    due.withdraws(run, now);
    due.works(run, (stage, &lanes), view, now);
    due.waits_in_vain(&lanes, view, now);
    due
}

/// Tells whether all that is left in the phase are hosts that wait to be taken out of service.
fn only_waits(due: &Due, lanes: &[LaneState<'_>]) -> bool {
    let acts = due.effects.iter().any(|effect| matches!(effect, Effect::Act { .. }));
    !due.waiting.is_empty() && !acts && lanes.iter().all(|lane| lane.in_flight().is_none())
}

fn watches(run: &Run, stage: &Stage, phase: usize, due: &mut Due) {
    if run.status == Status::Running {
        let source = run.plan.topology.environments.get(&stage.environment);
        let source = source.and_then(|environment| environment.alerts.as_ref());
        let poll = source.map_or(DEFAULT_POLL, |source| source.poll);
        due.watches.push(Watch::Alerts(stage.environment.clone(), poll));
    }
    // From the first change of a share or drain in a stage to its end, what HAProxy was told must stay told.
    let told = stage.phases.iter().take(phase + 1).any(|phase| {
        let mut actions = phase.lanes.iter().flat_map(|l| &l.steps).map(|step| &step.action);
        actions.any(|action| matches!(action, Action::Drain | Action::SetShare { .. }))
    });
    if told {
        due.watches.push(Watch::LoadBalancers(stage.environment.clone(), LB_POLL));
    }
}

/// Finds a drained host that a load balancer shows as ready: it was reloaded and has forgotten.
fn redrain(run: &Run, stage: &Stage, lane: &LaneState<'_>, view: &View) -> Option<Effect> {
    let Subject::Host(host) = &lane.lane.subject else { return None };
    let mut steps = lane.steps();
    let (_, drain) = steps
        .find(|(s, r)| s.action == Action::Drain && matches!(r.state(), StepState::Done(_)))?;
    if !lane.holds_slot() {
        return None;
    }
    // From when the host is to go back, ready is what it should be; telling it otherwise would race with that.
    let step = lane.in_flight().or_else(|| lane.due(&run.status).map(|(step, _)| step));
    if step.is_some_and(|step| step.action == Action::Ready) {
        return None;
    }
    let back: Vec<String> = run
        .plan
        .topology
        .host(&stage.environment, host)?
        .servers
        .iter()
        .filter(|server| is_later(view, server, drain.ended_at))
        .filter(|server| seen(view, server).is_some_and(|seen| seen.admin == AdminState::Ready))
        .map(ToString::to_string)
        .collect();
    (!back.is_empty()).then(|| Effect::Redrain {
        environment: stage.environment.clone(),
        host: host.clone(),
        servers: back,
    })
}

/// Finds a fleet that must not get shared traffic now and does: HAProxy was reloaded and has forgotten.
fn reweigh(run: &Run, stage: &Stage, view: &View) -> Option<Effect> {
    let steps = stage.phases.iter().flat_map(|p| &p.lanes).flat_map(|l| &l.steps);
    let shares = steps.filter_map(|step| {
        if let Action::SetShare { fleet, percent } = &step.action {
            Some((step, fleet, *percent))
        } else {
            None
        }
    });
    let began = |step: &Step| *run.state(&step.id) != StepState::Pending;
    let (last, fleet, percent) = shares.rev().find(|(step, _, _)| began(step))?;
    // While a share is being set, that act is who tells.
    let setting = run
        .lanes()
        .iter()
        .any(|lane| lane.next().is_some_and(|step| matches!(step.action, Action::SetShare { .. })));
    if percent != 0 || !run.is_done(&last.id) || setting {
        return None;
    }
    let environment = run.plan.topology.environments.get(&stage.environment)?;
    let weighted = |server: &&LbServer| seen(view, server).is_some_and(|seen| seen.weight > 0);
    let servers: Vec<String> = environment
        .shared_servers(fleet)
        .into_iter()
        .filter(|server| is_later(view, server, run.ended_at(&last.id)))
        .filter(weighted)
        .map(ToString::to_string)
        .collect();
    (!servers.is_empty()).then(|| Effect::Reweigh {
        environment: stage.environment.clone(),
        fleet: fleet.clone(),
        servers,
    })
}

/// Tells whether a load balancer was read after something was done there: an older reading does not show it.
fn is_later(view: &View, server: &LbServer, done_at: Option<Timestamp>) -> bool {
    let seen = view.load_balancers.get(&server.lb);
    seen.is_some_and(|seen| done_at.is_none_or(|done_at| seen.observed_at > done_at))
}

impl Due {
    fn wakes_at(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn withdraws(&mut self, run: &Run, now: Timestamp) {
        match withdrawal::due_at(run, now) {
            Some((_, _, at)) if at > now => self.wakes_at(at),
            Some((environment, fleet, _)) => self
                .effects
                .push(Effect::Withdraw { environment: environment.clone(), fleet: fleet.clone() }),
            None => {}
        }
    }

    fn waits(&mut self, lane: &Lane, why: NotAdmitted) {
        if let Subject::Host(host) = &lane.subject {
            self.waiting.push((host.clone(), why));
        }
    }

    fn works(
        &mut self,
        run: &Run,
        (stage, lanes): (&Stage, &[LaneState<'_>]),
        view: &View,
        now: Timestamp,
    ) {
        let alerts_pass = matches!(run.alerts.get(&stage.environment), Some((Verdict::Pass, _)));
        let mut busy = lanes.iter().filter(|l| l.in_flight().is_some() && !l.holds_slot()).count();
        let mut admission = Admission::new(run, stage, lanes, view, now);
        for lane in lanes {
            let Some((mut step, mut mode)) = lane.due(&run.status) else { continue };
            if let Some(at) = not_before(run, step)
                && at > now
            {
                self.wakes_at(at);
                continue;
            }
            let slot = lane.holds_slot();
            let takes_out = step.action == Action::Drain;
            let first = mode == Mode::First && !slot && !is_watch(&step.action);
            let is_new = first || takes_out;
            if is_new && !alerts_pass {
                continue;
            }
            if takes_out {
                match admission.admit(lane.lane) {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(why) => {
                        let back = lane.instead_of_drain();
                        let Some(back) = back.filter(|_| !matches!(why, NotAdmitted::Stale(_)))
                        else {
                            self.waits(lane.lane, why);
                            continue;
                        };
                        (step, mode) = back;
                    }
                }
            } else if !slot {
                if busy >= MAX_LANES {
                    continue;
                }
                busy += 1;
            }
            self.effects.push(Effect::Act { step: step.id.clone(), mode });
        }
    }
}

impl Due {
    /// Tells whether hosts wait to be taken out of service while nothing else is going on.
    pub fn stands_still(&self, run: &Run) -> bool {
        only_waits(self, &run.lanes())
    }

    fn waits_in_vain(&mut self, lanes: &[LaneState<'_>], view: &View, now: Timestamp) {
        let Some(since) = view.still_since.filter(|_| only_waits(self, lanes)) else { return };
        let Some((host, why)) = self.waiting.first() else { return };
        let end = since.plus(MOST_WAITING);
        if now >= end {
            let (host, why) = (host.clone(), why.to_string());
            self.in_vain = Some(Reason::NotAdmitted { host, why, after: MOST_WAITING });
        } else {
            self.wakes_at(end);
        }
    }
}

/// Returns when a step whose last attempt was lost may be tried again.
fn not_before(run: &Run, step: &Step) -> Option<Timestamp> {
    run.lost_at(&step.id).map(|lost_at| retry_at(run.lost(&step.id), lost_at))
}

/// Returns when what was lost so many times in a row may be tried again: later each time, at most every half minute.
pub(crate) fn retry_at(lost: u32, lost_at: Timestamp) -> Timestamp {
    const FIRST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(30);
    let doublings = lost.saturating_sub(1).min(8);
    lost_at.plus((FIRST * 2_u32.pow(doublings)).min(LONGEST))
}
