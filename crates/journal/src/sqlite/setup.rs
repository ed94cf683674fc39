//! Making, opening and checking the file.
//!
//! A new journal is made complete under another name and then put in place, so that no process ever sees half of one,
//! and a file that lost its contents is never taken for a new journal.

use super::{failed, rows};
use crate::failed::{file_failed, storage};
use crate::port::JournalError;
use crate::seal::{Seal, meta_seal};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

/// The format that this code writes. A change of the schema or of what a checksum covers is a new one.
///
/// 1 had no streams of environments, and 2 no audit trail: such a file is given them when it is opened.
const FORMAT: u32 = 3;

/// What stands in place of the format when the journal is elsewhere. A Serin that does not know this refuses it too.
const MOVED: &str = "moved to ";

/// The formats before this one, and how many of the tables each has.
const OLDER: [(u32, usize); 2] = [(1, 6), (2, 8)];

/// The first SQLite whose write-ahead log two processes can check in at once without damage.
const OLDEST_SAFE_SQLITE: i32 = 3_051_003;

/// How long a transaction waits for those of other processes. Each takes about a millisecond.
const BUSY: Duration = Duration::from_secs(5);

/// The tables. A row of each ends with its seal; there are no indexes that could disagree with them. Those that a later
/// format brings come last: that is where they are in a file that was made before.
const SCHEMA: [&str; 10] = [
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL, seal BLOB NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE run (number INTEGER PRIMARY KEY, created INTEGER NOT NULL, last INTEGER NOT NULL, head BLOB NOT NULL, seal BLOB NOT NULL) STRICT",
    "CREATE TABLE record (run INTEGER NOT NULL REFERENCES run, seq INTEGER NOT NULL, at INTEGER NOT NULL, body TEXT NOT NULL, seal BLOB NOT NULL, PRIMARY KEY (run, seq)) STRICT, WITHOUT ROWID",
    "CREATE TABLE lease (scope TEXT PRIMARY KEY, epoch INTEGER NOT NULL, beat INTEGER NOT NULL, holder TEXT, seal BLOB NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE claim (environment TEXT PRIMARY KEY, run INTEGER NOT NULL REFERENCES run, seal BLOB NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE command (number INTEGER PRIMARY KEY, environment TEXT NOT NULL, at INTEGER NOT NULL, body TEXT NOT NULL, answer TEXT, seal BLOB NOT NULL) STRICT",
    "CREATE TABLE environment (name TEXT PRIMARY KEY, last INTEGER NOT NULL, head BLOB NOT NULL, seal BLOB NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE environment_record (environment TEXT NOT NULL REFERENCES environment, seq INTEGER NOT NULL, at INTEGER NOT NULL, body TEXT NOT NULL, seal BLOB NOT NULL, PRIMARY KEY (environment, seq)) STRICT, WITHOUT ROWID",
    "CREATE TABLE trail (name TEXT PRIMARY KEY, last INTEGER NOT NULL, head BLOB NOT NULL, seal BLOB NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE trail_record (trail TEXT NOT NULL REFERENCES trail, seq INTEGER NOT NULL, at INTEGER NOT NULL, body TEXT NOT NULL, seal BLOB NOT NULL, PRIMARY KEY (trail, seq)) STRICT, WITHOUT ROWID",
];

/// Opens a journal's file, or makes it, and checks it.
pub(super) fn open(path: &Path) -> Result<Connection, JournalError> {
    if rusqlite::version_number() < OLDEST_SAFE_SQLITE {
        return Err(storage("use SQLite", format!("{} is too old", rusqlite::version())));
    }
    let exists = path.try_exists().map_err(|error| file_failed("find the journal", error))?;
    if !exists {
        make(path)?;
    }
    let connection = connect(path)?;
    let format = read_format(&connection)?;
    use_log(&connection)?;
    if format < FORMAT {
        add_tables(&connection)?;
    }
    check_schema(&connection, &SCHEMA)?;
    check_pages(&connection)?;
    rows::contents(&connection)?;
    Ok(connection)
}

fn make(path: &Path) -> Result<(), JournalError> {
    let what = "make a new journal";
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = parent.unwrap_or(Path::new("."));
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| file_failed("make the journal's folder", error))?;
    let file = tempfile::Builder::new().prefix(".new-journal").tempfile_in(folder);
    let file = file.map_err(|error| file_failed(what, error))?;
    let connection = connect(file.path())?;
    use_log(&connection)?;
    let format = FORMAT.to_string();
    let fill = || {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        SCHEMA.iter().try_for_each(|table| connection.execute_batch(table))?;
        let seal = meta_seal("format", &format);
        connection.execute(
            "INSERT INTO meta VALUES ('format', ?1, ?2)",
            rusqlite::params![format, seal],
        )?;
        connection.execute_batch("COMMIT")
    };
    fill().map_err(failed(what))?;
    connection.close().map_err(|(_, error)| failed(what)(error))?;
    match file.persist_noclobber(path) {
        Ok(_) => {}
        // Another process was faster; its journal is as good.
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(file_failed(what, error.error)),
    }
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| file_failed(what, error))
}

