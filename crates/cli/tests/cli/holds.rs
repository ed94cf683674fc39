//! `serin hold`, and what `status` and `why` say of holds and freeze windows.

use crate::support::World;

const REASON: &[&str] = &["--reason", "patching"];

fn place(world: &World, words: &[&str]) -> crate::support::Said {
    world.serin(&[&["hold", "place"], words, REASON].concat())
}

#[test]
fn a_hold_is_placed_shown_and_lifted() {
    let world = World::new("");
    place(&world, &["production/canary", "--mid-run", "halt"])
        .is(0, &["production: accepted: h-1"]);
    place(&world, &["staging", "--for", "2h"]).is(0, &["staging: accepted: h-1"]);
    let held = "production/h-1: mira holds production/canary until it is lifted: patching";
    world.serin(&["status"]).is(0, &["production: free", held, "staging/h-1: mira holds staging"]);
    world.serin(&["why"]).is(9, &[held]);
    world.serin(&["hold", "list"]).is(0, &["production/h-1", "when it is lifted", "halt"]);
    let listed = world.serin(&["--json", "hold", "list"]);
    listed.is(0, &["\"id\":\"production/h-1\"", "\"fleet\":\"canary\"", "\"on\":true"]);

    let lift = |id| world.serin(&["hold", "lift", id, "--reason", "patched"]);
    lift("production/h-1").is(0, &["production: accepted"]);
    lift("production/h-1").is(4, &["production: hold h-1 is not on any more"]);
    lift("staging/h-1").is(0, &[]);
    let history = world.serin(&["history", "production"]);
    let asked = "mira asks to place a hold on canary: patching";
    history.is(0, &[asked, "hold h-1 is placed on canary (halt)", "refused: hold h-1 is not on"]);
    let history = world.serin(&["--json", "history", "production"]);
    history.is(0, &["\"event\":\"hold-lifted\"", "\"text\":\"hold h-1 is lifted\""]);
    world.serin(&["hold", "list"]).is(0, &["nothing is held"]);
    world.serin(&["why"]).is(0, &["nothing blocks"]);
}

#[test]
fn a_hold_that_makes_no_sense_is_refused() {
    let world = World::new("");
    place(&world, &["prod"]).is(4, &["no environment prod", "production, staging"]);
    place(&world, &["production/cny"]).is(4, &["production has no fleet cny", "canary, main"]);
    place(&world, &["production", "--until", "2020-01-01T00:00"]).is(4, &["before it begins"]);
    place(&world, &["production", "--until", "tomorrow"]).is(4, &["not a date and a time"]);
    place(&world, &["production", "--for", "soon"]).is(2, &["not a time"]);
    world.serin(&["hold", "place", "production", "--reason", " "]).is(4, &["reason is empty"]);
    let lift = |id| world.serin(&["hold", "lift", id, "--reason", "patched"]);
    lift("production/h-9").is(4, &["there is no hold h-9"]);
    lift("h-9").is(2, &["production/h-3"]);
    world.serin(&["hold", "list"]).is(0, &["nothing is held"]);
}

#[test]
fn a_freeze_window_that_is_on_blocks_like_a_hold() {
    let world = World::new(
        "[[environments.production.freeze]]\nreason = \"end of time\"\n\
         from = \"2020-01-01T00:00\"\nto = \"2900-01-01T00:00\"\n",
    );
    let held =
        "a freeze window (serin.toml) holds production until 2900-01-01 00:00 UTC: end of time";
    world.serin(&["status"]).is(0, &[held]);
    world.serin(&["why"]).is(9, &[held]);
    world.serin(&["hold", "list"]).is(0, &["window", "end of time"]);
}
