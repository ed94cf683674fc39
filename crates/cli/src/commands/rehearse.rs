//! `serin rehearse`: a pipeline in a pretend copy of the configured installation, with faults, and a forecast.
//!
//! Reads the configuration and, if there is one, the journal: for how long work took, and what holds environments.
//! Nothing else is read, nothing is written, and nobody is reached. What happens is told by the simulator; this
//! decides what is rehearsed, and says what came of it.

mod durations;
mod facts;
mod faults;
mod forecast;
mod json;
mod text;
mod timeline;

use self::durations::Durations;
use self::facts::Facts;
use self::forecast::Forecast;
use super::{hold, plan};
use crate::args::Rehearse;
use crate::context;
use crate::failure::{Code, Failure};
use crate::show::{Format, date, line};
use serin_config::Config;
use serin_engine::Event;
use serin_engine::environment::concerns;
use serin_journal::Journal;
use serin_model::{Held, Pipeline, Plan, Timestamp};
use serin_runtime::audit::Hand;
use serin_runtime::environment::{Stream, windows};
use serin_runtime::ports::Clock;
use serin_sim::seeds::Incident;
use serin_sim::{
    AfterHalt, Moment, Pretended, Rehearsal, RehearsalEnd, Rehearsed, Setting, Strike,
};
use std::path::Path;
use std::time::Duration;

/// Everything that a rehearsal came to.
struct Outcome<'a> {
    asked: &'a Rehearse,
    config: &'a Config,
    durations: Durations,
    begin: Timestamp,
    plan: Plan,
    /// What goes wrong as asked.
    incidents: Vec<Incident>,
    /// The same run with nothing going wrong.
    healthy: Option<Facts>,
    story: Rehearsed,
    forecast: Forecast,
}

pub(crate) async fn run(
    from: (Option<&Path>, Hand),
    format: Format,
    asked: &Rehearse,
) -> Result<Code, Failure> {
    if faults::asks_for_help(&asked.faults) {
        faults::help().iter().for_each(line);
        return Ok(Code::Done);
    }
    let config = context::veiled(from)?;
    let pipeline = plan::find_pipeline(&config, &asked.pipeline)?;
    faults::check(&asked.faults, &config.topology)?;
    let begin = match &asked.at {
        Some(at) => hold::moment(at)?,
        None => context::clock().now(),
    };
    // One that is not there is not made.
    let there = match &config.journal {
        serin_config::Journal::File(path) => path.exists(),
        serin_config::Journal::Postgres(_) => true,
    };
    let opened = if there { Some(crate::journal::open(&config).await?) } else { None };
    let journal = opened.map(|(journal, _)| journal);
    let durations = match &journal {
        Some(journal) => durations::measure(journal.as_ref()).await?,
        None => Durations::assumed(),
    };
    let held = held(&config, pipeline, journal.as_deref(), begin).await?;
    let outcome =
        tokio::task::block_in_place(|| rehearsed(&config, pipeline, asked, (durations, begin)))?;
    if let Some(held) = held.iter().find(|held| in_the_way(held, &outcome.plan)) {
        return Err(not_now(begin, held));
    }
    match format {
        Format::Text => text::lines(&outcome).iter().for_each(line),
        Format::Json => line(json::object(&outcome).to_string()),
    }
    Ok(code(&outcome))
}

fn code(outcome: &Outcome<'_>) -> Code {
    if !outcome.story.violations.is_empty() || !outcome.forecast.violations.is_empty() {
        return Code::Error;
    }
    match outcome.story.end {
        RehearsalEnd::Delivered => Code::Done,
        RehearsalEnd::Halted | RehearsalEnd::GivenUp => Code::Halted,
        RehearsalEnd::NotPlanned(_) | RehearsalEnd::NoEnd(_) => Code::Error,
    }
}

/// Returns what holds the environments of a pipeline when it is to begin.
async fn held(
    config: &Config,
    pipeline: &Pipeline,
    journal: Option<&dyn Journal>,
    at: Timestamp,
) -> Result<Vec<Held>, Failure> {
    let mut all = Vec::new();
    for (name, environment) in &config.topology.environments {
        if !pipeline.stages.iter().any(|stage| stage.environment == *name) {
            continue;
        }
        let windows = windows::on(environment, at);
        match journal {
            Some(journal) => {
                all.extend(Stream::read(journal, name).await?.state.held(&windows, at));
            }
            None => all.extend(windows),
        }
    }
    Ok(all)
}

