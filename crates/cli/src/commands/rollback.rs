//! `serin rollback`: back to what the journal recorded before.
//!
//! A rollback is a run like any other, with its own plan. It takes over from the run that it undoes in an order that a
//! crash cannot hurt: halt, plan, give up, begin. Interrupted anywhere, the same command goes on from there, because
//! each part is read from the journal.

use super::word::{self, Heard};
use super::{allowed, asking, drive, plan};
use crate::args::{self, Detail, Rollback, Undone};
use crate::context::Context;
use crate::failure::{Code, Failure, chain};
use serin_engine::{Command, History, NoWayBack, Run, Scope, Status, WayBack};
use serin_model::{
    Back, Build, DebVersion, EnvironmentName, InvalidName, Pace, Plan, Reason, RunId,
};
use serin_planner::Recipes;
use serin_runtime::inbox::{Ask, Request};
use serin_runtime::{alerts, ports::Ports, records};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a run may take to halt: its hosts are brought to safety first, and installations are never cut off.
const HALTS_WITHIN: Duration = Duration::from_mins(30);

pub(crate) async fn run(context: &Context, asked: Rollback) -> Result<Code, Failure> {
    if asked.reason.trim().is_empty() {
        return Err(Failure::new(Code::Refused, "the reason is empty")
            .hint("say why in a few words: it is recorded and shown to everybody"));
    }
    let scope = scope(context, &asked)?;
    if let Some(interrupted) = interrupted(context, &scope).await? {
        if asked.dry_run {
            context.say(format!("run {interrupted} is that rollback, and not over"));
            return Ok(Code::Done);
        }
        return go_on(context, interrupted, asked).await;
    }
    let way = find(context, &scope).await?;
    confirm(context, &way, &asked)?;
    let ports = context.ports()?;
    let pace = match asked.pace {
        args::Pace::Careful => Pace::Careful,
        args::Pace::Expedited => Pace::Expedited,
    };
    if asked.dry_run {
        let planned = make(context, &ports, way, pace, &asked.reason).await?;
        plan::tell(context, &planned, Detail::Steps).await?;
        return Ok(Code::Done);
    }
    let halted = halt_all(context, &way, &asked.reason).await?;
    let planned = allowed_plan(context, &ports, (&scope, pace), &asked).await;
    // What is refused leaves the old run as it is: halted.
    let planned = planned.map_err(|failure| stays_halted(failure, &halted))?;
    for id in halted {
        let why = format!("rolled back: {}", asked.reason);
        let cancel = Command::Cancel { by: context.by(), why };
        let code = drive::drive(context, context.ports()?, id, Some(cancel)).await?;
        if code != Code::Cancelled {
            return Ok(code);
        }
    }
    let begun = begun(&history(context).await?, &planned.plan).cloned();
    match begun {
        Some(begun) => go_on(context, begun, asked).await,
        None => drive::begin(context, ports, (planned, Detail::Stages), &asked.past).await,
    }
}

/// Finds a run of the very same plan that was recorded, and whose process died before it did anything.
fn begun<'a>(runs: &'a [(RunId, Run)], plan: &Plan) -> Option<&'a RunId> {
    let same = |run: &&(RunId, Run)| {
        let (_, run) = run;
        let known = &run.plan;
        let untouched = known.steps().all(|(_, _, step)| run.attempts(&step.id) == 0);
        untouched
            && !run.is_over()
            && (&known.stages, &known.back, known.pace) == (&plan.stages, &plan.back, plan.pace)
    };
    runs.iter().rev().find(same).map(|(id, _)| id)
}

/// Plans once nothing goes on any more: a run may have changed more hosts until it halted.
async fn allowed_plan(
    context: &Context,
    ports: &Ports,
    (scope, pace): (&Scope, Pace),
    asked: &Rollback,
) -> Result<plan::Planned, Failure> {
    let way = find(context, scope).await?;
    let planned = make(context, ports, way, pace, &asked.reason).await?;
    allowed::check(context, &planned.plan, &(&asked.past).into()).await?;
    Ok(planned)
}

fn stays_halted(failure: Failure, halted: &[RunId]) -> Failure {
    if halted.is_empty() {
        return failure;
    }
    let runs = halted.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let hint = failure.hint.clone().map(|hint| format!("{hint}; ")).unwrap_or_default();
    failure.hint(format!(
        "{hint}nothing was rolled back, and {runs} stays halted: serin resume or cancel"
    ))
}

