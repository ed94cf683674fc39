//! The procedure of planning, stage by stage.

use crate::order;
use crate::report::{Note, PlanError, PlanReport};
use crate::stages::{Leaves, Stages, started};
use serin_model::{
    Action, Actors, Back, Build, BuildKind, DebVersion, Environment, EnvironmentName, HostName,
    LbServer, Observed, Overlay, Pace, PatchId, Patching, Phase, Pipeline, PlacedOverlay, Plan,
    Stage, StageSpec, Topology, WorkSpec,
};
use std::collections::{BTreeMap, BTreeSet};

/// What is asked of the planner.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What there is.
    pub topology: &'a Topology,
    /// The recipe.
    pub pipeline: &'a Pipeline,
    /// The build.
    pub build: &'a Build,
    /// What was just seen of every host and load balancer of the recipe's environments.
    pub observed: &'a Observed,
    /// Stages whose gates this build has passed in this pipeline before.
    pub passed: &'a BTreeSet<u32>,
    /// How hosts are treated.
    pub pace: Pace,
    /// Where hosts go back to; `None`: every host of the recipe gets the build.
    pub back: Option<&'a Back>,
    /// The patch that the plan is about and nothing else; `None`: builds are installed.
    pub patching: Option<&'a Patching>,
    /// The patches that hosts are to have, each for one version.
    pub overlays: &'a [PlacedOverlay],
}

impl<'a> Request<'a> {
    /// Returns the build that a host is to run; `None`: it is left alone.
    pub(crate) fn target(&self, host: &HostName) -> Option<&'a Build> {
        match (self.back, self.patching) {
            (Some(back), _) => back.hosts.get(host),
            (None, Some(patching)) => patching.hosts.get(host),
            (None, None) => Some(self.build),
        }
    }
}

/// Plans a pipeline for a build.
///
/// # Errors
/// When a host could not be observed, or is not what the configuration says it is: nothing is planned around it.
pub fn plan(request: Request<'_>) -> Result<(Plan, PlanReport), PlanError> {
    let mut report = PlanReport::default();
    let environments = environments(request)?;
    for environment in &environments {
        check_observed(request, environment)?;
        note_environment(request, environment, &mut report);
    }
    if request.build.kind == BuildKind::Unknown {
        report.notes.push(Note::UnknownKind(request.build.kind));
    }
    let stages = stages(request, &mut report)?;
    let stages = match (request.pace, request.back.is_some() || request.patching.is_some()) {
        (Pace::Careful, false) => stages,
        (Pace::Careful, true) => order::prepare_first(stages),
        (Pace::Expedited, _) => order::merge(stages, request.pipeline, request.back),
    };
    let plan = Plan {
        pipeline: request.pipeline.name.clone(),
        build: request.build.clone(),
        topology: request.topology.clone(),
        stages,
        pace: request.pace,
        back: request.back.cloned(),
        patching: request.patching.cloned(),
        overlays: overlays(request),
        tolerated: BTreeMap::new(),
        why: None,
        queue: None,
        actors: Actors::One,
    };
    note_kept(request, &plan, &mut report);
    note_way_back(request, &plan, &mut report);
    Ok((plan, report))
}

/// The overlays that the plan's steps may need, each once.
fn overlays(request: Request<'_>) -> Vec<Overlay> {
    let mut overlays: Vec<Overlay> = Vec::new();
    for placed in request.overlays {
        if !overlays.contains(&placed.overlay) {
            overlays.push(placed.overlay.clone());
        }
    }
    overlays
}

/// Says which patches are put back onto hosts that get another version.
fn note_kept(request: Request<'_>, plan: &Plan, report: &mut PlanReport) {
    if request.patching.is_some() {
        return;
    }
    let mut kept: BTreeMap<(&PatchId, &DebVersion), usize> = BTreeMap::new();
    for (_, _, step) in plan.steps() {
        if let Action::Patch { patch, version, .. } = &step.action {
            *kept.entry((patch, version)).or_default() += 1;
        }
    }
    for ((patch, version), count) in kept {
        let (patch, version) = (patch.clone(), version.clone());
        report.notes.push(Note::PatchKept { patch, version, count });
    }
}

