//! The way back: from a halt at any moment, every touched host gets exactly what the journal recorded before.

use crate::installation::{Installation, build, of, to_main};
use crate::world::World;
use serin_engine::{History, NoWayBack, Run, Scope, Status};
use serin_model::{
    Action, Back, DebVersion, HostName, MigrationKind, Pace, Pipeline, PipelineName, RunId,
};
use serin_planner::Recipes;
use std::collections::BTreeMap;

const INSTALLATION: &str = "
production lb-01 lb-02
  main deploy-01 gitaly-01 web-01..03
  canary web-cny-01
";

fn pipelines() -> BTreeMap<PipelineName, Pipeline> {
    let installation = Installation::new(INSTALLATION);
    let all = [installation.pipeline, to_main(&installation.topology)];
    all.into_iter().map(|pipeline| (pipeline.name.clone(), pipeline)).collect()
}

/// A world in which the build has reached the canary by run r-1, and goes on to main by the world's own run, r-2.
fn promoted() -> (World, Vec<(RunId, Run)>) {
    let mut first = World::new(Installation::new(INSTALLATION));
    first.drive();
    assert_eq!(first.run.status, Status::Finished);
    let mut truth = first.truth;
    truth.pipeline = to_main(&truth.topology);
    (World::new(truth), vec![(of("r-1"), first.run)])
}

fn versions(world: &World) -> BTreeMap<HostName, DebVersion> {
    let hosts = world.truth.observed.hosts.iter();
    hosts.filter_map(|(host, seen)| Some((host.clone(), seen.installed()?.clone()))).collect()
}

/// Begins a rollback of what a history has done.
fn roll_back(
    world: &World,
    runs: &[(RunId, Run)],
    scope: &Scope,
    pace: Pace,
) -> Result<World, NoWayBack> {
    let way = History(runs).way_back(scope)?;
    let known = |(host, version): (&HostName, &DebVersion)| {
        let known = History(runs).build(Some(host), version).cloned();
        (host.clone(), known.unwrap_or_else(|| build(version.as_str())))
    };
    let hosts = way.hosts.iter().map(known).collect();
    let back = Back {
        undoes: way.undoes,
        hosts,
        records: way.records,
        out_of_service: way.out_of_service,
    };
    let mut truth = world.truth.clone();
    let pipelines = pipelines();
    let recipes = Recipes { topology: &truth.topology, pipelines: &pipelines };
    truth.pipeline = recipes.rollback(of("rollback"), &back, pace);
    truth.passed.clear();
    (truth.pace, truth.back) = (pace, Some(back));
    Ok(World::new(truth))
}

/// Goes on until something holds, approving what waits for approval.
fn until(mut world: World, holds: impl Fn(&World) -> bool) -> World {
    while !holds(&world) {
        world.approve();
        assert!(world.turn() && !world.run.is_over(), "it never held: {:?}", world.run.status);
    }
    world
}

fn halted(mut world: World) -> World {
    world.halt();
    world.drive();
    assert!(matches!(world.run.status, Status::Halted(_)), "{:?}", world.run.status);
    world
}

fn installed(world: &World, action: &str) -> usize {
    let steps = world.run.plan.steps().filter(|(_, _, step)| step.action.name() == action);
    steps.filter(|(_, _, step)| world.run.is_done(&step.id)).count()
}

/// The promotion has changed gitaly and two web hosts, and halted.
fn half_promoted() -> (World, Vec<(RunId, Run)>, BTreeMap<HostName, DebVersion>) {
    let (world, mut runs) = promoted();
    let before = versions(&world);
    let world = halted(until(world, |world| installed(world, "install") == 3));
    runs.push((of("r-2"), world.run.clone()));
    (world, runs, before)
}

#[test]
fn from_a_halt_at_any_moment_of_a_promotion_every_touched_host_gets_what_it_had() {
    let mut rollbacks = 0;
    let (mut world, runs) = promoted();
    let before = versions(&world);
    while !world.run.is_over() {
        for _ in 0..5 {
            world.approve();
            world.turn();
        }
        if world.run.is_over() {
            break;
        }
        let halted = halted(world.clone());
        let runs = [runs.as_slice(), &[(of("r-2"), halted.run.clone())]].concat();
        for pace in [Pace::Careful, Pace::Expedited] {
            let mut back = match roll_back(&halted, &runs, &Scope::Run(of("r-2")), pace) {
                Ok(back) => back,
                Err(NoWayBack::NothingChanged | NoWayBack::PointOfNoReturn { .. }) => continue,
                Err(other) => panic!("{other}"),
            };
            back.drive();
            assert_eq!(back.run.status, Status::Finished);
            assert_eq!(versions(&back), before);
            assert_eq!(back.run.out_of_service(), []);
            let lbs = back.truth.observed.load_balancers.values();
            assert!(lbs.flat_map(|lb| lb.servers.values()).all(|seen| seen.up));
            rollbacks += 1;
        }
    }
    assert!(rollbacks > 40, "only {rollbacks} moments had anything to go back from");
}

