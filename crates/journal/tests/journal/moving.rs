//! A journal in a file that is moved to a database.

use crate::cluster::Cluster;
use crate::support::{Folder, at, environment, holder, run, scope, texts};
use serin_journal::{
    Append, AppendError, ClaimChange, EnvironmentAppend, Journal, JournalError, MoveError, Moved,
    SqliteJournal, TrailAppend,
};
use std::time::Duration;

const LONG: Duration = Duration::from_mins(10);

/// Fills a journal with something of everything, and gives all leases back.
async fn fill(journal: &SqliteJournal) {
    let staging = environment("staging");
    let first = journal.create_run("ü\0\n", at(1)).await.unwrap();
    journal.create_run("second", at(2)).await.unwrap();
    let lease = journal.take_lease(&scope("staging"), &holder(1), LONG).await.unwrap();
    let of_run = journal.take_lease(&scope("run r-1"), &holder(1), LONG).await.unwrap();
    // More than are written at once.
    let many: Vec<String> = (0..2500).map(|number| number.to_string()).collect();
    let append = Append {
        run: &first,
        expected: 1,
        records: &many,
        at: at(3),
        leases: std::slice::from_ref(&lease),
        claims: &[ClaimChange::Take(staging.clone())],
    };
    journal.append(&append).await.unwrap();
    let records = texts(&["placed"]);
    let append = EnvironmentAppend {
        environment: &staging,
        expected: 0,
        records: &records,
        at: at(4),
        epoch: lease.epoch,
    };
    journal.append_environment(&append).await.unwrap();
    for (expected, body) in [(0, "asked"), (1, "ended")] {
        let append = TrailAppend { expected, body, at: at(5) };
        journal.append_trail(&append).await.unwrap();
    }
    let halt = journal.send(&staging, "halt", at(5)).await.unwrap();
    journal.send(&staging, "resume", at(6)).await.unwrap();
    journal.answer(&lease, halt, "halted").await.unwrap();
    journal.release_lease(&lease).await.unwrap();
    journal.release_lease(&of_run).await.unwrap();
}

#[tokio::test]
async fn everything_is_moved_and_the_file_says_where() {
    let (folder, cluster) = (Folder::default(), Cluster::start().await);
    let file = folder.open();
    fill(&file).await;
    let there = cluster.open().await;
    let moved = there.move_here(&folder.path()).await.unwrap();
    let wanted = Moved { runs: 2, records: 2503, audit: 2, commands: 2, was_there: false };
    assert_eq!(moved, wanted);

    assert_eq!(there.runs().await.unwrap(), file.runs().await.unwrap());
    for id in ["r-1", "r-2"] {
        assert_eq!(there.read(&run(id), 0).await.unwrap(), file.read(&run(id), 0).await.unwrap());
    }
    let staging = environment("staging");
    assert_eq!(there.read_environment(&staging, 0).await.unwrap().len(), 1);
    assert_eq!(there.read_trail(0).await.unwrap(), file.read_trail(0).await.unwrap());
    let next = TrailAppend { expected: 2, body: "there", at: at(9) };
    assert_eq!(there.append_trail(&next).await.unwrap(), 3);
    assert_eq!(there.claims().await.unwrap(), file.claims().await.unwrap());
    assert_eq!(there.inbox(&staging).await.unwrap(), file.inbox(&staging).await.unwrap());
    let lease = there.take_lease(&scope("staging"), &holder(2), LONG).await.unwrap();
    assert_eq!(lease.epoch, 2, "numbers go on where they were");
    let append = Append {
        run: &run("r-1"),
        expected: 2501,
        records: &texts(&["on"]),
        at: at(7),
        leases: &[lease],
        claims: &[],
    };
    there.append(&append).await.unwrap();
    assert_eq!(there.create_run("third", at(8)).await.unwrap(), run("r-3"));

    let refused = SqliteJournal::open(&folder.path()).unwrap_err();
    assert!(
        matches!(&refused, JournalError::Moved(to) if to.starts_with("postgres of serin@")),
        "{refused:?}"
    );
    let again = there.move_here(&folder.path()).await.unwrap_err();
    assert!(matches!(again, MoveError::Journal(JournalError::Moved(_))), "{again:?}");
}

