//! Who goes on and who waits, where a new build comes to an environment that others use.
//!
//! A run that brings a build to a canary asks before it enters an environment: of several that wait there only the
//! latest goes on, and no build is replaced while it bakes. The claim of an environment is what keeps two runs apart;
//! this only says who takes it next. Why, and what was not done: `docs/design/busy.md`. Read [`turn`] first.

use crate::event::Event;
use crate::run::{Run, Status};
use serin_model::{
    Action, DebVersion, Environment, EnvironmentName, FleetName, Pace, Pipeline, PipelineName,
    RunId, Sha256, Subject, Timestamp, Topology, WhenBusy, WorkSpec,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// For how long a build that has baked is still left to a schedule that promotes it, before a newer one replaces it on
/// the canary: a schedule that asks every five minutes has its turn, and one that is slow has a second.
pub const LEFT_TO_PROMOTION: Duration = Duration::from_mins(10);

/// How far a record may lie in the future: longer than clocks are put right by while they run, and shorter than it takes
/// to make a plan.
const AHEAD: Duration = Duration::from_secs(5);

/// What others need to know of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The run.
    pub id: RunId,
    /// The environment that it waits for: its next stage is there, and it has not entered it.
    pub waits_for: Option<EnvironmentName>,
    /// Its build.
    pub version: DebVersion,
    first: Option<RunId>,
    pipeline: PipelineName,
    sha256: Sha256,
    begun: Timestamp,
    last: Timestamp,
    stands: Stands,
    when_busy: Option<WhenBusy>,
    claims: BTreeSet<EnvironmentName>,
    changed: BTreeMap<(EnvironmentName, Subject), Timestamp>,
    exposes: BTreeSet<(EnvironmentName, FleetName)>,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    /// It goes on, or waits for others.
    Running,
    /// It waits for a person.
    Halted,
    /// It has passed every gate.
    Passed,
    /// It was given up, or had no gates.
    Over,
}

/// What a run does next about an environment that it has not entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// It enters.
    Enter,
    /// It waits.
    Wait(Busy),
    /// A newer run goes on instead.
    GiveWay(RunId),
    /// What it was planned for is no longer there: this run has changed it.
    Outdated(RunId),
}

/// What an environment is busy with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Busy {
    /// It belongs to another run.
    Claimed {
        /// The environment.
        environment: EnvironmentName,
        /// The run.
        run: RunId,
    },
    /// Another run waits for it.
    Awaited {
        /// The environment.
        environment: EnvironmentName,
        /// The run.
        run: RunId,
    },
    /// A build bakes on its canary, and was not promoted.
    Bakes {
        /// The environment.
        environment: EnvironmentName,
        /// The canary.
        fleet: FleetName,
        /// The build.
        version: DebVersion,
        /// The run that has brought it.
        run: RunId,
        /// Until when it is left there.
        until: Timestamp,
    },
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Claimed { environment, run } => write!(f, "{environment} belongs to run {run}"),
            Self::Awaited { environment, run } => write!(f, "run {run} waits for {environment}"),
            Self::Bakes { environment, fleet, version, run, until } => write!(
                f,
                "{version} of run {run} bakes on {environment}/{fleet} until {}, or until it is promoted",
                until.utc()
            ),
        }
    }
}

impl Known {
    /// Reads a run and the times of its events.
    pub fn of<'a>(
        id: RunId,
        run: &Run,
        events: impl IntoIterator<Item = (Timestamp, &'a Event)>,
    ) -> Self {
        let nowhen = Timestamp::from_millis(0);
        let (mut begun, mut last, mut changed) = (None, nowhen, BTreeMap::new());
        for (at, event) in events {
            begun.get_or_insert(at);
            last = at;
            let Event::AttemptStarted { step, .. } = event else { continue };
            let Some((stage, lane, step)) = run.find(step) else { continue };
            if changes(&step.action) {
                changed.insert((stage.environment.clone(), lane.subject.clone()), at);
            }
        }
        let plan = &run.plan;
        let exposes = plan.steps().filter_map(|(stage, _, step)| {
            let Action::Expose { fleet, .. } = &step.action else { return None };
            Some((stage.environment.clone(), fleet.clone()))
        });
        let has_gates = plan.pace == Pace::Careful && plan.back.is_none();
        let stands = match run.status {
            Status::Running => Stands::Running,
            Status::Halting(_) | Status::Halted(_) => Stands::Halted,
            Status::Finished if has_gates => Stands::Passed,
            Status::Finished | Status::Cancelled { .. } => Stands::Over,
        };
        let queue = plan.queue.as_ref();
        Self {
            id,
            waits_for: waits_for(run).cloned(),
            version: plan.build.version.clone(),
            first: queue.and_then(|queue| queue.first.clone()),
            pipeline: plan.pipeline.clone(),
            sha256: plan.build.sha256.clone(),
            begun: begun.unwrap_or(nowhen),
            last,
            stands,
            when_busy: queue.map(|queue| queue.when_busy),
            claims: run.environments.keys().cloned().collect(),
            changed,
            exposes: exposes.collect(),
        }
    }