fn in_the_way(held: &Held, plan: &Plan) -> bool {
    plan.stages.iter().any(|stage| concerns(held, stage, &plan.topology))
}

fn not_now(begin: Timestamp, held: &Held) -> Failure {
    let what = format!("at {} `serin run` would be refused: {held}", date(begin));
    let failure = Failure::new(Code::Refused, what);
    match held.until {
        Some(until) => {
            failure.hint(format!("it is over at {}: rehearse that with --at", date(until)))
        }
        None => failure.hint("`serin hold list` shows it; rehearse another time with --at"),
    }
}

/// Rehearses once without faults, once with those that are asked for, and as often as the forecast wants.
fn rehearsed<'a>(
    config: &'a Config,
    pipeline: &Pipeline,
    asked: &'a Rehearse,
    (durations, begin): (Durations, Timestamp),
) -> Result<Outcome<'a>, Failure> {
    let pretended = Pretended {
        pipeline: pipeline.name.clone(),
        version: asked.build.clone(),
        latencies: durations.latencies.clone(),
        begin,
    };
    let setting = Setting::pretended(&config.topology, &config.pipelines, pretended);
    let after_halt = if asked.resume { AfterHalt::RepairAndResume } else { AfterHalt::Stop };
    let approvals = approvals(pipeline);
    let rehearsal = |setting: &Setting, incidents: &[Incident], seed| Rehearsal {
        seed,
        setting: setting.clone(),
        pipeline: pipeline.name.clone(),
        incidents: incidents.iter().chain(&approvals).cloned().collect(),
        after_halt,
        planted: None,
    };
    let thawed = setting.clone().thawed();
    let healthy = forecast::alone(&rehearsal(&thawed, &[], asked.seed));
    let plan = plan_of(&healthy)?;
    let incidents = faults::incidents(&asked.faults, &plan)?;
    let story = forecast::alone(&rehearsal(&setting, &incidents, asked.seed));
    let healthy = Facts::of(&healthy);
    let span = healthy.as_ref().map_or(Duration::ZERO, |facts| facts.took);
    let runs = (asked.seed..asked.seed.saturating_add(asked.runs)).map(|seed| {
        let random = Incident::drawn(seed, &thawed, span, asked.random_faults);
        let kinds = random.iter().map(Incident::kind).collect();
        let all: Vec<Incident> = incidents.iter().cloned().chain(random).collect();
        (rehearsal(&thawed, &all, seed), kinds)
    });
    let forecast = Forecast::of(forecast::side_by_side(&runs.collect::<Vec<_>>()));
    Ok(Outcome { asked, config, durations, begin, plan, incidents, healthy, story, forecast })
}

/// A stage that waits for a person does not wait here: how long people take is theirs to say.
fn approvals(pipeline: &Pipeline) -> Vec<Incident> {
    let waiting = pipeline.stages.iter().filter(|stage| stage.approval.is_some());
    let moment = |stage: u32| Moment {
        stage: Some(stage),
        step: Some("approve".to_owned()),
        ..Moment::default()
    };
    waiting.map(|stage| Incident::Strikes(moment(stage.number), Strike::Approves)).collect()
}

fn plan_of(rehearsed: &Rehearsed) -> Result<Plan, Failure> {
    if let Some((_, Event::Started { plan, .. })) =
        rehearsed.run.as_ref().and_then(|(_, events)| events.first())
    {
        return Ok(Plan::clone(plan));
    }
    let why = match &rehearsed.end {
        RehearsalEnd::NotPlanned(why) | RehearsalEnd::NoEnd(why) => why.as_str(),
        RehearsalEnd::Delivered | RehearsalEnd::Halted | RehearsalEnd::GivenUp => "no record",
    };
    Err(Failure::new(Code::Refused, format!("there is no plan to rehearse: {why}"))
        .hint("the pipeline in serin.toml asks for it"))
}

/// Shows how long something takes: hours and minutes, or what is less.
fn long(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) if m < 10 => format!("{m}m {s:02}s"),
        (0, m, _) => format!("{m}m"),
        (h, m, _) => format!("{h}h {m:02}m"),
    }
}
