//! How far a process acts for a run: to its end, or only so far that another process can go on from there.
//!
//! A process that reaches its limit has begun nothing beyond it, and gives its leases back; the run stays open, and the
//! environment stays the run's unless its last stage there has passed.

use serin_engine::Run;
use serin_model::{Action, Lane};

/// How far a process acts for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Until {
    /// Until it is over, or halts.
    #[default]
    End,
    /// Until this stage has passed; with a number below all stages, nothing is begun.
    Stage(u32),
    /// Until nothing comes next in this stage but its bake; in a stage without one, until it has passed.
    Bake(u32),
}

impl Until {
    /// Tells whether what comes next in a run lies beyond. A run of which every stage is done has nothing beyond.
    pub fn is_reached(self, run: &Run) -> bool {
        let Some((stage, _, lanes)) = run.current() else { return false };
        match self {
            Self::End => false,
            Self::Stage(last) => stage.number > last,
            Self::Bake(last) => {
                stage.number > last || (stage.number == last && lanes.iter().any(bakes))
            }
        }
    }
}

fn bakes(lane: &Lane) -> bool {
    lane.steps.iter().any(|step| matches!(step.action, Action::Bake { .. }))
}
