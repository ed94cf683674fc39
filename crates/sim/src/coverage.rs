//! Which arrows of the table of transitions histories take.
//!
//! Everything that is appended to the pretend journal is applied a second time here, run by run and stream by stream,
//! whichever process wrote it and whether or not that process lived to apply it.

use serin_engine::transitions::{EXCUSED, TABLE};
use serin_engine::{Arrow, EnvironmentEvent, EnvironmentState, Event, Run};
use serin_model::{EnvironmentName, RunId};
use std::collections::{BTreeMap, BTreeSet};

/// The journal as it was read along, and the arrows that it took.
#[derive(Debug, Default)]
pub(crate) struct Coverage {
    runs: BTreeMap<RunId, Run>,
    environments: BTreeMap<EnvironmentName, EnvironmentState>,
    pub(crate) taken: BTreeSet<Arrow>,
}

impl Coverage {
    /// Takes in the first event of a run.
    ///
    /// # Errors
    /// Says why it cannot be one.
    pub(crate) fn open(&mut self, run: RunId, first: &Event) -> Result<(), String> {
        self.runs.insert(run, Run::new(first).map_err(|illegal| illegal.to_string())?);
        Ok(())
    }

    /// Takes in events of a run.
    ///
    /// # Errors
    /// Says which one cannot follow those before it.
    pub(crate) fn append(&mut self, id: &RunId, events: &[Event]) -> Result<(), String> {
        let Some(run) = self.runs.get_mut(id) else { return Ok(()) };
        for event in events {
            self.taken.extend(run.apply(event).map_err(|illegal| format!("{id}: {illegal}"))?);
        }
        Ok(())
    }

    /// Takes in an event of an environment, and returns the arrow that it takes.
    ///
    /// # Errors
    /// Says why it cannot follow those before it.
    pub(crate) fn of_environment(
        &mut self,
        name: &EnvironmentName,
        event: &EnvironmentEvent,
    ) -> Result<Option<Arrow>, String> {
        let fresh = || EnvironmentState::new(name.clone());
        let state = self.environments.entry(name.clone()).or_insert_with(fresh);
        let arrow = state.apply(event).map_err(|illegal| format!("{name}: {illegal}"))?;
        self.taken.extend(arrow);
        Ok(arrow)
    }
}

/// What many histories together took of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Covered {
    /// How many arrows were taken.
    pub taken: usize,
    /// How many there are.
    pub all: usize,
    /// Those that were not, with the excuse for each that has one.
    pub untaken: Vec<(Arrow, Option<&'static str>)>,
    /// Excused arrows that were taken all the same.
    pub stale: Vec<Arrow>,
}

impl Covered {
    /// Compares what was taken with the table and its excuses.
    pub fn of(taken: &BTreeSet<Arrow>) -> Self {
        let excuse = |arrow: &Arrow| {
            let of_it = |e: &&serin_engine::transitions::Excuse| e.is_of(*arrow);
            EXCUSED.iter().find(of_it).map(|excuse| excuse.why)
        };
        let untaken = TABLE.iter().filter(|arrow| !taken.contains(arrow));
        let stale = taken.iter().filter(|arrow| excuse(arrow).is_some());
        Self {
            taken: taken.len(),
            all: TABLE.len(),
            untaken: untaken.map(|arrow| (*arrow, excuse(arrow))).collect(),
            stale: stale.copied().collect(),
        }
    }

    /// Tells whether every arrow was taken or is excused.
    pub fn is_whole(&self) -> bool {
        self.untaken.iter().all(|(_, excuse)| excuse.is_some())
    }
}
