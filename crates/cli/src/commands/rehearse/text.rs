//! A rehearsal as a person reads it: the timeline, what faults led to, and the forecast.

use super::facts::{Crew, Lost};
use super::forecast::{Interval, Met};
use super::timeline::{self, Detail, What};
use super::{Outcome, long};
use crate::args::FaultWords;
use crate::commands::halted;
use crate::show::date;
use serin_engine::Status;
use serin_model::{MidRun, Plan};
use serin_sim::RehearsalEnd;
use serin_sim::seeds::Incident;
use std::time::Duration;

/// Returns the lines of a rehearsal.
pub(super) fn lines(outcome: &Outcome<'_>) -> Vec<String> {
    let mut lines = heading(outcome);
    lines.push(String::new());
    lines.extend(timeline(outcome));
    lines.extend(ending(outcome));
    lines.extend(faults(outcome));
    lines.extend(forecast(outcome));
    lines.extend(violations(outcome));
    lines
}

fn heading(outcome: &Outcome<'_>) -> Vec<String> {
    let Outcome { asked, config, plan, durations, begin, .. } = outcome;
    let hosts = config.topology.environments.values().flat_map(serin_model::Environment::hosts);
    let build = match &asked.build {
        Some(version) => format!("{} {version}", plan.build.package),
        None => format!("any build of {}", plan.build.package),
    };
    vec![
        format!(
            "rehearsal of {} with {build}, seed {}, from {}",
            plan.pipeline,
            asked.seed,
            date(*begin)
        ),
        format!("{} pretend hosts: nothing real is reached, recorded or changed", hosts.count()),
        durations.text(),
    ]
}

fn timeline(outcome: &Outcome<'_>) -> Vec<String> {
    let detail = if outcome.asked.steps { Detail::Steps } else { Detail::Notable };
    let moments = timeline::of(&outcome.story, outcome.begin, detail);
    let line = |moment: &timeline::Moment| {
        let mark = match moment.what {
            What::Fault => "! ",
            What::Follows => "",
        };
        format!("{:>9}  {mark}{}", clock(moment.after), moment.text)
    };
    moments.iter().map(line).collect()
}

