//! `serin agree`: a second person's word, without which runs do not start where the configuration wants it.
//!
//! The word is its command's own record in the audit trail: who said it is known there as for every command, and nobody can
//! say it for another. A way back and a patch need none: they must not wait.

use crate::args::{Agree, Arguments, Command};
use crate::commands::plan::EXPEDITED;
use crate::context::Context;
use crate::failure::{Code, Failure, chain};
use crate::show::line;
use clap::Parser;
use serin_model::{EnvironmentName, Need, NeedScope, PersonName, PersonRole, Plan, Timestamp};
use serin_runtime::audit::{self, Outcome, Told};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long a word counts: somebody has just looked.
const COUNTS_FOR: Duration = Duration::from_hours(1);

/// What was agreed to is in the record of the command itself; here is said what it does.
pub(crate) fn run(context: &Context, asked: &Agree) -> Result<Code, Failure> {
    let Agree { pipeline, build, note: _ } = asked;
    if !context.config.pipelines.contains_key(pipeline) && pipeline.as_str() != EXPEDITED {
        let known: Vec<&str> =
            context.config.pipelines.keys().map(serin_model::PipelineName::as_str).collect();
        return Err(Failure::new(Code::Refused, format!("there is no pipeline {pipeline}"))
            .hint(format!("there are: {}, {EXPEDITED}", known.join(", "))));
    }
    if context.config.people.0.is_empty() {
        return Err(Failure::new(Code::Refused, "without [people] nobody is a second person")
            .hint("docs/people.md says how people are listed"));
    }
    context
        .say(format!("recorded: within the hour, somebody else may start {pipeline} of {build}"));
    if context.json() {
        line(serde_json::json!({ "agreed": { "pipeline": pipeline, "build": build } }).to_string());
    }
    Ok(Code::Done)
}

/// Makes sure that a second person has agreed to a plan, where one must.
pub(crate) async fn check(context: &Context, plan: &Plan) -> Result<(), Failure> {
    let wanted = wanted(context, plan);
    if wanted.is_empty() {
        return Ok(());
    }
    let entries = audit::read(context.journal.as_ref()).await;
    let entries = entries.map_err(|error| Failure::new(Code::Journal, chain(&error)))?;
    let now = context.clock.now();
    let first = context.who.as_ref().and_then(|(asker, _)| asker.person.as_ref());
    let need = Need { role: PersonRole::ReleaseManager, scope: NeedScope::EachOf(wanted.clone()) };
    let people = &context.config.people.0;
    let may = |who: &PersonName| people.get(who).is_some_and(|person| person.has(&need));
    let told = audit::story(&entries);
    let agreed = told.iter().rev().take_while(|told| now.since(told.at) <= COUNTS_FOR);
    let second = agreed
        .filter_map(|told| second(told, plan, now))
        .find(|who| Some(*who) != first && may(who));
    if let Some(second) = second {
        context.say(format!("{second} has agreed"));
        return Ok(());
    }
    let (pipeline, version) = (&plan.pipeline, &plan.build.version);
    let others: Vec<&str> = people
        .keys()
        .filter(|who| Some(*who) != first && may(who))
        .map(PersonName::as_str)
        .collect();
    let wanted: Vec<&str> = wanted.iter().map(EnvironmentName::as_str).collect();
    let what = format!(
        "{} wants a second person, and nobody else has agreed to {pipeline} of {version} within the hour",
        wanted.join(" and ")
    );
    let others = match others.as_slice() {
        [] => "nobody else could: that needs another release-manager there".to_owned(),
        several => {
            format!("{} can: serin agree {pipeline} {version} --note …", several.join(" or "))
        }
    };
    Err(Failure::new(Code::Refused, what).hint(others))
}

/// Returns the environments of a plan in which runs start by two people only.
fn wanted(context: &Context, plan: &Plan) -> BTreeSet<EnvironmentName> {
    let named = context.config.pipelines.contains_key(&plan.pipeline);
    // What waited in the queue and is planned anew was agreed to when it began.
    let goes_on = plan.queue.as_ref().is_some_and(|queue| queue.first.is_some());
    if plan.back.is_some() || plan.patching.is_some() || goes_on {
        return BTreeSet::new();
    }
    if !named && plan.pipeline.as_str() != EXPEDITED {
        return BTreeSet::new();
    }
    let touched = plan.stages.iter().map(|stage| &stage.environment);
    touched.filter(|name| context.config.two_people.contains(*name)).cloned().collect()
}

/// Returns who has agreed to a plan by a command, if that is what it was.
fn second<'a>(told: &'a Told, plan: &Plan, now: Timestamp) -> Option<&'a PersonName> {
    let Outcome::Ended(0, _) = told.outcome else { return None };
    if told.at > now {
        return None;
    }
    let program = std::iter::once("serin".to_owned());
    let parsed = Arguments::try_parse_from(program.chain(told.words.iter().cloned())).ok()?;
    let Command::Agree(Agree { pipeline, build, note: _ }) = parsed.command else { return None };
    let same = pipeline == plan.pipeline && build == plan.build.version;
    told.who.person.as_ref().filter(|_| same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serin_model::{Door, Identity, Proof};
    use serin_runtime::audit::{Asker, Process};

    fn told(words: &[&str], outcome: Outcome) -> Told {
        Told {
            number: 1,
            at: Timestamp::from_millis(5),
            who: Asker {
                identity: Identity {
                    door: Door::Terminal,
                    subject: "carol".to_owned(),
                    proof: Proof::Verified,
                },
                person: Some("carol".parse().unwrap()),
            },
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            reason: None,
            process: Process { machine: "m".to_owned(), pid: 1 },
            outcome,
        }
    }

    #[test]
    fn only_a_word_to_this_pipeline_and_build_that_was_accepted_counts() {
        let plan = crate::gitlab::places::tests::run().plan;
        let now = Timestamp::from_millis(10);
        let done = || Outcome::Ended(0, now);
        let agree = ["agree", "to-main", "16.2.0-ee.0", "--note", "looks good"];
        let carol = told(&agree, done());
        assert_eq!(second(&carol, &plan, now).map(PersonName::as_str), Some("carol"));
        let elsewhere = [&["--config", "/etc/serin/serin.toml"][..], &agree].concat();
        assert!(second(&told(&elsewhere, done()), &plan, now).is_some());
        for (words, outcome) in [
            (&["agree", "to-main", "16.3.0-ee.0", "--note", "x"][..], done()),
            (&["agree", "to-canary", "16.2.0-ee.0", "--note", "x"], done()),
            (&["approve", "r-1", "--note", "agree to-main 16.2.0-ee.0"], done()),
            (&agree, Outcome::Open),
            (&agree, Outcome::Refused("no".to_owned())),
            (&agree, Outcome::Ended(4, now)),
        ] {
            assert_eq!(second(&told(words, outcome), &plan, now), None, "{words:?}");
        }
        assert_eq!(second(&carol, &plan, Timestamp::from_millis(1)), None, "of tomorrow");
        let nobody = Told { who: Asker { person: None, ..carol.who.clone() }, ..carol };
        assert_eq!(second(&nobody, &plan, now), None);
    }
}
