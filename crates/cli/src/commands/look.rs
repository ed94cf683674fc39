//! Looking at runs and environments: `status`, `runs`, `show`, `watch`.

use crate::args::Show;
use crate::context::Context;
use crate::failure::{Code, Failure};
use crate::show::{
    date, environment, json, line, lines::Lines, print, table, times::took, way_back::can_go_back,
};
use serin_engine::environment::Overridden;
use serin_engine::{OutOfService, Run, Status, StepState, Times};
use serin_journal::Scope;
use serin_model::{Action, EnvironmentName, FleetName, HostName, RunId, Stage, Subject};
use serin_runtime::environment::{Stream, windows};
use serin_runtime::records::{self, End};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(crate) async fn status(context: &Context) -> Result<Code, Failure> {
    let claims = context.journal.claims().await?;
    if context.json() {
        let status = status_object(context, &claims).await?;
        line(serde_json::to_string(&status).unwrap_or_default());
        return Ok(Code::Done);
    }
    for name in context.config.topology.environments.keys() {
        let mut left = of_environment(context, name).await?;
        left.extend(super::queue::waiting(context, name).await?);
        left.extend(left_behind(context, name).await?.iter().map(|(id, host)| {
            let (host, why) = (&host.host, &host.why);
            format!(
                "  OUT OF SERVICE  {host}  since run {id} was given up  {why}; the next run puts it right"
            )
        }));
        let Some(id) = claims.get(name) else {
            line(format!("{name}: free"));
            left.into_iter().for_each(line);
            continue;
        };
        let (run, _) = records::load(context.journal.as_ref(), id).await?;
        line(format!("{name}: run {id}, {} of {}", run.plan.pipeline, run.plan.build.version));
        line(format!("  {}", state(&run)));
        line(format!("  {}", acting(context, id, &run).await?));
        let told = can_go_back(&run, &context.config.pipelines);
        told.into_iter().for_each(line);
        out_of_service(&run).into_iter().chain(withdrawn(&run)).for_each(line);
        left.into_iter().for_each(line);
    }
    Ok(Code::Done)
}

