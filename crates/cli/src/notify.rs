//! People are told how runs go, by whoever acts for the run: only the ends, each once, and never so that a run waits.
//!
//! What is told is put into a queue with a bound and sent by a task beside the run. What cannot be told is said once, to
//! the person at the terminal, and changes nothing.

pub(crate) mod post;

pub(crate) use post::Post;

use crate::commands::halted;
use crate::context::Context;
use crate::failure::Failure;
use crate::show::embargo::{self, Veil};
use serin_chat::notice::Notice;
use serin_engine::{Due, Event, Run, Status};
use serin_model::{NoticeKind, Reason, RunId, Timestamp};
use serin_runtime::{Observer, ports::Alert};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A run has a handful of ends. More than these wait only where nobody takes any.
const WAITING: usize = 32;

/// How long the process waits in the end for what was not yet sent: two attempts of five seconds.
const SETTLE: Duration = Duration::from_secs(10);

/// The observer of a run that says what people are told.
struct Telling {
    id: RunId,
    veil: Veil,
    queue: mpsc::Sender<Option<Notice>>,
}

/// The task that tells it.
pub(crate) struct Teller {
    queue: mpsc::Sender<Option<Notice>>,
    task: JoinHandle<()>,
}

/// Begins to tell people how a run goes; nothing if the configuration has nobody to be told.
pub(crate) fn begin(context: &Context, id: &RunId) -> Option<(Box<dyn Observer>, Teller)> {
    if context.config.chat.notify.is_empty() {
        return None;
    }
    let away = |failure: Failure| {
        tracing::warn!("nobody is told how run {id} goes: {}", failure.what);
    };
    let post = Post::new(&context.config).map_err(away).ok()?;
    let (queue, waiting) = mpsc::channel(WAITING);
    let veil = embargo::from_everybody(&context.config.repository.embargo);
    let task = tokio::spawn(send(post, waiting));
    let observer = Telling { id: id.clone(), veil, queue: queue.clone() };
    Some((Box::new(observer), Teller { queue, task }))
}

impl Teller {
    /// Waits a moment until everything is told. What is not by then never will be, and nothing fails by it.
    pub(crate) async fn end(mut self) {
        let rest = async {
            self.queue.send(None).await.unwrap_or_default();
            (&mut self.task).await.unwrap_or_default();
        };
        if tokio::time::timeout(SETTLE, rest).await.is_err() {
            tracing::warn!(
                "what people were to be told about the run has not been taken within 10 s"
            );
        }
    }
}

async fn send(post: Post, mut waiting: mpsc::Receiver<Option<Notice>>) {
    let mut failed = BTreeSet::new();
    while let Some(Some(notice)) = waiting.recv().await {
        for to in post.told(notice.kind, &notice.environment) {
            if let Err(failure) = post.notice(&to, &notice).await
                && failed.insert(to.clone())
            {
                tracing::warn!(
                    "{to} could not be told that run {} is {}: {}; the run is not affected",
                    notice.run,
                    notice.kind,
                    failure.what
                );
            }
        }
    }
}

/// Returns what people are told of an event, if it is one of a run's ends. `run` is the run after it.
fn notice(id: &RunId, run: &Run, at: Timestamp, event: &Event) -> Option<Notice> {
    let what = format!("{} {}", run.plan.pipeline, run.plan.build.version);
    let (kind, text, todo) = match event {
        Event::Adopted { by, .. } if is_untouched(run) && run.status == Status::Running => {
            (NoticeKind::Started, format!("run {id} has begun: {what} (by {by})"), Vec::new())
        }
        Event::Halted => {
            let Status::Halted(reason) = &run.status else { return None };
            if gives_way(run, reason) {
                return None;
            }
            let mut told = halted::told(id, run, reason, None);
            let todo = if told.is_empty() { Vec::new() } else { told.split_off(1) };
            (NoticeKind::Halted, format!("{} ({what})", told.concat()), todo)
        }
        Event::Finished => {
            (NoticeKind::Finished, format!("run {id} is finished: {what}"), Vec::new())
        }
        Event::Cancelled { by, why } => (
            NoticeKind::Cancelled,
            format!("run {id} was given up: {what} (by {by}: {why})"),
            Vec::new(),
        ),
        Event::Started { .. }
        | Event::Adopted { .. }
        | Event::EnvironmentEntered { .. }
        | Event::FenceRaised { .. }
        | Event::EnvironmentLeft { .. }
        | Event::AttemptStarted { .. }
        | Event::AttemptEnded { .. }
        | Event::DrainLost { .. }
        | Event::ShareLost { .. }
        | Event::AlertsChanged { .. }
        | Event::HeldChanged { .. }
        | Event::BakeProgressed { .. }
        | Event::WithdrawalStarted { .. }
        | Event::WithdrawalEnded { .. }
        | Event::HaltRequested { .. }
        | Event::Resumed { .. } => return None,
    };
    let stage = run.current().map(|(stage, _, _)| stage).or_else(|| run.plan.stages.last())?;
    Some(Notice {
        kind,
        run: id.clone(),
        environment: stage.environment.clone(),
        at,
        text,
        todo: todo.iter().map(|line| line.trim_start().to_owned()).collect(),
    })
}

/// A run that gives way to another has halted for a moment only, and nobody has to see to it.
fn gives_way(run: &Run, reason: &Reason) -> bool {
    match reason {
        Reason::Superseded { .. } | Reason::Outdated { .. } => true,
        Reason::Claimed { .. } => is_untouched(run),
        Reason::AlertsFiring(_)
        | Reason::AlertsUnreadable(_)
        | Reason::Unexpected { .. }
        | Reason::CommandFailed { .. }
        | Reason::Unreachable { .. }
        | Reason::TimedOut { .. }
        | Reason::SessionsLeft { .. }
        | Reason::Refused(_)
        | Reason::Fenced { .. }
        | Reason::OutcomeUnknown(_)
        | Reason::TestsFailed(_)
        | Reason::TooFewTests { .. }
        | Reason::TooFewRequests { .. }
        | Reason::QaBroken(_)
        | Reason::Strays(_)
        | Reason::StepFailed { .. }
        | Reason::NotAdmitted { .. }
        | Reason::Held(_)
        | Reason::Person { .. }
        | Reason::Interrupted => false,
    }
}

fn is_untouched(run: &Run) -> bool {
    run.plan.steps().all(|(_, _, step)| run.attempts(&step.id) == 0)
}

impl Observer for Telling {
    fn event(&mut self, run: &Run, at: Timestamp, event: &Event) {
        let Some(mut notice) = notice(&self.id, run, at, event) else { return };
        self.veil.learn([&run.plan.build]);
        notice.text = self.veil.over(&notice.text);
        notice.todo = notice.todo.iter().map(|line| self.veil.over(line)).collect();
        if self.queue.try_send(Some(notice)).is_err() {
            tracing::warn!("too much waits to be told: people do not hear all of run {}", self.id);
        }
    }

    fn due(&mut self, _run: &Run, _due: &Due) {}
    fn attributed(&mut self, _alerts: &[Alert]) {}
    fn trouble(&mut self, _what: &str) {}
}
