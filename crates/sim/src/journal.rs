//! The journal of one pretend process: the one in memory, read along by the ledger, and deadly where a scenario says.

use crate::checker::Checker;
use crate::faults::{Faults, Kill};
use crate::ports::Shared;
use crate::process::Process;
use crate::seeds::Planted;
use crate::strikes::{AFTER, Strike, Then};
use crate::world::Written;
use async_trait::async_trait;
use serin_engine::Event;
use serin_engine::transitions::Cause;
use serin_journal::{
    Append, AppendError, CommandId, EnvironmentAppend, FailMode, Holder, Inbox, Journal,
    JournalError, Lease, LeaseRefused, Record, RunSummary, Scope, TrailAppend,
};
use serin_model::{EnvironmentName, RunId, Timestamp};
use serin_runtime::inbox::{Ask, Request};
use serin_runtime::records;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Which appends a journal drops that drops some.
const DROPPED: u64 = 40;

/// Every append so far, and at which of them controllers die.
#[derive(Debug, Default)]
pub(crate) struct Appends {
    /// What was in each, in order.
    pub(crate) made: Vec<String>,
    kills: BTreeSet<Kill>,
    fails: BTreeMap<u64, FailMode>,
}

/// A journal.
#[derive(Debug, Clone)]
pub(crate) struct SimJournal {
    pub(crate) shared: Shared,
    pub(crate) process: Process,
    pub(crate) appends: Arc<Mutex<Appends>>,
}

impl Appends {
    pub(crate) fn new(faults: &Faults) -> Arc<Mutex<Self>> {
        let kills = faults.kills.iter().copied().collect();
        let fails = faults.appends.clone();
        Arc::new(Mutex::new(Self { made: Vec::new(), kills, fails }))
    }

    /// Lets every append from now on succeed, and nobody die of it.
    pub(crate) fn heal(&mut self) {
        self.kills.clear();
        self.fails.clear();
    }
}

impl SimJournal {
    /// Dies if a scenario says so.
    async fn may_die(&self, kill: fn(u64) -> Kill, number: u64) {
        let dies = {
            let mut appends = self.appends.lock().unwrap_or_else(PoisonError::into_inner);
            appends.kills.remove(&kill(number))
        };
        if dies {
            self.shared.now().note("controller", &format!("dies: {:?}", kill(number)));
            self.process.kill();
            std::future::pending::<()>().await;
        }
    }

    /// Dies if a scenario says so of what is about to be written, or was.
    async fn may_die_of(&self, append: &Append<'_>, written: Written) {
        let events = Self::parse(append.run, append.records, append.at).unwrap_or_default();
        let dies = {
            let mut world = self.shared.now();
            let causes = events.iter().map(Cause::of);
            // Each of them is told, also after one that kills.
            let kills = causes.filter(|cause| world.upon(*cause, written)).count();
            let dies = kills > 0;
            if dies {
                world.note("controller", &format!("dies of what is {written:?} written"));
            }
            dies
        };
        if dies {
            self.process.kill();
            std::future::pending::<()>().await;
        }
    }

