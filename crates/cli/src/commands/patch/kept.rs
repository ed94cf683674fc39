//! What the patches of an environment mean for every other plan: none of them is dropped silently.
//!
//! For each patch and build that is to be installed where the patch is, the build was proven to contain it, or the plan puts
//! it on again. Where neither can be said, there is no plan: a person decides, with `serin patch withdraw`.

use super::{super::asking, super::rollback::history, text};
use crate::context::Context;
use crate::failure::{Code, Failure};
use serin_engine::Run;
use serin_engine::environment::LedgerPatch;
use serin_model::{
    Back, Build, DebVersion, EnvironmentName, Overlay, PatchDirection, PatchId, Pipeline,
    PlacedOverlay, Plan, RunId, Sha256,
};
use serin_patch::{Contains, PatchFile};
use serin_runtime::environment::{EnvironmentRequest, Stream, Want};
use serin_runtime::perform::observe_environments;
use std::collections::{BTreeMap, BTreeSet};

/// Who closes entries, and takes proofs in, without being asked.
const SERIN: &str = "serin";

/// What is kept on hosts by a plan.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) overlays: Vec<PlacedOverlay>,
    pub(crate) proven: Vec<Proven>,
}

/// A build that was found to contain a patch.
pub(crate) struct Proven {
    environment: EnvironmentName,
    patch: PatchId,
    version: DebVersion,
    sha256: Sha256,
}

/// Finds out what has to be kept where a build, or builds of before, are to be installed.
pub(crate) async fn keep(
    context: &Context,
    pipeline: &Pipeline,
    build: &Build,
    back: Option<&Back>,
) -> Result<Kept, Failure> {
    let mut kept = Kept::default();
    let mut runs: Option<Vec<(RunId, Run)>> = None;
    let names: BTreeSet<&EnvironmentName> =
        pipeline.stages.iter().map(|stage| &stage.environment).collect();
    for name in names {
        let stream = Stream::read(context.journal.as_ref(), name).await?;
        for (id, patch) in stream.state.open_patches() {
            for build in targets(context, name, patch, (build, back)) {
                if patch.contained.contains_key(&build.sha256) {
                    continue;
                }
                let runs = match &mut runs {
                    Some(runs) => runs,
                    unread => unread.insert(history(context).await?),
                };
                let overlay = match known(runs, id, build) {
                    Some(overlay) => Some(overlay.clone()),
                    None => prove(context, (id, patch), build).await?,
                };
                match overlay {
                    Some(overlay) => kept.overlays.push(PlacedOverlay {
                        environment: name.clone(),
                        fleets: patch.fleets.clone(),
                        overlay,
                    }),
                    None => kept.proven.push(Proven {
                        environment: name.clone(),
                        patch: id.clone(),
                        version: build.version.clone(),
                        sha256: build.sha256.clone(),
                    }),
                }
            }
        }
    }
    Ok(kept)
}

/// Returns the builds that hosts with the patch would get.
fn targets<'a>(
    context: &Context,
    name: &EnvironmentName,
    patch: &LedgerPatch,
    (build, back): (&'a Build, Option<&'a Back>),
) -> Vec<&'a Build> {
    let Some(back) = back else { return vec![build] };
    let Some(environment) = context.config.topology.environments.get(name) else {
        return Vec::new();
    };
    let fleets = environment.fleets.values().filter(|fleet| patch.fleets.contains(&fleet.name));
    let hosts = fleets.flat_map(|fleet| fleet.hosts.keys());
    let builds = hosts.filter_map(|host| back.hosts.get(host));
    builds.map(|build| (&build.sha256, build)).collect::<BTreeMap<_, _>>().into_values().collect()
}

/// Returns what an earlier run has put on hosts with the same bytes: the repository may not have that build any more.
pub(super) fn known<'a>(
    runs: &'a [(RunId, Run)],
    patch: &PatchId,
    build: &Build,
) -> Option<&'a Overlay> {
    runs.iter().rev().map(|(_, run)| &run.plan).find_map(|plan| {
        let back = plan.back.iter().flat_map(|back| back.hosts.values());
        let patched = plan.patching.iter().flat_map(|patching| patching.hosts.values());
        let mut builds = [&plan.build].into_iter().chain(back).chain(patched);
        let same = builds.any(|known| known.sha256 == build.sha256);
        plan.overlay(patch, &build.version).filter(|_| same)
    })
}