/// Finds a rollback of the same that has begun and is not over: nobody needs a second one.
async fn interrupted(context: &Context, scope: &Scope) -> Result<Option<RunId>, Failure> {
    let runs = history(context).await?;
    let Err(NoWayBack::IsRollback(id)) = History(&runs).way_back(scope) else { return Ok(None) };
    let run = runs.iter().find(|(known, _)| *known == id).map(|(_, run)| run);
    Ok(run.is_some_and(|run| !run.is_over()).then_some(id))
}

async fn go_on(context: &Context, id: RunId, asked: Rollback) -> Result<Code, Failure> {
    let (run, _) = records::load(context.journal.as_ref(), &id).await?;
    context.say(format!("run {id} is that rollback, and not over: going on with it"));
    let resume = matches!(run.status, Status::Halted(_));
    let resume = resume.then(|| Command::Resume { by: context.by(), why: asked.reason });
    drive::drive(context, context.ports()?, id, resume).await
}

fn scope(context: &Context, asked: &Rollback) -> Result<Scope, Failure> {
    match (&asked.what, asked.release) {
        (None, true) => Ok(Scope::Release),
        (Some(Undone::Run(run)), false) => Ok(Scope::Run(run.clone())),
        (Some(Undone::Place(place)), false) => {
            asking::find_place(context, &place.environment, place.fleet.as_ref())?;
            Ok(Scope::Place(place.environment.clone(), place.fleet.clone()))
        }
        (None, false) | (Some(_), true) => {
            Err(Failure::new(Code::Refused, "it is not clear what is to go back").hint(
                "name a run, an environment such as production, a fleet such as production/canary, or --release",
            ))
        }
    }
}

/// Reads every run, oldest first.
pub(crate) async fn history(context: &Context) -> Result<Vec<(RunId, Run)>, Failure> {
    let mut runs = Vec::new();
    for summary in context.journal.runs().await?.into_iter().rev() {
        let (run, _) = records::load(context.journal.as_ref(), &summary.id).await?;
        runs.push((summary.id, run));
    }
    Ok(runs)
}

async fn find(context: &Context, scope: &Scope) -> Result<WayBack, Failure> {
    let runs = history(context).await?;
    History(&runs).way_back(scope).map_err(|why| {
        let hint = match &why {
            NoWayBack::PointOfNoReturn { .. } => {
                "the code of before does not fit that database: go forward with a build that repairs it, \
                 or leave the environment out (serin rollback ENVIRONMENT, or --release)"
            }
            NoWayBack::NothingChanged => "a halted run that has changed nothing is given up with serin cancel",
            NoWayBack::IsRollback(_) => "serin run to-canary BUILD goes forward again",
            NoWayBack::ChangedSince { .. }
            | NoWayBack::FirstInstallation(_)
            | NoWayBack::NoSuchRun(_) => "serin runs lists what was run",
        };
        Failure::new(Code::Refused, format!("cannot go back: {why}")).hint(hint)
    })
}

/// Leaving environments out wants a person's yes.
fn confirm(context: &Context, way: &WayBack, asked: &Rollback) -> Result<(), Failure> {
    if way.left_out.is_empty() {
        return Ok(());
    }
    let left_out = way.left_out.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    if asked.yes {
        context.say(format!("left as it is: {left_out}"));
        return Ok(());
    }
    Err(Failure::new(Code::Refused, format!("not everything can go back: {left_out}"))
        .hint("the rest goes back with --yes"))
}

/// Makes sure that no run goes on where hosts are to go back, and returns those that are halted there.
async fn halt_all(context: &Context, way: &WayBack, reason: &str) -> Result<Vec<RunId>, Failure> {
    let topology = &context.config.topology;
    let concerned: BTreeSet<&EnvironmentName> = topology
        .environments
        .values()
        .filter(|e| e.hosts().any(|(_, host)| way.hosts.contains_key(&host.name)))
        .map(|environment| &environment.name)
        .collect();
    let claims = context.journal.claims().await?;
    let claimed = claims.into_iter().filter(|(name, _)| concerned.contains(name));
    let mut ids: BTreeSet<RunId> = claimed.map(|(_, id)| id).collect();
    for (id, run) in history(context).await? {
        if way.undoes.contains(&id) && !run.is_over() {
            ids.insert(id);
        }
    }
    for id in &ids {
        halt(context, id, reason).await?;
    }
    Ok(ids.into_iter().collect())
}

