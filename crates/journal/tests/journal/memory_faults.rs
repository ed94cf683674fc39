//! The faults that a journal in memory can be told to have.

use crate::support::{at, holder, scope, texts};
use serin_journal::{Append, AppendError, FailMode, Journal, JournalError, MemoryJournal};

async fn failed_append(mode: FailMode) -> (AppendError, usize) {
    let journal = MemoryJournal::new();
    let run = journal.create_run("a", at(1)).await.unwrap();
    journal.fail_next(mode);
    let records = texts(&["b"]);
    let append =
        Append { run: &run, expected: 1, records: &records, at: at(2), leases: &[], claims: &[] };
    let error = journal.append(&append).await.unwrap_err();
    let written = journal.read(&run, 0).await.unwrap().len();
    if written == 1 {
        assert_eq!(journal.append(&append).await.unwrap(), 2, "only the next append fails");
    }
    (error, written)
}

#[tokio::test]
async fn each_fault_writes_or_does_not_write_as_it_says() {
    let (error, written) = failed_append(FailMode::Lost).await;
    assert!(matches!(error, AppendError::Journal(JournalError::Storage { .. })) && written == 1);
    let (error, written) = failed_append(FailMode::Full).await;
    assert!(matches!(error, AppendError::Journal(JournalError::Full)) && written == 1);
    let (error, written) = failed_append(FailMode::Unacknowledged).await;
    assert!(matches!(error, AppendError::Journal(JournalError::Storage { .. })) && written == 2);
}

#[tokio::test]
async fn a_killed_process_and_its_clones_cannot_go_on() {
    let one = MemoryJournal::new();
    let two = one.another_process();
    let ttl = std::time::Duration::from_secs(1);
    let lease = one.take_lease(&scope("staging"), &holder(1), ttl).await.unwrap();
    let clone = one.clone();
    one.kill();
    clone.beat(&lease).await.unwrap_err();
    clone.create_run("a", at(1)).await.unwrap_err();
    assert_eq!(two.runs().await.unwrap(), []);
}
