//! New builds while others are busy.

use crate::support::World;
use serin_model::{Queue, WhenBusy};
use std::time::Duration;

/// Records a run that waits for production, where it only has a guard; it goes on for a run that was outdated.
async fn waits(world: &World, first: &str) {
    let queue = Queue {
        when_busy: WhenBusy::QueueLatest,
        baked_for: Duration::from_hours(1),
        first: Some(first.parse().unwrap()),
    };
    world.record(5, Some(queue)).await;
}

#[tokio::test]
async fn of_two_runs_that_wait_the_older_gives_way_and_says_to_whom() {
    let world = World::with_haproxy("roundrobin");
    waits(&world, "r-1").await;
    waits(&world, "r-2").await;
    let next = ["r-1", "r-2"].map(|run| format!("WAITS  run {run} with 16.2.0-ee.0 comes next"));
    world.serin(&["status"]).is(0, &["production: free", &next[0], &next[1]]);
    let given_up = ["superseded by run r-2, which is newer", "run r-1 was given up"];
    world.serin(&["adopt", "r-1"]).is(6, &given_up);
    world.serin(&["runs"]).is(0, &["given up by mira: superseded by run r-2, which is newer"]);
    world.serin(&["runs", "-n", "1"]).is(0, &["r-2", "1 older run(s): serin runs -n 2"]);
    world.serin(&["adopt", "r-2"]).is(0, &["run r-2 is finished"]);
}

#[tokio::test]
async fn a_new_build_is_skipped_where_the_configuration_wants_it_and_told_what_is_busy() {
    let roles = "stage = 1\ntitle = \"canary\"\nenvironment = \"production\"\nfleet = \"canary\"\n\
                 work = \"roles\"\nroles = [\"web\"]\nshare = \"zero-then-after-canary\"\n";
    let pipeline = format!("[[pipelines.to-canary]]\n{roles}");
    for (when_busy, told) in [
        ("skip", "skipped: run r-1 waits for production"),
        // Nothing stands in its way but that there is no repository.
        ("queue_latest", "127.0.0.1:9"),
        ("supersede", "127.0.0.1:9"),
    ] {
        let world = World::new(&format!("[promotion]\nwhen_busy = \"{when_busy}\"\n{pipeline}"));
        waits(&world, "r-1").await;
        let said = world.serin(&["run", "to-canary", "16.3.0-ee.0"]);
        assert_eq!(said.code, 4, "{said:?}");
        assert!(said.err.contains(told), "{when_busy}: {said:?}");
    }
}
