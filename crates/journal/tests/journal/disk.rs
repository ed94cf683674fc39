//! The journal's file and its disk: permissions, damage, and no space left.

use crate::support::{Folder, at, environment, holder, run, scope, texts};
use rusqlite::Connection;
use serin_journal::{
    Append, AppendError, ClaimChange, EnvironmentAppend, Journal, JournalError, LeaseRefused,
    SqliteJournal, TrailAppend,
};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A time to live that no test waits for.
const LONG: Duration = Duration::from_mins(10);

#[tokio::test]
async fn only_the_user_can_read_a_new_journal() {
    let folder = Folder::default();
    let path = folder.0.path().join("state/serin/journal");
    let journal = SqliteJournal::open(&path).unwrap();
    journal.take_lease(&scope("staging"), &holder(1), LONG).await.unwrap();
    for (name, expected) in [
        ("", 0o700),
        ("journal", 0o600),
        ("journal-wal", 0o600),
        ("journal-shm", 0o600),
        ("journal.locks", 0o700),
        ("journal.locks/environment-staging.1", 0o600),
    ] {
        let mode = path.parent().unwrap().join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, expected, "{name}");
    }
}

#[test]
fn a_file_that_is_no_journal_is_refused_and_left_alone() {
    let folder = Folder::default();
    for contents in [&b""[..], b"{}", &[0; 8192]] {
        std::fs::write(folder.path(), contents).unwrap();
        let refused = SqliteJournal::open(&folder.path()).unwrap_err();
        assert!(matches!(refused, JournalError::Damaged(_)), "{refused:?}");
        assert!(std::fs::read(folder.path()).unwrap() == contents, "it was written to");
    }
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let folder = Folder::default();
    drop(folder.open());
    let connection = Connection::open(folder.path()).unwrap();
    say_format(&connection, "7");
    connection.execute_batch("CREATE TABLE later (x)").unwrap();
    let refused = SqliteJournal::open(&folder.path()).unwrap_err();
    assert!(matches!(refused, JournalError::Newer { found: 7, known: 3 }), "{refused:?}");
}

/// Writes another format, as every version of `meta_seal` must still be able to read, whatever else changes.
fn say_format(connection: &Connection, format: &str) {
    let parts = ["meta", "format", format].map(|part| (part.len().to_be_bytes(), part));
    let bytes: Vec<u8> =
        parts.iter().flat_map(|(len, part)| [len, part.as_bytes()].concat()).collect();
    let seal = ring::digest::digest(&ring::digest::SHA256, &bytes);
    let sql = "UPDATE meta SET value = ?1, seal = ?2";
    connection.execute(sql, rusqlite::params![format, seal.as_ref()]).unwrap();
}

/// Makes tables as they were before there was an audit trail.
const WITHOUT_TRAIL: &str = "DROP TABLE trail_record; DROP TABLE trail";

/// Makes tables as they were before environments had streams.
const WITHOUT_ENVIRONMENTS: &str = "DROP TABLE trail_record; DROP TABLE trail; \
    DROP TABLE environment_record; DROP TABLE environment";

/// Makes a journal as a Serin wrote it whose environments had no streams.
async fn of_format_1() -> (Folder, String) {
    let folder = Folder::default();
    fill(&folder.open()).await;
    let connection = Connection::open(folder.path()).unwrap();
    connection.execute_batch(WITHOUT_ENVIRONMENTS).unwrap();
    say_format(&connection, "1");
    drop(connection);
    let told = tell(&folder.path()).await.unwrap();
    (folder, told)
}

#[tokio::test]
async fn a_journal_of_before_environments_had_streams_is_opened_and_keeps_what_it_had() {
    let (folder, told) = of_format_1().await;
    let staging = environment("staging");
    let journal = folder.open();
    assert_eq!(journal.read_environment(&staging, 0).await.unwrap(), []);
    let lease = journal.take_lease(&scope("staging"), &holder(1), LONG).await.unwrap();
    assert_eq!(lease.epoch, 2, "lease numbers go on");
    let records = texts(&["a"]);
    let (environment, epoch) = (&staging, lease.epoch);
    let append =
        EnvironmentAppend { environment, expected: 0, records: &records, at: at(1), epoch };
    assert_eq!(journal.append_environment(&append).await.unwrap(), 1);
    let kept = ["r-1", "r-2"].map(run);
    for id in &kept {
        assert_eq!(journal.read(id, 0).await.unwrap().len(), 20);
    }
    drop(journal);
    let again = folder.open();
    assert_eq!(again.read_environment(&staging, 0).await.unwrap().len(), 1);
    assert!(told.contains("record 20"), "{told}");
}

