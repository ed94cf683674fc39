//! What became of each step, and what that means for the lane that it is in.
//!
//! Records lie in one row in the order of the plan, so that the lanes of a phase are read without searching: `due`
//! looks at every lane after every event, and a fleet has hundreds.
//!
//! It does not know phases, environments or people; those are [`crate::run::Run`]'s.

use crate::due::Mode;
use crate::run::{IllegalEvent, Status};
use crate::transitions::{Arrow, Cause, Machine, State, arrow};
use serin_model::{Action, Lane, Phase, Plan, Reason, Step, StepId, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum StepState {
    /// It is yet to be started.
    #[default]
    Pending,
    /// An attempt was started. Under the current term it is in flight, under an older one it is in doubt.
    Started {
        /// The term.
        term: u64,
    },
    /// The last attempt was lost: it is in doubt.
    Lost(Reason),
    /// It is done. The text says what was seen.
    Done(String),
    /// It failed.
    Failed(Reason),
    /// It cannot be told whether it happened.
    Unknown(Reason),
}

impl StepState {
    /// Returns the state that the table of transitions knows it by.
    pub(crate) fn at(&self, now: u64) -> State {
        match self {
            Self::Pending => State::NotBegun,
            Self::Started { term } if *term == now => State::InFlight,
            Self::Started { .. } | Self::Lost(_) => State::InDoubt,
            Self::Done(_) => State::Done,
            Self::Failed(_) => State::Failed,
            Self::Unknown(_) => State::Unknown,
        }
    }
}

/// Everything that is known of a step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct StepRecord {
    /// Only the table of transitions changes it.
    state: StepState,
    pub(crate) attempts: u32,
    /// Whether an attempt began since the host was last put back unchanged: a drain that failed, or that a person
    /// wants tried again, may have taken the host out all the same.
    pub(crate) began: bool,
    /// Attempts in a row that were lost.
    pub(crate) lost: u32,
    /// When the last of them was.
    pub(crate) lost_at: Option<Timestamp>,
    /// When the last attempt ended, if it did so in the process that acts for the run now: a reading from before that
    /// does not show what it did.
    pub(crate) ended_at: Option<Timestamp>,
    /// When it was last done or failed, by the clock of whichever process did that.
    pub(crate) settled_at: Option<Timestamp>,
    pub(crate) watched: Duration,
    pub(crate) sample: Option<Timestamp>,
}

impl StepRecord {
    pub(crate) fn state(&self) -> &StepState {
        &self.state
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, StepState::Done(_))
    }

    /// Goes to another state, or stays in the same, by an arrow of the table.
    ///
    /// # Errors
    /// When there is none. Nothing has changed then.
    fn goes(&mut self, cause: Cause, to: StepState, term: u64) -> Result<Arrow, IllegalEvent> {
        let taken = arrow(Machine::Step, self.state.at(term), cause)?.leading(to.at(term))?;
        self.state = to;
        Ok(taken)
    }
}

/// Where a step is in the plan, and its record in the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) stage: usize,
    pub(crate) phase: usize,
    pub(crate) lane: usize,
    pub(crate) step: usize,
    pub(crate) record: usize,
}

/// The records of a plan's steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Steps {
    records: Vec<StepRecord>,
    index: BTreeMap<StepId, Place>,
    /// How many steps of each phase of each stage are not done. Counted, because it is asked after every event.
    left: Vec<Vec<usize>>,
}

/// A lane with what became of its steps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LaneState<'a> {
    pub(crate) lane: &'a Lane,
    records: &'a [StepRecord],
    term: u64,
}

impl Steps {
    /// Makes the records of a plan; the error is a step that it has twice.
    pub(crate) fn new(plan: &Plan) -> Result<Self, StepId> {
        let mut index = BTreeMap::new();
        let (mut record, mut left) = (0, Vec::new());
        for (stage, s) in plan.stages.iter().enumerate() {
            let steps = |phase: &Phase| phase.lanes.iter().map(|lane| lane.steps.len()).sum();
            left.push(s.phases.iter().map(steps).collect());
            for (phase, p) in s.phases.iter().enumerate() {
                for (lane, l) in p.lanes.iter().enumerate() {
                    for (step, item) in l.steps.iter().enumerate() {
                        let place = Place { stage, phase, lane, step, record };
                        if index.insert(item.id.clone(), place).is_some() {
                            return Err(item.id.clone());
                        }
                        record += 1;
                    }
                }
            }
        }
        Ok(Self { records: vec![StepRecord::default(); record], index, left })
    }

    pub(crate) fn place(&self, step: &StepId) -> Option<Place> {
        self.index.get(step).copied()
    }

    pub(crate) fn get(&self, step: &StepId) -> Option<&StepRecord> {
        self.index.get(step).and_then(|place| self.at(*place))
    }