    /// Tells whether it is finished or was given up, and has left everything: nothing of this changes any more.
    pub fn is_over(&self) -> bool {
        matches!(self.stands, Stands::Passed | Stands::Over) && self.claims.is_empty()
    }

    fn is_at(&self, environment: &EnvironmentName) -> bool {
        self.waits_for.as_ref() == Some(environment) || self.claims.contains(environment)
    }

    /// Returns when it last changed a host of a fleet.
    fn changed_fleet(&self, environment: &Environment, fleet: &FleetName) -> Option<Timestamp> {
        let hosts = environment.fleets.get(fleet)?.hosts.keys();
        let key = |host| (environment.name.clone(), Subject::Host(host));
        hosts.filter_map(|host| self.changed.get(&key(host.clone())).copied()).max()
    }
}

/// Returns the environment that a run waits for: its next stage is there, and it has not entered it.
pub fn waits_for(run: &Run) -> Option<&EnvironmentName> {
    let next = run.current().map(|(stage, _, _)| &stage.environment);
    next.filter(|next| run.status == Status::Running && !run.environments.contains_key(*next))
}

/// Tells whether an action changes what a plan counts on.
fn changes(action: &Action) -> bool {
    matches!(
        action,
        Action::Install { .. }
            | Action::Reconfigure
            | Action::Activate
            | Action::Migrate(_)
            | Action::RecordVersion { .. }
    )
}

/// Tells whether a pipeline brings builds to a canary: to those alone it matters whether others are busy.
pub fn brings_to_canary(pipeline: &Pipeline, topology: &Topology) -> bool {
    canaries(pipeline, topology).next().is_some()
}

fn canaries<'a>(
    pipeline: &'a Pipeline,
    topology: &'a Topology,
) -> impl Iterator<Item = (&'a Environment, &'a FleetName)> {
    pipeline.stages.iter().filter_map(|stage| {
        let environment = topology.environments.get(&stage.environment)?;
        let fleet = environment.fleets.get(&stage.fleet)?;
        let brings = matches!(stage.work, WorkSpec::Roles(_)) && fleet.share_after.is_some();
        brings.then_some((environment, &stage.fleet))
    })
}

/// Says what a new run of a pipeline would find busy; `runs` are all there are, oldest first.
pub fn busy(
    (pipeline, topology): (&Pipeline, &Topology),
    runs: &[Known],
    baked_for: Duration,
    now: Timestamp,
) -> Option<Busy> {
    let of_run = |run: &Known| {
        let mut stages = pipeline.stages.iter().map(|stage| &stage.environment);
        let environment = stages.find(|environment| run.is_at(environment))?.clone();
        let id = run.id.clone();
        Some(if run.claims.contains(&environment) {
            Busy::Claimed { environment, run: id }
        } else {
            Busy::Awaited { environment, run: id }
        })
    };
    let bakes = || {
        canaries(pipeline, topology)
            .find_map(|(environment, fleet)| bakes(runs, (environment, fleet), baked_for, now))
    };
    runs.iter().filter(|run| !run.is_over()).find_map(of_run).or_else(bakes)
}

/// Finds a run whose last record is of the future, and how far that is from now: the clock was set back.
///
/// A plan of such a clock looks older than what it was made after, and would be outdated for as long as the clock is behind.
pub fn ahead(
    latest: impl IntoIterator<Item = (RunId, Timestamp)>,
    now: Timestamp,
) -> Option<(RunId, Duration)> {
    let (run, last) = latest.into_iter().max_by_key(|(_, last)| *last)?;
    let ahead = last.since(now);
    (ahead > AHEAD).then_some((run, ahead))
}