#[test]
fn a_rollback_that_was_given_up_in_its_middle_is_gone_through_to_its_end() {
    let (world, mut runs, before) = half_promoted();
    let place = Scope::Place(of("production"), None);
    let back = roll_back(&world, &runs, &place, Pace::Careful).unwrap();
    let mut half = halted(until(back, |world| installed(world, "install") == 1));
    assert!(versions(&half) != before, "it is in its middle");
    let (by, why) = ("ada".to_owned(), "wrong one".to_owned());
    half.input(serin_engine::Input::Command(serin_engine::Command::Cancel { by, why })).unwrap();
    runs.push((of("r-3"), half.run.clone()));
    let mut rest = roll_back(&half, &runs, &place, Pace::Careful).unwrap();
    rest.drive();
    assert_eq!(rest.run.status, Status::Finished);
    assert_eq!(versions(&rest), before);
    runs.push((of("r-4"), rest.run.clone()));
    let again = History(&runs).way_back(&place);
    assert!(matches!(&again, Err(NoWayBack::IsRollback(run)) if *run == of("r-4")), "{again:?}");
}

#[test]
fn a_rollback_changes_no_host_before_every_host_is_known_to_be_able_to_go_back() {
    let (world, runs, _) = half_promoted();
    let scope = Scope::Run(of("r-2"));
    for pace in [Pace::Careful, Pace::Expedited] {
        let mut back = roll_back(&world, &runs, &scope, pace).unwrap();
        while installed(&back, "install") == 0 {
            assert!(back.turn());
        }
        let fetches = back.run.plan.steps().filter(|(_, _, step)| step.action == Action::Fetch);
        assert_eq!(installed(&back, "fetch"), fetches.count(), "{pace:?}");
    }
}

#[test]
fn past_post_deployment_migrations_there_is_no_way_back_and_they_are_named() {
    let (mut world, mut runs) = promoted();
    let begun = |world: &World| {
        let mut steps = world.run.plan.steps();
        steps.any(|(_, _, step)| {
            step.action == Action::Migrate(MigrationKind::PostDeployment)
                && world.run.attempts(&step.id) > 0
        })
    };
    while !begun(&world) {
        world.approve();
        assert!(world.turn());
    }
    runs.push((of("r-2"), world.run.clone()));
    for scope in [Scope::Run(of("r-2")), Scope::Place(of("production"), None), Scope::Release] {
        let why = History(&runs).way_back(&scope).unwrap_err();
        let NoWayBack::PointOfNoReturn { run, .. } = &why else { panic!("{why}") };
        assert_eq!(*run, of("r-2"));
    }
}

#[test]
fn a_release_goes_back_on_every_host_to_what_it_had_before_the_first_of_its_runs() {
    let (world, runs, _) = half_promoted();
    let mut back = roll_back(&world, &runs, &Scope::Release, Pace::Expedited).unwrap();
    back.drive();
    assert_eq!(back.run.status, Status::Finished);
    let old: DebVersion = of("1.0");
    assert!(versions(&back).values().all(|version| *version == old), "{:?}", versions(&back));
}

#[test]
fn what_a_later_run_has_changed_is_not_undone_past_it() {
    let (world, mut runs, _) = half_promoted();
    let mut newer = world.truth.clone();
    newer.build = serin_model::Build { sha256: of(&"ef".repeat(32)), ..build("3.0") };
    newer.pipeline = pipelines().remove(&of::<PipelineName>("to-canary")).unwrap();
    let mut newer = World::new(newer);
    newer.drive();
    runs.push((of("r-3"), newer.run.clone()));
    let why = History(&runs).way_back(&Scope::Run(of("r-1"))).unwrap_err();
    assert!(matches!(&why, NoWayBack::ChangedSince { later, .. } if *later == of("r-3")), "{why}");
    let nothing = History(&runs).way_back(&Scope::Place(of("staging"), None)).unwrap_err();
    assert_eq!(nothing, NoWayBack::NothingChanged);
}