/// Returns what `status` says as JSON.
async fn status_object(
    context: &Context,
    claims: &BTreeMap<EnvironmentName, RunId>,
) -> Result<serde_json::Value, Failure> {
    let now = context.clock.now();
    let (mut held, mut overridden, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    for environment in context.config.topology.environments.values() {
        let on = super::hold::on(context, environment, now).await?;
        held.extend(on.iter().map(|held| super::hold::object(held, None)));
        let name = environment.name.as_str();
        let stream = Stream::read(context.journal.as_ref(), &environment.name).await?;
        overridden.extend(stream.state.overridden.iter().map(|over| {
            serde_json::json!({
                "environment": name, "run": over.run.as_str(), "by": over.by,
                "second": over.second, "reason": over.why,
            })
        }));
        shares.extend(stream.state.shares.iter().map(|(fleet, share)| {
            serde_json::json!({
                "environment": name, "fleet": fleet.as_str(), "by": share.by,
                "percent": share.ramp.at(now),
            })
        }));
    }
    let claims: BTreeMap<&str, &str> =
        claims.iter().map(|(name, run)| (name.as_str(), run.as_str())).collect();
    Ok(serde_json::json!({
        "claims": claims, "held": held, "overridden": overridden, "shares": shares,
    }))
}

/// Says what holds an environment, which runs were let through that, and which shares of traffic are intended.
async fn of_environment(context: &Context, name: &EnvironmentName) -> Result<Vec<String>, Failure> {
    let now = context.clock.now();
    let Some(environment) = context.config.topology.environments.get(name) else {
        return Ok(Vec::new());
    };
    let stream = Stream::read(context.journal.as_ref(), name).await?;
    let held = stream.state.held(&windows::on(environment, now), now);
    let mut lines: Vec<String> = held.iter().map(|held| format!("  HELD  {held}")).collect();
    for over in &stream.state.overridden {
        let (run, _) = records::load(context.journal.as_ref(), &over.run).await?;
        if run.is_over() {
            continue;
        }
        lines.push(overridden(over));
    }
    for (id, patch) in stream.state.open_patches() {
        let fleets: Vec<&str> = patch.fleets.iter().map(FleetName::as_str).collect();
        lines.push(format!(
            "  {} is to have patch {} ({}): serin patch list",
            fleets.join(", "),
            id.short(),
            patch.incident
        ));
    }
    for (fleet, share) in &stream.state.shares {
        let percent = share.ramp.at(now);
        lines.push(format!("  {fleet} is meant to get {percent}% of traffic, says {}", share.by));
    }
    Ok(lines)
}

fn overridden(over: &Overridden) -> String {
    let second = over.second.as_ref().map(|who| format!(" and {who}")).unwrap_or_default();
    let (id, by, why) = (&over.run, &over.by, &over.why);
    format!("  OVERRIDDEN  run {id} was let through what was on by {by}{second}: {why}")
}

/// Says who let a run through what, in any environment of its plan.
async fn let_through(context: &Context, id: &RunId, run: &Run) -> Result<Vec<String>, Failure> {
    let mut lines = Vec::new();
    for name in run.plan.topology.environments.keys() {
        let stream = Stream::read(context.journal.as_ref(), name).await?;
        let of_run = stream.state.overridden.iter().filter(|over| over.run == *id);
        lines.extend(of_run.map(overridden));
    }
    Ok(lines)
}

/// Shows an environment's stream from its beginning.
pub(crate) async fn history(context: &Context, name: &EnvironmentName) -> Result<Code, Failure> {
    super::asking::find(context, name)?;
    let records = context.journal.read_environment(name, 0).await?;
    if context.json() {
        for record in &records {
            let event =
                json::environment(name, record.at, &records::read_environment(name, record)?);
            line(event);
        }
        return Ok(Code::Done);
    }
    if records.is_empty() {
        line(format!("nothing was ever asked of {name} apart from runs"));
    }
    for record in &records {
        let event = records::read_environment(name, record)?;
        line(format!("{}  {}", date(record.at), environment::text(&event)));
    }
    Ok(Code::Done)
}

/// Names the hosts of an environment that runs left out of service when they were given up, and that no later run has
/// put back: nobody acts for them any more, so they must not be forgotten.
pub(crate) async fn left_behind(
    context: &Context,
    environment: &EnvironmentName,
) -> Result<Vec<(RunId, OutOfService)>, Failure> {
    let journal = context.journal.as_ref();
    let runs = journal.runs().await?;
    let mut left: BTreeMap<HostName, (RunId, OutOfService)> = BTreeMap::new();
    // Each run is read once at most: a host that is no more is put back by none of them.
    let mut back: BTreeMap<&RunId, BTreeSet<HostName>> = BTreeMap::new();
    for (place, summary) in runs.iter().enumerate() {
        if records::end(journal, summary).await? != End::Cancelled {
            continue;
        }
        let (run, _) = records::load(journal, &summary.id).await?;
        let here = run.current().is_some_and(|(stage, _, _)| stage.environment == *environment);
        let out = run.out_of_service().into_iter().filter(|_| here);
        let mut out: BTreeMap<HostName, OutOfService> =
            out.map(|host| (host.host.clone(), host)).collect();
        for later in runs.iter().take(place).rev() {
            if out.is_empty() {
                break;
            }
            if !back.contains_key(&later.id) {
                let (run, _) = records::load(journal, &later.id).await?;
                back.insert(&later.id, put_back(&run, environment).cloned().collect());
            }
            if let Some(hosts) = back.get(&later.id) {
                out.retain(|host, _| !hosts.contains(host));
            }
        }
        for (host, what) in out {
            left.entry(host).or_insert_with(|| (summary.id.clone(), what));
        }
    }
    Ok(left.into_values().collect())
}

fn put_back<'a>(run: &'a Run, environment: &EnvironmentName) -> impl Iterator<Item = &'a HostName> {
    let ready = run.plan.steps().filter(move |(stage, _, step)| {
        stage.environment == *environment && step.action == Action::Ready && run.is_done(&step.id)
    });
    ready.filter_map(|(_, lane, _)| match &lane.subject {
        Subject::Host(host) => Some(host),
        Subject::Fleet(_) | Subject::Environment => None,
    })
}

/// Says who acts for a run, or what it waits for where nobody does.
pub(crate) async fn acting(context: &Context, id: &RunId, run: &Run) -> Result<String, Failure> {
    let holder = context.journal.holder(&Scope::Run(id.clone())).await?;
    let by_jobs = !run.plan.actors.is_one() && run.status == Status::Running;
    Ok(match holder {
        Some((holder, false)) => format!("{holder} acts for it"),
        Some((holder, true)) if by_jobs => {
            format!("{holder} acted for it and is dead: try its CI job again, or serin adopt {id}")
        }
        Some((holder, true)) => {
            format!("{holder} acted for it and is dead: serin adopt {id} takes over")
        }
        None if by_jobs => next_job(id, run),
        None => format!("nobody acts for it: serin adopt {id}, resume or cancel it"),
    })
}

