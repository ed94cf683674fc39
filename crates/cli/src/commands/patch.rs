//! `serin patch`: files changed on hosts outside of builds, and kept there until builds contain the change.

mod apply;
mod check;
mod kept;
mod list;
mod remove;
mod text;

pub(crate) use kept::{Kept, Proven, finished, keep, record};

use super::asking;
use crate::args::PatchCommand;
use crate::context::Context;
use crate::failure::{Code, Failure};
use serin_engine::environment::LedgerPatch;
use serin_model::{EnvironmentName, PatchId};
use serin_runtime::environment::{EnvironmentRequest, Stream, Want};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) async fn run(context: &Context, command: PatchCommand) -> Result<Code, Failure> {
    match command {
        PatchCommand::Check(what) => check::check(context, what).await,
        PatchCommand::Apply(what) => apply::run(context, what).await,
        PatchCommand::Remove(what) => remove::run(context, what).await,
        PatchCommand::List { all } => {
            let which = if all { list::Entries::All } else { list::Entries::Open };
            list::run(context, which).await
        }
        PatchCommand::Withdraw { patch, reason } => withdraw(context, &patch, reason).await,
    }
}

/// Returns the environments in which a patch is open.
pub(crate) async fn open_in(
    context: &Context,
    digits: &str,
) -> Result<BTreeSet<EnvironmentName>, Failure> {
    let mut environments = BTreeSet::new();
    for name in context.config.topology.environments.keys() {
        let stream = Stream::read(context.journal.as_ref(), name).await?;
        if stream.state.open_patches().any(|(id, _)| id.as_str().starts_with(digits)) {
            environments.insert(name.clone());
        }
    }
    Ok(environments)
}

async fn withdraw(context: &Context, digits: &str, reason: String) -> Result<Code, Failure> {
    let mut open: BTreeMap<PatchId, Vec<&EnvironmentName>> = BTreeMap::new();
    for name in context.config.topology.environments.keys() {
        let stream = Stream::read(context.journal.as_ref(), name).await?;
        for (id, _) in stream.state.open_patches() {
            open.entry(id.clone()).or_default().push(name);
        }
    }
    let ids: Vec<PatchId> = open.keys().cloned().collect();
    let id = named(&ids, digits)?.ok_or_else(|| not_found(digits))?;
    let mut code = Code::Done;
    for name in open.get(id).into_iter().flatten() {
        let said = close(context, name, id.clone(), reason.clone()).await?;
        code = if said == Code::Done { code } else { said };
    }
    Ok(code)
}

/// Closes the entry of a patch, and says so.
async fn close(
    context: &Context,
    name: &EnvironmentName,
    id: PatchId,
    why: String,
) -> Result<Code, Failure> {
    let request = EnvironmentRequest { by: context.by(), why, want: Want::ClosePatch { id } };
    let answer = asking::ask(context, name, request).await?;
    asking::say(context, name, &answer)
}

/// Finds the only patch whose id begins with some digits.
fn named<'a>(patches: &'a [PatchId], digits: &str) -> Result<Option<&'a PatchId>, Failure> {
    // Fewer could be meant for another one that comes later.
    const DIGITS: usize = 6;
    if digits.len() < DIGITS {
        return Err(text::refused(format!("{digits:?} is too short for the id of a patch")).hint(
            format!("write at least {DIGITS} digits of it, as `serin patch list` shows it"),
        ));
    }
    let mut found = patches.iter().filter(|id| id.as_str().starts_with(digits));
    match (found.next(), found.next()) {
        (Some(_), Some(_)) => Err(text::refused(format!("{digits} begins more than one patch"))),
        (only, _) => Ok(only),
    }
}

fn not_found(digits: &str) -> Failure {
    text::refused(format!("no open patch begins with {digits}"))
        .hint("`serin patch list --all` shows those that are closed, too")
}

/// Finds an open patch of an environment.
async fn open_patch(
    context: &Context,
    name: &EnvironmentName,
    digits: &str,
) -> Result<(PatchId, LedgerPatch), Failure> {
    let stream = Stream::read(context.journal.as_ref(), name).await?;
    let open: Vec<PatchId> = stream.state.open_patches().map(|(id, _)| id.clone()).collect();
    let id = named(&open, digits)?.ok_or_else(|| not_found(digits))?.clone();
    let patch = stream.state.patches.get(&id).cloned().ok_or_else(|| not_found(digits))?;
    Ok((id, patch))
}
