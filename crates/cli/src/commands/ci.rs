//! `serin ci`: what the jobs of a CI pipeline call. A job acts for one stage, and leaves the run open for the next.
//!
//! There is no state of its own: a run is in the journal, and a job that died is a process that died. Why it is done in
//! this way is in `docs/design/ci.md`.

mod gitlab;
mod jobs;
mod yaml;

use super::{drive, plan, promote, queue};
use crate::args::{
    Bakes, CiBegin, CiCommand, CiPromotable, CiStage, Detail, Past, Promoting, Recipe,
};
use crate::context::Context;
use crate::failure::{Code, Failure, chain};
use crate::show::embargo;
use serin_engine::{Run, Status};
use serin_model::{Actors, BuildKind, DebVersion, Pipeline, RunId};
use serin_runtime::{Until, records};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// What stands for a run where there was nothing to do.
const NONE: &str = "none";

/// How old a run may be of which a job is still tried again: jobs' artifacts, which name the run, are gone by then (GitLab
/// keeps them for 30 days unless it is told otherwise).
const TRIED_AGAIN_WITHIN: Duration = Duration::from_hours(30 * 24);

/// Writes the pipeline: it needs the configuration alone.
pub(crate) use gitlab::write;

pub(crate) async fn run(context: &Context, command: CiCommand) -> Result<Code, Failure> {
    match command {
        CiCommand::Gitlab(asked) => write(&context.config, &asked),
        CiCommand::Begin(asked) => begin(context, &asked).await,
        CiCommand::Stage(asked) => stage(context, &asked).await,
        CiCommand::Promotable(asked) => promotable(context, &asked).await,
    }
}

async fn begin(context: &Context, asked: &CiBegin) -> Result<Code, Failure> {
    let pipeline = plan::pipeline(context, &asked.pipeline)?;
    let mut dotenv = asked.dotenv.as_deref().map(create).transpose()?;
    let id = match begun_before(context, asked).await? {
        Some(id) => {
            context.say(format!("run {id} was begun for this CI pipeline: it goes on"));
            Some(id)
        }
        None => begin_new(context, pipeline, asked).await?,
    };
    let name = id.as_ref().map_or(NONE, RunId::as_str);
    if let Some((file, path)) = &mut dotenv {
        writeln!(file, "SERIN_RUN={name}").map_err(|error| not_written(path, &error))?;
    }
    if let Some(id) = id {
        context.say(format!("run {id} waits for the job of its first stage"));
    }
    Ok(Code::Done)
}

async fn begin_new(
    context: &Context,
    pipeline: &Pipeline,
    asked: &CiBegin,
) -> Result<Option<RunId>, Failure> {
    queue::refuse_if_busy(context, pipeline).await?;
    drive::free(context, pipeline).await?;
    let named = version(asked.build.as_deref())?;
    let ports = context.ports()?;
    let mut planned = if pipeline.stages.iter().any(|stage| stage.exposure.is_some()) {
        promote::plan_it(context, &ports, pipeline).await?
    } else {
        let build = match (&named, kind(asked.kind.as_deref())?) {
            (None, Some(kind)) => Some(newest_of(context, kind).await?),
            (named, _) => named.clone(),
        };
        let pipeline = pipeline.name.clone();
        let recipe = Recipe { pipeline, build, steps: false, fleet: None, reason: None };
        plan::make(context, &ports, &recipe).await?
    };
    let found = &planned.plan.build.version;
    if let Some(named) = named.filter(|named| named != found) {
        let what = format!("{found} is on the canary, and not {named}");
        return Err(Failure::new(Code::Refused, what).hint("nothing was begun"));
    }
    if asked.bakes == Bakes::Afterwards {
        planned.plan = plan::bake_afterwards(planned.plan)?;
    }
    planned.plan.queue = queue::of(context, pipeline);
    planned.plan.actors = Actors::EachStage { of: said(asked.of.as_deref()).map(str::to_owned) };
    drive::record(context, (planned, Detail::Stages), &asked.past).await
}

