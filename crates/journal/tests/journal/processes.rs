//! Several real processes on one journal: killed, stopped, and at the same time.

use crate::child::Child;
use crate::support::{Folder, at, environment, holder, run, scope};
use rustix::process::Signal;
use serin_journal::Journal;
use std::time::Duration;

#[tokio::test]
async fn a_kill_in_the_middle_of_appends_loses_nothing_that_was_acknowledged() {
    let folder = Folder::default();
    folder.open().create_run("1 ", at(1)).await.unwrap();
    for round in 1..=20_u64 {
        let mut child = Child::start(&format!("append {}", folder.path().display()));
        let mut acknowledged = 0;
        for _ in 0..round * 7 {
            acknowledged = child.answer().unwrap().parse().unwrap();
        }
        child.signal(Signal::KILL);
        while let Some(answer) = child.answer() {
            acknowledged = answer.parse().unwrap();
        }
        let records = folder.open().read(&run("r-1"), 0).await.unwrap();
        let last = u64::try_from(records.len()).unwrap();
        assert!(last == acknowledged || last == acknowledged + 1, "{last} of {acknowledged}");
        for (record, number) in records.iter().zip(1..) {
            assert_eq!(record.seq, number);
            assert!(record.body.starts_with(&format!("{number} ")), "{number}: {}", record.body);
        }
    }
}

#[tokio::test]
async fn commands_arrive_while_another_process_appends_without_a_break() {
    let folder = Folder::default();
    let journal = folder.open();
    journal.create_run("1 ", at(1)).await.unwrap();
    let mut child = Child::start(&format!("append {}", folder.path().display()));
    assert_eq!(child.answer().as_deref(), Some("2"));
    let lease =
        journal.take_lease(&scope("staging"), &holder(1), Duration::from_mins(10)).await.unwrap();
    for _ in 0..50 {
        let command = journal.send(&environment("staging"), "halt", at(1)).await.unwrap();
        assert_eq!(folder.open().inbox(&environment("staging")).await.unwrap().len(), 1);
        journal.answer(&lease, command, "halted").await.unwrap();
    }
    let before: u64 = child.answer().unwrap().parse().unwrap();
    let read = journal.read(&run("r-1"), 0).await.unwrap();
    assert!(u64::try_from(read.len()).unwrap() >= before, "{before} were acknowledged");
}

#[tokio::test]
async fn of_processes_that_contend_for_a_lease_one_gets_it() {
    let folder = Folder::default();
    drop(folder.open());
    let order = format!("lease {} 2000", folder.path().display());
    let mut children: Vec<_> = (0..4).map(|_| Child::start(&order)).collect();
    // The one that got it answers first: the others watch it for two seconds, or until it beats.
    let (pid, epoch) = loop {
        if let Some(found) = folder.open().holder(&scope("staging")).await.unwrap() {
            break (found.0.pid, 1);
        }
        tokio::task::yield_now().await;
    };
    let winner = children.iter().position(|child| child.process.id() == pid).unwrap();
    let mut winner = children.swap_remove(winner);
    assert_eq!(winner.answer(), Some(format!("taken {epoch}")));
    let beating = std::thread::spawn(move || {
        for child in &mut children {
            assert_eq!(child.answer(), Some(format!("held by {pid}")));
        }
    });
    while !beating.is_finished() {
        winner.tell("beat");
        assert_eq!(winner.answer().as_deref(), Some("done"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    beating.join().unwrap();
    drop(winner);
    let (scope, ttl) = (scope("staging"), Duration::from_mins(10));
    let lease = folder.open().take_lease(&scope, &holder(1), ttl).await.unwrap();
    assert_eq!(lease.epoch, 2, "a killed holder is replaced at once");
}

#[tokio::test]
async fn a_stopped_holder_is_replaced_and_its_late_append_is_refused() {
    let folder = Folder::default();
    let journal = folder.open();
    let id = journal.create_run("a", at(1)).await.unwrap();
    let mut child = Child::start(&format!("lease {} 1000", folder.path().display()));
    assert_eq!(child.answer().as_deref(), Some("taken 1"));
    child.tell("beat");
    assert_eq!(child.answer().as_deref(), Some("done"));

    child.signal(Signal::STOP);
    let ttl = Duration::from_millis(500);
    let started = tokio::time::Instant::now();
    let lease = journal.take_lease(&scope("staging"), &holder(2), ttl).await.unwrap();
    assert!(started.elapsed() >= ttl);
    assert_eq!(lease.epoch, 2);

    child.signal(Signal::CONT);
    for order in ["append", "beat"] {
        child.tell(order);
        assert_eq!(child.answer().as_deref(), Some("lost to 2"));
    }
    assert_eq!(journal.read(&id, 0).await.unwrap().len(), 1);
    let held = journal.holder(&scope("staging")).await.unwrap();
    assert_eq!(held, Some((holder(2), false)));
    drop(child);
    let held = journal.holder(&scope("staging")).await.unwrap();
    assert_eq!(held, Some((holder(2), false)), "the death of the earlier holder says nothing");
}

#[tokio::test]
async fn processes_that_open_a_new_journal_at_once_meet_in_one() {
    for _ in 0..10 {
        let folder = Folder::default();
        let start = std::sync::Barrier::new(8);
        let open = || {
            start.wait();
            folder.open()
        };
        let journals: Vec<_> = std::thread::scope(|threads| {
            let opening: Vec<_> = (0..8).map(|_| threads.spawn(open)).collect();
            opening.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for journal in &journals {
            journal.create_run("a", at(1)).await.unwrap();
        }
        assert_eq!(journals[0].runs().await.unwrap().len(), 8);
        let left = std::fs::read_dir(folder.0.path()).unwrap();
        let left = left.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        assert!(left.iter().all(|name| name.to_str().unwrap().starts_with("journal")), "{left:?}");
    }
}
