//! What each command needs of who asks for it: one table, [`of`], and where that is, [`need`].

use crate::args::{
    Agree, Approve, CiCommand, Command, Decision, Drift, GitLabCommand, Hold, HoldCommand, Past,
    PatchCommand, Recipe, Resume, ShareOf, Start, Undone,
};
use crate::commands::{ci::run_of, patch::open_in, share::whole};
use crate::context::Context;
use crate::failure::Failure;
use serin_model::{EnvironmentName, Need, NeedScope, PersonRole, PipelineName, RunId};
use serin_runtime::{environment::Stream, records};
use std::collections::BTreeSet;

/// What a command is to the audit trail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// It changes nothing, and is recorded only when it is refused.
    Look,
    /// It is recorded before it begins, or it does not begin.
    Change,
    /// It is recorded before it begins, if that can be.
    Halt,
}

/// What a command needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The role.
    pub(crate) role: PersonRole,
    /// What it is to the audit trail.
    pub(crate) weight: Weight,
}

const LOOK: Needs = Needs { role: PersonRole::Viewer, weight: Weight::Look };
const HALT: Needs = Needs { role: PersonRole::Operator, weight: Weight::Halt };
const OPERATE: Needs = Needs { role: PersonRole::Operator, weight: Weight::Change };
const RELEASE: Needs = Needs { role: PersonRole::ReleaseManager, weight: Weight::Change };
const ADMINISTER: Needs = Needs { role: PersonRole::Admin, weight: Weight::Change };

/// Returns what a command needs; `None`: it reaches nothing, and nobody is asked.
pub(super) async fn of(context: &Context, command: &Command) -> Option<Needs> {
    Some(match command {
        Command::Completions { .. }
        | Command::Config { .. }
        | Command::Rehearse(_)
        | Command::Ci { command: CiCommand::Gitlab(_) }
        | Command::GitLab { command: GitLabCommand::Pipeline(_) }
        | Command::Chat { .. }
        | Command::Traffic(_) => return None,
        Command::Doctor
        | Command::Builds { .. }
        | Command::Changes { .. }
        | Command::Plan(_)
        | Command::Status
        | Command::Runs { .. }
        | Command::Show(_)
        | Command::Watch { .. }
        | Command::Why
        | Command::History { .. }
        | Command::Audit(_)
        | Command::Metrics(_)
        | Command::Ci { command: CiCommand::Promotable(_) }
        | Command::GitLab { command: GitLabCommand::Deployments }
        | Command::Hold(Hold { command: HoldCommand::List })
        | Command::Share(ShareOf { percent: None, .. })
        | Command::Drift(Drift { fix: false }) => LOOK,
        Command::Halt(_) => HALT,
        Command::Approve(_)
        | Command::Ci { command: CiCommand::Stage(_) }
        | Command::Resume(Resume { over: false, .. })
        | Command::Adopt { .. }
        | Command::Hold(Hold { command: HoldCommand::Place { .. } | HoldCommand::Lift { .. } })
        | Command::Drift(Drift { fix: true }) => OPERATE,
        Command::Share(share @ ShareOf { percent: Some(percent), .. }) => {
            if lowers(context, share, percent).await { OPERATE } else { RELEASE }
        }
        Command::Promote(promote) if promote.why_not => LOOK,
        Command::Rollback(rollback) if rollback.dry_run => LOOK,
        Command::Run(_)
        | Command::Agree(_)
        | Command::Ci { command: CiCommand::Begin(_) }
        | Command::Resume(Resume { over: true, .. })
        | Command::Cancel(_)
        | Command::Promote(_)
        | Command::Rollback(_) => RELEASE,
        Command::Patch { command } => of_patch(command),
        Command::Journal { .. } => ADMINISTER,
    })
}

fn of_patch(command: &PatchCommand) -> Needs {
    match command {
        PatchCommand::Check(_) | PatchCommand::List { .. } => LOOK,
        PatchCommand::Apply(apply) if apply.dry_run => LOOK,
        PatchCommand::Remove(remove) if remove.dry_run => LOOK,
        PatchCommand::Apply(_) | PatchCommand::Remove(_) | PatchCommand::Withdraw { .. } => RELEASE,
    }
}