#[tokio::test]
async fn a_journal_of_before_the_audit_trail_is_opened_and_keeps_what_it_had() {
    let folder = Folder::default();
    fill(&folder.open()).await;
    let connection = Connection::open(folder.path()).unwrap();
    connection.execute_batch(WITHOUT_TRAIL).unwrap();
    say_format(&connection, "2");
    drop(connection);
    let journal = folder.open();
    assert_eq!(journal.read_trail(0).await.unwrap(), []);
    let append = TrailAppend { expected: 0, body: "asked", at: at(1) };
    assert_eq!(journal.append_trail(&append).await.unwrap(), 1);
    assert_eq!(journal.read_environment(&environment("staging"), 0).await.unwrap().len(), 9);
    drop(journal);
    assert_eq!(folder.open().read_trail(0).await.unwrap().len(), 1);
}

#[tokio::test]
async fn two_processes_may_bring_an_old_journal_to_this_format_at_once() {
    for _ in 0..5 {
        let folder = Folder::default();
        drop(folder.open());
        let connection = Connection::open(folder.path()).unwrap();
        connection.execute_batch(WITHOUT_ENVIRONMENTS).unwrap();
        say_format(&connection, "1");
        drop(connection);
        std::thread::scope(|scope| {
            let opened = [0, 1, 2].map(|_| scope.spawn(|| drop(folder.open())));
            for thread in opened {
                thread.join().unwrap();
            }
        });
        drop(folder.open());
    }
}

#[test]
fn an_old_journal_that_is_damaged_is_refused_and_not_brought_to_this_format() {
    let folder = Folder::default();
    drop(folder.open());
    let connection = Connection::open(folder.path()).unwrap();
    connection.execute_batch(&format!("{WITHOUT_ENVIRONMENTS}; DROP TABLE claim")).unwrap();
    say_format(&connection, "1");
    let refused = SqliteJournal::open(&folder.path()).unwrap_err();
    assert!(matches!(refused, JournalError::Damaged(_)), "{refused:?}");
    let format: String =
        connection.query_row("SELECT value FROM meta", [], |row| row.get(0)).unwrap();
    assert_eq!(format, "1");
}

#[tokio::test]
async fn a_changed_dropped_or_moved_record_of_an_environment_is_named() {
    for (sql, seq) in [
        ("UPDATE environment_record SET body = 'b' WHERE seq = 5", 5),
        ("UPDATE environment_record SET at = at + 1 WHERE seq = 5", 5),
        ("DELETE FROM environment_record WHERE seq = 1", 1),
        ("DELETE FROM environment_record WHERE seq = 6", 6),
        ("DELETE FROM environment_record WHERE seq = 9", 9),
        (
            "UPDATE environment_record SET body = (SELECT body FROM environment_record WHERE seq = 7), \
              seal = (SELECT seal FROM environment_record WHERE seq = 7) WHERE seq = 8",
            8,
        ),
    ] {
        let folder = Folder::default();
        fill(&folder.open()).await;
        Connection::open(folder.path()).unwrap().execute_batch(sql).unwrap();
        let read = folder.open().read_environment(&environment("staging"), 0).await;
        let refused = read.unwrap_err().to_string();
        let expected = format!("record {seq} of staging is not what was written");
        assert!(refused.ends_with(&expected), "{sql}: {refused}");
    }
}

#[tokio::test]
async fn a_changed_dropped_or_moved_record_of_the_audit_trail_is_named() {
    for (sql, seq) in [
        ("UPDATE trail_record SET body = 'b' WHERE seq = 2", 2),
        ("UPDATE trail_record SET at = at + 1 WHERE seq = 2", 2),
        ("DELETE FROM trail_record WHERE seq = 1", 1),
        ("DELETE FROM trail_record WHERE seq = 3", 3),
        (
            "UPDATE trail_record SET seq = 99 WHERE seq = 2; \
              UPDATE trail_record SET seq = 2 WHERE seq = 3; \
              UPDATE trail_record SET seq = 3 WHERE seq = 99",
            2,
        ),
    ] {
        let folder = Folder::default();
        fill(&folder.open()).await;
        Connection::open(folder.path()).unwrap().execute_batch(sql).unwrap();
        let refused = folder.open().read_trail(0).await.unwrap_err().to_string();
        let expected = format!("record {seq} of the audit trail is not what was written");
        assert!(refused.ends_with(&expected), "{sql}: {refused}");
    }
}

