//! The contract of the `Journal` port: one suite, run against every implementation.
//!
//! Each test gets a place where several processes meet. What only one implementation has (files, faults on demand) is
//! tested elsewhere.

use crate::cluster::Cluster;
use crate::support::{Folder, Memory, at, environment, holder, run, scope, texts};
use serin_journal::{
    Append, AppendError, ClaimChange, CommandId, EnvironmentAppend, Journal, JournalError, Lease,
    LeaseRefused, TrailAppend,
};
use std::time::Duration;

/// Where processes meet.
trait Place: Sync {
    type Process: Journal;

    /// Starts a process.
    fn process(&self) -> impl Future<Output = Self::Process> + Send;

    /// Kills a process as `kill -9` does: it gives nothing back.
    fn kill(&self, process: Self::Process);

    /// Returns a time to live that is long beside one transaction here.
    fn ttl(&self) -> Duration;
}

async fn runs_are_numbered_in_order_and_listed_newest_first(place: &impl Place) {
    let (one, two) = (place.process().await, place.process().await);
    assert_eq!(one.create_run("first", at(10)).await.unwrap(), run("r-1"));
    assert_eq!(two.create_run("second", at(20)).await.unwrap(), run("r-2"));
    let runs = one.runs().await.unwrap();
    let told: Vec<_> = runs.iter().map(|r| (r.id.as_str(), r.created, r.last)).collect();
    assert_eq!(told, [("r-2", at(20), 1), ("r-1", at(10), 1)]);
}

async fn records_are_read_back_in_order_by_every_process(place: &impl Place) {
    let (one, two) = (place.process().await, place.process().await);
    let id = one.create_run("a", at(1)).await.unwrap();
    let (two_records, one_record) = (texts(&["b", "ü\0\n"]), texts(&["d"]));
    let append = Append { at: at(2), ..plain(&id, 1, &two_records) };
    assert_eq!(one.append(&append).await.unwrap(), 3);
    let append = Append { at: at(3), ..plain(&id, 3, &one_record) };
    assert_eq!(two.append(&append).await.unwrap(), 4);
    let read = one.read(&id, 0).await.unwrap();
    let told: Vec<_> = read.iter().map(|r| (r.seq, r.at, r.body.as_str())).collect();
    assert_eq!(told, [(1, at(1), "a"), (2, at(2), "b"), (3, at(2), "ü\0\n"), (4, at(3), "d")]);
    assert_eq!(two.read(&id, 2).await.unwrap(), read[2..]);
    assert_eq!(two.read(&id, 4).await.unwrap(), []);
    assert_eq!(two.read(&id, 9).await.unwrap(), []);
}

async fn a_run_that_does_not_exist_is_named(place: &impl Place) {
    let one = place.process().await;
    for id in [run("r-1"), run("r-01"), run("x"), run("r-99999999999999999999")] {
        let refused = one.read(&id, 0).await.unwrap_err();
        assert!(matches!(refused, JournalError::NoSuchRun(named) if named == id));
        let refused = one.append(&plain(&id, 0, &texts(&["a"]))).await.unwrap_err();
        assert!(
            matches!(refused, AppendError::Journal(JournalError::NoSuchRun(named)) if named == id)
        );
    }
}

async fn an_append_that_expects_other_records_writes_nothing(place: &impl Place) {
    let one = place.process().await;
    let id = one.create_run("a", at(1)).await.unwrap();
    for expected in [0, 2] {
        let claims = [ClaimChange::Take(environment("staging"))];
        let records = texts(&["b"]);
        let append = Append { claims: &claims, ..plain(&id, expected, &records) };
        let refused = one.append(&append).await.unwrap_err();
        assert!(
            matches!(refused, AppendError::Conflict { expected: e, found: 1 } if e == expected)
        );
    }
    assert_eq!(one.read(&id, 0).await.unwrap().len(), 1);
    assert!(one.claims().await.unwrap().is_empty());
}