    pub(crate) fn at(&self, place: Place) -> Option<&StepRecord> {
        self.records.get(place.record)
    }

    pub(crate) fn all(&self) -> &[StepRecord] {
        &self.records
    }

    pub(crate) fn all_mut(&mut self) -> &mut [StepRecord] {
        &mut self.records
    }

    /// Has the step of a place go to another state, or stay in the same, by an arrow of the table.
    ///
    /// # Errors
    /// When there is none. Nothing has changed then.
    pub(crate) fn goes(
        &mut self,
        place: Place,
        cause: Cause,
        (to, term): (StepState, u64),
    ) -> Result<(Arrow, &mut StepRecord), IllegalEvent> {
        let nowhere = || IllegalEvent(format!("the plan has nothing at {place:?}"));
        let record = self.records.get_mut(place.record).ok_or_else(nowhere)?;
        let was_done = record.is_done();
        let taken = record.goes(cause, to, term)?;
        let phases = self.left.get_mut(place.stage);
        if let Some(left) = phases.and_then(|phases| phases.get_mut(place.phase)) {
            *left = *left + usize::from(was_done) - usize::from(record.is_done());
        }
        Ok((taken, record))
    }

    /// Has the step of a place be as if it had never begun.
    ///
    /// # Errors
    /// When the table has no arrow for it.
    pub(crate) fn reset(
        &mut self,
        place: Place,
        cause: Cause,
        term: u64,
    ) -> Result<Option<Arrow>, IllegalEvent> {
        let Some(record) = self.records.get_mut(place.record) else { return Ok(None) };
        record.began = false;
        if record.state == StepState::Pending {
            return Ok(None);
        }
        self.goes(place, cause, (StepState::Pending, term)).map(|(taken, _)| Some(taken))
    }

    /// Has every step whose work a person wants tried again begin again, or be looked at again.
    ///
    /// # Errors
    /// When the table has no arrow for it.
    pub(crate) fn resumed(&mut self, term: u64) -> Result<Vec<Arrow>, IllegalEvent> {
        let mut taken = Vec::new();
        for record in &mut self.records {
            record.lost = 0;
            let to = match record.state() {
                StepState::Failed(_) => StepState::Pending,
                // Still in doubt: it is looked at again before anything is done.
                StepState::Unknown(reason) => StepState::Lost(reason.clone()),
                StepState::Pending
                | StepState::Started { .. }
                | StepState::Lost(_)
                | StepState::Done(_) => continue,
            };
            taken.push(record.goes(Cause::Resumed, to, term)?);
        }
        Ok(taken)
    }

    /// Tells whether a phase has anything left to do.
    pub(crate) fn has_left(&self, (stage, phase): (usize, usize)) -> bool {
        self.left.get(stage).and_then(|phases| phases.get(phase)).is_some_and(|left| *left > 0)
    }

    /// Returns the lane of a place, with what became of its steps.
    pub(crate) fn lane<'a>(&'a self, place: Place, lane: &'a Lane, term: u64) -> LaneState<'a> {
        let first = place.record.saturating_sub(place.step);
        let records = self.records.get(first..first + lane.steps.len()).unwrap_or_default();
        LaneState { lane, records, term }
    }

    /// Returns lanes that follow each other in the plan, with what became of their steps.
    pub(crate) fn lanes<'a>(&'a self, lanes: &'a [Lane], term: u64) -> Vec<LaneState<'a>> {
        let first = lanes.iter().find_map(|lane| lane.steps.first());
        let start = first.and_then(|step| self.index.get(&step.id)).map(|place| place.record);
        let mut rest = start.and_then(|start| self.records.get(start..)).unwrap_or_default();
        let with_records = |lane: &'a Lane| {
            let (records, after) = rest.split_at(lane.steps.len().min(rest.len()));
            rest = after;
            LaneState { lane, records, term }
        };
        lanes.iter().map(with_records).collect()
    }
}