fn connect(path: &Path) -> Result<Connection, JournalError> {
    // Without SQLITE_OPEN_CREATE: an empty file is a damaged journal, not a new one.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let configure = || {
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        // FULL syncs the log at each commit; NORMAL would forget the last ones when the power fails.
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        Ok(connection)
    };
    configure().map_err(failed("open the journal"))
}

/// Turns the write-ahead log on, which the file then remembers. It writes to a file that is not a journal yet.
fn use_log(connection: &Connection) -> Result<(), JournalError> {
    let what = "open the journal";
    let mode = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0));
    let mode: String = mode.map_err(failed(what))?;
    if mode == "wal" {
        return Ok(());
    }
    Err(storage(what, "its file system allows no write-ahead log"))
}

/// Returns the format of a file that this code can use.
fn read_format(connection: &Connection) -> Result<u32, JournalError> {
    let select = "SELECT value, seal FROM meta WHERE name = 'format'";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, Seal>(1)?));
    let (format, seal) = connection
        .query_row(select, [], read)
        .map_err(|error| JournalError::Damaged(format!("its format cannot be read: {error}")))?;
    if seal != meta_seal("format", &format) {
        return Err(JournalError::Damaged("its format is not what was written".to_owned()));
    }
    if let Some(place) = format.strip_prefix(MOVED) {
        return Err(JournalError::Moved(place.to_owned()));
    }
    match format.parse() {
        Ok(found) if (1..=FORMAT).contains(&found) => Ok(found),
        Ok(found) if found > FORMAT => Err(JournalError::Newer { found, known: FORMAT }),
        Ok(_) | Err(_) => Err(JournalError::Damaged(format!("there is no format {format:?}"))),
    }
}

/// Gives a file of an older format the tables that it lacks: all of them and its new format, or nothing.
fn add_tables(connection: &Connection) -> Result<(), JournalError> {
    let what = "bring the journal to this format";
    let tx = Transaction::new_unchecked(connection, TransactionBehavior::Immediate);
    let tx = tx.map_err(failed(what))?;
    // Another process may have been faster while this one waited for its turn.
    let found = read_format(&tx)?;
    let Some((_, tables)) = OLDER.iter().find(|(format, _)| *format == found) else {
        return Ok(());
    };
    let (old, new) = SCHEMA.split_at(*tables);
    check_schema(&tx, old)?;
    let format = FORMAT.to_string();
    let add = || {
        new.iter().try_for_each(|table| tx.execute_batch(table))?;
        let seal = meta_seal("format", &format);
        let sql = "UPDATE meta SET value = ?1, seal = ?2 WHERE name = 'format'";
        tx.execute(sql, rusqlite::params![format, seal])
    };
    add().map_err(failed(what))?;
    tx.commit().map_err(failed(what))
}

/// Makes sure that the journal is still in this file: a process that had it open would go on writing to it.
pub(super) fn check_not_moved(connection: &Connection) -> Result<(), JournalError> {
    let what = "read the journal's format";
    let select = "SELECT value FROM meta WHERE name = 'format'";
    let mut select = connection.prepare_cached(select).map_err(failed(what))?;
    let format: String = select.query_row([], |row| row.get(0)).map_err(failed(what))?;
    match format.strip_prefix(MOVED) {
        Some(place) => Err(JournalError::Moved(place.to_owned())),
        None => Ok(()),
    }
}

/// Says in the file that its journal is elsewhere.
pub(super) fn say_moved(connection: &Connection, place: &str) -> Result<(), JournalError> {
    let format = format!("{MOVED}{place}");
    let sql = "UPDATE meta SET value = ?1, seal = ?2 WHERE name = 'format'";
    let said = connection.execute(sql, rusqlite::params![format, meta_seal("format", &format)]);
    said.map(drop).map_err(failed("say where the journal went"))
}

fn check_schema(connection: &Connection, wanted: &[&str]) -> Result<(), JournalError> {
    let what = "read the journal's tables";
    let mut select =
        connection.prepare("SELECT sql FROM sqlite_schema ORDER BY rowid").map_err(failed(what))?;
    let found = select.query_map([], |row| row.get(0)).map_err(failed(what))?;
    let found: Vec<String> = found.collect::<Result<_, _>>().map_err(failed(what))?;
    if found == wanted {
        return Ok(());
    }
    Err(JournalError::Damaged("its tables are not what was made".to_owned()))
}

/// Checks the structure of the whole file: checksums show which rows are wrong, but not which are missing.
fn check_pages(connection: &Connection) -> Result<(), JournalError> {
    let checked = connection.pragma_query_value(None, "quick_check", |row| row.get(0));
    let checked: String = checked.map_err(failed("check the journal"))?;
    match checked.as_str() {
        "ok" => Ok(()),
        _ => Err(JournalError::Damaged(checked.lines().collect::<Vec<_>>().join("; "))),
    }
}
