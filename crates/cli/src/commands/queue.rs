//! A new build while others are busy: whether it starts, and what becomes of a run that waited.

use super::{drive, plan};
use crate::args::{Detail, Past};
use crate::context::Context;
use crate::failure::{Code, Failure};
use serin_engine::queue::{ahead, brings_to_canary, busy, waits_for};
use serin_engine::{Command, Status};
use serin_model::{EnvironmentName, Pace, Pipeline, Queue, Reason, RunId, WhenBusy};
use serin_planner::bakes_afterwards;
use serin_runtime::queue::Runs;
use serin_runtime::{Until, records};

/// Returns how runs of a pipeline give way to others; `None`: it brings nothing to a canary.
pub(crate) fn of(context: &Context, pipeline: &Pipeline) -> Option<Queue> {
    let promotion = &context.config.promotion;
    let (when_busy, baked_for) = (promotion.when_busy, promotion.baked_for);
    let queued = brings_to_canary(pipeline, &context.config.topology);
    queued.then_some(Queue { when_busy, baked_for, first: None })
}

/// A new build is refused where others are busy, if the configuration wants it so.
pub(crate) async fn refuse_if_busy(context: &Context, pipeline: &Pipeline) -> Result<(), Failure> {
    let Some(queue) = of(context, pipeline) else { return Ok(()) };
    match queue.when_busy {
        WhenBusy::QueueLatest | WhenBusy::Supersede => return Ok(()),
        WhenBusy::Skip => {}
    }
    let runs = Runs::default().read(context.journal.as_ref()).await?;
    let place = (pipeline, &context.config.topology);
    match busy(place, &runs, queue.baked_for, context.clock.now()) {
        None => Ok(()),
        Some(busy) => Err(Failure::new(Code::Refused, format!("skipped: {busy}")).hint(
            "serin.toml says `when_busy = \"skip\"`: nothing was begun; start it again when that is over",
        )),
    }
}

/// A run whose plan would look older than what is recorded is refused before it is made.
pub(crate) async fn refuse_if_clock_was_set_back(context: &Context) -> Result<(), Failure> {
    let mut latest = Vec::new();
    for summary in context.journal.runs().await? {
        let records = context.journal.read(&summary.id, summary.last.saturating_sub(1)).await?;
        latest.extend(records.last().map(|record| (summary.id, record.at)));
    }
    let Some((run, by)) = ahead(latest, context.clock.now()) else { return Ok(()) };
    let what = format!(
        "run {run} has a record of {} s from now: this machine's clock is behind",
        by.as_secs()
    );
    Err(Failure::new(Code::Refused, what).hint("nothing was begun; set the clock right"))
}

/// Sees to a run that did not get its turn: it is given up. One whose plan was outdated while it waited goes on as a new
/// run, with the same bytes, from where it was.
pub(crate) async fn settle(
    context: &Context,
    id: RunId,
    code: Code,
    (past, until): (&Past, Until),
) -> Result<Code, Failure> {
    let (run, _) = records::load(context.journal.as_ref(), &id).await?;
    let Status::Halted(reason @ (Reason::Superseded { .. } | Reason::Outdated { .. })) =
        &run.status
    else {
        return Ok(code);
    };
    let cancel = Command::Cancel { by: context.by(), why: reason.to_string() };
    let cancelled = drive::drive(context, context.ports()?, id.clone(), Some(cancel)).await?;
    let (Reason::Outdated { .. }, Code::Cancelled) = (reason, cancelled) else {
        return Ok(cancelled);
    };
    let pipeline = plan::pipeline(context, &run.plan.pipeline)?;
    let build = &run.plan.build;
    context.say(format!("planning the rest of run {id} again, with the same bytes"));
    let passed = plan::passed(context, pipeline, build).await?;
    let asked =
        plan::Asked { pipeline, build, pace: Pace::Careful, back: None, patching: None, passed };
    let ports = context.ports()?;
    let mut planned = plan::plan(context, &ports, asked).await?;
    let first = run.plan.queue.as_ref().and_then(|queue| queue.first.clone()).unwrap_or(id);
    planned.plan.queue = of(context, pipeline).map(|queue| Queue { first: Some(first), ..queue });
    planned.plan.actors = run.plan.actors.clone();
    if bakes_afterwards(&run.plan) {
        planned.plan = plan::bake_afterwards(planned.plan)?;
    }
    let planned = (planned, Detail::Stages);
    Box::pin(drive::begin_until(context, ports, planned, (past, until))).await
}

/// Says which runs wait for an environment.
pub(crate) async fn waiting(
    context: &Context,
    environment: &EnvironmentName,
) -> Result<Vec<String>, Failure> {
    let mut lines = Vec::new();
    for id in context.open_runs().await?.iter().rev() {
        let (run, _) = records::load(context.journal.as_ref(), id).await?;
        if waits_for(&run) == Some(environment) {
            lines.push(format!("  WAITS  run {id} with {} comes next", run.plan.build.version));
        }
    }
    Ok(lines)
}