/// Unpacks a build; `None`: it contains the patch.
async fn prove(
    context: &Context,
    (id, patch): (&PatchId, &LedgerPatch),
    build: &Build,
) -> Result<Option<Overlay>, Failure> {
    context.say(format!("looking whether {} contains patch {}", build.version, id.short()));
    let file = PatchFile::parse(patch.text.as_bytes());
    let file = file.map_err(|error| Failure::new(Code::Error, format!("the ledger: {error}")))?;
    let undecided = |failure: Failure| {
        let what =
            format!("patch {} ({}) would be lost: {}", id.short(), patch.incident, failure.what);
        Failure::new(Code::Refused, what).hint(format!(
            "nothing was changed; if the build has the fix in other words, or it is not needed any more: \
             serin patch withdraw {} --reason …",
            id.short()
        ))
    };
    let proven = text::against(context, &file, &patch.root, &build.version).await;
    let (opened, proof) = proven.map_err(undecided)?;
    if opened.sha256 != build.sha256 {
        let what = format!("the repository has other bytes of {} now", build.version);
        return Err(undecided(text::refused(what)));
    }
    if proof.contains == Contains::Contained {
        return Ok(None);
    }
    text::overlay(&file, build, &proof).map(Some).map_err(undecided)
}

impl Proven {
    /// Says what will come of it, in the notes of a plan.
    pub(crate) fn note(&self) -> String {
        let Self { environment, patch, version, sha256: _ } = self;
        format!("{version} contains patch {}: its hold on {environment} lifts", patch.short())
    }
}

/// Records which builds contain patches: their holds lift by that.
pub(crate) async fn record(context: &Context, proven: &[Proven]) -> Result<(), Failure> {
    for Proven { environment, patch, version, sha256 } in proven {
        let (id, version, sha256) = (patch.clone(), version.clone(), sha256.clone());
        let why = format!("{version} was unpacked, and all of the patch is in it");
        let want = Want::ProvePatch { id, version, sha256 };
        let request = EnvironmentRequest { by: SERIN.to_owned(), why, want };
        let answer = asking::ask(context, environment, request).await?;
        asking::accepted(environment, &answer)?;
    }
    Ok(())
}

/// Closes what a run that has finished leaves nothing to do for: whichever process saw it to its end.
pub(crate) async fn finished(context: &Context, plan: &Plan) -> Result<(), Failure> {
    if let Some(patching) = plan.patching.as_ref().filter(|p| p.direction == PatchDirection::Remove)
    {
        for environment in plan.stages.iter().map(|s| &s.environment).collect::<BTreeSet<_>>() {
            let why = plan.why.clone().unwrap_or_else(|| "it was taken off".to_owned());
            let stream = Stream::read(context.journal.as_ref(), environment).await?;
            if stream.state.open_patches().any(|(id, _)| *id == patching.patch) {
                super::close(context, environment, patching.patch.clone(), why).await?;
            }
        }
    }
    close_contained(context, plan).await
}

/// Closes the entries of patches that the builds of all their hosts contain.
async fn close_contained(context: &Context, plan: &Plan) -> Result<(), Failure> {
    let names: BTreeSet<&EnvironmentName> = plan.stages.iter().map(|s| &s.environment).collect();
    for name in names {
        let stream = Stream::read(context.journal.as_ref(), name).await?;
        let open = stream.state.open_patches().filter(|(_, patch)| !patch.contained.is_empty());
        let open: Vec<(PatchId, LedgerPatch)> =
            open.map(|(id, patch)| (id.clone(), patch.clone())).collect();
        let Some(environment) = plan.topology.environments.get(name) else { continue };
        if open.is_empty() {
            continue;
        }
        let seen = observe_environments(&context.ports()?, &plan.topology, [environment]).await;
        for (id, patch) in open {
            let mut hosts = environment.hosts().filter(|(f, _)| patch.fleets.contains(&f.name));
            let everywhere = hosts.all(|(_, host)| {
                let bytes = seen.hosts.get(&host.name).and_then(|seen| seen.sha256.as_ref());
                bytes.is_some_and(|bytes| patch.contained.contains_key(bytes))
            });
            if everywhere {
                let why = "every host has a build that contains it".to_owned();
                let want = Want::ClosePatch { id: id.clone() };
                let request = EnvironmentRequest { by: SERIN.to_owned(), why, want };
                let answer = asking::ask(context, name, request).await?;
                asking::accepted(name, &answer)?;
                context.say(format!(
                    "{name}: patch {} is closed: every host has a build that contains it",
                    id.short()
                ));
            }
        }
    }
    Ok(())
}