impl<'a> LaneState<'a> {
    pub(crate) fn steps(&self) -> impl Iterator<Item = (&'a Step, &'a StepRecord)> + use<'a> {
        self.lane.steps.iter().zip(self.records)
    }

    /// Returns the first step that is not done.
    pub(crate) fn next(&self) -> Option<&'a Step> {
        self.steps().find(|(_, record)| !record.is_done()).map(|(step, _)| step)
    }

    /// Tells whether all steps before one are done.
    pub(crate) fn is_turn_of(&self, step: &StepId) -> bool {
        self.steps().take_while(|(earlier, _)| earlier.id != *step).all(|(_, r)| r.is_done())
    }

    /// Returns the step that is in flight.
    pub(crate) fn in_flight(&self) -> Option<&'a Step> {
        let current = StepState::Started { term: self.term };
        self.steps().find(|(_, record)| record.state == current).map(|(step, _)| step)
    }

    /// Tells whether the lane has its host out of service, or may have.
    pub(crate) fn holds_slot(&self) -> bool {
        let taken = match self.drain() {
            Some((_, drain)) => drain.began,
            // At the expedited pace nothing is drained: changing the host is what takes it out.
            None => self.is_changed(),
        };
        taken && self.ready().is_some_and(|(_, ready)| !ready.is_done())
    }

    /// Tells whether the lane may have changed its host since it was taken out of service.
    pub(crate) fn is_changed(&self) -> bool {
        let changes = |step: &Step| !matches!(step.action, Action::Drain | Action::Ready);
        self.steps().any(|(step, record)| changes(step) && record.attempts > 0)
    }

    fn exposes(&self) -> bool {
        self.lane.steps.iter().any(|step| matches!(step.action, Action::Expose { .. }))
    }

    fn drain(&self) -> Option<(&'a Step, &'a StepRecord)> {
        self.steps().find(|(step, _)| step.action == Action::Drain)
    }

    /// Returns the step that comes next, and how; `None`: nothing does, or one is in flight, or a person has to
    /// decide.
    pub(crate) fn due(&self, status: &Status) -> Option<(&'a Step, Mode)> {
        let halting = match status {
            Status::Running => false,
            Status::Halting(_) => true,
            Status::Halted(_) | Status::Finished | Status::Cancelled { .. } => return None,
        };
        // What a halt does about an exposure is to take its share away, and that is no step.
        if self.in_flight().is_some() || (halting && self.exposes()) {
            return None;
        }
        if halting || self.is_going_back() {
            // Whether or not it was drained, and whatever became of that: going back is what comes next.
            if let Some((ready, record)) = self.way_back() {
                return begin_by(&record.state).map(|mode| (ready, mode));
            }
        }
        if let Some((step, _)) = self.steps().find(|(_, record)| in_doubt(record)) {
            return (!halting || may_leave_half(&step.action)).then_some((step, Mode::InDoubt));
        }
        if halting && !self.holds_slot() {
            return None;
        }
        let (step, record) = self.steps().find(|(_, record)| !record.is_done())?;
        begin_by(&record.state).map(|mode| (step, mode))
    }

    /// Returns the step that puts back a host that is out and unchanged.
    fn way_back(&self) -> Option<(&'a Step, &'a StepRecord)> {
        self.ready().filter(|_| self.holds_slot() && !self.is_changed())
    }

    /// Returns the step that puts a host back of which nobody knows whether it is out: it is drained once more if it is
    /// admitted anew, and goes back otherwise.
    pub(crate) fn instead_of_drain(&self) -> Option<(&'a Step, Mode)> {
        let doubtful = self.drain().is_some_and(|(_, drain)| in_doubt(drain));
        let (ready, record) = self.way_back().filter(|_| doubtful && self.in_flight().is_none())?;
        begin_by(&record.state).map(|mode| (ready, mode))
    }

    /// Tells whether an unchanged host is on its way back into service. Nobody knows how much of it is back, so it gets
    /// there before it is taken out once more, even if the halt that sent it is lifted meanwhile.
    fn is_going_back(&self) -> bool {
        self.ready().is_some_and(|(_, ready)| ready.began)
    }

    fn ready(&self) -> Option<(&'a Step, &'a StepRecord)> {
        self.steps().find(|(step, _)| step.action == Action::Ready)
    }
}

/// Tells whether a step that is not in flight may have happened.
fn in_doubt(record: &StepRecord) -> bool {
    matches!(record.state, StepState::Lost(_) | StepState::Started { .. })
}

fn begin_by(state: &StepState) -> Option<Mode> {
    match state {
        StepState::Pending => Some(Mode::First),
        StepState::Started { .. } | StepState::Lost(_) => Some(Mode::InDoubt),
        // Done needs nothing more; the others are a person's to resume.
        StepState::Done(_) | StepState::Failed(_) | StepState::Unknown(_) => None,
    }
}

/// Tells whether an attempt that nobody knows the end of may have left something half done. A halt looks at those
/// again; the others it leaves alone, because to look at them is to do them.
fn may_leave_half(action: &Action) -> bool {
    match action {
        Action::Guard
        | Action::Bake { .. }
        | Action::CheckHost { .. }
        | Action::Sweep { .. }
        | Action::Fetch
        | Action::Simulate
        | Action::CheckConfig
        | Action::PreparePatch { .. }
        | Action::Expose { .. }
        | Action::Approve { .. }
        | Action::Qa(_) => false,
        Action::StopConfigManagement
        | Action::StartConfigManagement { .. }
        | Action::RecordVersion { .. }
        | Action::SetShare { .. }
        | Action::Drain
        | Action::Install { .. }
        | Action::Reconfigure
        | Action::Activate
        | Action::Ready
        | Action::Patch { .. }
        | Action::Unpatch { .. }
        | Action::Migrate(_) => true,
    }
}