/// Decides what a run does about an environment that it is about to enter; `runs` are all there are, oldest first.
///
/// A run that is not in a queue always enters: the claim alone decides.
pub fn turn(
    (id, run): (&RunId, &Run),
    environment: &EnvironmentName,
    runs: &[Known],
    now: Timestamp,
) -> Turn {
    let Some(queue) = &run.plan.queue else { return Turn::Enter };
    let Some(own) = runs.iter().find(|known| known.id == *id) else { return Turn::Enter };
    let others = || runs.iter().filter(|known| known.id != *id);
    // One that has begun nothing has nothing to lose: where another has the environment, it is refused by the claim.
    if queue.first.is_some() || run.plan.steps().any(|(_, _, step)| run.attempts(&step.id) > 0) {
        if let Some(newer) = newer(own, environment, runs) {
            return Turn::GiveWay(newer.id.clone());
        }
        if let Some(other) = others().find(|known| known.claims.contains(environment)) {
            let (environment, run) = (environment.clone(), other.id.clone());
            return Turn::Wait(Busy::Claimed { environment, run });
        }
    }
    let here = run.plan.topology.environments.get(environment);
    if let Some(here) = here.filter(|_| queue.when_busy != WhenBusy::Supersede) {
        let own_build = |busy: &Busy| {
            let Busy::Bakes { run, .. } = busy else { return false };
            runs.iter().any(|known| known.id == *run && known.sha256 == own.sha256)
        };
        let brought = here.fleets.values().filter(|fleet| {
            fleet.share_after.is_some()
                && touches(run, environment, |host| fleet.hosts.contains_key(host))
        });
        let mut baking = brought.filter_map(|f| bakes(runs, (here, &f.name), queue.baked_for, now));
        if let Some(busy) = baking.find(|busy| !own_build(busy)) {
            return Turn::Wait(busy);
        }
    }
    let outdates = |known: &&Known| {
        let mut subjects =
            run.plan.steps().filter(|(stage, _, _)| stage.environment == *environment);
        subjects.any(|(_, lane, _)| {
            let key = (environment.clone(), lane.subject.clone());
            known.changed.get(&key).is_some_and(|at| *at >= own.begun)
        })
    };
    others().find(outdates).map_or(Turn::Enter, |known| Turn::Outdated(known.id.clone()))
}

/// Finds the latest run that goes on instead of one that waits. One that goes on for an older run has its place.
fn newer<'a>(own: &Known, environment: &EnvironmentName, runs: &'a [Known]) -> Option<&'a Known> {
    let place = |known: &Known| {
        let first = known.first.as_ref().unwrap_or(&known.id);
        runs.iter().position(|other| other.id == *first)
    };
    let is_newer = |known: &&Known| {
        known.stands == Stands::Running
            && known.pipeline == own.pipeline
            && place(known) > place(own)
            && (known.when_busy == Some(WhenBusy::Supersede) || known.is_at(environment))
    };
    runs.iter().rfind(is_newer)
}

fn touches(
    run: &Run,
    environment: &EnvironmentName,
    is_one: impl Fn(&serin_model::HostName) -> bool,
) -> bool {
    run.plan.steps().any(|(stage, lane, step)| {
        let Subject::Host(host) = &lane.subject else { return false };
        stage.environment == *environment && changes(&step.action) && is_one(host)
    })
}

/// Says which build bakes on a canary: one that passed every gate and has neither been there for long enough nor gone
/// on to main.
fn bakes(
    runs: &[Known],
    (environment, fleet): (&Environment, &FleetName),
    baked_for: Duration,
    now: Timestamp,
) -> Option<Busy> {
    let changed = runs.iter().filter_map(|run| Some((run.changed_fleet(environment, fleet)?, run)));
    let (_, last) = changed.max_by_key(|(at, _)| *at)?;
    let key = (environment.name.clone(), fleet.clone());
    let promotes = |run: &Known| {
        run.stands == Stands::Passed
            && run.exposes.contains(&key)
            && run.sha256 == last.sha256
            && run.last >= last.last
    };
    let until = last.last.plus(baked_for + LEFT_TO_PROMOTION);
    if last.stands != Stands::Passed
        || baked_for.is_zero()
        || now >= until
        || runs.iter().any(promotes)
    {
        return None;
    }
    Some(Busy::Bakes {
        environment: environment.name.clone(),
        fleet: fleet.clone(),
        version: last.version.clone(),
        run: last.id.clone(),
        until,
    })
}