/// A job that died when it had recorded its run must not record a second one.
async fn begun_before(context: &Context, asked: &CiBegin) -> Result<Option<RunId>, Failure> {
    let Some(of) = said(asked.of.as_deref()) else { return Ok(None) };
    let now = context.clock.now();
    let runs = context.journal.runs().await?.into_iter();
    for summary in runs.take_while(|summary| now.since(summary.created) <= TRIED_AGAIN_WITHIN) {
        let (run, _) = records::load(context.journal.as_ref(), &summary.id).await?;
        let same = matches!(&run.plan.actors, Actors::EachStage { of: Some(known) } if known == of);
        let given_up = matches!(run.status, Status::Cancelled { .. });
        if same && run.plan.pipeline == asked.pipeline && !given_up {
            return Ok(Some(summary.id));
        }
    }
    Ok(None)
}

async fn newest_of(context: &Context, kind: BuildKind) -> Result<DebVersion, Failure> {
    let builds = context.repository()?.builds().await;
    let builds = builds.map_err(|error| Failure::new(Code::Refused, chain(&error)))?;
    embargo::learn(&builds);
    let found = builds.into_iter().find(|build| build.kind == kind);
    found.map(|build| build.version).ok_or_else(|| {
        Failure::new(Code::Refused, format!("the repository has no {kind} build"))
            .hint("`kinds` in [repository] says by which patterns kinds are told apart")
    })
}

async fn stage(context: &Context, asked: &CiStage) -> Result<Code, Failure> {
    let number = asked.number;
    let Some(id) = run_of(&asked.run)? else {
        context.say("there was nothing to do, so this job has nothing to do");
        return Ok(Code::Done);
    };
    let id = goes_on_as(context, id).await?;
    let (run, _) = records::load(context.journal.as_ref(), &id).await?;
    let pipeline = plan::pipeline(context, &run.plan.pipeline)?;
    if pipeline.stages.iter().all(|stage| stage.number != number) {
        let what = format!("{} has no stage {number}", pipeline.name);
        return Err(Failure::new(Code::Refused, what).hint(
            "the pipeline of jobs is older than serin.toml: `serin ci gitlab` writes it anew",
        ));
    }
    let until = if asked.before_bake { Until::Bake(number) } else { Until::Stage(number) };
    match stands(&run, until) {
        Stands::Passed => {
            context.say(format!("stage {number} of run {id} has passed, or had nothing to do"));
            return Ok(Code::Done);
        }
        Stands::GivenUp => {
            context.say(format!("run {id} was given up"));
            return Ok(Code::Cancelled);
        }
        Stands::At(at) if at < number => {
            let what = format!("stage {at} of run {id} has not passed: stage {number} comes later");
            return Err(Failure::new(Code::Refused, what).hint("try the job of that stage again"));
        }
        Stands::At(_) => {}
    }
    act(context, &id, until).await
}

async fn act(context: &Context, id: &RunId, until: Until) -> Result<Code, Failure> {
    let code = drive::drive_until(context, context.ports()?, id.clone(), (None, until)).await?;
    drive::give_up_if_untouched(context, id).await?;
    let code = queue::settle(context, id.clone(), code, (&Past::default(), until)).await?;
    if code == Code::Halted {
        context.say("when the run is resumed, try this CI job again: it goes on where the run is");
    }
    Ok(code)
}

/// How a run stands, for a job that acts up to a limit.
#[derive(Debug, PartialEq, Eq)]
enum Stands {
    /// What the job is to do is done.
    Passed,
    /// The run was given up.
    GivenUp,
    /// This stage is the next to do something for, if only to leave its environment.
    At(u32),
}

