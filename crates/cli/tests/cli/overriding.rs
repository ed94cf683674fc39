//! A run that a hold stops, and people who let it through.

use crate::support::World;

#[tokio::test]
async fn a_run_that_a_hold_stops_goes_on_when_two_people_override_it() {
    let world = World::with_haproxy_and(
        "roundrobin",
        "[environments.production.policy]\nsecond_person = true\n",
    );
    world.record(1, None).await;
    let placed = ["hold", "place", "production", "--reason", "patching"];
    world.serin(&placed).is(0, &["accepted: h-1"]);
    let held = "production/h-1: mira holds production until it is lifted: patching";
    world.serin(&["adopt", "r-1"]).is(5, &[held, "run r-1 has halted"]);
    world.serin(&["resume", "r-1", "--reason", "again"]).is(5, &[held]);

    let over = ["resume", "r-1", "--reason", "it must go out", "--override"];
    world.serin(&over).is(4, &["a second person here, and none was named"]);
    let same = [&over[..], &["--second", "mira"]].concat();
    world.serin(&same).is(4, &["must be another than mira"]);
    let second = [&over[..], &["--second", "ada"]].concat();
    world.serin(&second).is(0, &["run r-1 is finished"]);
    let history = world.serin(&["history", "production"]);
    let let_through = "run r-1 is let through by mira and ada";
    history.is(0, &["refused: overriding needs a second person", let_through]);
    world.serin(&["why"]).is(9, &[held]);
    let shown = "OVERRIDDEN  run r-1 was let through what was on by mira and ada: it must go out";
    world.serin(&["show", "r-1"]).is(0, &[shown]);
    world.serin(&["--json", "status"]).is(0, &["\"second\":\"ada\"", "\"run\":\"r-1\""]);
}