/// Shows the time since the beginning: hours, minutes and seconds.
pub(super) fn clock(after: Duration) -> String {
    let seconds = after.as_secs();
    format!("{}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60)
}

/// Says what a person would see in the end.
fn ending(outcome: &Outcome<'_>) -> Vec<String> {
    let story = &outcome.story;
    let mut lines = vec![String::new()];
    match (&story.end, story.state(), &story.run) {
        (RehearsalEnd::Delivered, ..) => {
            let took = super::Facts::of(story).map_or(Duration::ZERO, |facts| facts.took);
            lines.push(format!("delivered after {}", long(took)));
        }
        (RehearsalEnd::Halted | RehearsalEnd::GivenUp, Some(run), Some((id, _))) => {
            lines.push(
                "there it stays until somebody does something; a person would see".to_owned(),
            );
            let host = outcome.healthy.as_ref().and_then(host_time);
            if let Status::Halted(reason) = &run.status {
                let told = halted::told(id, &run, reason, host);
                lines.extend(told.iter().map(|line| format!("  {line}")));
            }
        }
        (RehearsalEnd::NotPlanned(why) | RehearsalEnd::NoEnd(why), ..) => lines.push(why.clone()),
        (RehearsalEnd::Halted | RehearsalEnd::GivenUp, ..) => lines.push("halted".to_owned()),
    }
    lines
}

/// Returns how long a host is out of service, on average.
fn host_time(facts: &super::Facts) -> Option<Duration> {
    let time: Duration = facts.capacity.values().map(|lost| lost.time).sum();
    let hosts: usize = facts.capacity.values().filter(|l| !l.time.is_zero()).map(|l| l.hosts).sum();
    Some(time / u32::try_from(hosts).ok().filter(|hosts| *hosts > 0)?)
}

fn faults(outcome: &Outcome<'_>) -> Vec<String> {
    let story = &outcome.story;
    if outcome.incidents.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![String::new(), "what the faults led to".to_owned()];
    for (number, (at, what)) in story.befallen.iter().enumerate() {
        let at = clock(at.since(outcome.begin));
        lines.push(format!("  {what} ({at}): {}", timeline::led_to(story, number)));
    }
    lines.extend(never(outcome).map(|fault| {
        format!("  --fault {} did not happen: the run did not get there", fault.text)
    }));
    let took = super::Facts::of(story).filter(|facts| facts.end == RehearsalEnd::Delivered);
    if let (Some(with), Some(without)) = (took, &outcome.healthy) {
        let (with, without) = (with.took, without.took);
        let word = if with >= without { "longer" } else { "shorter" };
        let more = with.abs_diff(without);
        lines.push(format!(
            "  the run takes {}: {} {word} than with nothing going wrong",
            long(with),
            long(more)
        ));
    }
    lines
}

/// Returns the faults that were asked for and did not happen.
pub(super) fn never<'a>(outcome: &'a Outcome<'_>) -> impl Iterator<Item = &'a FaultWords> {
    let happened = outcome.story.befallen.iter();
    let happened: Vec<&str> = happened.map(|(_, what)| what.as_str()).collect();
    let pairs = outcome.asked.faults.iter().zip(&outcome.incidents);
    pairs.filter(move |(_, incident)| !happens(incident, &happened)).map(|(fault, _)| fault)
}

fn happens(incident: &Incident, happened: &[&str]) -> bool {
    match incident {
        Incident::Befalls(_, fault) => happened.contains(&fault.to_string().as_str()),
        Incident::Strikes(_, strike @ serin_sim::Strike::Goes(_)) => {
            happened.iter().any(|what| what.ends_with(strike.to_string().as_str()))
        }
        Incident::Strikes(_, strike) => happened.contains(&strike.to_string().as_str()),
        Incident::Killed(_) => happened.contains(&serin_sim::Strike::Dies.to_string().as_str()),
        // None of these can be asked for.
        Incident::Effect(..)
        | Incident::When(_)
        | Incident::Append(..)
        | Incident::Dies(_)
        | Incident::Stopped { .. }
        | Incident::ClocksApart(_)
        | Incident::Asked(..) => true,
    }
}

fn forecast(outcome: &Outcome<'_>) -> Vec<String> {
    let forecast = &outcome.forecast;
    let asked = outcome.asked;
    let count = forecast.runs.len();
    let (first, last) = (asked.seed, asked.seed + asked.runs - 1);
    let with = match asked.random_faults {
        0 if asked.faults.is_empty() => String::new(),
        0 => ", with these faults".to_owned(),
        1 => ", with 1 random fault each".to_owned(),
        many => format!(", with {many} random faults each"),
    };
    let mut lines =
        vec![String::new(), format!("forecast from {count} run(s), seeds {first} to {last}{with}")];
    let delivered = forecast.delivered().count();
    lines.push(format!("  delivered   {delivered} of {count} ({}%)", percent(delivered, count)));
    for (stage, why, runs) in forecast.halts() {
        let title = title(&outcome.plan, stage);
        let share = percent(runs, count);
        lines.push(format!("  halted      {runs} ({share}%) in stage {stage} ({title}): {why}"));
    }
    if let Some(interval) = forecast.duration() {
        lines.push(format!("  duration    {}", within(&interval)));
        lines.extend(stages(outcome, &interval));
    }
    lines.extend(capacity(outcome));
    lines.extend(windows(outcome));
    lines.extend(kinds(outcome));
    lines
}

fn within(interval: &Interval) -> String {
    let Interval { low, median, high } = interval;
    format!("{}, in nine of ten runs {} to {}", long(*median), long(*low), long(*high))
}

fn percent(part: usize, whole: usize) -> usize {
    (part * 100 + whole / 2) / whole.max(1)
}

fn title(plan: &Plan, number: u32) -> &str {
    plan.stages.iter().find(|stage| stage.number == number).map_or("", |stage| stage.title.as_str())
}

fn stages(outcome: &Outcome<'_>, whole: &Interval) -> Vec<String> {
    let of = |stage: &serin_model::Stage| {
        let interval = outcome.forecast.stage(stage.number)?;
        let share = share(interval.median, whole.median);
        let name = format!("stage {} ({})", stage.number, stage.title);
        Some(format!("    {name:<46} {share:>3}%  {}", within(&interval)))
    };
    outcome.plan.stages.iter().filter_map(of).collect()
}

fn share(part: Duration, whole: Duration) -> u128 {
    (part.as_millis() * 100 + whole.as_millis() / 2) / whole.as_millis().max(1)
}

fn capacity(outcome: &Outcome<'_>) -> Vec<String> {
    let whole = outcome.forecast.duration().map(|interval| interval.median);
    let line = |(crew, lost): (&Crew, &Lost)| {
        let Lost { hosts, most, time } = *lost;
        let name = format!("{}/{} {}", crew.environment, crew.fleet, crew.role);
        let minutes = time.as_secs().div_ceil(60);
        let hosts_of = format!("{most} of {hosts} hosts");
        let share = whole.map_or_else(String::new, |whole| {
            let all = whole * u32::try_from(hosts).unwrap_or(u32::MAX);
            format!(", {}% of its capacity while the run lasts", share(time, all))
        });
        format!(
            "    {name:<30} {hosts_of:>15} ({}%), {minutes} host-minutes{share}",
            percent(most, hosts)
        )
    };
    let lost = outcome.forecast.capacity();
    let lines: Vec<String> = lost.iter().map(line).collect();
    if lines.is_empty() {
        return lines;
    }
    std::iter::once("  out of service, at most at once".to_owned()).chain(lines).collect()
}

fn windows(outcome: &Outcome<'_>) -> Vec<String> {
    let all = outcome.forecast.windows(&outcome.config.topology, &outcome.plan, outcome.begin);
    let count = outcome.forecast.delivered().count();
    if all.is_empty() {
        let freeze = outcome.config.topology.environments.values().any(|e| !e.freeze.is_empty());
        let none = "  windows     no freeze window begins while a run is on its way";
        return if freeze { vec![none.to_owned()] } else { Vec::new() };
    }
    let line = |met: &Met| {
        let after = clock(met.begins.since(outcome.begin));
        let mut text = format!("  windows     {after} ({}): {}", date(met.begins), met.held);
        if met.stages.is_empty() {
            text.push_str("; no run is there then");
        }
        for (stage, runs) in &met.stages {
            let title = title(&outcome.plan, *stage);
            let how = match met.held.mid_run {
                MidRun::Halt => "halt in or before",
                MidRun::NextStage => "halt before",
            };
            let halts = format!("; {runs} of {count} runs {how} stage {stage} ({title})");
            text.push_str(&halts);
        }
        text
    };
    all.iter().map(line).collect()
}

fn kinds(outcome: &Outcome<'_>) -> Vec<String> {
    let kinds = outcome.forecast.kinds();
    if kinds.is_empty() {
        return Vec::new();
    }
    let line = |(kind, (runs, halted)): (&&str, &(usize, usize))| {
        format!("    {kind:<34} {halted} of {runs} runs halted")
    };
    std::iter::once("  random faults".to_owned()).chain(kinds.iter().map(line)).collect()
}

fn violations(outcome: &Outcome<'_>) -> Vec<String> {
    let seed = outcome.asked.seed;
    let story = outcome.story.violations.iter().map(|what| (seed, what.clone()));
    let all: Vec<(u64, String)> = story.chain(outcome.forecast.violations.clone()).collect();
    if all.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![
        String::new(),
        "BUG: something happened that must never happen. Please report it with the configuration and the command"
            .to_owned(),
    ];
    for (seed, what) in all {
        lines.push(format!("  {what}"));
        lines.push(format!("    {}", replay(outcome, seed)));
    }
    lines
}

/// Returns the command that rehearses a run of the forecast again.
pub(super) fn replay(outcome: &Outcome<'_>, seed: u64) -> String {
    let asked = outcome.asked;
    let mut words = vec!["serin rehearse".to_owned(), asked.pipeline.to_string()];
    words.extend(asked.build.iter().map(ToString::to_string));
    words.extend(asked.faults.iter().map(|fault| format!("--fault {}", fault.text)));
    if asked.resume {
        words.push("--resume".to_owned());
    }
    if asked.random_faults > 0 {
        words.push(format!("--random-faults={}", asked.random_faults));
    }
    words.push(format!("--seed {seed} --runs 1 --at {}", at(outcome)));
    words.join(" ")
}

fn at(outcome: &Outcome<'_>) -> String {
    date(outcome.begin).replace(' ', "T").chars().take("2026-12-01T08:00".len()).collect()
}
