//! `serin plan`: what a run would do.

use super::asking;
use super::patch::{self, Kept, Proven};
use crate::args::{Detail, Place, Recipe};
use crate::context::Context;
use crate::failure::{Code, Failure, chain};
use crate::show::{embargo, line, lines};
use serin_config::Config;
use serin_model::{
    Action, Back, BakeWatch, Build, BuildKind, Environment, Observed, Pace, Patching, Pipeline,
    PipelineName, PlacedOverlay, Plan, Subject, verdict::seconds,
};
use serin_planner::{Note, PlanReport, Recipes, Request, check_plan};
use serin_runtime::{perform::observe_environments, ports::Ports, records};
use std::collections::BTreeSet;
use std::time::Duration;

/// A plan with what was seen to make it.
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    pub(crate) report: PlanReport,
    /// Builds that were found to contain patches; recorded when the plan becomes a run.
    pub(crate) proven: Vec<Proven>,
}

/// What is planned, and how.
pub(crate) struct Asked<'a> {
    pub(crate) pipeline: &'a Pipeline,
    pub(crate) build: &'a Build,
    pub(crate) pace: Pace,
    pub(crate) back: Option<&'a Back>,
    /// The patch that is put on hosts or taken off, with what it makes of their versions.
    pub(crate) patching: Option<(&'a Patching, &'a [PlacedOverlay])>,
    /// Stages whose gates the build has passed before.
    pub(crate) passed: BTreeSet<u32>,
}

pub(crate) async fn show(context: &Context, recipe: &Recipe) -> Result<Code, Failure> {
    let planned = make(context, &context.ports()?, recipe).await?;
    tell(context, &planned, recipe.detail()).await?;
    Ok(Code::Done)
}

/// Shows a plan to a person or a program.
pub(crate) async fn tell(
    context: &Context,
    planned: &Planned,
    detail: Detail,
) -> Result<(), Failure> {
    if context.json() {
        line(serde_json::to_string(&planned.plan).unwrap_or_default());
        return Ok(());
    }
    print(context, planned, detail).await
}

/// Finds the build, observes everything, and plans.
pub(crate) async fn make(
    context: &Context,
    ports: &Ports,
    recipe: &Recipe,
) -> Result<Planned, Failure> {
    let build = build(context, recipe).await?;
    if recipe.pipeline.as_str() == EXPEDITED {
        return expedited(context, ports, recipe, &build).await;
    }
    let pipeline = pipeline(context, &recipe.pipeline)?;
    let passed = passed(context, pipeline, &build).await?;
    let asked =
        Asked { pipeline, build: &build, pace: Pace::Careful, back: None, patching: None, passed };
    plan(context, ports, asked).await
}

/// Has the bakes of a plan checked afterwards.
pub(crate) fn bake_afterwards(plan: Plan) -> Result<Plan, Failure> {
    serin_planner::bake_afterwards(plan).map_err(|error| {
        Failure::new(Code::Refused, error.to_string())
            .hint("nothing was begun; without --bakes afterwards a job watches")
    })
}

/// The pipeline that is made of the others.
pub(crate) const EXPEDITED: &str = "expedited";

async fn expedited(
    context: &Context,
    ports: &Ports,
    recipe: &Recipe,
    build: &Build,
) -> Result<Planned, Failure> {
    let place = expedited_place(context, recipe)?;
    let Some(reason) = recipe.reason.as_ref().filter(|reason| !reason.trim().is_empty()) else {
        return Err(Failure::new(Code::Refused, "an expedited update wants a reason")
            .hint("it may drop connections: say why with --reason, for everybody to see"));
    };
    let (topology, pipelines) = (&context.config.topology, &context.config.pipelines);
    let recipes = Recipes { topology, pipelines };
    let name = recipe.pipeline.clone();
    let pipeline = recipes.expedited(name, &place.environment, place.fleet.as_ref());
    let passed = BTreeSet::new();
    let asked = Asked {
        pipeline: &pipeline,
        build,
        pace: Pace::Expedited,
        back: None,
        patching: None,
        passed,
    };
    let mut planned = plan(context, ports, asked).await?;
    planned.plan.why = Some(reason.clone());
    Ok(planned)
}

fn expedited_place<'a>(context: &Context, recipe: &'a Recipe) -> Result<&'a Place, Failure> {
    let Some(place) = &recipe.fleet else {
        return Err(Failure::new(Code::Refused, "an expedited update has no place to go to")
            .hint("name one with --fleet, for example --fleet production/main"));
    };
    asking::find_place(context, &place.environment, place.fleet.as_ref())?;
    Ok(place)
}