/// Halts a run, whoever acts for it or nobody, and waits until its hosts are safe.
async fn halt(context: &Context, id: &RunId, reason: &str) -> Result<(), Failure> {
    let (run, _) = records::load(context.journal.as_ref(), id).await?;
    let why = format!("to roll it back: {reason}");
    let by = context.by();
    match run.status {
        Status::Halted(_) | Status::Finished | Status::Cancelled { .. } => return Ok(()),
        Status::Running | Status::Halting(_) => {}
    }
    let request = Request { run: id.clone(), by: by.clone(), why: why.clone(), ask: Ask::Halt };
    if let Heard::Nobody = word::ask(context, &request).await? {
        let halt = Command::Halt(Reason::Person { who: by, why });
        drive::drive(context, context.ports()?, id.clone(), Some(halt)).await?;
        return Ok(());
    }
    let end = context.clock.now().plus(HALTS_WITHIN);
    loop {
        let (run, _) = records::load(context.journal.as_ref(), id).await?;
        if matches!(run.status, Status::Halted(_)) || run.is_over() {
            return Ok(());
        }
        let now = context.clock.now();
        if now >= end {
            let what = format!("run {id} has not halted in {} min", HALTS_WITHIN.as_secs() / 60);
            return Err(Failure::new(Code::Refused, what)
                .hint(format!("serin show {id} says what it waits for; nothing was rolled back")));
        }
        context.clock.sleep_until(now.plus(Duration::from_millis(250))).await;
    }
}

async fn make(
    context: &Context,
    ports: &Ports,
    way: WayBack,
    pace: Pace,
    reason: &str,
) -> Result<plan::Planned, Failure> {
    let back = builds(context, way).await?;
    let (topology, pipelines) = (&context.config.topology, &context.config.pipelines);
    let name = "rollback".parse();
    let name = name.map_err(|why: InvalidName| Failure::new(Code::Error, why.to_string()))?;
    let recipe = Recipes { topology, pipelines }.rollback(name, &back, pace);
    let build = match (most_common(&back), back.records.first()) {
        (Some(build), _) => build,
        // Only a record was changed, and no host yet.
        (None, Some((_, _, version))) => {
            let runs = history(context).await?;
            match History(&runs).build(None, version) {
                Some(build) => build.clone(),
                None => in_repository(context, version).await?,
            }
        }
        (None, None) => return Err(Failure::new(Code::Refused, "no host goes back")),
    };
    let asked = plan::Asked {
        pipeline: &recipe,
        build: &build,
        pace,
        back: Some(&back),
        patching: None,
        passed: BTreeSet::new(),
    };
    let mut planned = plan::plan(context, ports, asked).await?;
    planned.plan.why = Some(reason.to_owned());
    planned.plan.tolerated = firing(context, ports, &planned.plan).await;
    Ok(planned)
}

/// Finds the bytes of every version that hosts go back to: in the journal, or else in the repository.
async fn builds(context: &Context, way: WayBack) -> Result<Back, Failure> {
    let runs = history(context).await?;
    let mut from_repository: BTreeMap<String, Build> = BTreeMap::new();
    let mut hosts = BTreeMap::new();
    for (host, version) in way.hosts {
        let known = History(&runs).build(Some(&host), &version).cloned();
        let known = known.or_else(|| from_repository.get(version.as_str()).cloned());
        let build = match known {
            Some(build) => build,
            None => in_repository(context, &version).await?,
        };
        from_repository.insert(version.as_str().to_owned(), build.clone());
        hosts.insert(host, build);
    }
    Ok(Back { undoes: way.undoes, hosts, records: way.records, out_of_service: way.out_of_service })
}

async fn in_repository(context: &Context, version: &DebVersion) -> Result<Build, Failure> {
    context.repository()?.find(version).await.map_err(|error| {
        let what = format!(
            "the bytes of {version} are not known: no run has delivered it, and {}",
            chain(&error)
        );
        Failure::new(Code::Refused, what)
            .hint("nothing was changed; put that version back into the repository")
    })
}