/// Tells whether a canary would get less traffic than now. What cannot be told is no less.
async fn lowers(context: &Context, share: &ShareOf, percent: &str) -> bool {
    let Ok(percent) = whole(percent) else { return false };
    if percent == 0 {
        return true;
    }
    let Some(fleet) = &share.place.fleet else { return false };
    let stream = Stream::read(context.journal.as_ref(), &share.place.environment).await;
    let now = context.clock.now();
    let current = stream.ok().and_then(|stream| {
        stream.state.shares.get(fleet).map(|share| u32::from(share.ramp.at(now)))
    });
    current.is_some_and(|current| percent <= current)
}

/// Returns the role that a command needs, and where.
pub(super) async fn need(
    context: &Context,
    command: &Command,
    needs: &Needs,
) -> Result<Need, Failure> {
    let scope = match needs.weight {
        Weight::Look => NeedScope::Anywhere,
        Weight::Change | Weight::Halt => scope(context, command).await?,
    };
    Ok(Need { role: needs.role, scope })
}

/// Returns where a command that changes something does so.
async fn scope(context: &Context, command: &Command) -> Result<NeedScope, Failure> {
    let one = |name: &EnvironmentName| NeedScope::EachOf([name.clone()].into());
    Ok(match command {
        // Whoever is trusted with one of a run's environments may stop it.
        Command::Halt(Decision { run, .. }) => {
            NeedScope::OneOf(of_run(context, run.as_ref()).await?)
        }
        Command::Approve(Approve { run, .. })
        | Command::Resume(Resume { decision: Decision { run, .. }, .. })
        | Command::Cancel(Decision { run, .. })
        | Command::Adopt { run } => NeedScope::EachOf(of_run(context, run.as_ref()).await?),
        Command::Run(start) => of_recipe(context, &start.recipe),
        Command::Promote(promote) => of_pipeline(context, &promote.pipeline),
        Command::Agree(agree) => of_pipeline(context, &agree.pipeline),
        Command::Ci { command: CiCommand::Begin(begin) } => of_pipeline(context, &begin.pipeline),
        Command::Ci { command: CiCommand::Stage(stage) } => match run_of(&stage.run)? {
            Some(run) => NeedScope::EachOf(of_run(context, Some(&run)).await?),
            // There was nothing to do, and there is nothing to do.
            None => NeedScope::Anywhere,
        },
        Command::Rollback(rollback) => match &rollback.what {
            Some(Undone::Run(run)) => NeedScope::EachOf(of_run(context, Some(run)).await?),
            Some(Undone::Place(place)) => one(&place.environment),
            None => everywhere(context),
        },
        Command::Share(share) => one(&share.place.environment),
        Command::Hold(Hold { command: HoldCommand::Place { place, .. } }) => {
            one(&place.environment)
        }
        Command::Hold(Hold { command: HoldCommand::Lift { hold, .. } }) => one(&hold.environment),
        Command::Patch { command: PatchCommand::Apply(apply) } => one(&apply.fleet.environment),
        Command::Patch { command: PatchCommand::Remove(remove) } => one(&remove.environment),
        Command::Patch { command: PatchCommand::Withdraw { patch, .. } } => {
            NeedScope::EachOf(open_in(context, patch).await?)
        }
        Command::Drift(_) => everywhere(context),
        Command::Journal { .. } => NeedScope::Installation,
        Command::Completions { .. }
        | Command::Config { .. }
        | Command::Rehearse(_)
        | Command::Chat { .. }
        | Command::Traffic(_)
        | Command::Doctor
        | Command::Builds { .. }
        | Command::Changes { .. }
        | Command::Plan(_)
        | Command::Status
        | Command::Runs { .. }
        | Command::Show(_)
        | Command::Watch { .. }
        | Command::Why
        | Command::History { .. }
        | Command::Audit(_)
        | Command::Metrics(_)
        | Command::Ci { .. }
        | Command::GitLab { .. }
        | Command::Patch { command: PatchCommand::Check(_) | PatchCommand::List { .. } }
        | Command::Hold(Hold { command: HoldCommand::List }) => NeedScope::Anywhere,
    })
}