fn stands(run: &Run, until: Until) -> Stands {
    if let Status::Cancelled { .. } = run.status {
        return Stands::GivenUp;
    }
    let here = run.current().map(|(stage, _, _)| stage);
    let done_with = run.environments.keys().any(|name| here.is_none_or(|s| s.environment != *name));
    let last = run.plan.stages.last().map_or(0, |stage| stage.number);
    match here {
        None if run.status == Status::Finished && !done_with => Stands::Passed,
        // Its end is yet to be recorded, or its environment to be left.
        None => Stands::At(last),
        Some(_) if until.is_reached(run) && !done_with => Stands::Passed,
        Some(stage) => Stands::At(stage.number),
    }
}

/// Follows a run to the one that goes on for it: its plan was outdated while it waited, and was made anew.
async fn goes_on_as(context: &Context, id: RunId) -> Result<RunId, Failure> {
    let mut last = id.clone();
    let runs = context.journal.runs().await?;
    let mut later: Vec<_> = runs.into_iter().take_while(|summary| summary.id != id).collect();
    later.reverse();
    for summary in later {
        let (run, _) = records::load(context.journal.as_ref(), &summary.id).await?;
        if run.plan.queue.is_some_and(|queue| queue.first.as_ref() == Some(&id)) {
            last = summary.id;
        }
    }
    if last != id {
        context.say(format!("run {id} goes on as run {last}"));
    }
    Ok(last)
}

async fn promotable(context: &Context, asked: &CiPromotable) -> Result<Code, Failure> {
    let pipeline = plan::pipeline(context, &asked.pipeline)?;
    let (build, missing) = promote::ready(context, pipeline).await?;
    if let Some(id) = run_of(&asked.run)? {
        let id = goes_on_as(context, id).await?;
        let (run, _) = records::load(context.journal.as_ref(), &id).await?;
        let brought = &run.plan.build;
        if brought.sha256 != build.sha256 {
            let (now, then) = (&build.version, &brought.version);
            let what = format!("the canary has {now}, and not the {then} of run {id}");
            return Err(Failure::new(Code::Refused, what).hint(
                "promote from the CI pipeline that has brought it there, or with serin promote",
            ));
        }
    }
    promote::tell(context, &build, &missing);
    Ok(match asked.by {
        Promoting::IfReady if !missing.is_empty() => Code::Blocked,
        Promoting::IfReady | Promoting::Asked => Code::Done,
    })
}

/// Reads which run a job is of; `None`: there was nothing to do.
pub(crate) fn run_of(text: &str) -> Result<Option<RunId>, Failure> {
    if text == NONE {
        return Ok(None);
    }
    let run: Result<RunId, _> = text.parse();
    run.map(Some).map_err(|error| {
        Failure::new(Code::Refused, format!("no run is named: {error}"))
            .hint("SERIN_RUN comes from the job `begin`: try that one again")
    })
}

/// CI systems hand variables over that are empty.
fn said(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

fn version(text: Option<&str>) -> Result<Option<DebVersion>, Failure> {
    let read = said(text).map(str::parse).transpose();
    read.map_err(|error| Failure::new(Code::Refused, format!("{error}")))
}

fn kind(text: Option<&str>) -> Result<Option<BuildKind>, Failure> {
    match said(text) {
        None => Ok(None),
        Some("nightly") => Ok(Some(BuildKind::Nightly)),
        Some("candidate") => Ok(Some(BuildKind::Candidate)),
        Some("official") => Ok(Some(BuildKind::Official)),
        Some(other) => Err(Failure::new(Code::Refused, format!("there are no {other:?} builds"))
            .hint("kinds are nightly, candidate and official")),
    }
}

/// Makes the file before a run is recorded: a run that no job knows of would be left behind.
fn create(path: &Path) -> Result<(File, &Path), Failure> {
    File::create(path).map(|file| (file, path)).map_err(|error| not_written(path, &error))
}

fn not_written(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Code::Refused, format!("{} cannot be written: {error}", path.display()))
}
