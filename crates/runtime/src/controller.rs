//! The one event loop: asks what is due, starts it, records what happened.
//!
//! Everything goes through here in one order: decide, append, apply, tell the observer. An effect is started only when
//! its beginning is on disk. There is no separate way for the first run, for recovery or for a rollback: adopting a run
//! is reading it and asking what is due.

mod baked;
mod effects;
mod environments;
mod inbox;
mod queue;
mod readings;
mod shares;

use crate::environment::Stream;
use crate::ports::{Fence, Ports};
use crate::queue::Runs;
use crate::records::{self, ReadError};
use crate::until::Until;
use effects::Happened;
use serin_engine::{
    Command, Due, Effect, EnvironmentEvent, Event, IllegalEvent, Input, Refusal, Run, Status, View,
    Watch, decide, due,
};
use serin_journal::{
    Append, AppendError, ClaimChange, Holder, Journal, JournalError, Lease, LeaseRefused, Scope,
};
use serin_model::{EnvironmentName, HostName, LbName, Plan, Reason, RunId, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How often the inbox is read: a person who asks for a halt should not wonder whether it was heard. A journal that can
/// tell when a command comes saves even this.
pub const INBOX_POLL: Duration = Duration::from_millis(300);

/// How long a load balancer may be unreadable before the run halts: longer than a reload or a lost connection.
const LB_UNREADABLE_FOR: Duration = Duration::from_secs(30);

/// How long to wait before asking again for an environment that belongs to another run, or for a fence that could not
/// be raised.
const RETRY: Duration = Duration::from_secs(2);

/// What a controller is told about itself.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The process, as people would look for it.
    pub holder: Holder,
    /// How long a lease holds without a beat.
    pub ttl: Duration,
    /// How often the inbox is read and the lease beaten: [`INBOX_POLL`], but where nobody asks anything.
    pub inbox_poll: Duration,
}

/// Sees everything that happens, in order: the only interface to what people are shown.
pub trait Observer: Send {
    /// An event was recorded and applied.
    fn event(&mut self, run: &Run, at: Timestamp, event: &Event);
    /// What is due, and what waits, may have changed.
    fn due(&mut self, run: &Run, due: &Due);
    /// Alerts about hosts that the run has out of service are not counted.
    fn attributed(&mut self, alerts: &[crate::ports::Alert]);
    /// Something went wrong that is tried again.
    fn trouble(&mut self, what: &str);
    /// An event of an environment that the run acts in was recorded.
    fn environment(&mut self, _name: &EnvironmentName, _at: Timestamp, _event: &EnvironmentEvent) {}
    /// Load balancers were told a share of traffic that is no step of the run.
    fn told(&mut self, _what: &str) {}
}

/// How a controller's work on a run ended.
#[derive(Debug)]
pub enum Ended {
    /// The run is finished.
    Finished,
    /// It is as far as this process acts; another goes on.
    Reached,
    /// It has halted, and waits for a person.
    Halted(Reason),
    /// It was given up.
    Cancelled,
    /// Another process has taken over: this one has stopped acting.
    LeaseLost(AppendError),
    /// The journal cannot be written: nothing is started without its record.
    Journal(AppendError),
    /// The engine contradicts itself: nothing more is done.
    Broken(IllegalEvent),
}