fn most_common(back: &Back) -> Option<Build> {
    let count = |build: &Build| back.hosts.values().filter(|b| b.sha256 == build.sha256).count();
    back.hosts.values().max_by_key(|build| count(build)).cloned()
}

/// Alerts that fire now are what the rollback is to end: they do not stop it. New ones do.
async fn firing(
    context: &Context,
    ports: &Ports,
    plan: &Plan,
) -> BTreeMap<EnvironmentName, BTreeSet<String>> {
    let mut firing = BTreeMap::new();
    let names: BTreeSet<&EnvironmentName> = plan.stages.iter().map(|s| &s.environment).collect();
    for name in names {
        let environment = context.config.topology.environments.get(name);
        let Some(source) = environment.and_then(|environment| environment.alerts.as_ref()) else {
            continue;
        };
        let reading = ports.alerts.read(source).await;
        let critical = reading.firing.iter().filter(|alert| alert.critical);
        let told: BTreeSet<String> = critical.map(alerts::told).collect();
        for alert in &told {
            context.say(format!(
                "{name}: {alert} fires now; it does not stop the rollback, new alerts do"
            ));
        }
        if !told.is_empty() {
            firing.insert(name.clone(), told);
        }
    }
    firing
}

#[cfg(test)]
mod tests {
    use super::*;
    use serin_engine::Event;
    use serin_model::{Action, Actors, BuildKind, Lane, Phase, Stage, Step, StepId, Subject};
    use std::path::Path;

    fn plan() -> Plan {
        let example = include_str!("../../../../examples/gitlab.toml");
        let topology = serin_config::parse(example, Path::new("serin.toml")).unwrap().topology;
        let host = "web-cny-01.gprd";
        let action = Action::Install { from: Some("2.0".parse().unwrap()) };
        let steps = vec![Step { id: StepId::new(1, host, &action, None), action }];
        let lane = Lane { subject: Subject::Host(host.parse().unwrap()), steps };
        let phases = vec![Phase { title: "deploy".to_owned(), lanes: vec![lane] }];
        let (title, environment) = ("canary, back".to_owned(), "production".parse().unwrap());
        let build = Build {
            package: "gitlab-ee".parse().unwrap(),
            version: "1.0".parse().unwrap(),
            sha256: "ab".repeat(32).parse().unwrap(),
            size: 1,
            kind: BuildKind::Official,
        };
        Plan {
            pipeline: "rollback".parse().unwrap(),
            build,
            topology,
            stages: vec![Stage { number: 1, title, environment, phases }],
            pace: Pace::Careful,
            back: None,
            patching: None,
            queue: None,
            actors: Actors::One,
            overlays: Vec::new(),
            tolerated: BTreeMap::new(),
            why: None,
        }
    }

    fn after(events: &[Event]) -> Vec<(RunId, Run)> {
        let started = Event::Started { plan: Box::new(plan()), by: "ada".to_owned() };
        let mut run = Run::new(&started).unwrap();
        for event in events {
            run.apply(event).unwrap();
        }
        vec![("r-6".parse().unwrap(), run)]
    }

    #[test]
    fn a_rollback_that_was_recorded_and_did_nothing_is_gone_on_with() {
        let adopted = || Event::Adopted { term: 1, by: "ada".to_owned() };
        let found = |runs: Vec<(RunId, Run)>, plan: &Plan| begun(&runs, plan).is_some();
        assert!(found(after(&[]), &plan()));
        assert!(found(after(&[adopted()]), &plan()));
        let other = Plan { pace: Pace::Expedited, ..plan() };
        assert!(!found(after(&[]), &other), "another plan");
        let step = plan().steps().next().map(|(_, _, step)| step.id.clone()).unwrap();
        let began = Event::AttemptStarted { step, attempt: 1, term: 1 };
        assert!(!found(after(&[adopted(), began]), &plan()), "its journal leads to it");
        let halted = [Event::HaltRequested { reason: reason() }, Event::Halted];
        let cancelled = Event::Cancelled { by: "ada".to_owned(), why: "enough".to_owned() };
        let over = [vec![adopted()], halted.to_vec(), vec![cancelled]].concat();
        assert!(!found(after(&over), &plan()), "it is over");
    }

    fn reason() -> Reason {
        Reason::Interrupted
    }
}
