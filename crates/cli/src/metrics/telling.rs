//! Telling a Pushgateway while a run goes: beside the run, never in its way.
//!
//! What is to be told waits in one place for each page, where the newest takes the place of the one before: however long
//! the Pushgateway is away, there is no more to tell than there are stages.

use super::pages::{self, Page, Shares};
use crate::context::Context;
use serin_adapters::http::HttpError;
use serin_adapters::pushgateway::Pushgateway;
use serin_engine::{Due, Event, Run, Times};
use serin_journal::Journal;
use serin_model::{Environment, EnvironmentName, RunId, Timestamp, Topology};
use serin_runtime::environment::Stream;
use serin_runtime::perform::observe_environments;
use serin_runtime::ports::{Alert, Ports};
use serin_runtime::share::{Sharing, total};
use serin_runtime::{Observer, records};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How long a run that has ended waits for the rest to be told: for one look at every host, and two pushes.
const FAREWELL: Duration = Duration::from_secs(15);

/// How long after one round of pushes the next begins: Prometheus looks no more often.
const PAUSE: Duration = Duration::from_secs(1);

/// How long to wait when it is away.
const AWAY: Duration = Duration::from_secs(10);

/// What is to be told.
#[derive(Default)]
struct Waiting {
    pages: BTreeMap<Vec<(&'static str, String)>, Page>,
    environments: BTreeSet<EnvironmentName>,
    /// Nothing more will come.
    ended: bool,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    news: Notify,
}

impl Shared {
    fn now(&self) -> MutexGuard<'_, Waiting> {
        // What is to be told is whole after each of its changes, whoever panicked.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The observer of a run that says what is to be told.
struct Telling {
    shared: Arc<Shared>,
    times: Times,
}

/// The task that tells it.
pub(crate) struct Teller {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// Begins to tell what a run does from now on; what it did before is read from the journal.
///
/// Nothing if there is no Pushgateway, or none that could be told.
pub(crate) async fn begin(
    context: &Context,
    ports: &Ports,
    id: &RunId,
) -> Option<(Box<dyn Observer>, Teller)> {
    let gateway = gateway(context)?.map_err(|why| away(&why)).ok()?;
    let (run, events) = records::load(context.journal.as_ref(), id).await.ok()?;
    let times = Times::replay(events.iter().map(|(record, event)| (record.at, event)));
    let shared = Arc::new(Shared::default());
    let told = Told {
        gateway,
        topology: run.plan.topology,
        journal: Arc::clone(&context.journal),
        ports: ports.clone(),
        shared: Arc::clone(&shared),
    };
    let task = tokio::spawn(told.tell());
    let observer = Box::new(Telling { shared: Arc::clone(&shared), times });
    Some((observer, Teller { shared, task }))
}

/// Returns the Pushgateway, if there is one.
pub(crate) fn gateway(context: &Context) -> Option<Result<Pushgateway, HttpError>> {
    context.config.pushgateway.as_deref().map(Pushgateway::new)
}

impl Observer for Telling {
    fn event(&mut self, run: &Run, at: Timestamp, event: &Event) {
        let passed = |times: &Times| -> BTreeSet<u32> {
            times.stages.iter().filter(|(_, s)| s.passed.is_some()).map(|(n, _)| *n).collect()
        };
        let before = passed(&self.times);
        self.times.take(run, at, event);
        let current = run.current().map(|(stage, _, _)| stage.number);
        let news =
            passed(&self.times).difference(&before).copied().chain(current).collect::<Vec<_>>();
        let mut waiting = self.shared.now();
        for number in news {
            let Some(times) = self.times.stages.get(&number) else { continue };
            let page = pages::stage(run, (number, times), at);
            waiting.pages.insert(page.group.clone(), page);
            if times.passed.is_some() || matches!(event, Event::Halted | Event::Cancelled { .. }) {
                waiting.environments.insert(times.environment.clone());
            }
        }
        drop(waiting);
        self.shared.news.notify_one();
    }