async fn of_many_appends_at_once_one_wins_each_number(place: &impl Place) {
    let (one, two) = (place.process().await, place.process().await);
    let id = one.create_run("a", at(1)).await.unwrap();
    for expected in 1..6 {
        let (left, right) = (texts(&["left"]), texts(&["right"]));
        let (left, right) = (plain(&id, expected, &left), plain(&id, expected, &right));
        let (left, right) = tokio::join!(one.append(&left), two.append(&right));
        assert!(left.is_ok() != right.is_ok(), "{left:?} {right:?}");
    }
    assert_eq!(two.read(&id, 0).await.unwrap().len(), 6);
}

async fn an_append_under_a_lost_lease_writes_nothing(place: &impl Place) {
    let (one, two) = (place.process().await, place.process().await);
    let id = one.create_run("a", at(1)).await.unwrap();
    let run_lease = take(&one, "run r-1", place).await;
    let lost = take(&one, "staging", place).await;
    let current = two.take_lease(&scope("staging"), &holder(2), place.ttl()).await.unwrap();

    let leases = [run_lease, lost.clone()];
    let claims = [ClaimChange::Take(environment("staging"))];
    let records = texts(&["b"]);
    let append = Append { leases: &leases, claims: &claims, ..plain(&id, 1, &records) };
    assert_lost(&one.append(&append).await.unwrap_err(), &lost, current.epoch);
    assert_eq!(one.read(&id, 0).await.unwrap().len(), 1);
    assert!(one.claims().await.unwrap().is_empty());
    let append = Append { leases: &[current], ..append };
    assert_eq!(two.append(&append).await.unwrap(), 2);
}

async fn a_process_that_lost_its_lease_can_neither_beat_nor_answer_nor_release(place: &impl Place) {
    let (one, two) = (place.process().await, place.process().await);
    let lost = take(&one, "staging", place).await;
    let current = two.take_lease(&scope("staging"), &holder(2), place.ttl()).await.unwrap();
    let command = one.send(&environment("staging"), "halt", at(1)).await.unwrap();

    assert_lost(&one.beat(&lost).await.unwrap_err(), &lost, current.epoch);
    assert_lost(&one.answer(&lost, command, "done").await.unwrap_err(), &lost, current.epoch);
    assert_eq!(one.answered(command).await.unwrap(), None);
    one.release_lease(&lost).await.unwrap();
    let held = one.holder(&scope("staging")).await.unwrap();
    assert_eq!(held, Some((holder(2), false)));
    two.beat(&current).await.unwrap();
}

async fn a_released_lease_fences_too(place: &impl Place) {
    let one = place.process().await;
    let id = one.create_run("a", at(1)).await.unwrap();
    let lease = take(&one, "staging", place).await;
    one.release_lease(&lease).await.unwrap();
    assert_eq!(one.holder(&scope("staging")).await.unwrap(), None);
    let leases = [lease.clone()];
    let append = Append { leases: &leases, ..plain(&id, 1, &[]) };
    assert_lost(&one.append(&append).await.unwrap_err(), &lease, lease.epoch);
    one.release_lease(&lease).await.unwrap();
}

async fn lease_numbers_count_up_for_each_scope_alone(place: &impl Place) {
    let (one, two) = (place.process().await, place.process().await);
    for expected in 1..4 {
        let lease = take(&one, "staging", place).await;
        assert_eq!(lease, Lease { scope: scope("staging"), epoch: expected });
        one.release_lease(&lease).await.unwrap();
    }
    assert_eq!(take(&two, "staging", place).await.epoch, 4);
    assert_eq!(take(&two, "production", place).await.epoch, 1);
    assert_eq!(take(&two, "run r-1", place).await.epoch, 1);
    assert_eq!(take(&two, "run staging", place).await.epoch, 1);
}

