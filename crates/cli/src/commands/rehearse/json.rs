//! A rehearsal as programs read it: one object. Durations are milliseconds, times are since 1970.

use super::forecast::Interval;
use super::timeline::{self, Detail, What};
use super::{Outcome, text};
use crate::commands::hold;
use serde_json::{Value, json};
use serin_sim::RehearsalEnd;
use std::time::Duration;

/// Returns the object.
pub(super) fn object(outcome: &Outcome<'_>) -> Value {
    let Outcome { asked, plan, durations, begin, .. } = outcome;
    let runs: Vec<String> = durations.runs.iter().map(ToString::to_string).collect();
    json!({
        "pipeline": plan.pipeline.as_str(),
        "build": asked.build.as_ref().map(ToString::to_string),
        "seed": asked.seed,
        "begin": begin.as_millis(),
        "measured": durations.measured,
        "measured_in": runs,
        "story": story(outcome),
        "forecast": forecast(outcome),
        "violations": violations(outcome),
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn end(end: &RehearsalEnd) -> &'static str {
    match end {
        RehearsalEnd::Delivered => "delivered",
        RehearsalEnd::Halted => "halted",
        RehearsalEnd::GivenUp => "given-up",
        RehearsalEnd::NotPlanned(_) => "not-planned",
        RehearsalEnd::NoEnd(_) => "no-end",
    }
}

fn story(outcome: &Outcome<'_>) -> Value {
    let story = &outcome.story;
    let facts = super::Facts::of(story);
    let detail = if outcome.asked.steps { Detail::Steps } else { Detail::Notable };
    let timeline = timeline::of(story, outcome.begin, detail);
    let moment = |moment: &timeline::Moment| {
        let fault = moment.what == What::Fault;
        json!({ "after": millis(moment.after), "fault": fault, "text": moment.text.trim() })
    };
    let faults = story.befallen.iter().enumerate().map(|(number, (at, what))| {
        let after = millis(at.since(outcome.begin));
        json!({ "after": after, "what": what, "led_to": timeline::led_to(story, number) })
    });
    let halt = facts.as_ref().and_then(|facts| facts.halt.as_ref());
    json!({
        "end": end(&story.end),
        "took": facts.as_ref().map(|facts| millis(facts.took)),
        "took_without_faults": outcome.healthy.as_ref().map(|facts| millis(facts.took)),
        "halted": halt.map(|(stage, why)| json!({ "stage": stage, "reason": why.to_string() })),
        "faults": faults.collect::<Vec<_>>(),
        "faults_that_did_not_happen":
            text::never(outcome).map(|fault| fault.text.as_str()).collect::<Vec<_>>(),
        "timeline": timeline.iter().map(moment).collect::<Vec<_>>(),
    })
}

fn interval(interval: Option<Interval>) -> Value {
    interval.map_or(Value::Null, |Interval { low, median, high }| {
        json!({ "low": millis(low), "median": millis(median), "high": millis(high) })
    })
}

fn forecast(outcome: &Outcome<'_>) -> Value {
    let forecast = &outcome.forecast;
    let halts = forecast.halts().into_iter();
    let halts = halts.map(|(stage, why, runs)| json!({ "stage": stage, "why": why, "runs": runs }));
    let stages = outcome.plan.stages.iter().map(|stage| {
        let took = interval(forecast.stage(stage.number));
        json!({ "stage": stage.number, "title": stage.title, "took": took })
    });
    let capacity = forecast.capacity();
    let capacity = capacity.iter().map(|(crew, lost)| {
        json!({
            "environment": crew.environment.as_str(),
            "fleet": crew.fleet.as_str(),
            "role": crew.role.as_str(),
            "hosts": lost.hosts,
            "most_out": lost.most,
            "time_out": millis(lost.time),
        })
    });
    let windows = forecast.windows(&outcome.config.topology, &outcome.plan, outcome.begin);
    let windows = windows.iter().map(|met| {
        let stages = met.stages.iter();
        let stages = stages.map(|(stage, runs)| json!({ "stage": stage, "runs": runs }));
        json!({
            "window": hold::object(&met.held, Some(met.begins)),
            "halts": stages.collect::<Vec<_>>(),
        })
    });
    let kinds = forecast.kinds();
    let kinds = kinds
        .iter()
        .map(|(kind, (runs, halted))| json!({ "kind": kind, "runs": runs, "halted": halted }));
    json!({
        "runs": forecast.runs.len(),
        "delivered": forecast.delivered().count(),
        "halts": halts.collect::<Vec<_>>(),
        "duration": interval(forecast.duration()),
        "stages": stages.collect::<Vec<_>>(),
        "capacity": capacity.collect::<Vec<_>>(),
        "windows": windows.collect::<Vec<_>>(),
        "random_faults": kinds.collect::<Vec<_>>(),
    })
}

fn violations(outcome: &Outcome<'_>) -> Vec<Value> {
    let own = outcome.story.violations.iter().map(|what| (outcome.asked.seed, what));
    let others = outcome.forecast.violations.iter().map(|(seed, what)| (*seed, what));
    let object = |(seed, what): (u64, &String)| json!({ "seed": seed, "what": what, "replay": text::replay(outcome, seed) });
    own.chain(others).map(object).collect()
}
