//! Patches: plans about one, and runs that keep one.

use crate::golden::{SMALL, golden};
use crate::installation::{Installation, build, of, to_main};
use crate::render;
use serin_model::{
    Action, CarriedPatch, CarriedState, EnvironmentName, FileChange, Overlay, Pace, Patch,
    PatchDirection, PatchId, PatchedFile, Patching, PlacedOverlay, ServiceName, Sha256,
};
use serin_planner::{PlanError, Recipes, check_plan, plan};
use std::collections::{BTreeMap, BTreeSet};

const CODE: &str = "/opt/gitlab/rails/one.rb";

fn id() -> PatchId {
    of::<Sha256>(&"ef".repeat(32)).into()
}

fn overlay(version: &str) -> PlacedOverlay {
    let (before, after) = (of::<Sha256>(&"01".repeat(32)), of::<Sha256>(&"02".repeat(32)));
    let change = FileChange::Modify { before, after: after.clone() };
    let patch = Patch {
        id: id(),
        package: of("gitlab-ee"),
        version: of(version),
        files: vec![PatchedFile { path: CODE.to_owned(), change }],
    };
    let overlay = Overlay { patch, contents: BTreeMap::from([(after, "two\n".to_owned())]) };
    let fleets = BTreeSet::from([of("main"), of("canary")]);
    PlacedOverlay { environment: of("production"), fleets, overlay }
}

/// A patch on everything that production runs, which is 1.0; gitaly and the deploy host have loaded nothing of it.
fn patching(pace: Pace, direction: PatchDirection) -> Installation {
    let mut installation = Installation::new(SMALL);
    let gitaly = installation.topology.roles.get_mut(&of("gitaly")).unwrap();
    gitaly.services.iter_mut().for_each(|service| service.loads = Some(Vec::new()));
    let puma = installation.topology.roles.get_mut(&of("web")).unwrap();
    let folder = Some(vec!["/opt/gitlab/rails".to_owned()]);
    puma.services.iter_mut().for_each(|service| service.loads.clone_from(&folder));
    let environment = installation.topology.environments[&of("production")].clone();
    let pipelines = [installation.pipeline.clone(), to_main(&installation.topology)];
    let pipelines: BTreeMap<_, _> =
        pipelines.into_iter().map(|pipeline| (pipeline.name.clone(), pipeline)).collect();
    let recipes = Recipes { topology: &installation.topology, pipelines: &pipelines };
    installation.pipeline = recipes.patch(of("patch"), &environment, None, pace);
    installation.pass_all();
    let hosts = environment.hosts().map(|(_, host)| (host.name.clone(), build("1.0"))).collect();
    let verified = BTreeSet::new();
    installation.patching = Some(Patching { patch: id(), direction, hosts, verified });
    installation.overlays = vec![overlay("1.0")];
    installation.build = build("1.0");
    installation.pace = pace;
    installation
}

/// Has hosts of production carry the patch on what they have.
fn carry(installation: &mut Installation, state: &CarriedState) {
    let name: EnvironmentName = of("production");
    let hosts = installation.topology.environments[&name].hosts();
    let hosts: Vec<_> = hosts.map(|(_, host)| host.name.clone()).collect();
    for host in hosts {
        let seen = installation.observed.hosts.get_mut(&host).unwrap();
        let version = seen.installed().unwrap().clone();
        let (id, package, state) = (id(), of("gitlab-ee"), state.clone());
        seen.patches = vec![CarriedPatch { id, package, version, state }];
    }
}

#[test]
fn every_host_is_checked_first_and_only_those_that_have_loaded_a_file_are_drained() {
    let installation = patching(Pace::Careful, PatchDirection::Apply);
    let (plan, report) = plan(installation.request()).unwrap();
    assert_eq!(check_plan(&plan), []);
    golden("patch", &format!("{}\n{}", render::report(&report), render::plan(&plan)));
}

