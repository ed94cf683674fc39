//! `serin promote`: the build that is on the canary goes on to main, and no other.

use super::{drive, plan, rollback};
use crate::args::{Detail, Promote};
use crate::context::Context;
use crate::failure::{Code, Failure};
use crate::show::line;
use serin_engine::{History, Run, Status};
use serin_model::{
    Build, Environment, EnvironmentName, Exposure, FleetName, HostObservation, Pace, Pipeline,
    PipelineName, RunId, Timestamp, Verdict, verdict::seconds,
};
use serin_runtime::perform::observe_environments;
use serin_runtime::{
    alerts::{Tolerated, judge},
    ports::Ports,
    records,
};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) async fn run(context: &Context, asked: Promote) -> Result<Code, Failure> {
    let pipeline = plan::pipeline(context, &asked.pipeline)?;
    let (environment, exposure) = canary(context, pipeline)?;
    let ports = context.ports()?;
    let runs = rollback::history(context).await?;
    let build = on_canary(context, &ports, (environment, exposure), &runs).await?;
    if asked.why_not || asked.if_ready {
        let place = (environment, exposure, &pipeline.name);
        let missing = missing(context, &ports, place, (&build, &runs)).await?;
        if asked.why_not || !missing.is_empty() {
            tell(context, &build, &missing);
            return Ok(if missing.is_empty() { Code::Done } else { Code::Blocked });
        }
    }
    drive::free(context, pipeline).await?;
    let planned = planned(context, &ports, pipeline, &build).await?;
    drive::begin(context, ports, (planned, Detail::Stages), &asked.past).await
}

/// Returns the build that is on the canary, and what a promotion of it by itself would still wait for.
pub(crate) async fn ready(
    context: &Context,
    pipeline: &Pipeline,
) -> Result<(Build, Vec<String>), Failure> {
    let (environment, exposure) = canary(context, pipeline)?;
    let ports = context.ports()?;
    let runs = rollback::history(context).await?;
    let build = on_canary(context, &ports, (environment, exposure), &runs).await?;
    let place = (environment, exposure, &pipeline.name);
    let missing = missing(context, &ports, place, (&build, &runs)).await?;
    Ok((build, missing))
}

/// Finds the build that is on the canary, and plans its promotion.
pub(crate) async fn plan_it(
    context: &Context,
    ports: &Ports,
    pipeline: &Pipeline,
) -> Result<plan::Planned, Failure> {
    let (environment, exposure) = canary(context, pipeline)?;
    let runs = rollback::history(context).await?;
    let build = on_canary(context, ports, (environment, exposure), &runs).await?;
    planned(context, ports, pipeline, &build).await
}

async fn planned(
    context: &Context,
    ports: &Ports,
    pipeline: &Pipeline,
    build: &Build,
) -> Result<plan::Planned, Failure> {
    let passed = plan::passed(context, pipeline, build).await?;
    let wanted =
        plan::Asked { pipeline, build, pace: Pace::Careful, back: None, patching: None, passed };
    plan::plan(context, ports, wanted).await
}

pub(crate) fn tell(context: &Context, build: &Build, missing: &[String]) {
    if context.json() {
        line(serde_json::to_string(missing).unwrap_or_default());
    } else if missing.is_empty() {
        line(format!("{} can be promoted: nothing is missing", build.version));
    } else {
        line(format!("{} is not ready:", build.version));
        missing.iter().map(|what| format!("  {what}")).for_each(line);
    }
}

/// Finds the canary that a pipeline goes on from.
fn canary<'a>(
    context: &'a Context,
    pipeline: &'a Pipeline,
) -> Result<(&'a Environment, &'a Exposure), Failure> {
    let exposed = pipeline.stages.iter().find_map(|stage| {
        let environment = context.config.topology.environments.get(&stage.environment)?;
        Some((environment, stage.exposure.as_ref()?))
    });
    exposed.ok_or_else(|| {
        Failure::new(Code::Refused, format!("{} promotes nothing: no stage has an exposure", pipeline.name))
            .hint("a promotion begins with `exposure = { fleet = \"canary\", share = \"5%\" }` in one of its stages")
    })
}

