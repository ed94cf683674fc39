//! `serin plan`: what a run would do.

use crate::args::Recipe;
use crate::context::Context;
use crate::failure::{Code, Failure, chain};
use crate::show::{embargo, line, lines};
use serin_model::{Build, Environment, Observed, Pipeline, Plan, Subject, verdict::seconds};
use serin_planner::{PlanReport, Request, check_plan};
use serin_runtime::{perform::observe_environments, ports::Ports, records};
use std::collections::BTreeSet;

/// A plan with what was seen to make it.
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    pub(crate) report: PlanReport,
}

pub(crate) async fn show(context: &Context, recipe: &Recipe) -> Result<Code, Failure> {
    let planned = make(context, &context.ports()?, recipe).await?;
    if context.json() {
        line(serde_json::to_string(&planned.plan).unwrap_or_default());
    } else {
        print(&planned, recipe);
    }
    Ok(Code::Done)
}

/// Finds the build, observes everything, and plans.
pub(crate) async fn make(
    context: &Context,
    ports: &Ports,
    recipe: &Recipe,
) -> Result<Planned, Failure> {
    let pipeline = pipeline(context, recipe)?;
    let build = build(context, recipe).await?;
    let topology = &context.config.topology;
    let names: BTreeSet<_> = pipeline.stages.iter().map(|stage| &stage.environment).collect();
    let environments: Vec<&Environment> =
        names.into_iter().filter_map(|name| topology.environments.get(name)).collect();
    let observed: Observed = observe_environments(ports, topology, environments).await;
    let passed = passed(context, pipeline, &build).await?;
    let request =
        Request { topology, pipeline, build: &build, observed: &observed, passed: &passed };
    let (plan, report) = serin_planner::plan(request).map_err(|error| {
        Failure::new(Code::Refused, format!("could not plan {}: {error}", pipeline.name))
            .hint("nothing was changed; `serin doctor` looks at everything that a run needs")
    })?;
    let findings = check_plan(&plan);
    if !findings.is_empty() {
        let findings: Vec<String> = findings.iter().map(ToString::to_string).collect();
        return Err(Failure::new(
            Code::Refused,
            format!("the plan of {} is not safe: {}", pipeline.name, findings.join("; ")),
        )
        .hint("the pipeline in serin.toml asks for it; nothing was changed"));
    }
    Ok(Planned { plan, report })
}

fn pipeline<'a>(context: &'a Context, recipe: &Recipe) -> Result<&'a Pipeline, Failure> {
    context.config.pipelines.get(&recipe.pipeline).ok_or_else(|| {
        let known: Vec<String> = context.config.pipelines.keys().map(ToString::to_string).collect();
        Failure::new(Code::Refused, format!("there is no pipeline {}", recipe.pipeline))
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
async fn passed(
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
pub(crate) fn print(planned: &Planned, recipe: &Recipe) {
    let Planned { plan, report } = planned;
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
            if !recipe.steps {
                continue;
            }
            for lane in &phase.lanes {
                let steps: Vec<String> =
                    lane.steps.iter().map(|step| lines::name(&step.action)).collect();
                line(format!("    {:<18} {}", lines::subject(stage, lane), steps.join(", ")));
            }
        }
    }
    if !report.notes.is_empty() {
        line("\nnotes");
        for note in &report.notes {
            line(format!("  {note}"));
        }
    }
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
        if let serin_model::Action::Bake { duration } = &step.action {
            Some(format!(" {}", seconds(*duration)))
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