    fn due(&mut self, _run: &Run, _due: &Due) {}
    fn attributed(&mut self, _alerts: &[Alert]) {}
    fn trouble(&mut self, _what: &str) {}
}

impl Teller {
    /// Waits a moment until everything is told. What is not by then never will be, and nothing fails by it.
    pub(crate) async fn end(mut self) {
        self.shared.now().ended = true;
        self.shared.news.notify_one();
        if tokio::time::timeout(FAREWELL, &mut self.task).await.is_err() {
            tracing::warn!("the Pushgateway was not told how the run ended");
            self.task.abort();
        }
    }
}

/// What telling takes.
struct Told {
    gateway: Pushgateway,
    topology: Topology,
    journal: Arc<dyn Journal>,
    ports: Ports,
    shared: Arc<Shared>,
}

impl Told {
    async fn tell(self) {
        let mut is_away = false;
        loop {
            let (pages, environments, ended) = {
                let mut waiting = self.shared.now();
                let environments = std::mem::take(&mut waiting.environments);
                (std::mem::take(&mut waiting.pages), environments, waiting.ended)
            };
            if pages.is_empty() && environments.is_empty() {
                if ended {
                    return;
                }
                self.shared.news.notified().await;
                continue;
            }
            match self.round(pages, environments).await {
                Ok(()) => is_away = false,
                Err(_) if ended => return,
                Err(why) => {
                    // Once for each time that it is away: whoever watches the run has other things to read.
                    if !is_away {
                        away(&why);
                    }
                    is_away = true;
                }
            }
            let pause = if is_away { AWAY } else { PAUSE };
            if !ended {
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = self.ended() => {}
                }
            }
        }
    }

    async fn ended(&self) {
        while !self.shared.now().ended {
            self.shared.news.notified().await;
        }
    }

    /// Tells everything once; what could not be told waits for the next time, unless there is something newer.
    async fn round(
        &self,
        pages: BTreeMap<Vec<(&'static str, String)>, Page>,
        environments: BTreeSet<EnvironmentName>,
    ) -> Result<(), HttpError> {
        let mut result = Ok(());
        for (group, page) in pages {
            if let Err(why) = push(&self.gateway, &page).await {
                self.shared.now().pages.entry(group).or_insert(page);
                result = Err(why);
            }
        }
        result?;
        for name in environments {
            let Some(environment) = self.topology.environments.get(&name) else { continue };
            let page = look(&self.ports, &self.topology, environment, self.journal.as_ref()).await;
            if let Err(why) = push(&self.gateway, &page).await {
                self.shared.now().environments.insert(name);
                return Err(why);
            }
        }
        Ok(())
    }
}

/// Pushes a page.
pub(crate) async fn push(gateway: &Pushgateway, page: &Page) -> Result<(), HttpError> {
    let group: Vec<(&str, &str)> =
        page.group.iter().map(|(label, value)| (*label, value.as_str())).collect();
    gateway.push(&group, page.replacing, &page.gauges).await
}

/// Looks at an environment and makes its page. What cannot be read is not on it, or counts as unreachable.
pub(crate) async fn look(
    ports: &Ports,
    topology: &Topology,
    environment: &Environment,
    journal: &dyn Journal,
) -> Page {
    let observed = observe_environments(ports, topology, [environment]).await;
    let mut shares = Shares::default();
    if let Ok(stream) = Stream::read(journal, &environment.name).await {
        let now = ports.clock.now();
        let intended = stream.state.shares.iter();
        shares.intended =
            intended.map(|(fleet, share)| (fleet.clone(), f64::from(share.ramp.at(now)))).collect();
    }
    for fleet in environment.fleets.values().filter(|fleet| fleet.share_after.is_some()) {
        let sharing = Sharing { ports, environment, fleet: &fleet.name };
        let Ok(parts) = sharing.look().await else { continue };
        if let (own, all @ 1..) = total(&parts) {
            // Weights are small: they are exact as floating-point numbers.
            #[expect(clippy::cast_precision_loss, reason = "sums of weights, at most 256 each")]
            let percent = own as f64 * 100.0 / all as f64;
            shares.by_weight.insert(fleet.name.clone(), percent);
        }
    }
    pages::environment(environment, &observed, &shares)
}

fn away(why: &HttpError) {
    tracing::warn!("the Pushgateway cannot be told: {why}. The run goes on");
}
