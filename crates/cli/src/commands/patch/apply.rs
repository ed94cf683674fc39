//! `serin patch apply`: a patch onto every host of a place, as a run.

use super::kept::known;
use super::{super::allowed, super::asking, super::drive, super::plan, super::rollback, text};
use crate::args::{self, Detail, PatchApply, Place};
use crate::context::Context;
use crate::failure::{Code, Failure};
use serin_engine::Run;
use serin_engine::environment::NewPatch;
use serin_model::{
    Action, Build, Environment, Fleet, FleetName, HostName, HostObservation, InvalidName, Observed,
    Pace, PatchDirection, PatchId, Patching, PlacedOverlay, Plan, RunId, Subject,
};
use serin_planner::Recipes;
use serin_runtime::environment::{EnvironmentRequest, Want};
use serin_runtime::perform::observe_environments;
use serin_runtime::ports::Ports;
use std::collections::{BTreeMap, BTreeSet};

pub(super) async fn run(context: &Context, asked: PatchApply) -> Result<Code, Failure> {
    for (what, said) in [("reason", &asked.reason), ("incident", &asked.incident)] {
        if said.trim().is_empty() {
            return Err(text::refused(format!("the {what} is empty"))
                .hint("say it in a few words: it is recorded and shown to everybody"));
        }
    }
    let Place { environment: name, fleet } = &asked.fleet;
    let environment = asking::find_place(context, name, fleet.as_ref())?;
    let root = text::chosen_root(context, asked.root.clone())?;
    let patch = text::read(&asked.file, asked.sha256.as_ref())?;
    let Ok(shown) = String::from_utf8(patch.bytes.clone()) else {
        return Err(text::refused("the patch is not UTF-8 text").hint("only text is patched"));
    };
    unclaimed(context, environment).await?;
    let fleets = fleets(environment, fleet.as_ref());
    let ports = context.ports()?;
    let runs = rollback::history(context).await?;
    let seen = observe_environments(&ports, &context.config.topology, [environment]).await;
    let found = fitting(context, (environment, &fleets, &seen), &patch, &root).await?;
    let Fitting { hosts, overlays, build } = found;
    let id = patch.file.id.clone();
    let verified = verified(&runs, &id);
    let patching =
        Patching { patch: id.clone(), direction: PatchDirection::Apply, hosts, verified };
    let planned = planned(context, &ports, &asked, (&patching, &overlays, &build)).await?;
    if asked.dry_run {
        plan::tell(context, &planned, Detail::Steps).await?;
        return Ok(Code::Done);
    }
    // What is refused for a freeze window leaves no entry behind.
    allowed::check(context, &planned.plan, &(&asked.past).into()).await?;
    let holds = environment.fleets.values().filter(|fleet| fleet.share_after.is_some());
    let holds = holds.map(|fleet| fleet.name.clone()).collect();
    let incident = asked.incident.clone();
    let new = NewPatch { id: id.clone(), fleets, holds, incident, root, text: shown };
    let (by, why) = (context.by(), asked.reason.clone());
    let request = EnvironmentRequest { by, why, want: Want::PlacePatch(new) };
    let answer = asking::ask(context, name, request).await?;
    asking::accepted(name, &answer)?;
    if changes_nothing(&planned.plan) {
        context.say(format!("every host there has patch {} already", id.short()));
        return Ok(Code::Done);
    }
    drive::begin(context, ports, (planned, Detail::Stages), &asked.past).await
}

/// A run that goes on there would change hosts under the patch.
pub(super) async fn unclaimed(context: &Context, environment: &Environment) -> Result<(), Failure> {
    match context.journal.claims().await?.get(&environment.name) {
        None => Ok(()),
        Some(run) => Err(drive::busy(&environment.name, run)),
    }
}

fn fleets(environment: &Environment, fleet: Option<&FleetName>) -> BTreeSet<FleetName> {
    let all = environment.fleets.keys();
    all.filter(|own| fleet.is_none_or(|fleet| fleet == *own)).cloned().collect()
}

/// What a patch makes of the builds that hosts have.
struct Fitting {
    hosts: BTreeMap<HostName, Build>,
    overlays: Vec<PlacedOverlay>,
    /// The one that most hosts have.
    build: Build,
}