#[tokio::test]
async fn a_changed_dropped_or_moved_record_is_named() {
    for (sql, seq) in [
        ("UPDATE record SET body = 'b' WHERE run = 1 AND seq = 5", 5),
        ("UPDATE record SET at = at + 1 WHERE run = 1 AND seq = 5", 5),
        ("UPDATE record SET seal = zeroblob(32) WHERE run = 1 AND seq = 5", 5),
        ("DELETE FROM record WHERE run = 1 AND seq = 1", 1),
        ("DELETE FROM record WHERE run = 1 AND seq = 6", 6),
        ("DELETE FROM record WHERE run = 1 AND seq = 20", 20),
        ("DELETE FROM record WHERE run = 1", 1),
        (
            "UPDATE record SET body = (SELECT body FROM record WHERE run = 1 AND seq = 8), \
              seal = (SELECT seal FROM record WHERE run = 1 AND seq = 8) WHERE run = 1 AND seq = 9",
            9,
        ),
        (
            "UPDATE record SET seq = 99 WHERE run = 1 AND seq = 8; \
              UPDATE record SET seq = 8 WHERE run = 1 AND seq = 9; \
              UPDATE record SET seq = 9 WHERE run = 1 AND seq = 99",
            8,
        ),
    ] {
        let folder = Folder::default();
        fill(&folder.open()).await;
        Connection::open(folder.path()).unwrap().execute_batch(sql).unwrap();
        let refused = folder.open().read(&run("r-1"), 0).await.unwrap_err().to_string();
        let expected = format!("record {seq} of run r-1 is not what was written");
        assert!(refused.ends_with(&expected), "{sql}: {refused}");
        assert_eq!(folder.open().read(&run("r-2"), 0).await.unwrap().len(), 20);
    }
}

#[tokio::test]
async fn a_changed_row_of_any_other_table_is_refused() {
    for sql in [
        "UPDATE run SET last = 19 WHERE number = 1",
        "UPDATE run SET created = 0 WHERE number = 1",
        "UPDATE lease SET epoch = epoch - 1",
        "UPDATE lease SET holder = NULL",
        "UPDATE claim SET run = 1 WHERE environment = 'r-2-7'",
        "UPDATE claim SET environment = 'staging' WHERE environment = 'r-2-7'",
        "UPDATE lease SET scope = 'environment-stagin'",
        "UPDATE command SET answer = NULL",
        "UPDATE command SET number = 9 WHERE number = 1",
        "UPDATE command SET answer = 'lost' WHERE answer IS NULL",
        "UPDATE command SET body = 'resume' WHERE answer IS NULL",
        "PRAGMA foreign_keys = OFF; DELETE FROM run WHERE number = 1",
        "UPDATE environment SET last = last - 1",
        "PRAGMA foreign_keys = OFF; UPDATE environment SET name = 'stagin'",
        "UPDATE environment SET head = zeroblob(32)",
        "DROP TABLE claim",
    ] {
        let folder = Folder::default();
        fill(&folder.open()).await;
        Connection::open(folder.path()).unwrap().execute_batch(sql).unwrap();
        let told = tell(&folder.path()).await;
        assert!(matches!(told, Err(JournalError::Damaged(_))), "{sql}: {told:?}");
    }
}

#[tokio::test]
async fn a_flipped_bit_is_refused_or_does_not_matter() {
    flip_bits(61).await;
}

#[tokio::test]
#[ignore = "every byte of the file takes minutes"]
async fn any_flipped_bit_is_refused_or_does_not_matter() {
    flip_bits(1).await;
}

async fn flip_bits(step: usize) {
    let folder = Folder::default();
    fill(&folder.open()).await;
    let good = tell(&folder.path()).await.unwrap();
    let bytes = std::fs::read(folder.path()).unwrap();
    let mut refused = 0;
    for offset in (0..bytes.len()).step_by(step) {
        let mut bad = bytes.clone();
        bad[offset] ^= 1 << (offset % 8);
        refused += u32::from(is_refused(&bad, &good, &format!("byte {offset}")).await);
    }
    assert!(refused > 100, "only {refused} flips were noticed: does this test look at all?");
}