/// Returns the environments that a run's plan touches.
async fn of_run(
    context: &Context,
    run: Option<&RunId>,
) -> Result<BTreeSet<EnvironmentName>, Failure> {
    let id = context.open_run(run.cloned()).await?;
    let (run, _) = records::load(context.journal.as_ref(), &id).await?;
    Ok(run.plan.stages.iter().map(|stage| stage.environment.clone()).collect())
}

/// Where an expedited update goes says its place; where any other goes says its pipeline.
fn of_recipe(context: &Context, recipe: &Recipe) -> NeedScope {
    match &recipe.fleet {
        Some(place) if !context.config.pipelines.contains_key(&recipe.pipeline) => {
            NeedScope::EachOf([place.environment.clone()].into())
        }
        Some(_) | None => of_pipeline(context, &recipe.pipeline),
    }
}

/// Returns the environments of a pipeline; of one that is not known, all: it is refused anyway.
fn of_pipeline(context: &Context, name: &PipelineName) -> NeedScope {
    let Some(pipeline) = context.config.pipelines.get(name) else { return everywhere(context) };
    let environments = pipeline.stages.iter().map(|stage| stage.environment.clone());
    NeedScope::EachOf(environments.collect())
}

fn everywhere(context: &Context) -> NeedScope {
    NeedScope::EachOf(context.config.topology.environments.keys().cloned().collect())
}

/// Returns the reason that a command gives.
pub(super) fn reason(command: &Command) -> Option<String> {
    let over = |past: &Past| past.over.clone();
    match command {
        Command::Agree(Agree { note, .. }) | Command::Approve(Approve { note, .. }) => {
            Some(note.clone())
        }
        Command::Halt(Decision { reason, .. })
        | Command::Cancel(Decision { reason, .. })
        | Command::Resume(Resume { decision: Decision { reason, .. }, .. })
        | Command::Hold(Hold {
            command: HoldCommand::Place { reason, .. } | HoldCommand::Lift { reason, .. },
        })
        | Command::Patch { command: PatchCommand::Withdraw { reason, .. } } => Some(reason.clone()),
        Command::Rollback(rollback) => Some(rollback.reason.clone()),
        Command::Patch { command: PatchCommand::Apply(apply) } => Some(apply.reason.clone()),
        Command::Patch { command: PatchCommand::Remove(remove) } => Some(remove.reason.clone()),
        Command::Share(share) => share.reason.clone(),
        Command::Run(Start { recipe, past }) => recipe.reason.clone().or_else(|| over(past)),
        Command::Promote(promote) => over(&promote.past),
        Command::Ci { command: CiCommand::Begin(begin) } => over(&begin.past),
        Command::Completions { .. }
        | Command::Config { .. }
        | Command::Rehearse(_)
        | Command::Chat { .. }
        | Command::Traffic(_)
        | Command::Doctor
        | Command::Builds { .. }
        | Command::Changes { .. }
        | Command::Plan(_)
        | Command::Status
        | Command::Runs { .. }
        | Command::Show(_)
        | Command::Watch { .. }
        | Command::Why
        | Command::History { .. }
        | Command::Audit(_)
        | Command::Metrics(_)
        | Command::Ci { .. }
        | Command::GitLab { .. }
        | Command::Adopt { .. }
        | Command::Drift(_)
        | Command::Journal { .. }
        | Command::Patch { command: PatchCommand::Check(_) | PatchCommand::List { .. } }
        | Command::Hold(Hold { command: HoldCommand::List }) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Arguments;
    use clap::Parser;

    #[test]
    fn why_something_was_overridden_is_the_reason_of_whoever_begins_a_run() {
        for words in [&["run", "to-canary"][..], &["promote"], &["ci", "begin", "to-canary"]] {
            let words = [&["serin"][..], words, &["--override", "nobody else is up"]].concat();
            let parsed = Arguments::try_parse_from(&words).unwrap();
            let reason = reason(&parsed.command);
            assert_eq!(reason.as_deref(), Some("nobody else is up"), "{words:?}");
        }
    }
}