#[test]
fn an_expedited_patch_is_one_stage_without_drains() {
    let installation = patching(Pace::Expedited, PatchDirection::Remove);
    let mut installation = installation;
    carry(&mut installation, &CarriedState::Applied);
    let (plan, report) = plan(installation.request()).unwrap();
    assert_eq!(check_plan(&plan), []);
    golden("patch_expedited", &format!("{}\n{}", render::report(&report), render::plan(&plan)));
}

#[test]
fn a_host_is_done_only_when_a_run_has_seen_its_services_load_the_patch() {
    let changes = |installation: &Installation| {
        let (plan, _) = plan(installation.request()).unwrap();
        plan.steps().filter(|(_, _, step)| matches!(step.action, Action::Patch { .. })).count()
    };
    let mut installation = patching(Pace::Careful, PatchDirection::Apply);
    carry(&mut installation, &CarriedState::Applied);
    let all = installation.patching.as_ref().unwrap().hosts.len();
    assert_eq!(changes(&installation), all, "files alone prove nothing");
    let patching = installation.patching.as_mut().unwrap();
    patching.verified = patching.hosts.keys().cloned().collect();
    assert_eq!(changes(&installation), 0);
    carry(&mut installation, &CarriedState::Lost { files: vec![CODE.to_owned()] });
    assert_eq!(changes(&installation), all, "somebody has changed the file since");
}

#[test]
fn a_host_with_another_version_is_refused() {
    let mut installation = patching(Pace::Careful, PatchDirection::Apply);
    installation.overlays = vec![overlay("0.9")];
    let error = plan(installation.request()).unwrap_err();
    assert!(matches!(error, PlanError::NoOverlay { .. }), "{error}");
}

#[test]
fn a_run_puts_a_patch_on_again_before_a_service_loads_what_it_installed() {
    let mut installation = Installation::new(SMALL);
    installation.overlays = vec![overlay("2.0")];
    let (plan, report) = plan(installation.request()).unwrap();
    assert_eq!(check_plan(&plan), []);
    insta::assert_snapshot!(
        report.notes.iter().map(ToString::to_string).find(|note| note.contains("patch")).unwrap(),
        @"patch efefefefefef is put on 2.0 again, on 3 host(s): the build does not contain it"
    );
    for (stage, lane, _) in plan.steps() {
        let names: Vec<&str> = lane.steps.iter().map(|step| step.action.name()).collect();
        let at = |name: &str| names.iter().position(|known| *known == name);
        let Some(install) = at("install") else { continue };
        if stage.environment == of("staging") {
            assert_eq!(at("patch"), None, "{} is not to have it", lane.subject);
            continue;
        }
        let patch = at("patch").unwrap_or_else(|| panic!("{} loses the patch", lane.subject));
        assert!(install < patch, "{names:?}");
        let later = ["activate", "migrate", "ready"].map(at).into_iter().flatten();
        assert!(later.min().is_none_or(|at| patch < at), "{names:?}");
    }
}

#[test]
fn a_host_that_has_the_build_and_lost_the_patch_gets_it_with_its_services_told() {
    let mut installation = Installation::new(SMALL);
    let (first, _) = plan(installation.request()).unwrap();
    installation.succeed(&first);
    installation.pass_all();
    assert!(plan(installation.request()).unwrap().0.is_empty());
    installation.overlays = vec![overlay("2.0")];
    let (again, _) = plan(installation.request()).unwrap();
    let told: Vec<(String, Vec<ServiceName>)> = again
        .steps()
        .filter_map(|(_, lane, step)| {
            let Action::Patch { services, .. } = &step.action else { return None };
            Some((lane.subject.to_string(), services.clone()))
        })
        .collect();
    let web = told.iter().find(|(host, _)| host.starts_with("web-cny")).expect("the canary");
    assert!(!web.1.is_empty(), "nothing that follows tells a service that runs the version");
    carry(&mut installation, &CarriedState::Applied);
    assert!(plan(installation.request()).unwrap().0.is_empty(), "nothing is lost any more");
}
