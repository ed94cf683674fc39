//! How a run has ended is read from its last records.

use serin_engine::Event;
use serin_journal::{Append, Journal, SqliteJournal};
use serin_model::{EnvironmentName, Reason, Timestamp};
use serin_runtime::records::{self, End};

/// Appends events to a new run, and reads its end. Its first record is none that could be read.
async fn end_of(events: &[Event]) -> End {
    let folder = tempfile::tempdir().unwrap();
    let journal = SqliteJournal::open(&folder.path().join("journal.db")).unwrap();
    let at = Timestamp::from_millis(0);
    let run = journal.create_run("the plan", at).await.unwrap();
    let lines: Vec<String> = events.iter().map(|event| records::write(event).unwrap()).collect();
    let append = Append { run: &run, expected: 1, records: &lines, at, leases: &[], claims: &[] };
    journal.append(&append).await.unwrap();
    let [summary] = journal.runs().await.unwrap().try_into().unwrap();
    records::end(&journal, &summary).await.unwrap()
}

fn left() -> Event {
    let environment: EnvironmentName = "staging".parse().unwrap();
    Event::EnvironmentLeft { environment }
}

fn cancelled() -> Event {
    Event::Cancelled { by: "ada".to_owned(), why: "no".to_owned() }
}

#[tokio::test]
async fn what_follows_the_end_does_not_hide_it() {
    let adopted = || Event::Adopted { term: 7, by: "ada".to_owned() };
    assert_eq!(end_of(&[Event::Finished]).await, End::Finished);
    assert_eq!(end_of(&[cancelled(), left()]).await, End::Cancelled);
    // More processes than anybody looks at first have tried to leave the environment.
    let many = (0..100).map(|_| adopted());
    let events: Vec<Event> = [Event::Finished].into_iter().chain(many).chain([left()]).collect();
    assert_eq!(end_of(&events).await, End::Finished);
}

#[tokio::test]
async fn a_run_that_goes_on_or_is_halted_is_open() {
    let reason = Reason::Interrupted;
    let halted = [Event::HaltRequested { reason }, Event::Halted];
    assert_eq!(end_of(&halted).await, End::Open);
    // It has left one environment and goes on in the next.
    let events: Vec<Event> = (0..9).map(|_| left()).collect();
    let on = [Event::Halted].into_iter().chain(events).collect::<Vec<_>>();
    assert_eq!(end_of(&on).await, End::Open);
}
