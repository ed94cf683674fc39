//! `serin patch remove`: a patch off every host that carries it, as a run.

use super::{super::allowed, super::asking, super::drive, super::plan, super::rollback, text};
use super::{apply, close, open_patch};
use crate::args::{Detail, PatchRemove, Place};
use crate::context::Context;
use crate::failure::{Code, Failure};
use serin_model::{Build, PatchDirection, Patching};
use serin_runtime::perform::observe_environments;
use std::collections::{BTreeMap, BTreeSet};

pub(super) async fn run(context: &Context, asked: PatchRemove) -> Result<Code, Failure> {
    if asked.reason.trim().is_empty() {
        return Err(text::refused("the reason is empty")
            .hint("say why in a few words: it is recorded and shown to everybody"));
    }
    let environment = asking::find(context, &asked.environment)?;
    let (id, entry) = open_patch(context, &asked.environment, &asked.patch).await?;
    apply::unclaimed(context, environment).await?;
    let ports = context.ports()?;
    let runs = rollback::history(context).await?;
    let seen = observe_environments(&ports, &context.config.topology, [environment]).await;
    let mut hosts: BTreeMap<_, Build> = BTreeMap::new();
    let mut overlays = Vec::new();
    for (_, host) in environment.hosts().filter(|(fleet, _)| entry.fleets.contains(&fleet.name)) {
        let Some(observed) = seen.hosts.get(&host.name) else {
            let why = seen.unreachable.get(&host.name).map_or("not seen", String::as_str);
            return Err(text::refused(format!("{}: {why}", host.name)));
        };
        let on = |carried: &&serin_model::CarriedPatch| {
            carried.id == id && Some(&carried.version) == observed.installed()
        };
        let Some(carried) = observed.patches.iter().find(on) else { continue };
        let mut builds = runs.iter().rev().filter_map(|(_, run)| run.plan.build_for(&host.name));
        let build = builds.find(|build| build.version == carried.version).cloned();
        let overlay = build
            .as_ref()
            .and_then(|build| apply::carried(&runs, &id, build, (environment, &entry.fleets)));
        let (Some(build), Some(overlay)) = (build, overlay) else {
            return Err(text::refused(format!(
                "{} carries patch {} on {}, and no run has put it there",
                host.name,
                id.short(),
                carried.version
            ))
            .hint("install the package again on that host: that lays its own files down"));
        };
        if !overlays.contains(&overlay) {
            overlays.push(overlay);
        }
        hosts.insert(host.name.clone(), build);
    }
    let Some(build) = hosts.values().next().cloned() else {
        context.say(format!("no host carries patch {}", id.short()));
        if asked.dry_run {
            return Ok(Code::Done);
        }
        return close(context, &asked.environment, id, asked.reason).await;
    };
    let direction = PatchDirection::Remove;
    let patching = Patching { patch: id.clone(), direction, hosts, verified: BTreeSet::new() };
    let place = Place { environment: asked.environment.clone(), fleet: None };
    let why = format!("{}: {}", entry.incident, asked.reason);
    let what = (&place, asked.pace, why);
    let planned = apply::make(context, &ports, what, (&patching, &overlays, &build)).await?;
    if asked.dry_run {
        plan::tell(context, &planned, Detail::Steps).await?;
        return Ok(Code::Done);
    }
    allowed::check(context, &planned.plan, &(&asked.past).into()).await?;
    drive::begin(context, ports, (planned, Detail::Stages), &asked.past).await
}
