//! What the time of a run went to, stage by stage: each moment counts once, for what the stage was waiting for then.
//!
//! It is told every event with its time, in order, and the run as it is after it. The times order nothing: a clock that
//! was set back makes a moment of no length.

use crate::event::Event;
use crate::run::{Run, Status};
use serin_model::{Action, EnvironmentName, Timestamp, Verdict};
use std::collections::BTreeMap;
use std::time::Duration;

/// What a moment went to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spent {
    /// Something was being done.
    Work,
    /// The environment was not the run's yet.
    Claim,
    /// A guard was about to read what must hold.
    Guard,
    /// Alerts fired or could not be read.
    Alerts,
    /// A hold or freeze window was on.
    Hold,
    /// Tests ran.
    Qa,
    /// A bake was watched.
    Bake,
    /// Real traffic had to come.
    Exposure,
    /// A person's word was waited for.
    Approval,
    /// The run had halted.
    Halt,
    /// No process acted for the run.
    Unattended,
}

impl Spent {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Work,
        Self::Claim,
        Self::Guard,
        Self::Alerts,
        Self::Hold,
        Self::Qa,
        Self::Bake,
        Self::Exposure,
        Self::Approval,
        Self::Halt,
        Self::Unattended,
    ];

    /// Returns its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Claim => "claim",
            Self::Guard => "guard",
            Self::Alerts => "alerts",
            Self::Hold => "hold",
            Self::Qa => "qa",
            Self::Bake => "bake",
            Self::Exposure => "exposure",
            Self::Approval => "approval",
            Self::Halt => "halt",
            Self::Unattended => "unattended",
        }
    }
}

/// The times of a run's stages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times {
    /// By the stage's number.
    pub stages: BTreeMap<u32, StageTimes>,
    /// Since when what is being waited for, in which stage.
    now: Option<(Timestamp, u32, Spent)>,
}

/// The times of a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageTimes {
    /// Where it is.
    pub environment: EnvironmentName,
    /// When its turn came.
    pub began: Timestamp,
    /// When it had passed.
    pub passed: Option<Timestamp>,
    /// How much of its time went to what.
    pub spent: BTreeMap<Spent, Duration>,
}

impl Times {
    /// Takes in the events of a run from its beginning, as far as they are a run's.
    pub fn replay<'a>(events: impl IntoIterator<Item = (Timestamp, &'a Event)>) -> Self {
        let mut times = Self::default();
        let mut run: Option<Run> = None;
        for (at, event) in events {
            let taken = match &mut run {
                Some(run) => run.apply(event).map(drop),
                None => Run::new(event).map(|new| run = Some(new)),
            };
            let (Ok(()), Some(run)) = (taken, &run) else { break };
            times.take(run, at, event);
        }
        times
    }

    /// Takes in an event; `run` is the run after it.
    pub fn take(&mut self, run: &Run, at: Timestamp, event: &Event) {
        if let Some((since, stage, spent)) = self.now.take() {
            // Whoever acted before had stopped at some moment since its last event. A halt waits for a person, not for
            // a process.
            let taken_over = matches!(event, Event::Adopted { .. }) && spent != Spent::Halt;
            let spent = if taken_over { Spent::Unattended } else { spent };
            if let Some(stage) = self.stages.get_mut(&stage) {
                *stage.spent.entry(spent).or_default() += at.since(since);
            }
        }
        let current = run.current().map(|(stage, _, _)| stage);
        for stage in self.stages.iter_mut().filter(|(_, stage)| stage.passed.is_none()) {
            if current.is_none_or(|current| current.number != *stage.0) {
                stage.1.passed = Some(at);
            }
        }
        let Some(stage) = current.filter(|_| !run.is_over()) else { return };
        let times = self.stages.entry(stage.number).or_insert_with(|| StageTimes {
            environment: stage.environment.clone(),
            began: at,
            passed: None,
            spent: BTreeMap::new(),
        });
        // An exposure that begins anew takes the run back to its stage.
        times.passed = None;
        self.now = Some((at, stage.number, spent(run, &stage.environment)));
    }
}

impl StageTimes {
    /// Returns its whole time, as far as events tell it.
    pub fn total(&self) -> Duration {
        self.spent.values().sum()
    }
}

/// Returns what a run spends its time on now.
fn spent(run: &Run, environment: &EnvironmentName) -> Spent {
    match &run.status {
        Status::Halting(_) | Status::Halted(_) => return Spent::Halt,
        Status::Running | Status::Finished | Status::Cancelled { .. } => {}
    }
    let entered = run.environments.get(environment);
    if entered.is_none_or(|entered| entered.term != run.term || entered.unavailable.is_none()) {
        return Spent::Claim;
    }
    let steps = run.lanes().into_iter().filter_map(|lane| run.next(lane.lane));
    let waits = steps.map(|step| waits(run, environment, &step.action));
    // Where anything is being done, that is what the time goes to.
    waits.min().unwrap_or(Spent::Work)
}

/// Returns what the time goes to while this is the next thing.
fn waits(run: &Run, environment: &EnvironmentName, action: &Action) -> Spent {
    match action {
        Action::Guard => guarded(run, environment),
        Action::Bake { .. } if guarded(run, environment) == Spent::Alerts => Spent::Alerts,
        Action::Bake { .. } => Spent::Bake,
        Action::Expose { .. } => Spent::Exposure,
        Action::Approve { .. } => Spent::Approval,
        Action::Qa(_) => Spent::Qa,
        Action::StopConfigManagement
        | Action::StartConfigManagement { .. }
        | Action::RecordVersion { .. }
        | Action::SetShare { .. }
        | Action::CheckHost { .. }
        | Action::Fetch
        | Action::Simulate
        | Action::CheckConfig
        | Action::Drain
        | Action::Install { .. }
        | Action::Reconfigure
        | Action::Activate
        | Action::Ready
        | Action::PreparePatch { .. }
        | Action::Patch { .. }
        | Action::Unpatch { .. }
        | Action::Migrate(_)
        | Action::Sweep { .. } => Spent::Work,
    }
}

/// Returns what keeps a guard from passing.
fn guarded(run: &Run, environment: &EnvironmentName) -> Spent {
    if run.held.get(environment).is_some_and(|held| !held.is_empty()) {
        return Spent::Hold;
    }
    match run.alerts.get(environment) {
        Some((Verdict::Fail(_) | Verdict::Inconclusive(_), _)) => Spent::Alerts,
        Some((Verdict::Pass, _)) | None => Spent::Guard,
    }
}