/// Says what a run waits for whose stages have processes of their own.
pub(crate) fn next_job(id: &RunId, run: &Run) -> String {
    let next = run.current().map(|(stage, _, _)| (stage.number, stage.title.as_str()));
    let (number, title) = next.unwrap_or((0, "its end"));
    format!(
        "waits for its next CI job: {title} (serin ci stage {number} --run {id}; serin adopt {id} goes on to the end)"
    )
}

/// Says how a run stands, in one line.
pub(crate) fn state(run: &Run) -> String {
    let stage = run.current().map(|(stage, number, lanes)| {
        let title = stage.phases.get(number).map_or("", |phase| phase.title.as_str());
        let done = lanes.iter().filter(|lane| run.next(lane).is_none()).count();
        format!("stage {} ({}), {title}, {done} of {} done", stage.number, stage.title, lanes.len())
    });
    let stage = stage.unwrap_or_else(|| "every stage is done".to_owned());
    match &run.status {
        Status::Running => format!("running: {stage}"),
        Status::Halting(reason) => format!("halting in {stage}: {reason}"),
        Status::Halted(reason) => format!("halted in {stage}: {reason}"),
        Status::Finished => "finished".to_owned(),
        Status::Cancelled { by, why } => format!("given up by {by}: {why}"),
    }
}

/// Says which hosts of the environment that a run is in have which version, as the run knows it; nothing if it has
/// changed none of them.
pub(crate) fn who_has_what(run: &Run) -> Vec<String> {
    let Some((stage, _, _)) = run.current() else { return Vec::new() };
    let mut changed = false;
    let mut by_version: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (of, lane, step) in run.plan.steps() {
        let (Action::Install { from }, Subject::Host(host)) = (&step.action, &lane.subject) else {
            continue;
        };
        if of.environment != stage.environment {
            continue;
        }
        let from = from.as_ref().map_or("nothing", |version| version.as_str());
        let to = run.plan.build_for(host).map_or("", |build| build.version.as_str());
        let has = match (run.is_done(&step.id), run.attempts(&step.id)) {
            (true, _) => to.to_owned(),
            (false, 0) => from.to_owned(),
            (false, _) => format!("{from} or {to}, being installed"),
        };
        changed |= run.attempts(&step.id) > 0;
        by_version.entry(has).or_default().push(host.as_str());
    }
    let show = |(version, hosts): (String, Vec<&str>)| format!("  {version}: {}", hosts.join(", "));
    if changed { by_version.into_iter().map(show).collect() } else { Vec::new() }
}

/// Says that the halt took the share of a fleet away, or where that did not succeed.
pub(crate) fn withdrawn(run: &Run) -> Option<String> {
    let known = run.withdrawal.as_ref()?;
    let place = format!("{}/{}", known.environment, known.fleet);
    Some(match &known.state {
        StepState::Done(_) => format!(
            "  SHARE TAKEN AWAY  {place} gets none of the shared traffic since the halt; a resumed run begins its exposure anew"
        ),
        StepState::Failed(reason) => format!(
            "  SHARE NOT TAKEN AWAY  {place} may still get traffic: {reason}; set its weights to zero there by hand, \
             or repair that and resume or cancel the run (then `serin drift --fix`)"
        ),
        StepState::Pending
        | StepState::Started { .. }
        | StepState::Lost(_)
        | StepState::Unknown(_) => format!("  the share of {place} is being taken away"),
    })
}

/// Names every host that a run has out of service, and why.
pub(crate) fn out_of_service(run: &Run) -> Vec<String> {
    let hosts = run.out_of_service();
    if hosts.is_empty() {
        return vec!["  no host is out of service because of it".to_owned()];
    }
    let show = |host: &OutOfService| {
        let changed = if host.changed { "changed" } else { "not changed" };
        format!("  OUT OF SERVICE  {}  ({changed})  {}", host.host, host.why)
    };
    hosts.iter().map(show).collect()
}