async fn a_dead_holder_is_replaced_at_once(place: &impl Place) {
    let (one, two) = (place.process().await, place.process().await);
    let lease = take(&one, "staging", place).await;
    assert_eq!(two.holder(&scope("staging")).await.unwrap(), Some((holder(1), false)));
    place.kill(one);
    assert_eq!(two.holder(&scope("staging")).await.unwrap(), Some((holder(1), true)));
    let started = tokio::time::Instant::now();
    let taken = two.take_lease(&scope("staging"), &holder(2), place.ttl()).await.unwrap();
    assert!(started.elapsed() < place.ttl() / 2, "it took {:?}", started.elapsed());
    assert_eq!(taken.epoch, lease.epoch + 1);
    assert_eq!(two.holder(&scope("staging")).await.unwrap(), Some((holder(2), false)));
}

async fn a_silent_holder_is_replaced_after_a_whole_time_to_live(place: &impl Place) {
    let (one, two) = (place.process().await, place.process().await);
    let lease = take(&one, "staging", place).await;
    one.beat(&lease).await.unwrap();
    let started = tokio::time::Instant::now();
    let taken = two.take_lease(&scope("staging"), &holder(2), place.ttl()).await.unwrap();
    assert!(started.elapsed() >= place.ttl(), "it took only {:?}", started.elapsed());
    assert_eq!(taken.epoch, lease.epoch + 1);
}

async fn a_holder_that_beats_is_never_replaced(place: &impl Place) {
    let (one, two) = (place.process().await, place.process().await);
    let lease = take(&one, "staging", place).await;
    let beating = async {
        loop {
            tokio::time::sleep(place.ttl() / 3).await;
            one.beat(&lease).await.unwrap();
        }
    };
    let (scope, me) = (scope("staging"), holder(2));
    let refused = tokio::select! {
        () = beating => unreachable!(),
        taken = two.take_lease(&scope, &me, place.ttl()) => taken.unwrap_err(),
    };
    assert!(
        matches!(refused, LeaseRefused::Held { scope: s, holder: h } if s == scope && h == holder(1))
    );
    one.beat(&lease).await.unwrap();
}

async fn the_death_of_an_earlier_holder_says_nothing_about_the_present_one(place: &impl Place) {
    let (one, two, three) = (place.process().await, place.process().await, place.process().await);
    take(&one, "staging", place).await;
    let lease = two.take_lease(&scope("staging"), &holder(2), place.ttl()).await.unwrap();
    place.kill(one);
    assert_eq!(three.holder(&scope("staging")).await.unwrap(), Some((holder(2), false)));
    let started = tokio::time::Instant::now();
    three.take_lease(&scope("staging"), &holder(3), place.ttl()).await.unwrap();
    assert!(started.elapsed() >= place.ttl(), "a living holder was replaced at once");
    assert_lost(&two.beat(&lease).await.unwrap_err(), &lease, lease.epoch + 1);
}

async fn of_two_takers_at_once_one_gets_the_lease(place: &impl Place) {
    let (one, two, three) = (place.process().await, place.process().await, place.process().await);
    take(&one, "staging", place).await;
    let (scope, ttl) = (scope("staging"), place.ttl());
    let (holder_two, holder_three) = (holder(2), holder(3));
    let (left, right) = tokio::join!(
        two.take_lease(&scope, &holder_two, ttl),
        three.take_lease(&scope, &holder_three, ttl)
    );
    assert!(left.is_ok() != right.is_ok(), "{left:?} {right:?}");
    assert_eq!(left.or(right).unwrap().epoch, 2);
}