/// Observes everything, and plans.
pub(crate) async fn plan(
    context: &Context,
    ports: &Ports,
    asked: Asked<'_>,
) -> Result<Planned, Failure> {
    let Asked { pipeline, build, pace, back, patching, passed } = asked;
    let kept = match patching {
        Some(_) => Kept::default(),
        None => patch::keep(context, pipeline, build, back).await?,
    };
    let (patching, overlays) = match patching {
        Some((patching, overlays)) => (Some(patching), overlays),
        None => (None, kept.overlays.as_slice()),
    };
    let topology = &context.config.topology;
    let names: BTreeSet<_> = pipeline.stages.iter().map(|stage| &stage.environment).collect();
    let environments: Vec<&Environment> =
        names.into_iter().filter_map(|name| topology.environments.get(name)).collect();
    let observed: Observed = observe_environments(ports, topology, environments).await;
    let request = Request {
        topology,
        pipeline,
        build,
        observed: &observed,
        passed: &passed,
        pace,
        back,
        patching,
        overlays,
    };
    let (plan, mut report) = serin_planner::plan(request).map_err(|error| {
        Failure::new(Code::Refused, format!("could not plan {}: {error}", pipeline.name))
            .hint("nothing was changed; `serin doctor` looks at everything that a run needs")
    })?;
    // A rollback goes where hosts were, whatever that is called.
    if let (Some(kinds), None) = (&context.config.repository.downgrades, &plan.back) {
        may_go_down(kinds, build.kind, &mut report)?;
    }
    let findings = check_plan(&plan);
    if !findings.is_empty() {
        let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
        return Err(Failure::new(
            Code::Refused,
            format!("the plan of {} is not safe: {}", pipeline.name, findings.join("; ")),
        )
        .hint("the pipeline in serin.toml asks for it; nothing was changed"));
    }
    Ok(Planned { plan, report, proven: kept.proven })
}

/// Refuses a build that sorts before what hosts have, unless its kind may go there.
fn may_go_down(
    kinds: &BTreeSet<BuildKind>,
    kind: BuildKind,
    report: &mut PlanReport,
) -> Result<(), Failure> {
    let down = report.notes.iter().find(|note| matches!(note, Note::Downgrade { .. }));
    let Some(down) = down else { return Ok(()) };
    if !kinds.contains(&kind) {
        let what = format!("{kind} builds may not go where something newer is: {down}");
        return Err(Failure::new(Code::Refused, what).hint(
            "`serin rollback` goes back to what hosts had before; `downgrades` in [repository] says which kinds may \
             go down",
        ));
    }
    report.notes.push(Note::MayGoDown { kind });
    Ok(())
}

pub(crate) fn pipeline<'a>(
    context: &'a Context,
    name: &PipelineName,
) -> Result<&'a Pipeline, Failure> {
    find_pipeline(&context.config, name)
}

pub(crate) fn find_pipeline<'a>(
    config: &'a Config,
    name: &PipelineName,
) -> Result<&'a Pipeline, Failure> {
    config.pipelines.get(name).ok_or_else(|| {
        let known: Vec<String> = config.pipelines.keys().map(ToString::to_string).collect();
        Failure::new(Code::Refused, format!("there is no pipeline {name}"))
            .hint(format!("there are: {}", known.join(", ")))
    })
}

async fn build(context: &Context, recipe: &Recipe) -> Result<Build, Failure> {
    let repository = context.repository()?;
    let Some(version) = &recipe.build else {
        let builds = repository.builds().await;
        let builds = builds.map_err(|error| Failure::new(Code::Refused, chain(&error)))?;
        embargo::learn(&builds);
        let newest = builds.into_iter().next();
        let none = || Failure::new(Code::Refused, "the repository has no build of the package");
        return newest.ok_or_else(none);
    };
    let found = repository.find(version).await;
    embargo::learn(&found);
    found.map_err(|error| {
        Failure::new(Code::Refused, chain(&error)).hint("`serin builds` lists what there is")
    })
}

