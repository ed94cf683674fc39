//! Whether a run may start: nothing holds its environments, or somebody overrides what does.
//!
//! An attempt is recorded before it is refused; an override is recorded, with its run, before the run is let through.

use super::{asking, hold};
use crate::args::Past;
use crate::context::{Context, user};
use crate::failure::{Code, Failure};
use serin_engine::environment::{Override, may_start};
use serin_model::{EnvironmentName, Held, Overriding, Plan, RunId};
use serin_runtime::environment::{EnvironmentRequest, Want};
use std::collections::BTreeMap;

/// What a run is to be let through, by environment.
pub(crate) struct LetThrough(BTreeMap<EnvironmentName, Vec<Held>>);

/// Tells whether a plan may become a run now.
pub(crate) async fn check(
    context: &Context,
    plan: &Plan,
    past: &Past,
) -> Result<LetThrough, Failure> {
    let held = hold::in_the_way(context, plan).await?;
    let by = user();
    let mut refused = None;
    for (name, held) in &held {
        let over = past.over.as_ref().filter(|reason| !reason.trim().is_empty());
        let over = over.map(|_| Override { needs: needs(plan, name), second: past.second.clone() });
        if let Err(why) = may_start(held, over.as_ref(), &by) {
            record(context, plan, past, (name, held, None)).await?;
            refused = refused.or(Some(why));
        }
    }
    match refused {
        None => Ok(LetThrough(held)),
        Some(why) => Err(Failure::new(Code::Refused, why.to_string()).hint(
            "`serin hold list` shows everything that is on; `serin run --override REASON` starts all the same, \
             and is recorded",
        )),
    }
}

impl LetThrough {
    /// Records that a run is let through.
    pub(crate) async fn record(
        &self,
        context: &Context,
        plan: &Plan,
        past: &Past,
        run: &RunId,
    ) -> Result<(), Failure> {
        for (name, held) in &self.0 {
            record(context, plan, past, (name, held, Some(run.clone()))).await?;
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
    past: &Past,
    (name, held, run): (&EnvironmentName, &[Held], Option<RunId>),
) -> Result<(), Failure> {
    let over = past.over.as_ref().filter(|reason| !reason.trim().is_empty());
    let want = Want::StartRun {
        run,
        pipeline: plan.pipeline.clone(),
        version: plan.build.version.clone(),
        held: held.to_vec(),
        over: over.map(|_| needs(plan, name)),
        second: past.second.clone(),
    };
    let why = over.cloned().unwrap_or_else(|| "serin run".to_owned());
    asking::ask(context, name, EnvironmentRequest { by: user(), why, want }).await.map(drop)
}
