//! What one rehearsal says: how long it and its stages took, what was out of service, where it halted.

use serin_engine::{Event, Outcome, Run, Status};
use serin_model::{
    Action, EnvironmentName, FleetName, HostName, Lane, Plan, Reason, RoleName, Subject, Timestamp,
};
use serin_sim::{RehearsalEnd, Rehearsed};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What one rehearsal says.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) end: RehearsalEnd,
    /// Until the last record of the run.
    pub(super) took: Duration,
    /// When each stage began, after the beginning of the run, and how long it took.
    pub(super) stages: BTreeMap<u32, (Duration, Duration)>,
    pub(super) capacity: BTreeMap<Crew, Lost>,
    /// Where it first halted, and why.
    pub(super) halt: Option<(u32, Reason)>,
}

/// The hosts of a role in a fleet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Crew {
    pub(super) environment: EnvironmentName,
    pub(super) fleet: FleetName,
    pub(super) role: RoleName,
}

/// What such hosts did not serve.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lost {
    /// How many there are.
    pub(super) hosts: usize,
    /// How many were out of service at once, at most.
    pub(super) most: usize,
    /// How long they were out, added up.
    pub(super) time: Duration,
}

impl Facts {
    /// Reads what a rehearsal left behind; `None`: there was no run.
    pub(super) fn of(rehearsed: &Rehearsed) -> Option<Self> {
        let (_, events) = rehearsed.run.as_ref()?;
        let (began, first) = events.first()?;
        let (last, _) = events.last()?;
        let mut run = Run::new(first).ok()?;
        let mut out = Out::new(&run.plan);
        let mut stages: BTreeMap<u32, (Timestamp, Timestamp)> = BTreeMap::new();
        let mut halt = None;
        for (at, event) in events.iter().skip(1) {
            run.apply(event).ok()?;
            if let Event::AttemptStarted { step, .. } | Event::AttemptEnded { step, .. } = event
                && let Some((stage, lane, found)) = run.find(step)
            {
                let known = stages.entry(stage.number).or_insert((*at, *at));
                known.1 = *at;
                out.see(lane, (&found.action, event), *at);
            }
            if let (Status::Halting(reason) | Status::Halted(reason), None) = (&run.status, &halt) {
                halt = Some((stage_of(&run), reason.clone()));
            }
        }
        out.end(*last);
        let span = |(from, to): &(Timestamp, Timestamp)| (from.since(*began), to.since(*from));
        Some(Self {
            end: rehearsed.end.clone(),
            took: last.since(*began),
            stages: stages.iter().map(|(number, times)| (*number, span(times))).collect(),
            capacity: out.lost,
            halt,
        })
    }
}

/// Returns the number of the stage that a run is in.
fn stage_of(run: &Run) -> u32 {
    let last = || run.plan.stages.last().map(|stage| stage.number);
    run.current().map(|(stage, _, _)| stage.number).or_else(last).unwrap_or_default()
}

/// Which hosts are out of service: from the beginning of their drain until they are back.
struct Out {
    crews: BTreeMap<HostName, Vec<Crew>>,
    since: BTreeMap<HostName, Timestamp>,
    lost: BTreeMap<Crew, Lost>,
}

impl Out {
    fn new(plan: &Plan) -> Self {
        let mut crews: BTreeMap<HostName, Vec<Crew>> = BTreeMap::new();
        let mut sizes: BTreeMap<Crew, usize> = BTreeMap::new();
        for environment in plan.topology.environments.values() {
            for (fleet, host) in environment.hosts() {
                for role in &host.roles {
                    let crew = Crew {
                        environment: environment.name.clone(),
                        fleet: fleet.name.clone(),
                        role: role.clone(),
                    };
                    *sizes.entry(crew.clone()).or_default() += 1;
                    crews.entry(host.name.clone()).or_default().push(crew);
                }
            }
        }
        let touched: BTreeSet<&HostName> = plan
            .steps()
            .filter(|(_, _, step)| step.action == Action::Drain)
            .filter_map(|(_, lane, _)| match &lane.subject {
                Subject::Host(host) => Some(host),
                Subject::Fleet(_) | Subject::Environment => None,
            })
            .collect();
        let mut lost = BTreeMap::new();
        for crew in crews.iter().filter(|(host, _)| touched.contains(host)).flat_map(|(_, c)| c) {
            let hosts = sizes.get(crew).copied().unwrap_or_default();
            lost.insert(crew.clone(), Lost { hosts, ..Lost::default() });
        }
        Self { crews, since: BTreeMap::new(), lost }
    }

    fn see(&mut self, lane: &Lane, (action, event): (&Action, &Event), at: Timestamp) {
        let Subject::Host(host) = &lane.subject else { return };
        let started = matches!(event, Event::AttemptStarted { .. });
        let back = matches!(
            event,
            Event::AttemptEnded { outcome: Outcome::Done(_) | Outcome::AlreadyDone(_), .. }
        );
        if *action == Action::Drain && started {
            self.since.entry(host.clone()).or_insert(at);
            self.count();
        } else if *action == Action::Ready && back {
            self.back(host, at);
        }
    }

    fn count(&mut self) {
        let mut now: BTreeMap<&Crew, usize> = BTreeMap::new();
        for crew in self.since.keys().filter_map(|host| self.crews.get(host)).flatten() {
            *now.entry(crew).or_default() += 1;
        }
        for (crew, count) in now {
            if let Some(lost) = self.lost.get_mut(crew) {
                lost.most = lost.most.max(count);
            }
        }
    }

    fn back(&mut self, host: &HostName, at: Timestamp) {
        let Some(since) = self.since.remove(host) else { return };
        for crew in self.crews.get(host).into_iter().flatten() {
            if let Some(lost) = self.lost.get_mut(crew) {
                lost.time += at.since(since);
            }
        }
    }

    fn end(&mut self, at: Timestamp) {
        let out: Vec<HostName> = self.since.keys().cloned().collect();
        for host in out {
            self.back(&host, at);
        }
    }
}

/// Returns what kind of reason it is, to count by.
pub(super) fn kind(reason: &Reason) -> String {
    match reason {
        Reason::AlertsFiring(_) => "alerts fire",
        Reason::AlertsUnreadable(_) => "alerts cannot be trusted",
        Reason::Unexpected { .. } => "something is not as the plan expects",
        Reason::CommandFailed { .. } => "a command fails",
        Reason::Unreachable { .. } => "a host cannot be reached",
        Reason::TimedOut { .. } => "something takes too long",
        Reason::SessionsLeft { .. } => "sessions are left at the drain deadline",
        Reason::Refused(_) => "something is refused",
        Reason::Fenced { .. } => "a newer controller has taken over",
        Reason::OutcomeUnknown(_) => "it cannot be told whether a step has run",
        Reason::TestsFailed(_) => "QA fails",
        Reason::TooFewTests { .. } => "QA runs too few tests",
        Reason::TooFewRequests { .. } => "too few requests reach the canary",
        Reason::QaBroken(_) => "QA gives no result",
        Reason::Strays(_) => "hosts or servers are not as intended",
        Reason::StepFailed { step, reason, .. } => return format!("{step}: {}", kind(reason)),
        Reason::NotAdmitted { .. } => "no host can be taken out of service",
        Reason::Claimed { .. } => "an environment belongs to another run",
        Reason::Superseded { .. } => "a newer run goes on instead",
        Reason::Outdated { .. } => "another run has changed something",
        Reason::Held(_) => "a hold or freeze window is on",
        Reason::Person { .. } => "a person asks for it",
        Reason::Interrupted => "Serin is interrupted",
    }
    .to_owned()
}