async fn an_environment_belongs_to_one_run_at_most(place: &impl Place) {
    let one = place.process().await;
    let first = one.create_run("a", at(1)).await.unwrap();
    let second = one.create_run("a", at(1)).await.unwrap();
    let (staging, production) = (environment("staging"), environment("production"));
    let take_both = [ClaimChange::Take(production.clone()), ClaimChange::Take(staging.clone())];
    let records = texts(&["b"]);

    let append = Append { claims: &take_both[1..], ..plain(&first, 1, &records) };
    one.append(&append).await.unwrap();
    let append = Append { claims: &take_both, ..plain(&second, 1, &records) };
    let refused = one.append(&append).await.unwrap_err();
    assert!(
        matches!(refused, AppendError::Claimed { environment, run } if environment == staging && run == first)
    );
    assert_eq!(one.claims().await.unwrap(), [(staging.clone(), first.clone())].into());
    assert_eq!(one.read(&second, 0).await.unwrap().len(), 1);

    let release = [ClaimChange::Release(staging.clone())];
    let not_its_own = Append { claims: &release, ..plain(&second, 1, &records) };
    one.append(&not_its_own).await.unwrap();
    assert_eq!(one.claims().await.unwrap(), [(staging.clone(), first.clone())].into());
    let retake_and_release = [take_both[1].clone(), release[0].clone()];
    let append = Append { claims: &retake_and_release, ..plain(&first, 2, &records) };
    one.append(&append).await.unwrap();
    let append = Append { claims: &take_both, ..plain(&second, 2, &records) };
    one.append(&append).await.unwrap();
    let both = [(staging, second.clone()), (production, second)].into();
    assert_eq!(place.process().await.claims().await.unwrap(), both);
}

async fn the_records_of_an_environment_are_its_own_and_read_back_by_every_process(
    place: &impl Place,
) {
    let (one, two) = (place.process().await, place.process().await);
    let (staging, production) = (environment("staging"), environment("production"));
    assert_eq!(one.read_environment(&staging, 0).await.unwrap(), []);
    let (first, second, other) = (texts(&["a", "ü\0\n"]), texts(&["c"]), texts(&["d"]));
    let lease = take(&one, "staging", place).await;
    let append = of(&staging, 0, &first, &lease);
    assert_eq!(one.append_environment(&append).await.unwrap(), 2);
    let append = EnvironmentAppend { at: at(7), ..of(&staging, 2, &second, &lease) };
    assert_eq!(one.append_environment(&append).await.unwrap(), 3);
    let lease = take(&two, "production", place).await;
    assert_eq!(two.append_environment(&of(&production, 0, &other, &lease)).await.unwrap(), 1);

    let read = two.read_environment(&staging, 0).await.unwrap();
    let told: Vec<_> = read.iter().map(|r| (r.seq, r.at, r.body.as_str())).collect();
    assert_eq!(told, [(1, at(1), "a"), (2, at(1), "ü\0\n"), (3, at(7), "c")]);
    assert_eq!(one.read_environment(&staging, 2).await.unwrap(), read[2..]);
    assert_eq!(one.read_environment(&staging, 9).await.unwrap(), []);
    assert_eq!(one.read_environment(&production, 0).await.unwrap().len(), 1);
}

async fn an_append_to_an_environment_without_its_current_lease_writes_nothing(place: &impl Place) {
    let (one, two) = (place.process().await, place.process().await);
    let staging = environment("staging");
    let records = texts(&["a"]);
    let never = Lease { scope: scope("staging"), epoch: 0 };
    let refused = one.append_environment(&of(&staging, 0, &records, &never)).await.unwrap_err();
    assert_lost(&refused, &never, 0);
    let lost = take(&one, "staging", place).await;
    let current = two.take_lease(&scope("staging"), &holder(2), place.ttl()).await.unwrap();
    // The lease of another environment is no leave to write here, whatever its number.
    take(&one, "production", place).await;
    let refused = one.append_environment(&of(&staging, 0, &records, &lost)).await.unwrap_err();
    assert_lost(&refused, &lost, current.epoch);
    assert_eq!(two.read_environment(&staging, 0).await.unwrap(), []);
    let append = of(&staging, 0, &records, &current);
    assert_eq!(two.append_environment(&append).await.unwrap(), 1);
    two.release_lease(&current).await.unwrap();
    let refused = two.append_environment(&of(&staging, 1, &records, &current)).await.unwrap_err();
    assert_lost(&refused, &current, current.epoch);
    assert_eq!(two.read_environment(&staging, 0).await.unwrap().len(), 1);
}

