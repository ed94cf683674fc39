//! `serin hold`: placing, lifting and listing what keeps runs from starting.

use super::asking;
use crate::args::{HoldCommand, Place};
use crate::context::Context;
use crate::failure::{Code, Failure};
use crate::show::{date, line, print, table};
use serin_engine::environment::concerns;
use serin_model::{Environment, EnvironmentName, FleetName, Held, HeldBy, MidRun, Plan, Timestamp};
use serin_runtime::environment::{EnvironmentRequest, Stream, Want, windows};
use std::collections::BTreeMap;
use std::time::Duration;

/// How far ahead windows are listed.
const AHEAD: Duration = Duration::from_hours(7 * 24);

/// How far ahead a plan names windows: no run of a day is longer.
const PLANNED_AHEAD: Duration = Duration::from_hours(24);

pub(crate) async fn run(context: &Context, command: HoldCommand) -> Result<Code, Failure> {
    match command {
        HoldCommand::Place { place, reason, length, until, mid_run } => {
            let until = end(context.clock.now(), length, until.as_deref())?;
            place_hold(context, place, reason, (until, mid_run.into())).await
        }
        HoldCommand::Lift { hold, reason } => {
            asking::find(context, &hold.environment)?;
            let want = Want::LiftHold { id: hold.id };
            let request = EnvironmentRequest { by: context.by(), why: reason, want };
            let answer = asking::ask(context, &hold.environment, request).await?;
            asking::say(context, &hold.environment, &answer)
        }
        HoldCommand::List => list(context).await,
    }
}

async fn place_hold(
    context: &Context,
    Place { environment: name, fleet }: Place,
    why: String,
    (until, mid_run): (Option<Timestamp>, MidRun),
) -> Result<Code, Failure> {
    asking::find_place(context, &name, fleet.as_ref())?;
    let want = Want::PlaceHold { fleet, until, mid_run };
    let request = EnvironmentRequest { by: context.by(), why, want };
    let answer = asking::ask(context, &name, request).await?;
    asking::say(context, &name, &answer)
}

fn end(
    now: Timestamp,
    length: Option<Duration>,
    until: Option<&str>,
) -> Result<Option<Timestamp>, Failure> {
    let Some(until) = until else { return Ok(length.map(|length| now.plus(length))) };
    moment(until).map(Some)
}

/// Reads a date and a time, by the clock of this machine.
pub(crate) fn moment(until: &str) -> Result<Timestamp, Failure> {
    let wrong = || {
        Failure::new(Code::Refused, format!("{until:?} is not a date and a time"))
            .hint("write it as 2026-12-01T08:00, by the clock of this machine")
    };
    let read = jiff::civil::DateTime::strptime("%Y-%m-%dT%H:%M", until);
    let read = read.ok().and_then(|at| at.to_zoned(jiff::tz::TimeZone::system()).ok());
    let millis = read.and_then(|at| u64::try_from(at.timestamp().as_millisecond()).ok());
    millis.map(Timestamp::from_millis).ok_or_else(wrong)
}

async fn list(context: &Context) -> Result<Code, Failure> {
    let now = context.clock.now();
    let mut rows = table(&["HOLD", "ON", "BEGINS", "ENDS", "IN MID-RUN", "BY", "REASON"]);
    let mut objects = Vec::new();
    for environment in context.config.topology.environments.values() {
        let held = on(context, environment, now).await?.into_iter().map(|held| (None, held));
        let coming = windows::ahead(environment, now, AHEAD).into_iter();
        for (begins, held) in held.chain(coming.map(|(begins, held)| (Some(begins), held))) {
            objects.push(object(&held, begins));
            rows.add_row([
                id(&held),
                place(&held),
                begins.map_or_else(|| "on".to_owned(), date),
                held.until.map_or_else(|| "when it is lifted".to_owned(), date),
                held.mid_run.to_string(),
                held.owner.clone(),
                held.reason.clone(),
            ]);
        }
    }
    if context.json() {
        line(serde_json::to_string(&objects).unwrap_or_default());
    } else if objects.is_empty() {
        line("nothing is held, and no freeze window begins within seven days");
    } else {
        print(&rows);
    }
    Ok(Code::Done)
}

fn id(held: &Held) -> String {
    match &held.by {
        HeldBy::Hold(id) => format!("{}/{id}", held.environment),
        HeldBy::Patch(id) => format!("patch {}", id.short()),
        HeldBy::Window { .. } => "window".to_owned(),
    }
}

fn place(held: &Held) -> String {
    match &held.fleet {
        Some(fleet) => format!("{}/{fleet}", held.environment),
        None => held.environment.to_string(),
    }
}

/// Shows what holds an environment as JSON.
pub(crate) fn object(held: &Held, begins: Option<Timestamp>) -> serde_json::Value {
    serde_json::json!({
        "id": id(held),
        "environment": held.environment.as_str(),
        "fleet": held.fleet.as_ref().map(FleetName::as_str),
        "on": begins.is_none(),
        "begins": begins.map(Timestamp::as_millis),
        "until": held.until.map(Timestamp::as_millis),
        "mid_run": held.mid_run.to_string(),
        "by": held.owner,
        "reason": held.reason,
    })
}

/// Returns everything that holds an environment now.
pub(crate) async fn on(
    context: &Context,
    environment: &Environment,
    now: Timestamp,
) -> Result<Vec<Held>, Failure> {
    let stream = Stream::read(context.journal.as_ref(), &environment.name).await?;
    Ok(stream.state.held(&windows::on(environment, now), now))
}

/// Returns what is in the way of a plan now, by environment.
pub(crate) async fn in_the_way(
    context: &Context,
    plan: &Plan,
) -> Result<BTreeMap<EnvironmentName, Vec<Held>>, Failure> {
    let now = context.clock.now();
    let mut all = BTreeMap::new();
    for (name, environment) in &plan.topology.environments {
        let stream = Stream::read(context.journal.as_ref(), name).await?;
        let held = stream.state.held(&windows::on(environment, now), now);
        let mut held = stream.state.met_by(plan, held);
        held.retain(|held| plan.stages.iter().any(|stage| concerns(held, stage, &plan.topology)));
        if !held.is_empty() {
            all.insert(name.clone(), held);
        }
    }
    Ok(all)
}

/// Says what holds the environments of a plan, and which windows its run may meet.
pub(crate) async fn notes(context: &Context, plan: &Plan) -> Result<Vec<String>, Failure> {
    let now = context.clock.now();
    let held = in_the_way(context, plan).await?.into_values().flatten();
    let mut notes: Vec<String> = held.map(|held| format!("{held} ({})", held.mid_run)).collect();
    for (name, environment) in &plan.topology.environments {
        if !plan.stages.iter().any(|stage| stage.environment == *name) {
            continue;
        }
        let coming = windows::ahead(environment, now, PLANNED_AHEAD);
        notes.extend(coming.into_iter().map(|(begins, held)| {
            format!("from {}, {held} (a run on its way: {})", date(begins), held.mid_run)
        }));
    }
    Ok(notes)
}
