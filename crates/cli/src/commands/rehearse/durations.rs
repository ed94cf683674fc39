//! How long work takes in a rehearsal: as it did in the last runs, or as is assumed where none is known.

use crate::failure::Failure;
use serin_engine::{Event, Outcome, Run};
use serin_journal::Journal;
use serin_model::{Action, MigrationKind, QaName, RunId, StepId, Subject, Timestamp};
use serin_runtime::records;
use serin_sim::latencies::{Latencies, Spread};
use std::collections::BTreeMap;
use std::time::Duration;

/// How many runs are looked at: what was longer ago tells less.
const RECENT: usize = 5;

/// So many measurements of one kind of work are enough.
const ENOUGH: usize = 500;

/// Unpacking is taken for so much of an installation: one part of three.
const UNPACKS: u32 = 3;

/// What is known of how long work takes.
pub(super) struct Durations {
    pub(super) latencies: Latencies,
    /// The runs that were measured; none: everything is assumed.
    pub(super) runs: Vec<RunId>,
    /// The kinds of work that were measured, with how often.
    pub(super) measured: BTreeMap<String, usize>,
}

impl Durations {
    pub(super) fn assumed() -> Self {
        let (runs, measured) = (Vec::new(), BTreeMap::new());
        Self { latencies: Latencies::assumed(), runs, measured }
    }

    /// Says where they are from.
    pub(super) fn text(&self) -> String {
        if self.measured.is_empty() {
            return "work takes as long as is assumed: no earlier run tells (docs/rehearse.md has the numbers)"
                .to_owned();
        }
        let runs = self.runs.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let kinds = self.measured.iter().map(|(kind, count)| format!("{kind} ({count})"));
        let kinds = kinds.collect::<Vec<_>>().join(", ");
        format!("work takes as long as it did in {runs}: {kinds}; the rest is assumed")
    }
}

/// Measures the last runs of a journal.
pub(super) async fn measure(journal: &dyn Journal) -> Result<Durations, Failure> {
    let mut took: BTreeMap<Work, Vec<Duration>> = BTreeMap::new();
    let mut runs = Vec::new();
    for summary in journal.runs().await?.into_iter().take(RECENT) {
        let (run, events) = records::load(journal, &summary.id).await?;
        let events: Vec<(Timestamp, Event)> =
            events.into_iter().map(|(record, event)| (record.at, event)).collect();
        let found = of_run(&run, &events);
        if !found.is_empty() {
            runs.push(summary.id);
        }
        for (work, long) in found {
            let all = took.entry(work).or_default();
            if all.len() < ENOUGH {
                all.push(long);
            }
        }
    }
    let mut durations = Durations { runs, ..Durations::assumed() };
    for (work, all) in took {
        durations.measured.insert(work.to_string(), all.len());
        durations.take_in(work, Spread::Seen(all));
    }
    Ok(durations)
}

/// A kind of work that is measured.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    Fetch,
    Drain,
    Install,
    Reconfigure,
    Activate,
    Migrations,
    PostDeploymentMigrations,
    Qa(QaName),
}

impl std::fmt::Display for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Fetch => "fetch",
            Self::Drain => "drain",
            Self::Install => "install",
            Self::Reconfigure => "reconfigure",
            Self::Activate => "activate",
            Self::Migrations => "migrate",
            Self::PostDeploymentMigrations => "migrate-post-deployment",
            Self::Qa(suite) => return write!(f, "qa {suite}"),
        })
    }
}

impl Work {
    fn of(action: &Action) -> Option<Self> {
        Some(match action {
            Action::Fetch => Self::Fetch,
            Action::Drain => Self::Drain,
            Action::Install { .. } => Self::Install,
            Action::Reconfigure => Self::Reconfigure,
            Action::Activate => Self::Activate,
            Action::Migrate(MigrationKind::Regular) => Self::Migrations,
            Action::Migrate(MigrationKind::PostDeployment) => Self::PostDeploymentMigrations,
            Action::Qa(suite) => Self::Qa(suite.clone()),
            // Rounds of short commands, and what takes as long as the plan says.
            Action::Guard
            | Action::StopConfigManagement
            | Action::StartConfigManagement { .. }
            | Action::RecordVersion { .. }
            | Action::SetShare { .. }
            | Action::CheckHost { .. }
            | Action::Simulate
            | Action::CheckConfig
            | Action::Ready
            | Action::PreparePatch { .. }
            | Action::Patch { .. }
            | Action::Unpatch { .. }
            | Action::Expose { .. }
            | Action::Approve { .. }
            | Action::Bake { .. }
            | Action::Sweep { .. } => return None,
        })
    }
}

/// Returns how long each piece of work took that a run did at the first attempt.
fn of_run(run: &Run, events: &[(Timestamp, Event)]) -> Vec<(Work, Duration)> {
    let mut began: BTreeMap<&StepId, Timestamp> = BTreeMap::new();
    let mut took = Vec::new();
    for (at, event) in events {
        if let Event::AttemptStarted { step, attempt: 1, .. } = event {
            began.insert(step, *at);
        } else if let Event::AttemptEnded { step, attempt: 1, outcome: Outcome::Done(_), .. } =
            event
            && let Some(began) = began.remove(step)
            && let Some((stage, lane, found)) = run.find(step)
            && let Some(work) = Work::of(&found.action)
        {
            // What a plan says is waited for anyway.
            let waits =
                if work == Work::Activate { healthy(run, stage, lane) } else { Duration::ZERO };
            took.push((work, at.since(began).saturating_sub(waits)));
        }
    }
    took
}

fn healthy(run: &Run, stage: &serin_model::Stage, lane: &serin_model::Lane) -> Duration {
    let Subject::Host(name) = &lane.subject else { return Duration::ZERO };
    let topology = &run.plan.topology;
    let host = topology.host(&stage.environment, name);
    let roles = host.into_iter().flat_map(|host| topology.roles_of(host));
    roles.map(|role| role.healthy_for).max().unwrap_or_default()
}

impl Durations {
    fn take_in(&mut self, work: Work, seen: Spread) {
        let latencies = &mut self.latencies;
        match work {
            Work::Fetch => latencies.fetch = seen,
            Work::Drain => latencies.sessions = seen,
            Work::Install => {
                latencies.unpack = seen.part(1, UNPACKS);
                latencies.configure = seen.part(UNPACKS - 1, UNPACKS);
            }
            Work::Reconfigure => latencies.reconfigure = seen,
            Work::Activate => latencies.activate = seen,
            Work::Migrations => {
                let count = serin_sim::installation::REGULAR.len();
                latencies.migrations_begin = Spread::Always(Duration::ZERO);
                latencies.regular = seen.part(1, count.try_into().unwrap_or(1));
            }
            Work::PostDeploymentMigrations => {
                let count = serin_sim::installation::POST_DEPLOYMENT.len();
                latencies.post_deployment = seen.part(1, count.try_into().unwrap_or(1));
            }
            Work::Qa(suite) => drop(latencies.suites.insert(suite, seen)),
        }
    }
}