/// No checksum is wrong when a row is not there at all: only the structure of its page shows it.
#[tokio::test]
async fn a_row_that_vanished_from_its_page_is_refused() {
    for table in ["lease", "claim", "command"] {
        let folder = Folder::default();
        fill(&folder.open()).await;
        let connection = Connection::open(folder.path()).unwrap();
        let select = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
        let page: usize = connection.query_row(select, [table], |row| row.get(0)).unwrap();
        drop(connection);
        let mut bytes = std::fs::read(folder.path()).unwrap();
        // The lower byte of the number of rows in the page.
        let rows = &mut bytes[(page - 1) * 4096 + 4];
        assert!((1..=40).contains(rows), "{table} is not one page of rows");
        *rows -= 1;
        std::fs::write(folder.path(), bytes).unwrap();
        let told = tell(&folder.path()).await;
        assert!(matches!(told, Err(JournalError::Damaged(_))), "{table}: {told:?}");
    }
}

#[tokio::test]
async fn a_truncated_file_is_refused() {
    let folder = Folder::default();
    fill(&folder.open()).await;
    let good = tell(&folder.path()).await.unwrap();
    let bytes = std::fs::read(folder.path()).unwrap();
    for length in (0..bytes.len()).step_by(509) {
        let what = format!("cut at {length}");
        assert!(is_refused(&bytes[..length], &good, &what).await, "{what} was not noticed");
    }
}

#[tokio::test]
async fn lost_and_exchanged_pages_are_refused_or_do_not_matter() {
    let folder = Folder::default();
    fill(&folder.open()).await;
    let good = tell(&folder.path()).await.unwrap();
    let bytes = std::fs::read(folder.path()).unwrap();
    let pages: Vec<_> = bytes.chunks(4096).collect();
    for one in 0..pages.len() {
        let mut zeroed = pages.clone();
        zeroed[one] = &[0; 4096];
        is_refused(&zeroed.concat(), &good, &format!("zeroed {one}")).await;
        for two in 0..one {
            let mut exchanged = pages.clone();
            exchanged.swap(one, two);
            is_refused(&exchanged.concat(), &good, &format!("exchanged {one} {two}")).await;
        }
    }
}