/// Returns the stages whose every step this build has passed in this pipeline, in any run.
pub(crate) async fn passed(
    context: &Context,
    pipeline: &Pipeline,
    build: &Build,
) -> Result<BTreeSet<u32>, Failure> {
    let mut passed = BTreeSet::new();
    for summary in context.journal.runs().await? {
        let (run, _) = records::load(context.journal.as_ref(), &summary.id).await?;
        if run.plan.build.sha256 != build.sha256 || run.plan.pipeline != pipeline.name {
            continue;
        }
        for stage in &run.plan.stages {
            let mut steps = stage.phases.iter().flat_map(|p| &p.lanes).flat_map(|l| &l.steps);
            if steps.all(|step| run.is_done(&step.id)) {
                passed.insert(stage.number);
            }
        }
    }
    Ok(passed)
}

/// Prints a plan as a person reads it.
pub(crate) async fn print(
    context: &Context,
    planned: &Planned,
    detail: Detail,
) -> Result<(), Failure> {
    let Planned { plan, report, proven } = planned;
    let build = &plan.build;
    line(format!(
        "{}: {} {} ({}, SHA-256 {})",
        plan.pipeline,
        build.package,
        build.version,
        build.kind,
        build.sha256.short()
    ));
    if plan.is_empty() {
        line("nothing to do: every host is as it should be, and this build has passed every stage");
    }
    for stage in &plan.stages {
        line(format!("\nstage {}: {} ({})", stage.number, stage.title, stage.environment));
        for phase in &stage.phases {
            line(format!("  {}{}", phase.title, summary(phase)));
            if detail == Detail::Stages {
                continue;
            }
            for lane in &phase.lanes {
                let steps: Vec<String> =
                    lane.steps.iter().map(|step| lines::name(&step.action)).collect();
                line(format!("    {:<18} {}", lines::subject(stage, lane), steps.join(", ")));
            }
        }
    }
    if let Some((host, run)) = super::forecast::host_time(context).await? {
        let whole = serin_planner::forecast(plan, host);
        if !plan.is_empty() {
            let (whole, host) = (seconds(rounded(whole)), seconds(rounded(host)));
            line(format!("\ntakes about {whole}, if a host takes {host} as in run {run}"));
        }
    }
    let held = super::hold::notes(context, plan).await?;
    if !report.notes.is_empty() || !held.is_empty() || !proven.is_empty() {
        line("\nnotes");
        let notes = report.notes.iter().map(ToString::to_string).chain(held);
        let notes = notes.chain(proven.iter().map(Proven::note));
        for note in notes {
            line(format!("  {note}"));
        }
    }
    Ok(())
}

/// Whole seconds: a forecast is no measurement.
pub(crate) fn rounded(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs().max(1))
}

fn summary(phase: &serin_model::Phase) -> String {
    let hosts: Vec<&str> = phase
        .lanes
        .iter()
        .filter_map(|lane| match &lane.subject {
            Subject::Host(host) => Some(host.as_str()),
            Subject::Fleet(_) | Subject::Environment => None,
        })
        .collect();
    let bake = phase.lanes.iter().flat_map(|lane| &lane.steps).find_map(|step| {
        if let Action::Bake { duration, watch } = &step.action {
            let how = match watch {
                BakeWatch::Live => "",
                BakeWatch::Afterwards => ", checked afterwards",
            };
            Some(format!(" {}{how}", seconds(*duration)))
        } else {
            None
        }
    });
    match (hosts.as_slice(), bake) {
        (_, Some(bake)) => bake,
        ([], None) => String::new(),
        ([only], None) => format!(": {only}"),
        ([first, .., last], None) => format!(": {} hosts, {first} … {last}", hosts.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kinds_that_are_listed_go_where_something_newer_is() {
        let down = |kind| {
            let (from, to) = ("16.1.0+rnightly.2.b-0", "16.1.0-ee.0");
            let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
            let notes = vec![Note::Downgrade { stage: 2, from, to, count: 7 }];
            let mut report = PlanReport { notes };
            let allowed = may_go_down(&BTreeSet::from([BuildKind::Official]), kind, &mut report);
            allowed.map(|()| report.notes.last().map(ToString::to_string).unwrap_or_default())
        };
        let said = down(BuildKind::Official).unwrap();
        assert!(
            said.starts_with("the build is official: `repository.downgrades` lets it"),
            "{said}"
        );
        assert!(down(BuildKind::Nightly).is_err());
    }

    #[test]
    fn who_goes_up_needs_no_leave() {
        let mut report = PlanReport::default();
        may_go_down(&BTreeSet::new(), BuildKind::Nightly, &mut report).unwrap();
        assert!(report.notes.is_empty());
    }
}
