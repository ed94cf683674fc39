//! The real `serin` on a journal in PostgreSQL.

use crate::cluster::Cluster;
use crate::support::World;
use serin_journal::{Journal, Scope};
use std::time::Duration;

#[tokio::test]
async fn an_installation_moves_to_a_database_and_goes_on_there() {
    let (world, cluster) = (World::new(""), Cluster::start().await);
    world.serin(&["hold", "place", "production", "--reason", "moving house"]).is(0, &["h-1"]);
    world.record(5, None).await;
    let from = world.path("journal.db");
    world.serin(&["journal", "copy", "--from", &from]).is(4, &["names no database"]);

    world.use_postgres(&cluster.path(""));
    let copied = world.serin(&["journal", "copy", "--from", &from]);
    copied.is(0, &["1 run(s), 3 record(s), 2 of the audit trail and 0 command(s) are in the journal in PostgreSQL (postgres of serin@"]);
    world.serin(&["history", "production"]).is(0, &["moving house"]);
    world.serin(&["runs"]).is(0, &["r-1"]);
    world.serin(&["hold", "place", "staging", "--reason", "here"]).is(0, &["h-1"]);
    let doctor = world.serin(&["doctor"]);
    doctor.is(9, &["can be used: PostgreSQL 15", "commits wait for its disk"]);

    world.serin(&["journal", "copy", "--from", &from]).is(4, &["was not copied", "was moved to"]);
    world.serin(&["--config", &world.path("old.toml"), "status"]).is(8, &["was moved to postgres"]);
    let nowhere = world.path("nowhere.db");
    world.serin(&["journal", "copy", "--from", &nowhere]).is(4, &["there is no journal"]);
    assert!(!std::path::Path::new(&nowhere).exists(), "nothing was made");
}

#[tokio::test]
async fn a_database_that_is_away_is_said_without_its_password() {
    let (world, mut cluster) = (World::new(""), Cluster::start().await);
    world.use_postgres(&cluster.path(""));
    world.serin(&["status"]).is(0, &["production"]);
    cluster.stop();
    let said = world.serin_with("PGPASSWORD", "hunter2", &["status"]);
    said.is(8, &["could not open the journal in PostgreSQL (postgres of serin@"]);
    assert!(!format!("{said:?}").contains("hunter2"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_acts_on_another_machine_is_asked_and_is_not_taken_for_dead() {
    let (world, cluster) = (std::sync::Arc::new(World::new("")), Cluster::start().await);
    world.use_postgres(&cluster.path(""));
    let machine = tempfile::tempdir().unwrap();
    let other = crate::cluster::settings(&cluster.path(""), machine.path());
    let other = serin_journal::PostgresJournal::open(other).await.unwrap();
    let production = "production".parse().unwrap();
    let ada = serin_journal::Holder { user: "ada".into(), machine: "deploy-02".into(), pid: 7 };
    let ttl = Duration::from_secs(15);
    let scope = Scope::Environment("production".parse().unwrap());
    let lease = other.take_lease(&scope, &ada, ttl).await.unwrap();
    let asking = std::sync::Arc::clone(&world);
    let placing = tokio::task::spawn_blocking(move || {
        asking.serin(&["hold", "place", "production", "--reason", "patching"])
    });
    let item = loop {
        // Woken by the command itself.
        other.arrival().await;
        if let Some(item) = other.inbox(&production).await.unwrap().pop() {
            break item;
        }
    };
    other.answer(&lease, item.id, "accepted: h-5").await.unwrap();
    placing.await.unwrap().is(0, &["ada@deploy-02 (pid 7) acts in production", "h-5"]);
}
