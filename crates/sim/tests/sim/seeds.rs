//! Seeds that once went wrong, and bugs that must be found.

use serin_sim::Checker;
use serin_sim::seeds::{Planted, Story, tell};
use std::collections::BTreeSet;

fn is_clean(seed: u64, incidents: &[usize]) {
    let tale = tell(&Story::plain(seed).keeping(incidents));
    assert!(tale.violations.is_empty(), "{:?}\n{}", tale.violations, tale.timeline.join("\n"));
}

#[test]
fn config_management_that_a_cancelled_run_left_stopped_is_started_by_the_next() {
    // A run to main recorded the version and was given up; the next one had nothing to record, and forgot the hosts
    // that only read the record.
    is_clean(283, &[5]);
    is_clean(370, &[3]);
}

#[test]
fn a_rollback_that_goes_on_where_another_was_given_up_starts_config_management_of_the_deploy_host()
{
    is_clean(1698, &[0]);
}

fn whole_is_clean(seed: u64) {
    let tale = tell(&Story::plain(seed));
    assert!(tale.violations.is_empty(), "{:?}\n{}", tale.violations, tale.timeline.join("\n"));
}

#[test]
fn a_rollback_asks_earlier_runs_of_the_same_build_for_the_point_of_no_return() {
    whole_is_clean(6121);
}

#[test]
fn a_rollback_starts_config_management_that_the_undone_run_had_only_stopped() {
    is_clean(3711, &[2, 6]);
    [2626, 2729, 4457, 6239, 7268].into_iter().for_each(whole_is_clean);
}

#[test]
fn a_run_that_was_given_up_and_begun_again_goes_back_as_one() {
    whole_is_clean(1354);
}

#[test]
fn a_canary_that_serves_alone_keeps_its_share() {
    whole_is_clean(2474);
}

#[test]
fn a_canary_whose_others_are_all_out_of_service_can_be_given_a_share() {
    // Otherwise nobody could go on: main's hosts come back with the run that begins with the canary's exposure.
    is_clean(10649, &[0, 2]);
    is_clean(13365, &[3]);
    is_clean(22106, &[1]);
}

#[test]
fn a_rollback_puts_hosts_into_service_that_the_undone_run_had_only_drained() {
    is_clean(25725, &[0, 1, 3]);
}

#[test]
fn a_plan_that_the_world_has_left_behind_is_given_up_for_a_new_one() {
    is_clean(42356, &[2]);
}

#[test]
fn hosts_that_nobody_drained_are_not_missed_after_a_reload() {
    is_clean(16666, &[1]);
    is_clean(19905, &[0]);
    is_clean(31735, &[2]);
    is_clean(41348, &[1]);
}

#[test]
fn a_process_that_was_replaced_need_not_know_of_its_successor() {
    is_clean(19469, &[0, 3]);
    is_clean(9220, &[0, 1]);
}

#[test]
fn a_patch_run_starts_config_management_that_one_which_was_given_up_left_stopped() {
    for (seed, incidents) in [(1947, vec![2, 5]), (5633, vec![0, 1, 2]), (9641, vec![6])] {
        let tale = tell(&Story::of(seed).keeping(&incidents));
        assert!(tale.violations.is_empty(), "{:?}\n{}", tale.violations, tale.timeline.join("\n"));
    }
}

#[test]
fn a_host_that_is_changed_while_the_last_look_waits_for_a_slow_one_is_no_mistake_of_a_patch() {
    let tale = tell(&Story::of(56815).keeping(&[2, 4]));
    assert!(tale.violations.is_empty(), "{:?}\n{}", tale.violations, tale.timeline.join("\n"));
}

#[test]
fn a_host_that_dies_between_the_last_look_and_the_record_of_the_end_is_no_mistake_of_a_patch() {
    let tale = tell(&Story::of(13454).keeping(&[2, 4]));
    assert!(tale.violations.is_empty(), "{:?}\n{}", tale.violations, tale.timeline.join("\n"));
}

#[test]
fn no_service_loads_a_patch_on_a_host_that_a_reload_of_haproxy_has_put_back() {
    for (seed, incidents) in [(83990, vec![5]), (95762, vec![0, 1, 2])] {
        let tale = tell(&Story::of(seed).keeping(&incidents));
        assert!(tale.violations.is_empty(), "{:?}\n{}", tale.violations, tale.timeline.join("\n"));
    }
}

#[test]
fn drains_that_a_halt_has_left_in_doubt_are_not_all_done_again_at_once() {
    let tale = tell(&Story::of(73707).keeping(&[1, 2, 3, 4]));
    assert!(tale.violations.is_empty(), "{:?}\n{}", tale.violations, tale.timeline.join("\n"));
}

#[test]
fn an_unchanged_host_that_was_out_for_long_is_looked_at_before_it_is_put_back() {
    let tale = tell(&Story::of(5757));
    assert!(tale.violations.is_empty(), "{:?}\n{}", tale.violations, tale.timeline.join("\n"));
}

/// That each bug is found, and by that checker, is what `serin-sim --planted` shows.
#[test]
fn every_checker_has_a_planted_bug() {
    let proven: BTreeSet<Checker> = Planted::ALL.into_iter().map(Planted::proves).collect();
    assert_eq!(proven, BTreeSet::from(Checker::ALL));
}

#[test]
fn a_seed_is_the_same_story_each_time() {
    for seed in [1, 4, 42] {
        assert_eq!(tell(&Story::of(seed)).timeline, tell(&Story::of(seed)).timeline);
    }
}