/// Says until when a run can be undone.
fn note_way_back(request: Request<'_>, plan: &Plan, report: &mut PlanReport) {
    if request.back.is_some() {
        return;
    }
    for spec in &request.pipeline.stages {
        let planned = plan.stages.iter().any(|stage| stage.number == spec.number);
        if planned && spec.work == WorkSpec::PostDeploymentMigrations {
            let (stage, environment) = (spec.number, spec.environment.clone());
            report.notes.push(Note::PointOfNoReturn { stage, environment });
        }
    }
}

fn environments(request: Request<'_>) -> Result<Vec<&Environment>, PlanError> {
    let names: BTreeSet<_> = request.pipeline.stages.iter().map(|s| &s.environment).collect();
    let find = |name| {
        let found = request.topology.environments.get(name);
        found.ok_or_else(|| PlanError::NotInTopology(format!("environment {name}")))
    };
    names.into_iter().map(find).collect()
}

/// Stages with their work, and, where that is nothing and the build has passed the stage, without the stage.
fn stages(request: Request<'_>, report: &mut PlanReport) -> Result<Vec<Stage>, PlanError> {
    let mut planned: Vec<(&StageSpec, Stages<'_>, Vec<Phase>)> = Vec::new();
    for (index, spec) in request.pipeline.stages.iter().enumerate() {
        let stages = Stages::new(request, index)?;
        stages.check_exposed()?;
        let mut work = stages.work(report)?;
        work.retain(|phase| !phase.lanes.is_empty());
        if work.is_empty() && request.passed.contains(&spec.number) {
            report.notes.push(Note::StagePassed { stage: spec.number });
            continue;
        }
        if work.is_empty() {
            report.notes.push(Note::OnlyGates { stage: spec.number });
        }
        planned.push((spec, stages, work));
    }
    let started = started(planned.iter().flat_map(|(_, _, work)| work));
    let environments: Vec<&EnvironmentName> =
        planned.iter().map(|(_, stages, _)| stages.environment()).collect();
    let with_gates =
        |(index, (spec, stages, work)): (usize, (&StageSpec, Stages<'_>, Vec<Phase>))| {
            // The environment is asked as a whole when the plan has done its last there, whichever stages were left out.
            let returns =
                environments.iter().skip(index + 1).any(|name| *name == stages.environment());
            let leaves = if returns { Leaves::Nothing } else { Leaves::Environment };
            let left = match leaves {
                Leaves::Environment => stages.left_stopped(&started),
                Leaves::Nothing => None,
            };
            let enters = !environments.iter().take(index).any(|name| *name == stages.environment());
            let back_in_service = if enters { stages.back_in_service() } else { None };
            Stage {
                number: spec.number,
                title: spec.title.clone(),
                environment: spec.environment.clone(),
                phases: [stages.guard()]
                    .into_iter()
                    .chain(back_in_service)
                    .chain(stages.exposure())
                    .chain(work)
                    .chain(left)
                    .chain(stages.gates(leaves))
                    .collect(),
            }
        };
    Ok(planned.into_iter().enumerate().map(with_gates).collect())
}

/// Every host and load balancer was seen, and the load balancers have what the configuration says.
fn check_observed(request: Request<'_>, environment: &Environment) -> Result<(), PlanError> {
    let seen = request.observed;
    let why = |host: &HostName| {
        seen.unreachable.get(host).cloned().unwrap_or_else(|| "it was not observed".to_owned())
    };
    let mut unreachable = Vec::new();
    for (_, host) in environment.hosts() {
        if !seen.hosts.contains_key(&host.name) {
            unreachable.push((host.name.clone(), why(&host.name)));
        }
    }
    for lb in environment.load_balancers.values() {
        if !seen.load_balancers.contains_key(&(environment.name.clone(), lb.name.clone())) {
            unreachable.push((lb.host.clone(), why(&lb.host)));
        }
    }
    if !unreachable.is_empty() {
        return Err(PlanError::Unreachable(unreachable));
    }
    check_servers(request, environment)?;
    let missing: Vec<_> = environment
        .hosts()
        .filter_map(|(_, host)| seen.hosts.get(&host.name).map(|seen| (host, seen)))
        .flat_map(|(host, seen)| seen.missing_files.iter().map(|f| (host.name.clone(), f.clone())))
        .collect();
    if !missing.is_empty() {
        return Err(PlanError::FilesMissing(missing));
    }
    check_room(request, environment)
}

/// Every host of the environment that does not have the build has room for it.
fn check_room(request: Request<'_>, environment: &Environment) -> Result<(), PlanError> {
    let short = |host: &HostName| {
        let (seen, build) = (request.observed.hosts.get(host)?, request.target(host)?);
        let lacks = seen.installed() != Some(&build.version) && seen.free_bytes < build.room();
        lacks.then(|| (host.clone(), seen.free_bytes, build.room()))
    };
    let hosts: Vec<_> = environment.hosts().filter_map(|(_, host)| short(&host.name)).collect();
    if hosts.is_empty() { Ok(()) } else { Err(PlanError::NoRoom(hosts)) }
}

/// Each host's servers are on every load balancer, and no load balancer has others at the same address.
fn check_servers(request: Request<'_>, environment: &Environment) -> Result<(), PlanError> {
    let mut missing = Vec::new();
    let mut listed = BTreeSet::new();
    let mut addresses = BTreeMap::new();
    let seen = |server: &LbServer| {
        request
            .observed
            .load_balancers
            .get(&(environment.name.clone(), server.lb.clone()))
            .and_then(|lb| lb.servers.get(&(server.backend.clone(), server.server.clone())))
    };
    for (_, host) in environment.hosts() {
        for server in &host.servers {
            listed.insert((&server.lb, &server.backend, &server.server));
            match seen(server) {
                Some(found) => {
                    addresses.insert(found.address.as_str(), &host.name);
                }
                None => missing.push(server.clone()),
            }
        }
    }
    if !missing.is_empty() {
        return Err(PlanError::ServersMissing(missing));
    }
    let mut unlisted = Vec::new();
    for lb in environment.load_balancers.values() {
        let key = (environment.name.clone(), lb.name.clone());
        let servers = request.observed.load_balancers.get(&key).map(|lb| &lb.servers);
        for ((backend, server), found) in servers.into_iter().flatten() {
            let host = addresses.get(found.address.as_str());
            if let Some(host) = host
                && !listed.contains(&(&lb.name, backend, server))
            {
                unlisted.push(format!("{}:{backend}/{server} ({host})", lb.name));
            }
        }
    }
    if unlisted.is_empty() { Ok(()) } else { Err(PlanError::ServersUnlisted(unlisted)) }
}

/// What a person should know about an environment before anything happens there.
fn note_environment(request: Request<'_>, environment: &Environment, report: &mut PlanReport) {
    if environment.alerts.is_none() {
        report.notes.push(Note::NoAlerts { environment: environment.name.clone() });
    }
    for fleet in environment.fleets.values() {
        let mut versions: BTreeMap<String, usize> = BTreeMap::new();
        for host in fleet.hosts.keys() {
            let Some(seen) = request.observed.hosts.get(host) else { continue };
            *versions.entry(seen.package.to_string()).or_default() += 1;
        }
        if versions.len() > 1 {
            report.notes.push(Note::MixedFleet {
                environment: environment.name.clone(),
                fleet: fleet.name.clone(),
                versions: versions.into_iter().collect(),
            });
        }
    }
}
