//! The linter finds each thing that no plan may have, when a good plan is broken in just that way.

use crate::golden::SMALL;
use crate::installation::{Installation, of};
use serin_model::{Action, Plan, Stage, Step, Subject};
use serin_planner::{check_plan, plan};

fn findings(break_it: impl FnOnce(&mut Plan)) -> Vec<String> {
    let (mut plan, _) = plan(Installation::new(SMALL).request()).unwrap();
    assert_eq!(check_plan(&plan), [], "the plan is good to begin with");
    break_it(&mut plan);
    check_plan(&plan).iter().map(ToString::to_string).collect()
}

fn steps_of<'a>(stage: &'a mut Stage, host: &str) -> &'a mut Vec<Step> {
    let subject = Subject::Host(of(host));
    let lanes = stage.phases.iter_mut().flat_map(|phase| &mut phase.lanes);
    let drains = |steps: &[Step]| steps.iter().any(|step| step.action == Action::Drain);
    let mut lanes = lanes.filter(|lane| lane.subject == subject && drains(&lane.steps));
    &mut lanes.next().unwrap().steps
}

#[test]
fn two_steps_with_one_id_are_found() {
    let found = findings(|plan| {
        let lanes = &mut plan.stages[2].phases[1].lanes;
        let twice = lanes[0].steps[0].id.clone();
        lanes[1].steps[0].id = twice;
    });
    assert_eq!(found, ["two steps have the id 3/sidekiq-01.staging/stop-config-management"]);
}

#[test]
fn a_host_of_another_environment_is_found() {
    let found = findings(|plan| {
        plan.stages[2].phases[1].lanes[0].subject = Subject::Host(of("web-cny-01.production"));
    });
    assert_eq!(found, ["3/sidekiq-01.staging/stop-config-management is about something unknown"]);
}

#[test]
fn a_host_that_is_changed_in_service_or_not_brought_back_is_found() {
    type Break = fn(&mut Vec<Step>);
    let breaks: [Break; 5] = [
        |steps| drop(steps.pop()),
        |steps| drop(steps.remove(0)),
        |steps| steps.swap(0, 1),
        |steps| steps.reverse(),
        |steps| steps.retain(|step| !matches!(step.action, Action::Drain | Action::Ready)),
    ];
    for break_it in breaks {
        let found = findings(|plan| break_it(steps_of(&mut plan.stages[2], "web-01.staging")));
        assert_eq!(
            found,
            ["web-01.staging would be changed without being drained and brought back"]
        );
    }
}

#[test]
fn a_stage_without_its_guard_in_front_is_found() {
    let found = findings(|plan| drop(plan.stages[5].phases.remove(0)));
    assert_eq!(found, ["stage 6 has no guard before its work"]);
}

#[test]
fn code_before_its_migrations_is_found_in_one_environment_but_not_across_two() {
    let found = findings(|plan| plan.stages.swap(0, 1));
    assert_eq!(found, ["stage 2 deploys code before its environment is migrated"]);
}

#[test]
fn post_deployment_migrations_before_the_last_host_are_found() {
    let found = findings(|plan| plan.stages.swap(2, 3));
    assert_eq!(
        found,
        ["stage 4 runs post-deployment migrations before the last host has the code"]
    );
}