#[test]
fn a_stage_that_wants_an_approval_waits_for_it_and_nothing_else_wants_one() {
    let (mut world, _) = promoted();
    let approve = || {
        let (by, note) = ("eve".to_owned(), "looked at it".to_owned());
        serin_engine::Input::Command(serin_engine::Command::Approve { by, note })
    };
    assert_eq!(world.input(approve()), Err(serin_engine::Refusal::NothingToApprove));
    let waits = |world: &World| {
        let mut steps = world.run.plan.steps();
        steps.any(|(_, _, step)| {
            matches!(step.action, Action::Approve { .. }) && world.run.in_flight(&step.id)
        })
    };
    while !waits(&world) {
        assert!(world.turn());
    }
    // A halt and a resumption in between change nothing about it.
    world.halt();
    for _ in 0..50 {
        world.turn();
    }
    assert_eq!(world.input(approve()), Err(serin_engine::Refusal::NothingToApprove), "halted");
    world.resume();
    while !waits(&world) {
        assert!(world.turn());
    }
    world.input(approve()).unwrap();
    world.drive();
    assert_eq!(world.run.status, Status::Finished);
}

#[test]
fn a_halt_does_not_wait_for_an_exposure_which_begins_again_afterwards() {
    let (world, _) = promoted();
    let exposes = |world: &World| {
        let mut steps = world.run.plan.steps();
        let step = steps.find(|(_, _, step)| matches!(step.action, Action::Expose { .. }));
        step.map(|(_, _, step)| step.id.clone()).filter(|step| world.run.in_flight(step))
    };
    let mut world = until(world, |world| exposes(world).is_some());
    let step = exposes(&world).unwrap();
    world.halt();
    world.turn();
    world.input(serin_engine::Input::Tick).unwrap();
    assert!(matches!(world.run.status, Status::Halted(_)), "{:?}", world.run.status);
    assert!(world.run.in_flight(&step));
    world.adopt(2);
    world.resume();
    let world = until(world, |world| world.run.is_done(&step));
    assert_eq!(world.run.attempts(&step), 2);
}

#[test]
fn the_last_run_that_changed_a_fleet_is_known() {
    let (world, runs, _) = half_promoted();
    let last = |fleet| History(&runs).last_change(&of("production"), &of(fleet)).cloned();
    assert_eq!(last("main"), Some(of("r-2")));
    assert_eq!(last("canary"), Some(of("r-1")), "the promotion leaves the canary alone");
    assert_eq!(last("other"), None);
    let back = roll_back(&world, &runs, &Scope::Run(of("r-2")), Pace::Careful).unwrap();
    let runs = [runs.as_slice(), &[(of("r-3"), back.run)]].concat();
    let main = History(&runs).last_change(&of("production"), &of("main"));
    assert_eq!(main, Some(&of("r-2")), "a rollback that has begun nothing has changed nothing");
}

fn give_up(world: &mut World) {
    let (by, why) = ("ada".to_owned(), "once more".to_owned());
    world.input(serin_engine::Input::Command(serin_engine::Command::Cancel { by, why })).unwrap();
}

#[test]
fn a_run_that_was_given_up_and_begun_again_goes_back_as_one() {
    let (mut world, mut runs, before) = half_promoted();
    give_up(&mut world);
    runs.pop();
    runs.push((of("r-2"), world.run.clone()));
    let again = World::new(world.truth.clone());
    let already = versions(&again);
    let again = halted(until(again, |world| installed(world, "install") == 1));
    assert!(versions(&again) != already, "it has changed another host");
    runs.push((of("r-3"), again.run.clone()));
    let place = Scope::Place(of("production"), None);
    assert_eq!(History(&runs).way_back(&place).unwrap().undoes, [of("r-2"), of("r-3")].into());
    let mut back = roll_back(&again, &runs, &place, Pace::Careful).unwrap();
    back.drive();
    assert_eq!(back.run.status, Status::Finished);
    assert_eq!(versions(&back), before);
}

#[test]
fn an_earlier_run_of_the_same_build_that_has_changed_the_database_for_good_counts() {
    let (world, mut runs) = promoted();
    let first = until(world, |world| installed(world, "migrate-post-deployment") == 1);
    let mut first = halted(first);
    give_up(&mut first);
    runs.push((of("r-2"), first.run.clone()));
    // Somebody has put a host back by hand, and the build is run once more.
    let mut truth = first.truth.clone();
    let seen = truth.host("web-01.production");
    seen.package = serin_model::PackageState::Installed(of("1.0"));
    let again = World::new(truth);
    let again = halted(until(again, |world| installed(world, "install") == 1));
    runs.push((of("r-3"), again.run.clone()));
    let refused = History(&runs).way_back(&Scope::Place(of("production"), None));
    assert!(
        matches!(&refused, Err(NoWayBack::PointOfNoReturn { run, .. }) if *run == of("r-2")),
        "{refused:?}"
    );
}