pub(crate) async fn runs(context: &Context, limit: usize) -> Result<Code, Failure> {
    let mut rows = table(&["RUN", "BEGAN", "PIPELINE", "BUILD", "BY", "STATE"]);
    let mut objects = Vec::new();
    let all = context.journal.runs().await?;
    let older = all.len().saturating_sub(limit);
    for summary in all.into_iter().take(limit) {
        let (run, _) = records::load(context.journal.as_ref(), &summary.id).await?;
        objects.push(serde_json::json!({
            "run": summary.id.as_str(),
            "began": summary.created.as_millis(),
            "pipeline": run.plan.pipeline.as_str(),
            "build": run.plan.build.version.as_str(),
            "sha256": run.plan.build.sha256.as_str(),
            "by": run.by,
            "status": json::status(&run),
        }));
        rows.add_row([
            summary.id.to_string(),
            date(summary.created),
            run.plan.pipeline.to_string(),
            run.plan.build.version.to_string(),
            run.by.clone(),
            state(&run),
        ]);
    }
    if context.json() {
        line(serde_json::to_string(&objects).unwrap_or_default());
    } else if objects.is_empty() && older == 0 {
        line("there are no runs yet");
    } else {
        print(&rows);
        if older > 0 {
            line(format!("{older} older run(s): serin runs -n {}", limit + older));
        }
    }
    Ok(Code::Done)
}

pub(crate) async fn show(context: &Context, what: Show) -> Result<Code, Failure> {
    let Show { run, events } = what;
    let id = context.newest(run).await?;
    let (run, records) = records::load(context.journal.as_ref(), &id).await?;
    if context.json() || events {
        let mut lines = Lines::default();
        let mut replayed: Option<Run> = None;
        for (record, event) in &records {
            match &mut replayed {
                Some(run) => drop(run.apply(event)),
                None => replayed = Run::new(event).ok(),
            }
            let Some(run) = &replayed else { continue };
            if context.json() {
                line(json::event(&id, run, record.at, event));
            } else {
                lines.render(run, record.at, event).into_iter().for_each(line);
            }
        }
        return Ok(Code::Done);
    }
    let build = &run.plan.build;
    line(format!("run {id}: {} of {} {}", run.plan.pipeline, build.package, build.version));
    line(format!("  SHA-256 {}", build.sha256));
    if let Some((first, _)) = records.first() {
        line(format!("  begun {} by {}", date(first.at), run.by));
    }
    line(format!("  {}", state(&run)));
    let told = can_go_back(&run, &context.config.pipelines);
    told.into_iter().for_each(line);
    let_through(context, &id, &run).await?.into_iter().for_each(line);
    if serin_planner::bakes_afterwards(&run.plan) {
        line("  its bakes are checked afterwards");
    }
    let times = Times::replay(records.iter().map(|(record, event)| (record.at, event)));
    for stage in &run.plan.stages {
        line(format!(
            "  {} stage {}: {} ({}){}",
            mark(&run, stage),
            stage.number,
            stage.title,
            stage.environment,
            times.stages.get(&stage.number).map(took).unwrap_or_default()
        ));
    }
    if !run.is_over() {
        line(format!("  {}", acting(context, &id, &run).await?));
    }
    out_of_service(&run).into_iter().chain(withdrawn(&run)).for_each(line);
    Ok(Code::Done)
}

fn mark(run: &Run, stage: &Stage) -> &'static str {
    let steps = || stage.phases.iter().flat_map(|p| &p.lanes).flat_map(|l| &l.steps);
    if steps().all(|step| run.is_done(&step.id)) {
        "passed "
    } else if steps().any(|step| run.attempts(&step.id) > 0) {
        "current"
    } else {
        "ahead  "
    }
}

pub(crate) async fn watch(context: &Context, run: Option<RunId>) -> Result<Code, Failure> {
    let id = context.newest(run).await?;
    let mut lines = Lines::default();
    let mut replayed: Option<Run> = None;
    let mut last = 0;
    loop {
        for record in context.journal.read(&id, last).await? {
            last = record.seq;
            let event = records::read(&id, &record)?;
            match &mut replayed {
                Some(run) => drop(run.apply(&event)),
                None => replayed = Run::new(&event).ok(),
            }
            let Some(run) = &replayed else { continue };
            if context.json() {
                line(json::event(&id, run, record.at, &event));
            } else {
                lines.render(run, record.at, &event).into_iter().for_each(line);
            }
        }
        match replayed.as_ref().map(|run| &run.status) {
            Some(Status::Finished) => return Ok(Code::Done),
            Some(Status::Halted(_)) => return Ok(Code::Halted),
            Some(Status::Cancelled { .. }) => return Ok(Code::Cancelled),
            Some(Status::Running | Status::Halting(_)) | None => {}
        }
        let next = context.clock.now().plus(Duration::from_millis(250));
        context.clock.sleep_until(next).await;
    }
}
