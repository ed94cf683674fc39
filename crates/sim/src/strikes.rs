//! What goes wrong at a moment of a run: when a step begins, rather than at a time.
//!
//! The beginning is the step's record in the journal, so that the same story has the same moment however long things
//! take. What befalls the world does so a little later ([`AFTER`]): in the middle of the step, if that takes as long.

use crate::faults::{Fault, Trouble};
use crate::world::{Happening, World};
use serin_model::{Action, EnvironmentName, HostName, Plan, RunId, StepId, Subject};
use std::fmt;
use std::time::Duration;

/// How long after the beginning of a step something strikes: the job on the host is under way by then, as commands of
/// this world take a tenth of a second at most to arrive.
pub(crate) const AFTER: Duration = Duration::from_secs(1);

/// A moment of a run: the first step that fits begins. What is `None` fits all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moment {
    /// The number of the stage.
    pub stage: Option<u32>,
    /// The environment of the stage.
    pub environment: Option<EnvironmentName>,
    /// The host that the step is about.
    pub host: Option<HostName>,
    /// The step's kind, as [`Action::name`] has it.
    pub step: Option<String>,
}

impl Moment {
    /// Tells whether a plan has this moment.
    pub fn is_in(&self, plan: &Plan) -> bool {
        plan.steps().any(|(stage, lane, step)| {
            self.fits((stage.number, &stage.environment), &lane.subject, &step.action)
        })
    }

    fn fits(
        &self,
        (number, environment): (u32, &EnvironmentName),
        subject: &Subject,
        action: &Action,
    ) -> bool {
        self.stage.is_none_or(|wanted| wanted == number)
            && self.environment.as_ref().is_none_or(|wanted| wanted == environment)
            && self.step.as_ref().is_none_or(|wanted| wanted == action.name())
            && self
                .host
                .as_ref()
                .is_none_or(|wanted| matches!(subject, Subject::Host(host) if host == wanted))
    }
}

/// What happens at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strike {
    /// Something befalls the world.
    Befalls(Fault),
    /// The effect of that step goes wrong.
    Goes(Trouble),
    /// The process that acts dies, as by `kill -9`.
    Dies,
    /// A person says that what the run waits for was done.
    Approves,
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Befalls(fault) => fault.fmt(f),
            Self::Goes(trouble) => trouble.fmt(f),
            Self::Dies => f.write_str("the process that acts for the run is killed"),
            Self::Approves => f.write_str("a person approves"),
        }
    }
}

/// What the beginning of a step leads to that the world cannot do by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Then {
    /// The process that recorded it dies.
    Dies,
    /// A person approves.
    Approves(EnvironmentName),
}

impl World {
    /// Has everything happen that was to happen when this step begins, each thing once.
    pub(crate) fn step_begins(&mut self, run: &RunId, id: &StepId) -> Vec<Then> {
        let Some(pages) = self.ledger.pages(run) else { return Vec::new() };
        let Some((stage, lane, step)) = pages.plan.steps().find(|(_, _, step)| step.id == *id)
        else {
            return Vec::new();
        };
        let mut due = Vec::new();
        self.faults.strikes.retain(|(moment, strike)| {
            let place = (stage.number, &stage.environment);
            let fits = moment.fits(place, &lane.subject, &step.action);
            if fits {
                due.push(strike.clone());
            }
            !fits
        });
        let subject = match &lane.subject {
            Subject::Host(host) => host.to_string(),
            Subject::Fleet(fleet) => format!("{}/{fleet}", stage.environment),
            Subject::Environment => stage.environment.to_string(),
        };
        let what = format!("{} on {subject}", step.action.name());
        let environment = stage.environment.clone();
        let mut then = Vec::new();
        for strike in due {
            match strike {
                Strike::Befalls(fault) => {
                    // A suite that hangs does so from its beginning.
                    let at_once = matches!(fault, Fault::QaHangs { .. });
                    let after = if at_once { Duration::ZERO } else { AFTER };
                    self.schedule(after, Happening::Fault(fault));
                }
                Strike::Goes(trouble) => {
                    self.befell(&format!("{what} {trouble}"));
                    self.troubles.insert(id.clone(), trouble);
                }
                Strike::Dies => then.push(Then::Dies),
                Strike::Approves => then.push(Then::Approves(environment.clone())),
            }
        }
        then
    }

    /// Takes what is to go wrong with a step's effect; the jobs of a step are parts of it.
    pub(crate) fn trouble_of(&mut self, step: &StepId) -> Option<Trouble> {
        let whole = self.troubles.keys().find(|known| {
            let rest = step.as_str().strip_prefix(known.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        let whole = whole.cloned()?;
        self.troubles.remove(&whole)
    }

    /// Takes what is to go wrong with the QA that begins now.
    pub(crate) fn trouble_of_qa(&mut self) -> Option<Trouble> {
        let is_qa = |step: &&StepId| {
            let action = step.as_str().rsplit('/').next().unwrap_or_default();
            action == "qa" || action.starts_with("qa.")
        };
        let step = self.troubles.keys().find(is_qa).cloned()?;
        self.troubles.remove(&step)
    }

    /// Notes that something went wrong, for those who tell of it.
    pub(crate) fn befell(&mut self, what: &str) {
        self.note("fault", what);
        self.befallen.push((self.now, what.to_owned()));
    }
}