/// Finds the one build that every host of the canary was given, by its bytes.
async fn on_canary(
    context: &Context,
    ports: &Ports,
    (environment, exposure): (&Environment, &Exposure),
    runs: &[(RunId, Run)],
) -> Result<Build, Failure> {
    let observed = observe_environments(ports, &context.config.topology, [environment]).await;
    let place = format!("{}/{}", environment.name, exposure.fleet);
    let fleet = environment.fleets.get(&exposure.fleet);
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut one: Option<&HostObservation> = None;
    for name in fleet.into_iter().flat_map(|fleet| fleet.hosts.keys()) {
        let Some(seen) = observed.hosts.get(name) else {
            let why = observed.unreachable.get(name).cloned().unwrap_or_default();
            return Err(Failure::new(
                Code::Refused,
                format!("{place} cannot be seen: {name}: {why}"),
            ));
        };
        let bytes = seen.sha256.as_ref().map_or("bytes that nobody proved", |sha| sha.short());
        found.entry(format!("{} ({bytes})", seen.package)).or_default().push(name.to_string());
        one = Some(seen);
    }
    if found.len() > 1 {
        let found = found.iter().map(|(what, hosts)| format!("{what} on {}", hosts.join(", ")));
        let found = found.collect::<Vec<_>>().join("; ");
        return Err(Failure::new(Code::Refused, format!("{place} is mixed: {found}"))
            .hint("finish or roll back what is going on there first: serin status"));
    }
    let sha256 = one.and_then(|seen| seen.sha256.as_ref());
    let Some(sha256) = sha256 else {
        return Err(Failure::new(
            Code::Refused,
            format!("nothing proves which bytes {place} runs: Serin has not installed them"),
        )
        .hint("take a build there first: serin run to-canary BUILD"));
    };
    let builds = runs.iter().rev().map(|(_, run)| &run.plan.build);
    let build = builds.into_iter().find(|build| build.sha256 == *sha256).cloned();
    build.ok_or_else(|| {
        let what =
            format!("no run in the journal has delivered SHA-256 {} to {place}", sha256.short());
        Failure::new(Code::Refused, what)
    })
}

/// Lists what a promotion by policy still waits for.
async fn missing(
    context: &Context,
    ports: &Ports,
    (environment, exposure, pipeline): (&Environment, &Exposure, &PipelineName),
    (build, runs): (&Build, &[(RunId, Run)]),
) -> Result<Vec<String>, Failure> {
    let mut missing = Vec::new();
    match proven(runs, (&environment.name, &exposure.fleet), (build, pipeline)) {
        None => missing.push(
            "no run has passed every gate with it since its canary was last changed".to_owned(),
        ),
        Some(id) => {
            let baked = context.clock.now().since(finished(context, id).await?);
            let wanted = context.config.promotion.baked_for;
            if baked < wanted {
                let (baked, wanted) = (seconds(baked), seconds(wanted));
                missing.push(format!("it has baked {baked} of {wanted} since run {id}"));
            }
        }
    }
    if let Some(run) = context.journal.claims().await?.get(&environment.name) {
        missing.push(format!("{} belongs to run {run}", environment.name));
    }
    if let Some(source) = &environment.alerts {
        let reading = ports.alerts.read(source).await;
        match judge(&reading, &BTreeSet::new(), Tolerated::default()).verdict {
            Verdict::Pass => {}
            Verdict::Fail(reason) | Verdict::Inconclusive(reason) => {
                missing.push(reason.to_string());
            }
        }
    }
    Ok(missing)
}

/// Finds the run that has proven a build: one with gates, finished, that nothing has changed the canary after. A
/// rollback or an expedited update proves nothing, nor does an earlier promotion.
fn proven<'a>(
    runs: &'a [(RunId, Run)],
    (environment, fleet): (&EnvironmentName, &FleetName),
    (build, promotion): (&Build, &PipelineName),
) -> Option<&'a RunId> {
    let proves = |run: &Run| {
        run.status == Status::Finished
            && run.plan.build.sha256 == build.sha256
            && run.plan.pace == Pace::Careful
            && run.plan.back.is_none()
            && run.plan.pipeline != *promotion
    };
    let last = History(runs).last_change(environment, fleet);
    let since = runs.iter().rev().scan(false, |over, (id, run)| {
        let this = (!*over).then_some((id, run));
        *over |= Some(id) == last;
        this
    });
    since.filter(|(_, run)| proves(run)).map(|(id, _)| id).next()
}

