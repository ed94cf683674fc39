//! Telling GitLab while a run goes: beside it, never in its way. Only the newest state of the run waits to be told.

use super::telling::{Knowing, gitlab};
use crate::context::Context;
use serin_engine::{Due, Event, Outcome, Run};
use serin_model::{Action, RunId, Timestamp};
use serin_runtime::Observer;
use serin_runtime::ports::{Alert, Ports};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long a run that has ended waits for the rest to be told: for a look at a host, and two questions for each place.
const FAREWELL: Duration = Duration::from_secs(15);

/// The observer of a run that says when there is news.
struct Noticing {
    news: watch::Sender<Option<Run>>,
    stage: Option<u32>,
    /// Stages in which something was installed.
    installed: BTreeSet<u32>,
}

/// The task that tells it.
pub(crate) struct Teller {
    task: JoinHandle<()>,
}

/// Begins to tell what a run does. Nothing, if there is no GitLab that is told, or its token cannot be used.
pub(crate) fn begin(
    context: &Context,
    ports: &Ports,
    id: &RunId,
) -> Option<(Box<dyn Observer>, Teller)> {
    let knowing = match gitlab(context) {
        Ok(found) => found?,
        Err(failure) => {
            tracing::warn!("GitLab is not told what is deployed: {}", failure.what);
            return None;
        }
    };
    let (news, runs) = watch::channel(None);
    let noticing = Noticing { news, stage: None, installed: BTreeSet::new() };
    let task = tokio::spawn(tell(knowing, ports.clone(), id.clone(), runs));
    Some((Box::new(noticing), Teller { task }))
}

impl Observer for Noticing {
    fn event(&mut self, run: &Run, _at: Timestamp, event: &Event) {
        let stage = run.current().map(|(stage, _, _)| stage.number);
        let first = self.is_first_installation(run, event);
        let over = matches!(event, Event::Halted | Event::Finished | Event::Cancelled { .. });
        if first || over || self.stage != stage {
            self.stage = stage;
            self.news.send_replace(Some(run.clone()));
        }
    }

    fn due(&mut self, _run: &Run, _due: &Due) {}
    fn attributed(&mut self, _alerts: &[Alert]) {}
    fn trouble(&mut self, _what: &str) {}
}

impl Noticing {
    /// Tells whether something was installed in a stage for the first time: then it is on its way there.
    fn is_first_installation(&mut self, run: &Run, event: &Event) -> bool {
        let Event::AttemptEnded { step, outcome, .. } = event else { return false };
        let Some((stage, _, step)) = run.find(step) else { return false };
        matches!(outcome, Outcome::Done(_) | Outcome::AlreadyDone(_))
            && matches!(step.action, Action::Install { .. })
            && self.installed.insert(stage.number)
    }
}

impl Teller {
    /// Waits a moment until everything is told; the observer must be gone. What is not by then is told by the next run.
    pub(crate) async fn end(mut self) {
        if tokio::time::timeout(FAREWELL, &mut self.task).await.is_err() {
            tracing::warn!(
                "GitLab was not told how the run ended: `serin gitlab deployments` tells it"
            );
            self.task.abort();
        }
    }
}

async fn tell(knowing: Knowing, ports: Ports, id: RunId, mut runs: watch::Receiver<Option<Run>>) {
    let mut said = BTreeSet::new();
    while runs.changed().await.is_ok() {
        let Some(run) = runs.borrow_and_update().clone() else { continue };
        let told = knowing.tell(&ports, (&id, &run), &mut BTreeSet::new()).await;
        for why in told.failed {
            // Once: whoever watches the run has other things to read.
            if said.insert(why.clone()) {
                tracing::warn!("GitLab is not told: {why}. The run goes on");
            }
        }
    }
}