/// Why a run could not be adopted.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// Another process acts for it, or the lease could not be read.
    #[error(transparent)]
    Lease(#[from] LeaseRefused),
    /// It could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The adoption could not be recorded.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The adoption does not fit the run's records.
    #[error(transparent)]
    Illegal(#[from] IllegalEvent),
}

/// Records a new run of a plan; nothing happens until a controller adopts it.
///
/// # Errors
/// When the journal cannot be written.
pub async fn start(
    journal: &dyn Journal,
    plan: Plan,
    by: &str,
    now: Timestamp,
) -> Result<RunId, JournalError> {
    let first = Event::Started { plan: Box::new(plan), by: by.to_owned() };
    let text = records::write(&first).map_err(|source| JournalError::Storage {
        what: "writing the plan".to_owned(),
        source: Box::new(source),
    })?;
    journal.create_run(&text, now).await
}

/// One process acting for one run.
pub struct Controller {
    journal: Arc<dyn Journal>,
    ports: Ports,
    settings: Settings,
    observer: Box<dyn Observer>,
    id: RunId,
    made: Timestamp,
    run: Run,
    plan: Arc<Plan>,
    last: u64,
    lease: Lease,
    until: Until,
    environments: BTreeMap<EnvironmentName, Lease>,
    streams: BTreeMap<EnvironmentName, Stream>,
    shares: shares::Shares,
    runs: Runs,
    view: View,
    /// Effects in flight that the run's state does not show.
    busy: BTreeSet<Effect>,
    watching: BTreeSet<Watch>,
    next_watch: BTreeMap<Watch, Timestamp>,
    unreadable: BTreeMap<LbName, Timestamp>,
    /// Since when the fence could not be raised on a load balancer.
    unfenced: Option<Timestamp>,
    next_beat: Timestamp,
    next_inbox: Timestamp,
    tasks: JoinSet<Happened>,
}

impl Controller {
    /// Takes the run's lease and reads the run: everything that an earlier process had in flight is now in doubt.
    ///
    /// # Errors
    /// When another process lives and acts for it, or the journal cannot be used.
    pub async fn adopt(
        journal: Arc<dyn Journal>,
        ports: Ports,
        id: RunId,
        settings: Settings,
        observer: Box<dyn Observer>,
    ) -> Result<Self, AdoptError> {
        let scope = Scope::Run(id.clone());
        let lease = journal.take_lease(&scope, &settings.holder, settings.ttl).await?;
        let (run, events) = records::load(journal.as_ref(), &id).await?;
        let last = events.last().map_or(0, |(record, _)| record.seq);
        let made = events.first().map_or(Timestamp::from_millis(0), |(record, _)| record.at);
        let (term, by) = (lease.epoch, settings.holder.to_string());
        let mut controller = Self {
            plan: Arc::new(run.plan.clone()),
            next_beat: ports.clock.now(),
            next_inbox: ports.clock.now(),
            journal,
            ports,
            settings,
            observer,
            id,
            made,
            run,
            last,
            lease,
            until: Until::End,
            environments: BTreeMap::new(),
            streams: BTreeMap::new(),
            shares: shares::Shares::default(),
            runs: Runs::default(),
            view: View::default(),
            busy: BTreeSet::new(),
            watching: BTreeSet::new(),
            next_watch: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            unfenced: None,
            tasks: JoinSet::new(),
        };
        match controller.record(vec![Event::Adopted { term, by }], &[]).await {
            Err(Ended::Broken(illegal)) => Err(illegal.into()),
            Err(Ended::LeaseLost(error) | Ended::Journal(error)) => Err(error.into()),
            Ok(())
            | Err(Ended::Finished | Ended::Reached | Ended::Halted(_) | Ended::Cancelled) => {
                Ok(controller)
            }
        }
    }

    /// Returns the run as it is now.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// Puts a person's command to the run before it is driven: how a halted run is resumed or given up.
    ///
    /// # Errors
    /// When it cannot be recorded; the inner error is the run's own refusal, with nothing changed.
    pub async fn ask(&mut self, command: Command) -> Result<Result<(), Refusal>, Ended> {
        match decide(&self.run, Input::Command(command), self.ports.clock.now()) {
            Ok(events) => self.record(events, &[]).await.map(Ok),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// Acts until the run is over, halts, or this process may not act any more.
    pub async fn drive(&mut self, commands: mpsc::Receiver<Command>) -> Ended {
        self.drive_until(commands, Until::End).await
    }

    /// The same, but no further than a limit: what lies beyond is not begun.
    ///
    /// Commands of the person at this terminal come through `commands`; those of others come through the inbox.
    pub async fn drive_until(
        &mut self,
        mut commands: mpsc::Receiver<Command>,
        until: Until,
    ) -> Ended {
        self.until = until;
        let ended = loop {
            match self.turn(&mut commands).await {
                Ok(()) => {}
                Err(ended) => break ended,
            }
        };
        self.tasks.shutdown().await;
        self.release().await;
        ended
    }

    /// Starts what is due, then waits for the next thing to happen and takes it in.
    async fn turn(&mut self, commands: &mut mpsc::Receiver<Command>) -> Result<(), Ended> {
        if self.ports.clock.now() >= self.next_inbox {
            self.next_inbox = self.ports.clock.now().plus(self.settings.inbox_poll);
            self.beat_and_read_inbox().await?;
        }
        let wake = self.start_due().await?;
        let clock = Arc::clone(&self.ports.clock);
        let journal = Arc::clone(&self.journal);
        tokio::select! {
            // In this order, so that a seed replays: what was asked, what happened, what time it is.
            biased;
            Some(command) = commands.recv() => self.input(Input::Command(command)).await,
            Some(happened) = self.tasks.join_next() => match happened {
                Ok(happened) => self.take_in(happened).await,
                Err(panicked) => {
                    let what = format!("a part of Serin failed: {panicked}");
                    self.input(Input::Problem(Reason::OutcomeUnknown(what))).await
                }
            },
            () = journal.arrival() => {
                self.next_inbox = self.ports.clock.now();
                Ok(())
            }
            () = clock.sleep_until(wake) => Ok(()),
        }
    }

    /// Starts everything that is due and not in flight, and returns when to look again at the latest.
    async fn start_due(&mut self) -> Result<Timestamp, Ended> {
        loop {
            self.input(Input::Tick).await?;
            let now = self.ports.clock.now();
            let mut due = due(&self.run, &self.view, now);
            self.observer.due(&self.run, &due);
            if self.run.status == Status::Running && self.until.is_reached(&self.run) {
                // An environment that is done with is given back by whoever has done with it.
                due.effects.retain(|effect| matches!(effect, Effect::Leave(_)));
                if due.effects.is_empty() {
                    return Err(Ended::Reached);
                }
            }
            let since = self.view.still_since.unwrap_or(now);
            self.view.still_since = due.stands_still(&self.run).then_some(since);
            if let Some(reason) = due.in_vain {
                self.input(Input::Problem(reason)).await?;
                continue;
            }
            let mut started = false;
            for effect in due.effects {
                if !self.busy.contains(&effect) {
                    self.begin(effect).await?;
                    started = true;
                }
            }
            if started {
                continue;
            }
            match &self.run.status {
                Status::Halted(reason) => return Err(Ended::Halted(reason.clone())),
                Status::Finished if self.run.environments.is_empty() => {
                    return Err(Ended::Finished);
                }
                Status::Cancelled { .. } if self.run.environments.is_empty() => {
                    return Err(Ended::Cancelled);
                }
                Status::Running
                | Status::Halting(_)
                | Status::Finished
                | Status::Cancelled { .. } => {}
            }
            let watch = self.start_watches(&due.watches, now);
            let share = self.start_shares(now);
            let wake = [due.wake_at, watch, share].into_iter().flatten().min();
            return Ok(wake.map_or(self.next_inbox, |wake| wake.min(self.next_inbox)));
        }
    }

    async fn take_in(&mut self, happened: Happened) -> Result<(), Ended> {
        match happened {
            Happened::Entered(environment, lease) => self.entered(environment, lease).await,
            Happened::TimeToRetry(effect) => {
                self.busy.remove(&effect);
                Ok(())
            }
            Happened::Fenced { environment, fence, result } => {
                self.fenced(environment, fence, result).await
            }
            Happened::Ended { step, attempt, outcome } => {
                self.input(Input::Ended { step, attempt, outcome }).await
            }
            Happened::Reasserted(effect, result) => {
                self.busy.remove(&effect);
                // The reading that showed it is older than the telling: only a new one counts.
                self.view.load_balancers.clear();
                if let Err(reason) = result {
                    self.observer.trouble(&reason.to_string());
                }
                Ok(())
            }
            Happened::Canary { environment, command, request, canary } => {
                self.canary_seen(environment, command, request, canary).await
            }
            Happened::Shared { fleet, percent, result } => {
                self.shared(fleet, percent, result).await
            }
            Happened::Withdrawn { attempt, outcome } => {
                self.input(Input::Withdrawn { attempt, outcome }).await
            }
            Happened::Alerts(watch, reading) => self.alerts(watch, &reading).await,
            Happened::LoadBalancers(watch, readings) => self.load_balancers(watch, readings).await,
        }
    }

    /// Records where the fence was raised. Where nobody answered it is tried again: for hosts as long as the run is in
    /// the environment, for load balancers, without which nothing begins, as long as they may be unreadable.
    async fn fenced(
        &mut self,
        environment: EnvironmentName,
        fence: u64,
        result: Result<BTreeMap<HostName, String>, Reason>,
    ) -> Result<(), Ended> {
        let effect = Effect::RaiseFence(environment.clone());
        let now = self.ports.clock.now();
        let entered = self.run.environments.get(&environment).filter(|e| e.fence == fence);
        let Some(entered) = entered.filter(|_| !self.run.is_over()) else {
            self.busy.remove(&effect);
            return Ok(());
        };
        match result {
            Ok(unavailable) => {
                self.unfenced = None;
                let known = entered.unavailable.as_ref();
                let changed = known.is_none_or(|known| !known.keys().eq(unavailable.keys()));
                if unavailable.is_empty() {
                    self.busy.remove(&effect);
                } else {
                    self.retry_later(effect);
                }
                if !changed {
                    return Ok(());
                }
                self.input(Input::FenceRaised { environment, fence, unavailable }).await
            }
            Err(reason @ Reason::Unreachable { .. })
                if now.since(*self.unfenced.get_or_insert(now)) < LB_UNREADABLE_FOR =>
            {
                self.observer.trouble(&reason.to_string());
                self.retry_later(effect);
                Ok(())
            }
            Err(reason) => {
                self.busy.remove(&effect);
                self.input(Input::Problem(reason)).await
            }
        }
    }

    /// Decides on an input and records what follows. What is refused has no place in the run any more.
    async fn input(&mut self, input: Input) -> Result<(), Ended> {
        match decide(&self.run, input, self.ports.clock.now()) {
            Ok(events) => self.record(events, &[]).await,
            Err(refusal) => {
                tracing::debug!(%refusal, "input refused");
                Ok(())
            }
        }
    }

    /// Appends events under every lease that this process holds, then applies them.
    async fn record(&mut self, events: Vec<Event>, claims: &[ClaimChange]) -> Result<(), Ended> {
        if events.is_empty() {
            return Ok(());
        }
        let records = events.iter().map(records::write).collect::<Result<Vec<_>, _>>();
        let records = records.map_err(|error| Ended::Broken(IllegalEvent(error.to_string())))?;
        let leases: Vec<Lease> =
            [&self.lease].into_iter().chain(self.environments.values()).cloned().collect();
        let at = self.ports.clock.now();
        let append = Append {
            run: &self.id,
            expected: self.last,
            records: &records,
            at,
            leases: &leases,
            claims,
        };
        self.last = self.journal.append(&append).await.map_err(lost)?;
        for event in events {
            self.run.apply(&event).map_err(Ended::Broken)?;
            self.observer.event(&self.run, at, &event);
        }
        Ok(())
    }

    /// Gives the leases back; claims stay where the run's records put them.
    async fn release(&mut self) {
        let leases = std::mem::take(&mut self.environments);
        for lease in leases.values().chain([&self.lease]) {
            if let Err(error) = self.journal.release_lease(lease).await {
                tracing::warn!(%error, scope = %lease.scope, "could not give the lease back");
            }
        }
    }

    fn fence(&self, environment: &EnvironmentName) -> Fence {
        Fence(self.run.environments.get(environment).map_or(0, |entered| entered.fence))
    }
}

/// Tells a lost lease from a journal that cannot be used.
fn lost(error: AppendError) -> Ended {
    match error {
        // Someone else has written to the run: as good as a lost lease.
        AppendError::LeaseLost { .. } | AppendError::Conflict { .. } => Ended::LeaseLost(error),
        AppendError::Claimed { .. } | AppendError::Journal(_) => Ended::Journal(error),
    }
}