    /// Returns the number that the next append has.
    fn next(&self) -> u64 {
        let appends = self.appends.lock().unwrap_or_else(PoisonError::into_inner);
        u64::try_from(appends.made.len()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// Has the journal fail the append that comes, if a scenario says so, and returns how.
    fn may_fail(&self, number: u64) -> Option<FailMode> {
        let mut appends = self.appends.lock().unwrap_or_else(PoisonError::into_inner);
        let mode = appends.fails.remove(&number)?;
        drop(appends);
        self.shared.now().note("journal", &format!("goes wrong: {mode:?}"));
        self.process.journal.fail_next(mode);
        Some(mode)
    }

    fn parse(run: &RunId, texts: &[String], at: Timestamp) -> Result<Vec<Event>, String> {
        let parse = |text: &String| {
            let record = Record { seq: 0, at, body: text.clone() };
            records::read(run, &record).map_err(|error| error.to_string())
        };
        texts.iter().map(parse).collect()
    }

    /// Returns the records that a planted bug does not leave out.
    fn kept(&self, append: &Append<'_>) -> Vec<String> {
        let Some(planted) = self.shared.now().planted else { return append.records.to_vec() };
        let stays = |text: &&String| {
            let events = Self::parse(append.run, std::slice::from_ref(*text), append.at);
            !events.is_ok_and(|events| events.iter().any(|event| planted.leaves_out(event)))
        };
        append.records.iter().filter(stays).cloned().collect()
    }

    /// Has the ledger read what was appended.
    fn read_along(&self, append: &Append<'_>) -> Vec<Then> {
        let mut then = Vec::new();
        let events = Self::parse(append.run, append.records, append.at);
        let mut world = self.shared.now();
        let mut began = Vec::new();
        let (shown, wrong) = match events {
            Ok(events) => {
                for event in &events {
                    world.check_fenced(event);
                    world.check_passed(append.run, event);
                    if let Event::AttemptStarted { step, .. } = event {
                        began.push(step.clone());
                    }
                }
                let shown: Vec<String> = events.iter().map(show).collect();
                let wrong = world.ledger.append(append.run, &events, append.at);
                let mut wrong: Vec<_> = wrong.into_iter().map(|w| (Checker::Order, w)).collect();
                let illegal = world.coverage.append(append.run, &events).err();
                wrong.extend(illegal.map(|illegal| (Checker::Transitions, illegal)));
                (shown.join("; "), wrong)
            }
            Err(wrong) => (String::new(), vec![(Checker::Transitions, wrong)]),
        };
        world.note("journal", &shown);
        for (checker, wrong) in wrong {
            world.violation(checker, wrong);
        }
        for step in began {
            then.extend(world.step_begins(append.run, &step));
        }
        drop(world);
        self.appends.lock().unwrap_or_else(PoisonError::into_inner).made.push(shown);
        then
    }

    /// Has the process die in the middle of the step that has just begun.
    fn dies_soon(&self) {
        let (process, shared) = (self.process.clone(), self.shared.clone());
        tokio::spawn(async move {
            tokio::time::sleep(AFTER).await;
            if !process.is_dead() {
                shared.now().befell(&Strike::Dies.to_string());
                process.kill();
            }
        });
    }

    /// Has a person say that what the run waits for was done.
    async fn approve(
        &self,
        append: &Append<'_>,
        environment: &EnvironmentName,
    ) -> Result<(), JournalError> {
        let (by, why) = ("mira".to_owned(), "it was done".to_owned());
        let request = Request { run: append.run.clone(), by, why, ask: Ask::Approve };
        let body = serde_json::to_string(&request).unwrap_or_default();
        self.process.journal.send(environment, &body, append.at).await.map(drop)
    }

    /// Notes what was recorded of an environment.
    fn read_along_environment(&self, append: &EnvironmentAppend<'_>) {
        let read = |body: &String| {
            let record = Record { seq: 0, at: append.at, body: body.clone() };
            match records::read_environment(append.environment, &record) {
                Ok(event) => {
                    let mut world = self.shared.now();
                    world.ledger.of_environment(append.environment, &event);
                    let taken = world.coverage.of_environment(append.environment, &event);
                    match taken {
                        // Only what befalls the world waits for this: no process dies of it.
                        Ok(arrow) => {
                            let _dies = arrow.is_some_and(|a| world.upon(a.cause, Written::Now));
                        }
                        Err(wrong) => world.violation(Checker::Transitions, wrong),
                    }
                    format!("{event:?}")
                }
                Err(error) => error.to_string(),
            }
        };
        let facts: Vec<String> = append.records.iter().map(read).collect();
        let shown = format!("{}: {}", append.environment, facts.join("; "));
        self.shared.now().note("journal", &shown);
        self.appends.lock().unwrap_or_else(PoisonError::into_inner).made.push(shown);
    }
}

fn show(event: &Event) -> String {
    match event {
        Event::Started { by, .. } => format!("started by {by}"),
        Event::AttemptStarted { step, attempt, .. } => format!("began {step} {attempt}"),
        Event::AttemptEnded { step, outcome, .. } => format!("ended {step}: {outcome:?}"),
        Event::Adopted { .. }
        | Event::EnvironmentEntered { .. }
        | Event::FenceRaised { .. }
        | Event::EnvironmentLeft { .. }
        | Event::DrainLost { .. }
        | Event::ShareLost { .. }
        | Event::AlertsChanged { .. }
        | Event::HeldChanged { .. }
        | Event::BakeProgressed { .. }
        | Event::HaltRequested { .. }
        | Event::WithdrawalStarted { .. }
        | Event::WithdrawalEnded { .. }
        | Event::Halted
        | Event::Resumed { .. }
        | Event::Cancelled { .. }
        | Event::Finished => format!("{event:?}"),
    }
}

/// Tells an append whose acknowledgement was lost from one that was refused for what it holds.
fn is_unknown(appended: &Result<u64, AppendError>) -> bool {
    matches!(appended, Err(AppendError::Journal(JournalError::Storage { .. })))
}

#[async_trait]
impl Journal for SimJournal {
    async fn create_run(&self, first: &str, now: Timestamp) -> Result<RunId, JournalError> {
        let id = self.process.journal.create_run(first, now).await?;
        let mut world = self.shared.now();
        match Self::parse(&id, &[first.to_owned()], now) {
            Ok(events) => {
                for event in events {
                    let opened = world.coverage.open(id.clone(), &event);
                    if let Err(wrong) = opened {
                        world.violation(Checker::Transitions, wrong);
                    }
                    world.ledger.open(id.clone(), event);
                }
            }
            Err(wrong) => world.violation(Checker::Transitions, wrong),
        }
        drop(world);
        Ok(id)
    }

    async fn append(&self, append: &Append<'_>) -> Result<u64, AppendError> {
        let number = self.next();
        self.may_die(Kill::Before, number).await;
        self.may_die_of(append, Written::NotYet).await;
        let fails = self.may_fail(number);
        if number.is_multiple_of(DROPPED)
            && self.shared.now().planted == Some(Planted::DropsAppends)
        {
            self.appends.lock().unwrap_or_else(PoisonError::into_inner).made.push(String::new());
            let count = u64::try_from(append.records.len()).unwrap_or(u64::MAX);
            return Ok(append.expected.saturating_add(count));
        }
        let kept = self.kept(append);
        if kept.is_empty() {
            return Ok(append.expected);
        }
        let Append { run, expected, records: _, at, leases, claims } = *append;
        let append = &Append { run, expected, records: &kept, at, leases, claims };
        let appended = self.process.journal.append(append).await;
        if appended.is_ok() || fails == Some(FailMode::Unacknowledged) && is_unknown(&appended) {
            for then in self.read_along(append) {
                match then {
                    Then::Dies => self.dies_soon(),
                    Then::Approves(environment) => self.approve(append, &environment).await?,
                }
            }
            self.may_die_of(append, Written::Now).await;
        }
        let last = appended?;
        self.may_die(Kill::After, number).await;
        Ok(last)
    }

    async fn read_environment(
        &self,
        environment: &EnvironmentName,
        after: u64,
    ) -> Result<Vec<Record>, JournalError> {
        self.process.journal.read_environment(environment, after).await
    }

    async fn append_environment(&self, append: &EnvironmentAppend<'_>) -> Result<u64, AppendError> {
        let number = self.next();
        self.may_die(Kill::Before, number).await;
        let fails = self.may_fail(number);
        let appended = self.process.journal.append_environment(append).await;
        if appended.is_ok() || fails == Some(FailMode::Unacknowledged) && is_unknown(&appended) {
            self.read_along_environment(append);
        }
        let last = appended?;
        self.may_die(Kill::After, number).await;
        Ok(last)
    }

    async fn read_trail(&self, after: u64) -> Result<Vec<Record>, JournalError> {
        self.process.journal.read_trail(after).await
    }

    async fn end_of_trail(&self) -> Result<Option<Record>, JournalError> {
        self.process.journal.end_of_trail().await
    }

    async fn append_trail(&self, append: &TrailAppend<'_>) -> Result<u64, AppendError> {
        self.process.journal.append_trail(append).await
    }

    async fn runs(&self) -> Result<Vec<RunSummary>, JournalError> {
        self.process.journal.runs().await
    }

    async fn read(&self, run: &RunId, after: u64) -> Result<Vec<Record>, JournalError> {
        self.process.journal.read(run, after).await
    }

    async fn take_lease(
        &self,
        scope: &Scope,
        holder: &Holder,
        ttl: Duration,
    ) -> Result<Lease, LeaseRefused> {
        self.process.journal.take_lease(scope, holder, ttl).await
    }

    async fn beat(&self, lease: &Lease) -> Result<(), AppendError> {
        self.process.journal.beat(lease).await
    }

    async fn release_lease(&self, lease: &Lease) -> Result<(), JournalError> {
        self.process.journal.release_lease(lease).await
    }

    async fn holder(&self, scope: &Scope) -> Result<Option<(Holder, bool)>, JournalError> {
        self.process.journal.holder(scope).await
    }

    async fn claims(&self) -> Result<BTreeMap<EnvironmentName, RunId>, JournalError> {
        self.process.journal.claims().await
    }

    async fn send(
        &self,
        environment: &EnvironmentName,
        body: &str,
        now: Timestamp,
    ) -> Result<CommandId, JournalError> {
        self.process.journal.send(environment, body, now).await
    }

    async fn inbox(&self, environment: &EnvironmentName) -> Result<Vec<Inbox>, JournalError> {
        self.process.journal.inbox(environment).await
    }

    async fn answer(
        &self,
        lease: &Lease,
        command: CommandId,
        answer: &str,
    ) -> Result<(), AppendError> {
        self.process.journal.answer(lease, command, answer).await
    }

    async fn answered(&self, command: CommandId) -> Result<Option<String>, JournalError> {
        self.process.journal.answered(command).await
    }
}