async fn finished(context: &Context, id: &RunId) -> Result<Timestamp, Failure> {
    let (_, events) = records::load(context.journal.as_ref(), id).await?;
    let last = events.last().map(|(record, _)| record.at);
    Ok(last.unwrap_or(Timestamp::from_millis(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serin_engine::Event;
    use serin_model::{
        Action, Actors, Back, BuildKind, Lane, Phase, Plan, Stage, Step, StepId, Subject, Topology,
    };
    use std::path::Path;

    fn topology() -> Topology {
        let example = include_str!("../../../../examples/gitlab.toml");
        serin_config::parse(example, Path::new("serin.toml")).unwrap().topology
    }

    fn plan(pipeline: &str) -> Plan {
        Plan {
            pipeline: pipeline.parse().unwrap(),
            build: Build {
                package: "gitlab-ee".parse().unwrap(),
                version: "2.0".parse().unwrap(),
                sha256: "ab".repeat(32).parse().unwrap(),
                size: 1,
                kind: BuildKind::Official,
            },
            topology: topology(),
            stages: Vec::new(),
            pace: Pace::Careful,
            back: None,
            patching: None,
            overlays: Vec::new(),
            tolerated: BTreeMap::new(),
            why: None,
            queue: None,
            actors: Actors::One,
        }
    }

    fn started(plan: Plan) -> Run {
        let mut run =
            Run::new(&Event::Started { plan: Box::new(plan), by: "ada".to_owned() }).unwrap();
        run.apply(&Event::Adopted { term: 1, by: "ada".to_owned() }).unwrap();
        run
    }

    fn finished(plan: Plan) -> Run {
        let mut run = started(plan);
        run.apply(&Event::Finished).unwrap();
        run
    }

    /// A run that has begun to install something on a host of the canary.
    fn changes_canary() -> Run {
        let host = "web-cny-01.gprd";
        let action = Action::Install { from: Some("1.0".parse().unwrap()) };
        let step = Step { id: StepId::new(6, host, &action, None), action };
        let id = step.id.clone();
        let lane = Lane { subject: Subject::Host(host.parse().unwrap()), steps: vec![step] };
        let phases = vec![Phase { title: "deploy".to_owned(), lanes: vec![lane] }];
        let (number, title) = (6, "canary".to_owned());
        let environment = "production".parse().unwrap();
        let mut plan = plan("to-canary");
        plan.stages = vec![Stage { number, title, environment, phases }];
        let mut run = started(plan);
        run.apply(&Event::AttemptStarted { step: id, attempt: 1, term: 1 }).unwrap();
        run
    }

    fn proven_by(runs: Vec<Run>) -> Option<String> {
        let ids = (1..).map(|number| format!("r-{number}").parse().unwrap());
        let runs: Vec<(RunId, Run)> = ids.zip(runs).collect();
        let place = (&"production".parse().unwrap(), &"canary".parse().unwrap());
        let wanted = plan("to-canary").build;
        proven(&runs, place, (&wanted, &"to-main".parse().unwrap())).map(ToString::to_string)
    }

    #[test]
    fn only_a_finished_run_with_gates_proves_a_build() {
        assert_eq!(proven_by(vec![finished(plan("to-canary"))]), Some("r-1".to_owned()));
        let back = Back {
            undoes: [].into(),
            hosts: [].into(),
            records: Vec::new(),
            out_of_service: [].into(),
        };
        let other = Build { sha256: "cd".repeat(32).parse().unwrap(), ..plan("x").build };
        for (what, run) in [
            ("one on its way", started(plan("to-canary"))),
            ("a promotion", finished(plan("to-main"))),
            ("an expedited one", finished(Plan { pace: Pace::Expedited, ..plan("expedited") })),
            ("a rollback", finished(Plan { back: Some(back), ..plan("rollback") })),
            ("one of another build", finished(Plan { build: other, ..plan("to-canary") })),
        ] {
            assert_eq!(proven_by(vec![run]), None, "{what} proves it");
        }
    }

    #[test]
    fn what_was_proven_before_the_canary_was_changed_is_not_proven_now() {
        let pass = || finished(plan("to-canary"));
        assert_eq!(proven_by(vec![pass(), changes_canary()]), None);
        assert_eq!(proven_by(vec![changes_canary(), pass()]), Some("r-2".to_owned()));
    }
}
