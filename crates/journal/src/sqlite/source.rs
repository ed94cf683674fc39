//! A journal that is about to be moved: nobody can write to it, and in the end it says where it went.

use super::store::Store;
use super::{failed, setup};
use crate::port::{Holder, JournalError, Record};
use crate::rows::{Contents, EnvironmentRow, RunRow, TrailRow};
use std::path::Path;

/// A file that only this process can write to. Dropped, it is as it was.
pub(crate) struct Source(Store);

impl Source {
    /// Opens the journal of a file, and locks out everybody who would write to it.
    pub(crate) fn open(path: &Path) -> Result<Self, JournalError> {
        let store = Store::open(path)?;
        store.connection.execute_batch("BEGIN IMMEDIATE").map_err(failed("lock the journal"))?;
        Ok(Self(store))
    }

    /// Returns everything but the records.
    pub(crate) fn contents(&mut self) -> Result<Contents, JournalError> {
        super::rows::contents(&self.0.connection)
    }

    /// Returns who holds a lease and is not known to be dead, if anybody does.
    pub(crate) fn holder(
        &mut self,
        contents: &Contents,
    ) -> Result<Option<(String, Holder)>, JournalError> {
        for lease in &contents.leases {
            if let Some(holder) = lease.holder()?
                && !self.0.locks.is_free(&lease.scope, lease.epoch)?
            {
                return Ok(Some((lease.scope.clone(), holder)));
            }
        }
        Ok(None)
    }

    pub(crate) fn records(&mut self, run: &RunRow) -> Result<Vec<Record>, JournalError> {
        run.records(&self.0.connection, 0)
    }

    pub(crate) fn environment_records(
        &mut self,
        environment: &EnvironmentRow,
    ) -> Result<Vec<Record>, JournalError> {
        environment.records(&self.0.connection, 0)
    }

    pub(crate) fn trail_records(&mut self, trail: &TrailRow) -> Result<Vec<Record>, JournalError> {
        trail.records(&self.0.connection, 0)
    }

    /// Says in the file where its journal is now. From here on every Serin refuses the file.
    pub(crate) fn say_moved(self, place: &str) -> Result<(), JournalError> {
        setup::say_moved(&self.0.connection, place)?;
        self.0.connection.execute_batch("COMMIT").map_err(failed("say where the journal went"))
    }
}
