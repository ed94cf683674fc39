//! Whether a run may start or go on: nothing holds its environments, or somebody overrides what does.
//!
//! An attempt is recorded before it is refused; an override is recorded, with its run, before the run is let through.

use super::{asking, hold};
use crate::args::Past;
use crate::context::Context;
use crate::failure::{Code, Failure};
use serin_engine::environment::{Override, may_start};
use serin_model::{EnvironmentName, Held, Need, NeedScope, Overriding, PersonRole, Plan, RunId};
use serin_runtime::environment::{EnvironmentRequest, Want};
use std::collections::BTreeMap;

/// What a person wants about what holds the environments of a run.
pub(crate) struct Wish<'a> {
    /// Why it is to be overridden; `None`: it is not.
    pub(crate) over: Option<&'a str>,
    /// The second person.
    pub(crate) second: Option<String>,
}

/// What a run is to be let through, by environment.
pub(crate) struct LetThrough<'a> {
    held: BTreeMap<EnvironmentName, Vec<Held>>,
    wish: &'a Wish<'a>,
}

/// Tells whether a plan may become a run now.
pub(crate) async fn check<'a>(
    context: &Context,
    plan: &Plan,
    wish: &'a Wish<'a>,
) -> Result<LetThrough<'a>, Failure> {
    known_second(context, plan, wish)?;
    let held = hold::in_the_way(context, plan).await?;
    let by = context.by();
    let mut refused = None;
    for (name, held) in &held {
        let second = || wish.second.clone();
        let over = wish.over().map(|_| Override { needs: needs(plan, name), second: second() });
        if let Err(why) = may_start(held, over.as_ref(), &by) {
            record(context, plan, wish, (name, held, None)).await?;
            refused = refused.or(Some(why));
        }
    }
    match refused {
        None => Ok(LetThrough { held, wish }),
        Some(why) => Err(Failure::new(Code::Refused, why.to_string()).hint(
            "`serin hold list` shows everything that is on; `serin run --override REASON` starts all the same, \
             and is recorded",
        )),
    }
}

/// A second person whom somebody names must be one who may do the same. A name is no proof that they agreed.
fn known_second(context: &Context, plan: &Plan, wish: &Wish<'_>) -> Result<(), Failure> {
    let people = &context.config.people;
    let Some(second) = wish.second.as_deref().filter(|_| !people.0.is_empty()) else {
        return Ok(());
    };
    let environments = plan.stages.iter().map(|stage| stage.environment.clone()).collect();
    let scope = NeedScope::EachOf(environments);
    let need = Need { role: PersonRole::ReleaseManager, scope };
    let named = people.0.values().find(|person| person.name.as_str() == second);
    if named.is_some_and(|person| person.has(&need)) {
        return Ok(());
    }
    let what = format!(
        "{second} is nobody who could agree: that needs the role {}{}",
        need.role, need.scope
    );
    Err(Failure::new(Code::Refused, what))
}

impl<'a> From<&'a Past> for Wish<'a> {
    fn from(past: &'a Past) -> Self {
        Self { over: past.over.as_deref(), second: past.second.clone() }
    }
}

impl Wish<'_> {
    /// Without a reason nothing is overridden.
    fn over(&self) -> Option<&str> {
        self.over.filter(|reason| !reason.trim().is_empty())
    }
}

impl LetThrough<'_> {
    /// Records that a run is let through.
    pub(crate) async fn record(
        &self,
        context: &Context,
        plan: &Plan,
        run: &RunId,
    ) -> Result<(), Failure> {
        for (name, held) in &self.held {
            record(context, plan, self.wish, (name, held, Some(run.clone()))).await?;
        }
        Ok(())
    }
}

fn needs(plan: &Plan, name: &EnvironmentName) -> Overriding {
    plan.topology.environments.get(name).map(|known| known.overriding).unwrap_or_default()
}

async fn record(
    context: &Context,
    plan: &Plan,
    wish: &Wish<'_>,
    (name, held, run): (&EnvironmentName, &[Held], Option<RunId>),
) -> Result<(), Failure> {
    let wanted = run.is_some();
    let want = Want::StartRun {
        run,
        pipeline: plan.pipeline.clone(),
        version: plan.build.version.clone(),
        held: held.to_vec(),
        over: wish.over().map(|_| needs(plan, name)),
        second: wish.second.clone(),
    };
    let why = wish.over().unwrap_or("serin run").to_owned();
    let request = EnvironmentRequest { by: context.by(), why, want };
    let answer = asking::ask(context, name, request).await?;
    // What is on may have changed since it was looked at: then the run is not let through.
    if wanted { asking::accepted(name, &answer) } else { Ok(()) }
}
