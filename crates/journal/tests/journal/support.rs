//! What the journal's tests share: names in one word, and the places where processes meet.

use serin_journal::{Holder, MemoryJournal, Scope, SqliteJournal};
use serin_model::{EnvironmentName, RunId, Timestamp};
use std::path::PathBuf;

/// A journal in memory.
#[derive(Default)]
pub(crate) struct Memory(pub(crate) MemoryJournal);

/// A journal in a file.
pub(crate) struct Folder(pub(crate) tempfile::TempDir);

impl Default for Folder {
    fn default() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Folder {
    /// Returns the path of the file.
    pub(crate) fn path(&self) -> PathBuf {
        self.0.path().join("journal")
    }

    /// Opens the journal as one more process.
    pub(crate) fn open(&self) -> SqliteJournal {
        SqliteJournal::open(&self.path()).unwrap()
    }
}

/// Returns a point in time.
pub(crate) fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// Returns a run's id.
pub(crate) fn run(id: &str) -> RunId {
    id.parse().unwrap()
}

/// Returns an environment's name.
pub(crate) fn environment(name: &str) -> EnvironmentName {
    name.parse().unwrap()
}

/// Returns the scope of an environment, or with `run …` that of a run.
pub(crate) fn scope(name: &str) -> Scope {
    match name.strip_prefix("run ") {
        Some(id) => Scope::Run(run(id)),
        None => Scope::Environment(environment(name)),
    }
}

/// Returns a holder.
pub(crate) fn holder(pid: u32) -> Holder {
    Holder { user: "mira".to_owned(), machine: "deploy-01".to_owned(), pid }
}

/// Returns records.
pub(crate) fn texts(bodies: &[&str]) -> Vec<String> {
    bodies.iter().map(|body| (*body).to_owned()).collect()
}