/// The log is the one place where damage cannot be told from a write that was cut off: what comes after it is gone.
#[tokio::test]
async fn a_flipped_bit_in_the_log_leaves_a_beginning_of_each_run() {
    let (folder, copy) = (Folder::default(), Folder::default());
    let journal = folder.open();
    fill(&journal).await;
    let good = journal.read(&run("r-1"), 0).await.unwrap();
    let (bytes, log) = (std::fs::read(folder.path()).unwrap(), log_of(&folder.path()));
    let log_bytes = std::fs::read(&log).unwrap();
    assert!(log_bytes.len() > 100_000, "the log was written back: {} bytes", log_bytes.len());
    for offset in (0..log_bytes.len()).step_by(2003) {
        let mut bad = log_bytes.clone();
        bad[offset] ^= 1 << (offset % 8);
        std::fs::write(copy.path(), &bytes).unwrap();
        std::fs::write(log_of(&copy.path()), &bad).unwrap();
        match copy.open().read(&run("r-1"), 0).await {
            Ok(records) => assert_eq!(records, good[..records.len()], "byte {offset}"),
            Err(JournalError::NoSuchRun(_) | JournalError::Damaged(_)) => {}
            Err(error) => panic!("byte {offset}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn a_full_disk_refuses_to_write_and_forgets_nothing() {
    let disk = SmallDisk::mount();
    let ballast = disk.0.0.path().join("ballast");
    std::fs::write(&ballast, vec![0; 200_000]).unwrap();
    let journal = disk.0.open();
    let id = journal.create_run("1", at(1)).await.unwrap();
    let lease = journal.take_lease(&scope("staging"), &holder(1), LONG).await.unwrap();
    let records = texts(&["x".repeat(3000).as_str()]);
    let mut last = 1;
    let leases = [lease.clone()];
    let claims = [ClaimChange::Take(environment("staging"))];
    let append = |expected, claims| {
        let (run, records, leases) = (&id, &records[..], &leases[..]);
        Append { run, expected, records, at: at(2), leases, claims }
    };
    let refused = loop {
        match journal.append(&append(last, &[])).await {
            Ok(now) => last = now,
            Err(error) => break error,
        }
    };
    assert!(last > 10, "the disk was full from the start");
    assert!(matches!(refused, AppendError::Journal(JournalError::Full)), "{refused:?}");

    let refused = journal.append(&append(last, &claims)).await.unwrap_err();
    assert!(matches!(refused, AppendError::Journal(JournalError::Full)), "{refused:?}");
    // What room is left, the smallest write there is uses up.
    while journal.beat(&lease).await.is_ok() {}
    let refused = journal.take_lease(&scope("production"), &holder(1), LONG).await.unwrap_err();
    assert!(matches!(refused, LeaseRefused::Journal(JournalError::Full)), "{refused:?}");
    let there = |records: Vec<_>| u64::try_from(records.len()).unwrap();
    assert_eq!(there(journal.read(&id, 0).await.unwrap()), last);
    assert!(journal.claims().await.unwrap().is_empty());

    std::fs::remove_file(ballast).unwrap();
    journal.beat(&lease).await.unwrap();
    assert_eq!(journal.append(&append(last, &claims)).await.unwrap(), last + 1);
    drop(journal);
    assert_eq!(there(disk.0.open().read(&id, 0).await.unwrap()), last + 1);
}

/// A disk of half a megabyte, unmounted when the test ends.
struct SmallDisk(Folder);

impl SmallDisk {
    fn mount() -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test mounts a small disk: run as root");
        let folder = Folder::default();
        let mount = ["-t", "tmpfs", "-o", "size=512k", "journal-test"];
        let mounted = Command::new("mount").args(mount).arg(folder.0.path()).status().unwrap();
        assert!(mounted.success());
        Self(folder)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.0.path()).status().unwrap();
        assert!(unmounted.success());
    }
}

/// Puts something into every table.
async fn fill(journal: &SqliteJournal) {
    for name in ["r-1", "r-2"] {
        assert_eq!(journal.create_run("record 1", at(1)).await.unwrap(), run(name));
        for expected in 1..20_u64 {
            let records = [format!("record {} {}", expected + 1, "x".repeat(200))];
            let claims = [ClaimChange::Take(environment(&format!("{name}-{expected}")))];
            let (run, records, claims) = (&run(name), &records[..], &claims[..]);
            let append = Append { run, expected, records, at: at(expected), leases: &[], claims };
            journal.append(&append).await.unwrap();
        }
    }
    let lease = journal.take_lease(&scope("staging"), &holder(1), LONG).await.unwrap();
    let command = journal.send(&environment("staging"), "halt", at(3)).await.unwrap();
    journal.answer(&lease, command, "halted").await.unwrap();
    journal.send(&environment("staging"), "cancel", at(4)).await.unwrap();
    let records: Vec<String> = (1..10).map(|number| format!("fact {number}")).collect();
    let (environment, epoch) = (&environment("staging"), lease.epoch);
    let append =
        EnvironmentAppend { environment, expected: 0, records: &records, at: at(5), epoch };
    journal.append_environment(&append).await.unwrap();
    for (expected, body) in [(0, "asked"), (1, "asked again"), (2, "ended")] {
        journal.append_trail(&TrailAppend { expected, body, at: at(6) }).await.unwrap();
    }
}

/// Opens a journal and tells all that is in it.
async fn tell(path: &Path) -> Result<String, JournalError> {
    let journal = SqliteJournal::open(path)?;
    let (one, two) = (journal.read(&run("r-1"), 0).await?, journal.read(&run("r-2"), 0).await?);
    let heads = (journal.runs().await?, journal.claims().await?);
    let waiting = journal.inbox(&environment("staging")).await?;
    let answer = journal.answered(serin_journal::CommandId(1)).await?;
    let stream = journal.read_environment(&environment("staging"), 0).await?;
    // Whether the holder lives depends on its lock file, which is not part of the journal.
    let holder = journal.holder(&scope("staging")).await?.map(|(holder, _)| holder);
    let trail = journal.read_trail(0).await?;
    Ok(format!("{heads:?} {one:?} {two:?} {waiting:?} {answer:?} {holder:?} {stream:?} {trail:?}"))
}

/// Says whether a damaged file is refused; one that is accepted must tell exactly what was written.
async fn is_refused(bytes: &[u8], good: &str, what: &str) -> bool {
    // Thousands of copies: in memory, where syncing costs nothing.
    let folder = Folder(tempfile::tempdir_in("/dev/shm").unwrap());
    std::fs::write(folder.path(), bytes).unwrap();
    match tell(&folder.path()).await {
        Ok(told) => {
            assert_eq!(told, good, "{what}");
            false
        }
        Err(JournalError::Damaged(_)) => true,
        Err(error) => panic!("{what}: {error:?}"),
    }
}

fn log_of(journal: &Path) -> std::path::PathBuf {
    journal.with_file_name("journal-wal")
}