async fn an_append_to_an_environment_that_expects_other_records_writes_nothing(place: &impl Place) {
    let one = place.process().await;
    let staging = environment("staging");
    let lease = take(&one, "staging", place).await;
    let records = texts(&["a", "b"]);
    one.append_environment(&of(&staging, 0, &records, &lease)).await.unwrap();
    for expected in [0, 1, 3] {
        let append = of(&staging, expected, &records, &lease);
        let refused = one.append_environment(&append).await.unwrap_err();
        assert!(
            matches!(refused, AppendError::Conflict { expected: e, found: 2 } if e == expected)
        );
    }
    assert_eq!(one.read_environment(&staging, 0).await.unwrap().len(), 2);
}

async fn the_audit_trail_needs_no_lease_and_is_read_back_by_every_process(place: &impl Place) {
    let (one, two) = (place.process().await, place.process().await);
    assert_eq!(one.read_trail(0).await.unwrap(), []);
    assert_eq!(one.end_of_trail().await.unwrap(), None);
    for (expected, body, process) in [(0, "a", &one), (1, "ü\0\n", &two), (2, "c", &one)] {
        let append = TrailAppend { expected, body, at: at(7) };
        assert_eq!(process.append_trail(&append).await.unwrap(), expected + 1);
    }
    let read = two.read_trail(0).await.unwrap();
    let told: Vec<_> = read.iter().map(|r| (r.seq, r.at, r.body.as_str())).collect();
    assert_eq!(told, [(1, at(7), "a"), (2, at(7), "ü\0\n"), (3, at(7), "c")]);
    assert_eq!(one.read_trail(2).await.unwrap(), read[2..]);
    assert_eq!(one.read_trail(9).await.unwrap(), []);
    assert_eq!(one.end_of_trail().await.unwrap().as_ref(), read.last());
    assert_eq!(one.read_environment(&environment("audit"), 0).await.unwrap(), []);
}

async fn of_many_who_write_to_the_audit_trail_at_once_one_comes_first(place: &impl Place) {
    let (one, two) = (place.process().await, place.process().await);
    for expected in 0..5 {
        let append = |body| TrailAppend { expected, body, at: at(1) };
        let (left, right) = (append("left"), append("right"));
        let (left, right) = tokio::join!(one.append_trail(&left), two.append_trail(&right));
        assert!(left.is_ok() != right.is_ok(), "{left:?} {right:?}");
        let refused = left.and(right).unwrap_err();
        assert!(
            matches!(refused, AppendError::Conflict { expected: e, found } if e == expected && found == e + 1),
            "{refused:?}"
        );
    }
    assert_eq!(two.read_trail(0).await.unwrap().len(), 5);
}

async fn a_command_waits_in_its_inbox_until_it_is_answered_once(place: &impl Place) {
    let (one, two) = (place.process().await, place.process().await);
    let staging = environment("staging");
    let halt = two.send(&staging, "halt", at(5)).await.unwrap();
    let resume = two.send(&staging, "resume", at(6)).await.unwrap();
    two.send(&environment("production"), "halt", at(7)).await.unwrap();
    let waiting = one.inbox(&staging).await.unwrap();
    let told: Vec<_> = waiting.iter().map(|i| (i.id, i.at, i.body.as_str())).collect();
    assert_eq!(told, [(halt, at(5), "halt"), (resume, at(6), "resume")]);

    let lease = take(&one, "staging", place).await;
    one.answer(&lease, halt, "halted").await.unwrap();
    assert_eq!(two.answered(halt).await.unwrap().as_deref(), Some("halted"));
    assert_eq!(two.answered(resume).await.unwrap(), None);
    assert_eq!(one.inbox(&staging).await.unwrap(), waiting[1..]);
    one.answer(&lease, halt, "halted").await.unwrap();
    one.answer(&lease, halt, "refused").await.unwrap_err();
    assert_eq!(two.answered(halt).await.unwrap().as_deref(), Some("halted"));
    one.answer(&lease, CommandId(99), "halted").await.unwrap_err();
    assert_eq!(two.answered(CommandId(99)).await.unwrap(), None);
}