/// Every host has a build that the patch fits, or none is touched.
async fn fitting(
    context: &Context,
    (environment, fleets, seen): (&Environment, &BTreeSet<FleetName>, &Observed),
    patch: &text::Text,
    root: &str,
) -> Result<Fitting, Failure> {
    let members = environment.fleets.values().filter(|fleet| fleets.contains(&fleet.name));
    let members: Vec<&HostName> = members.flat_map(|fleet: &Fleet| fleet.hosts.keys()).collect();
    let mut versions: BTreeMap<String, Vec<(&HostName, &HostObservation)>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for host in members {
        match (seen.hosts.get(host), seen.unreachable.get(host)) {
            (Some(observed), _) => match observed.installed() {
                Some(version) => {
                    versions.entry(version.to_string()).or_default().push((host, observed));
                }
                None => wrong.push(format!("{host} has {}", observed.package)),
            },
            (None, why) => {
                wrong.push(format!("{host}: {}", why.map_or("not seen", String::as_str)));
            }
        }
    }
    if !wrong.is_empty() {
        return Err(text::refused(wrong.join("; "))
            .hint("a patch goes onto every host of the place, or onto none"));
    }
    let mut found: Option<Fitting> = None;
    let mut most = 0;
    let mut refused = Vec::new();
    for hosts in versions.values() {
        let Some(version) = hosts.first().and_then(|(_, seen)| seen.installed()) else { continue };
        let (build, proof) = text::against(context, &patch.file, root, version).await?;
        let names: Vec<&str> = hosts.iter().map(|(host, _)| host.as_str()).collect();
        let overlay = match text::overlay(&patch.file, &build, &proof) {
            Ok(overlay) => overlay,
            Err(failure) => {
                refused.push(format!("{} ({})", failure.what, names.join(", ")));
                continue;
            }
        };
        let other = |(_, seen): &&(&HostName, &HostObservation)| {
            seen.sha256.as_ref().is_some_and(|bytes| *bytes != build.sha256)
        };
        if let Some((host, _)) = hosts.iter().find(other) {
            refused.push(format!("{host} has other bytes of {version} than the repository"));
            continue;
        }
        let fitting = found.get_or_insert_with(|| Fitting {
            hosts: BTreeMap::new(),
            overlays: Vec::new(),
            build: build.clone(),
        });
        if hosts.len() > most {
            (most, fitting.build) = (hosts.len(), build.clone());
        }
        fitting.hosts.extend(hosts.iter().map(|(host, _)| ((*host).clone(), build.clone())));
        let (environment, fleets) = (environment.name.clone(), fleets.clone());
        fitting.overlays.push(PlacedOverlay { environment, fleets, overlay });
    }
    match found {
        Some(fitting) if refused.is_empty() => Ok(fitting),
        Some(_) | None => Err(text::refused(refused.join("; "))
            .hint("nothing was changed; a patch goes onto every host of the place, or onto none")),
    }
}

/// Returns the hosts on which the last thing that a run did about a patch or a package is that it put this patch on.
fn verified(runs: &[(RunId, Run)], patch: &PatchId) -> BTreeSet<HostName> {
    let mut hosts = BTreeSet::new();
    for (_, run) in runs {
        for (_, lane, step) in run.plan.steps() {
            let Subject::Host(host) = &lane.subject else { continue };
            if run.attempts(&step.id) == 0 {
                continue;
            }
            let own = step.action.patch() == Some(patch);
            let puts_on = matches!(step.action, Action::Patch { .. }) && own;
            let takes_off = matches!(step.action, Action::Unpatch { .. }) && own;
            if puts_on && run.is_done(&step.id) {
                hosts.insert(host.clone());
            } else if puts_on || takes_off || matches!(step.action, Action::Install { .. }) {
                hosts.remove(host);
            }
        }
    }
    hosts
}

async fn planned(
    context: &Context,
    ports: &Ports,
    asked: &PatchApply,
    (patching, overlays, build): (&Patching, &[PlacedOverlay], &Build),
) -> Result<plan::Planned, Failure> {
    let why = format!("{}: {}", asked.incident, asked.reason);
    make(context, ports, (&asked.fleet, asked.pace, why), (patching, overlays, build)).await
}

/// Plans a run about a patch and nothing else.
pub(super) async fn make(
    context: &Context,
    ports: &Ports,
    (place, pace, why): (&Place, args::Pace, String),
    (patching, overlays, build): (&Patching, &[PlacedOverlay], &Build),
) -> Result<plan::Planned, Failure> {
    let environment = asking::find(context, &place.environment)?;
    let pace = match pace {
        args::Pace::Careful => Pace::Careful,
        args::Pace::Expedited => Pace::Expedited,
    };
    let (topology, pipelines) = (&context.config.topology, &context.config.pipelines);
    let name = match patching.direction {
        PatchDirection::Apply => "patch",
        PatchDirection::Remove => "unpatch",
    };
    let name = name.parse();
    let name = name.map_err(|why: InvalidName| Failure::new(Code::Error, why.to_string()))?;
    let recipes = Recipes { topology, pipelines };
    let pipeline = recipes.patch(name, environment, place.fleet.as_ref(), pace);
    // A stage in which no host has to be changed proves nothing about the patch.
    let passed = pipeline.stages.iter().map(|stage| stage.number).collect();
    let asked = plan::Asked {
        pipeline: &pipeline,
        build,
        pace,
        back: None,
        patching: Some((patching, overlays)),
        passed,
    };
    let mut planned = plan::plan(context, ports, asked).await?;
    planned.plan.why = Some(why);
    Ok(planned)
}

pub(super) fn changes_nothing(plan: &Plan) -> bool {
    plan.steps().all(|(_, _, step)| step.action.patch().is_none())
}

/// Returns what an earlier run has put on hosts that have a build, so that it can be taken off them.
pub(super) fn carried(
    runs: &[(RunId, Run)],
    patch: &PatchId,
    build: &Build,
    (environment, fleets): (&Environment, &BTreeSet<FleetName>),
) -> Option<PlacedOverlay> {
    let overlay = known(runs, patch, build)?.clone();
    Some(PlacedOverlay { environment: environment.name.clone(), fleets: fleets.clone(), overlay })
}
