//! Requests to an environment in which another process acts: they go through its inbox.

use crate::support::{Said, World};
use serin_journal::{Append, ClaimChange, Holder, Inbox, Journal, Lease, Scope, SqliteJournal};
use serin_model::{EnvironmentName, RunId, Timestamp};
use serin_runtime::environment::{EnvironmentRequest, Want};
use std::time::Duration;

const TTL: Duration = Duration::from_secs(15);

/// Another process that acts in production.
struct Other {
    journal: SqliteJournal,
    lease: Lease,
    production: EnvironmentName,
}

impl Other {
    async fn in_production(world: &World) -> Self {
        let journal = SqliteJournal::open(std::path::Path::new(&world.path("journal.db"))).unwrap();
        let production: EnvironmentName = "production".parse().unwrap();
        let holder = Holder { user: "ada".to_owned(), machine: "deploy-01".to_owned(), pid: 7 };
        let scope = Scope::Environment(production.clone());
        let lease = journal.take_lease(&scope, &holder, TTL).await.unwrap();
        Self { journal, lease, production }
    }

    async fn asked(&self) -> Inbox {
        asked(&self.journal, &self.production).await
    }
}

/// Waits until something is asked in an environment; whoever asks gives up after 30 s at most.
async fn asked(journal: &SqliteJournal, environment: &EnvironmentName) -> Inbox {
    let look = async {
        loop {
            if let Some(item) = journal.inbox(environment).await.unwrap().pop() {
                return item;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let asked = tokio::time::timeout(Duration::from_secs(40), look).await;
    asked.unwrap_or_else(|_| panic!("nothing was asked in {environment}"))
}

fn place(world: &World) -> Said {
    world.serin(&["hold", "place", "production", "--reason", "patching"])
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_acts_in_an_environment_is_asked_and_its_answer_counts() {
    for (answer, code, words) in [
        ("accepted: h-5", 0, "production: accepted: h-5"),
        ("refused: not today", 4, "production: not today"),
    ] {
        let world = std::sync::Arc::new(World::new(""));
        let other = Other::in_production(&world).await;
        let asking = std::sync::Arc::clone(&world);
        let placing = tokio::task::spawn_blocking(move || place(&asking));
        let item = other.asked().await;
        let request: EnvironmentRequest = serde_json::from_str(&item.body).unwrap();
        assert!(matches!(request.want, Want::PlaceHold { .. }), "{request:?}");
        assert_eq!((request.by.as_str(), request.why.as_str()), ("mira", "patching"));
        other.journal.answer(&other.lease, item.id, answer).await.unwrap();
        placing.await.unwrap().is(code, &["ada@deploy-01 (pid 7) acts in production", words]);
        let nothing = other.journal.read_environment(&other.production, 0).await.unwrap();
        assert_eq!(nothing, [], "only who acts there writes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_holder_goes_away_is_seen_to_by_who_asked() {
    let world = std::sync::Arc::new(World::new(""));
    let other = Other::in_production(&world).await;
    let asking = std::sync::Arc::clone(&world);
    let placing = tokio::task::spawn_blocking(move || place(&asking));
    let item = other.asked().await;
    other.journal.release_lease(&other.lease).await.unwrap();
    placing.await.unwrap().is(0, &["production: accepted: h-1"]);
    let answered = other.journal.answered(item.id).await.unwrap();
    assert_eq!(answered.as_deref(), Some("accepted: h-1"), "nobody does it a second time");
    assert_eq!(other.journal.read_environment(&other.production, 0).await.unwrap().len(), 2);
}

/// Another process that acts for the only run, which is in the environments that it says.
struct Acting {
    journal: SqliteJournal,
    run: RunId,
    lease: Lease,
}

impl Acting {
    async fn for_run(world: &World) -> Self {
        world.record(1, None).await;
        let journal = SqliteJournal::open(std::path::Path::new(&world.path("journal.db"))).unwrap();
        let run: RunId = "r-1".parse().unwrap();
        let holder = Holder { user: "ada".to_owned(), machine: "deploy-01".to_owned(), pid: 7 };
        let lease = journal.take_lease(&Scope::Run(run.clone()), &holder, TTL).await.unwrap();
        Self { journal, run, lease }
    }

    async fn goes(&self, claims: &[ClaimChange]) {
        let expected = self.journal.runs().await.unwrap()[0].last;
        let (run, at) = (&self.run, Timestamp::from_millis(1_000));
        let append = Append { run, expected, records: &[], at, leases: &[], claims };
        self.journal.append(&append).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_follows_its_run_from_one_environment_to_the_next() {
    let world = std::sync::Arc::new(World::new(""));
    let acting = Acting::for_run(&world).await;
    let [staging, production]: [EnvironmentName; 2] =
        ["staging", "production"].map(|name| name.parse().unwrap());
    acting.goes(&[ClaimChange::Take(staging.clone())]).await;
    let asking = std::sync::Arc::clone(&world);
    let halting = tokio::task::spawn_blocking(move || asking.serin(&["halt", "--reason", "lunch"]));
    let unread = asked(&acting.journal, &staging).await;
    // It goes on before it has read that.
    acting.goes(&[ClaimChange::Release(staging), ClaimChange::Take(production.clone())]).await;
    let item = asked(&acting.journal, &production).await;
    assert_eq!(item.body, unread.body);
    let scope = Scope::Environment(production);
    let holder = Holder { user: "ada".to_owned(), machine: "deploy-01".to_owned(), pid: 7 };
    let lease = acting.journal.take_lease(&scope, &holder, TTL).await.unwrap();
    acting.journal.answer(&lease, item.id, "accepted").await.unwrap();
    halting.await.unwrap().is(0, &["ada@deploy-01 (pid 7) acts for run r-1", "accepted"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_sees_to_it_when_the_process_that_was_asked_goes_away() {
    let world = std::sync::Arc::new(World::with_haproxy_and("roundrobin", ""));
    let acting = Acting::for_run(&world).await;
    let production: EnvironmentName = "production".parse().unwrap();
    acting.goes(&[ClaimChange::Take(production.clone())]).await;
    let asking = std::sync::Arc::clone(&world);
    let halting = tokio::task::spawn_blocking(move || asking.serin(&["halt", "--reason", "lunch"]));
    asked(&acting.journal, &production).await;
    acting.journal.release_lease(&acting.lease).await.unwrap();
    halting.await.unwrap().is(5, &["has halted"]);
}
