//! What is due now, derived from state alone.
//!
//! Asked after every event. The caller does not remember what it was told before: it starts each effect that is not
//! in flight, and asks again.

use crate::admission::{self, NotAdmitted, View};
use crate::decide::{DEFAULT_POLL, puts_back};
use crate::run::{Run, Status, StepState};
use serin_model::{
    Action, AdminState, EnvironmentName, FleetName, HostName, Lane, Stage, Step, StepId, Subject,
    Timestamp, Verdict,
};
use std::time::Duration;

/// How often load balancers are read while hosts are taken out of service. Short, because a reload must be noticed
/// before the drained host is touched, and because the next host waits for the reading.
pub const LB_POLL: Duration = Duration::from_millis(500);

/// How many lanes that leave their host in service work at once: enough to keep a fetch from a repository busy,
/// few enough not to be its denial of service.
pub const MAX_LANES: usize = 64;

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
    let Some((stage, number, lanes)) = run.current() else { return due };
    if let Some(done) = run.environments.keys().find(|name| **name != stage.environment) {
        due.effects.push(Effect::Leave(done.clone()));
        return due;
    }
    match run.environments.get(&stage.environment) {
        Some(entered) if entered.term == run.term => {
            if entered.unavailable.is_none() {
                due.effects.push(Effect::RaiseFence(stage.environment.clone()));
                return due;
            }
        }
        Some(_) | None => {
            due.effects.push(Effect::Enter(stage.environment.clone()));
            return due;
        }
    }
    watches(run, stage, number, &mut due);
    redrains(run, stage, view, &mut due);
    due.effects.extend(reweigh(run, stage, view));
    due.works(run, (stage, lanes), view, now);
    due
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

/// Finds drained hosts that a load balancer shows as ready: it was reloaded and has forgotten.
fn redrains(run: &Run, stage: &Stage, view: &View, due: &mut Due) {
    for lane in run.slots() {
        let Subject::Host(host) = &lane.subject else { continue };
        let is_drained = |step: &&Step| step.action == Action::Drain && run.is_done(&step.id);
        let readying = |step: &&Step| {
            step.action == Action::Ready && !matches!(run.state(&step.id), StepState::Pending)
        };
        if !lane.steps.iter().any(|s| is_drained(&s)) || lane.steps.iter().any(|s| readying(&s)) {
            continue;
        }
        let Some(known) = run.plan.topology.host(&stage.environment, host) else { continue };
        let back: Vec<String> = known
            .servers
            .iter()
            .filter(|server| {
                let key = (server.backend.clone(), server.server.clone());
                view.load_balancers
                    .get(&server.lb)
                    .and_then(|lb| lb.servers.get(&key))
                    .is_some_and(|seen| seen.admin == AdminState::Ready)
            })
            .map(ToString::to_string)
            .collect();
        if !back.is_empty() {
            due.effects.push(Effect::Redrain {
                environment: stage.environment.clone(),
                host: host.clone(),
                servers: back,
            });
        }
    }
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
    if percent != 0 || !run.is_done(&last.id) {
        return None;
    }
    let environment = run.plan.topology.environments.get(&stage.environment)?;
    let weighted = |server: &&serin_model::LbServer| {
        let key = (server.backend.clone(), server.server.clone());
        let lb = view.load_balancers.get(&server.lb);
        lb.and_then(|lb| lb.servers.get(&key)).is_some_and(|seen| seen.weight > 0)
    };
    let servers: Vec<String> = environment
        .shared_servers(fleet)
        .into_iter()
        .filter(weighted)
        .map(ToString::to_string)
        .collect();
    (!servers.is_empty()).then(|| Effect::Reweigh {
        environment: stage.environment.clone(),
        fleet: fleet.clone(),
        servers,
    })
}

impl Due {
    fn works(&mut self, run: &Run, (stage, lanes): (&Stage, &[Lane]), view: &View, now: Timestamp) {
        let alerts_pass = matches!(run.alerts.get(&stage.environment), Some((Verdict::Pass, _)));
        let mut busy = lanes.iter().filter(|l| !run.holds_slot(l) && is_busy(run, l)).count();
        let mut taken = false;
        for lane in lanes {
            if is_busy(run, lane) {
                continue;
            }
            let Some((step, mode)) = next(run, lane) else { continue };
            if let Some(at) = not_before(run, step)
                && at > now
            {
                self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
                continue;
            }
            let slot = run.holds_slot(lane);
            let watch = matches!(step.action, Action::Guard | Action::Bake { .. });
            if mode == Mode::First && !slot && !watch && !alerts_pass {
                continue;
            }
            if step.action == Action::Drain && mode == Mode::First {
                // One at a time: the next is admitted when this one shows in the run's state.
                match admission::admit(run, stage, lane, view, now) {
                    Ok(()) if !taken => taken = true,
                    Ok(()) => continue,
                    Err(why) => {
                        if let Subject::Host(host) = &lane.subject {
                            self.waiting.push((host.clone(), why));
                        }
                        continue;
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

fn is_busy(run: &Run, lane: &Lane) -> bool {
    lane.steps.iter().any(|step| run.in_flight(&step.id))
}

/// Returns the step of a lane that comes next, and how; `None`: nothing, or a person has to decide.
fn next<'a>(run: &Run, lane: &'a Lane) -> Option<(&'a Step, Mode)> {
    let halting = matches!(run.status, Status::Halting(_));
    let put_back = || {
        lane.steps
            .iter()
            .find(|step| puts_back(run, lane, &step.id))
            .filter(|step| *run.state(&step.id) == StepState::Pending)
            .map(|step| (step, Mode::First))
    };
    let doubt = lane
        .steps
        .iter()
        .find(|step| matches!(run.state(&step.id), StepState::Lost(_) | StepState::Started { .. }));
    if let Some(step) = doubt {
        let watch = matches!(step.action, Action::Guard | Action::Bake { .. });
        return match (halting, &step.action) {
            (true, _) if watch => None,
            // Whether or not it was drained: what comes next is putting it back.
            (true, Action::Drain) => put_back().or(Some((step, Mode::InDoubt))),
            (_, _) => Some((step, Mode::InDoubt)),
        };
    }
    if halting && !run.holds_slot(lane) {
        return None;
    }
    if halting && !run.is_changed(lane) {
        return put_back();
    }
    let step = run.next(lane)?;
    (*run.state(&step.id) == StepState::Pending).then_some((step, Mode::First))
}

/// Returns when a step whose last attempt was lost may be tried again: later each time, at most every half minute.
fn not_before(run: &Run, step: &Step) -> Option<Timestamp> {
    const FIRST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_secs(30);
    let lost_at = run.lost_at(&step.id)?;
    let doublings = run.lost(&step.id).saturating_sub(1).min(8);
    Some(lost_at.plus((FIRST * 2_u32.pow(doublings)).min(LONGEST)))
}