#[tokio::test]
async fn a_journal_in_which_somebody_may_act_is_not_moved() {
    let (folder, cluster) = (Folder::default(), Cluster::start().await);
    let there = cluster.open().await;
    let missing = there.move_here(&folder.path()).await.unwrap_err();
    assert!(matches!(missing, MoveError::NoFile(path) if path == folder.path()));
    let file = folder.open();
    fill(&file).await;
    let acting = folder.open();
    acting.take_lease(&scope("staging"), &holder(7), LONG).await.unwrap();
    let refused = there.move_here(&folder.path()).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "mira@deploy-01 (pid 7) holds the lease environment-staging and is not known to be dead"
    );
    assert!(there.runs().await.unwrap().is_empty());
    file.create_run("it goes on", at(9)).await.unwrap();
    // A dead one does not matter.
    drop(acting);
    there.move_here(&folder.path()).await.unwrap();
}

#[tokio::test]
async fn a_move_that_was_interrupted_before_the_file_said_so_is_finished() {
    let (folder, cluster) = (Folder::default(), Cluster::start().await);
    fill(&folder.open()).await;
    let before = std::fs::read(folder.path()).unwrap();
    let there = cluster.open().await;
    there.move_here(&folder.path()).await.unwrap();
    std::fs::write(folder.path(), &before).unwrap();
    assert!(there.move_here(&folder.path()).await.unwrap().was_there);
    SqliteJournal::open(&folder.path()).unwrap_err();

    // What has gone on there is no copy any more.
    std::fs::write(folder.path(), &before).unwrap();
    there.create_run("on", at(9)).await.unwrap();
    let refused = there.move_here(&folder.path()).await.unwrap_err();
    assert!(matches!(refused, MoveError::NotEmpty), "{refused:?}");
    drop(folder.open());
}

#[tokio::test]
async fn a_copy_that_differs_is_not_committed() {
    let (folder, cluster) = (Folder::default(), Cluster::start().await);
    fill(&folder.open()).await;
    let there = cluster.open().await;
    let client = cluster.connect().await.unwrap();
    for (change, named) in [
        ("NEW.body := CASE WHEN NEW.seq = 7 THEN 'x' ELSE NEW.body END; RETURN NEW", "record 7"),
        ("IF NEW.seq = 2501 THEN RETURN NULL; END IF; RETURN NEW", "record 2501"),
    ] {
        let sql = format!(
            "CREATE OR REPLACE FUNCTION change() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN {change}; END $$; \
             CREATE OR REPLACE TRIGGER change BEFORE INSERT ON serin.record \
             FOR EACH ROW EXECUTE FUNCTION change()"
        );
        client.batch_execute(&sql).await.unwrap();
        let refused = there.move_here(&folder.path()).await.unwrap_err();
        assert!(refused.to_string().contains(named), "{refused}");
        assert!(there.runs().await.unwrap().is_empty());
        drop(folder.open());
    }
    let skip = "DROP TRIGGER change ON serin.record; \
        CREATE FUNCTION skip() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; \
        CREATE TRIGGER skip BEFORE INSERT ON serin.claim FOR EACH ROW EXECUTE FUNCTION skip()";
    client.batch_execute(skip).await.unwrap();
    let refused = there.move_here(&folder.path()).await.unwrap_err();
    assert!(matches!(refused, MoveError::Differs(_)), "{refused:?}");
    drop(folder.open());
}

#[tokio::test]
async fn nobody_writes_to_a_file_while_it_is_moved() {
    let (folder, cluster) = (Folder::default(), Cluster::start().await);
    let file = folder.open();
    fill(&file).await;
    let there = cluster.open().await;
    let path = folder.path();
    let (moved, written) =
        tokio::join!(there.move_here(&path), file.create_run("meanwhile", at(9)));
    let runs = there.runs().await.unwrap().len();
    // Whichever came first: what was written is there, or it was refused.
    assert_eq!(runs, if written.is_ok() { 3 } else { 2 }, "{written:?}");
    assert_eq!(moved.unwrap().runs, runs);
    let append = Append {
        run: &run("r-2"),
        expected: 1,
        records: &texts(&["late"]),
        at: at(9),
        leases: &[],
        claims: &[],
    };
    let late = file.append(&append).await;
    assert!(matches!(late, Err(AppendError::Journal(JournalError::Moved(_)))), "{late:?}");
}
