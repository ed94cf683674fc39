//! Lock files: how a dead holder on this machine is told from a silent one.
//!
//! Whoever takes a lease locks the file `<journal>.locks/<scope>.<number>` and keeps it open; the kernel frees it when
//! the process dies, however it dies. Each number has a file of its own, so a stopped process that still has the lock of
//! its old number cannot be mistaken for the present holder, nor its later death for the present holder's. The locks
//! save waiting and are never what makes acting safe. A lock file that is missing proves nothing.

use crate::failed::{file_failed, storage};
use crate::port::JournalError;
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError, remove_file};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The lock files beside a journal, and those that this process holds.
pub(crate) struct LockFiles {
    folder: PathBuf,
    held: BTreeMap<String, (u64, File)>,
}

impl LockFiles {
    /// Opens the folder of lock files, making it if there is none.
    pub(crate) fn open(journal: &Path) -> Result<Self, JournalError> {
        let mut folder = journal.as_os_str().to_owned();
        folder.push(".locks");
        let folder = PathBuf::from(folder);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.map_err(|error| file_failed("make the folder of lock files", error))?;
        Ok(Self { folder, held: BTreeMap::new() })
    }

    /// Locks the file of a lease that is about to be taken.
    pub(crate) fn acquire(&self, scope: &str, epoch: u64) -> Result<File, JournalError> {
        let path = self.path(scope, epoch);
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        let file = file.map_err(|error| file_failed("make a lock file", error))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                Err(storage("lock a lease's file", format!("{} is in use", path.display())))
            }
            Err(TryLockError::Error(error)) => Err(file_failed("lock a lease's file", error)),
        }
    }

    /// Keeps the lock of a lease that was taken, in place of the scope's earlier one.
    pub(crate) fn keep(&mut self, scope: &str, epoch: u64, file: File) {
        self.held.insert(scope.to_owned(), (epoch, file));
        // Nobody asks about the number before it any more. One that stays behind does no harm.
        drop(remove_file(self.path(scope, epoch.saturating_sub(1))));
    }

    /// Frees the lock of a lease that was given back.
    pub(crate) fn free(&mut self, scope: &str, epoch: u64) {
        if self.held.get(scope).is_some_and(|(held, _)| *held == epoch) {
            self.held.remove(scope);
        }
        drop(remove_file(self.path(scope, epoch)));
    }

    /// Says whether the process that took a lease is known to be dead.
    pub(crate) fn is_free(&self, scope: &str, epoch: u64) -> Result<bool, JournalError> {
        let file = match File::open(self.path(scope, epoch)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(file_failed("open a lock file", error)),
        };
        // Shared, so that two processes that ask at once do not take each other for the holder.
        match file.try_lock_shared() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(file_failed("try a lock file", error)),
        }
    }

    fn path(&self, scope: &str, epoch: u64) -> PathBuf {
        self.folder.join(format!("{scope}.{epoch}"))
    }
}