fn plain<'a>(run: &'a serin_model::RunId, expected: u64, records: &'a [String]) -> Append<'a> {
    Append { run, expected, records, at: at(1), leases: &[], claims: &[] }
}

fn of<'a>(
    environment: &'a serin_model::EnvironmentName,
    expected: u64,
    records: &'a [String],
    lease: &Lease,
) -> EnvironmentAppend<'a> {
    EnvironmentAppend { environment, expected, records, at: at(1), epoch: lease.epoch }
}

async fn take<P: Place>(process: &P::Process, name: &str, place: &P) -> Lease {
    process.take_lease(&scope(name), &holder(1), place.ttl()).await.unwrap()
}

fn assert_lost(error: &AppendError, lease: &Lease, epoch: u64) {
    assert!(
        matches!(error, AppendError::LeaseLost { scope, current } if *scope == lease.scope && *current == epoch),
        "{error:?}"
    );
}

/// Names every test of the contract once for each implementation.
macro_rules! contract {
    ($($claim:ident)*) => {
        #[expect(clippy::disallowed_methods, reason = "this one belongs to virtual time")]
        mod memory {
            $(#[tokio::test(start_paused = true)]
            async fn $claim() {
                super::$claim(&crate::support::Memory::default()).await;
            })*
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $claim() {
                super::$claim(&crate::support::Folder::default()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $claim() {
                super::$claim(&crate::cluster::Cluster::start().await).await;
            })*
        }
    };
}

contract! {
    runs_are_numbered_in_order_and_listed_newest_first
    records_are_read_back_in_order_by_every_process
    a_run_that_does_not_exist_is_named
    an_append_that_expects_other_records_writes_nothing
    of_many_appends_at_once_one_wins_each_number
    an_append_under_a_lost_lease_writes_nothing
    a_process_that_lost_its_lease_can_neither_beat_nor_answer_nor_release
    a_released_lease_fences_too
    lease_numbers_count_up_for_each_scope_alone
    a_dead_holder_is_replaced_at_once
    a_silent_holder_is_replaced_after_a_whole_time_to_live
    a_holder_that_beats_is_never_replaced
    the_death_of_an_earlier_holder_says_nothing_about_the_present_one
    of_two_takers_at_once_one_gets_the_lease
    an_environment_belongs_to_one_run_at_most
    the_records_of_an_environment_are_its_own_and_read_back_by_every_process
    an_append_to_an_environment_without_its_current_lease_writes_nothing
    an_append_to_an_environment_that_expects_other_records_writes_nothing
    the_audit_trail_needs_no_lease_and_is_read_back_by_every_process
    of_many_who_write_to_the_audit_trail_at_once_one_comes_first
    a_command_waits_in_its_inbox_until_it_is_answered_once
}

impl Place for Memory {
    type Process = serin_journal::MemoryJournal;

    async fn process(&self) -> Self::Process {
        self.0.another_process()
    }

    fn kill(&self, process: Self::Process) {
        process.kill();
    }

    fn ttl(&self) -> Duration {
        Duration::from_secs(30)
    }
}

impl Place for Folder {
    type Process = serin_journal::SqliteJournal;

    async fn process(&self) -> Self::Process {
        self.open()
    }

    /// Closing its files is what the kernel does for a process that is killed.
    fn kill(&self, process: Self::Process) {
        drop(process);
    }

    fn ttl(&self) -> Duration {
        Duration::from_secs(1)
    }
}

impl Place for Cluster {
    type Process = serin_journal::PostgresJournal;

    async fn process(&self) -> Self::Process {
        self.open().await
    }

    /// Closing its files and its connection is what the kernel does for a process that is killed.
    fn kill(&self, process: Self::Process) {
        drop(process);
    }

    fn ttl(&self) -> Duration {
        Duration::from_secs(1)
    }
}
