//! A small disk for the journal, to be filled to the last byte.

use crate::lab::Lab;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::{NamedTempFile, TempDir};

/// More than a journal of the campaign needs, with what `serin` keeps beside it.
const SIZE: &str = "size=64m";

/// SQLite's files: the journal, and what it has not put into it yet.
const FILES: [&str; 2] = ["journal.db", "journal.db-wal"];

/// The lab's journal on a disk of its own, in memory; it is put back when this is dropped.
pub(crate) struct JournalDisk {
    mount: TempDir,
    config: NamedTempFile,
    home: PathBuf,
}

impl JournalDisk {
    /// Moves the journal; nothing may have it open.
    pub(crate) fn new(lab: &Lab) -> Result<Self> {
        let mount = tempfile::tempdir()?;
        command(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", SIZE, "serin-journal"])
                .arg(mount.path()),
        )?;
        let path = mount.path().join("journal.db").display().to_string();
        let config = lab.changed_config(|text| {
            let lines = text.lines().map(|line| match line.strip_suffix("/journal.db\"") {
                Some(_) => format!("path = \"{path}\"\n"),
                None => format!("{line}\n"),
            });
            lines.collect()
        })?;
        let disk = Self { mount, config, home: lab.folder().to_owned() };
        copy(&disk.home, disk.mount.path())?;
        Ok(disk)
    }

    /// Returns the configuration in which the journal is here.
    pub(crate) fn config(&self) -> &Path {
        self.config.path()
    }

    /// Leaves not a byte on it.
    pub(crate) fn fill(&self) -> Result<()> {
        let line = "cat /dev/zero >filler || [ \"$(df -B1 --output=avail . | tail -n 1)\" -eq 0 ]";
        command(Command::new("sh").args(["-euc", line]).current_dir(self.mount.path()))
    }

    /// Gives the room back.
    pub(crate) fn free(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.mount.path().join("filler"))?)
    }

    /// Puts the journal back where it was; nothing may have it open.
    pub(crate) fn put_back(self) -> Result<()> {
        copy(self.mount.path(), &self.home)
    }
}

/// Also after a scenario that failed: hosts remember which journal's fence was the last.
impl Drop for JournalDisk {
    fn drop(&mut self) {
        drop(self.free());
        drop(copy(self.mount.path(), &self.home));
        drop(command(Command::new("umount").arg("--lazy").arg(self.mount.path())));
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for name in FILES {
        let (from, to) = (from.join(name), to.join(name));
        if from.exists() {
            std::fs::copy(&from, &to).with_context(|| to.display().to_string())?;
        } else if to.exists() {
            std::fs::remove_file(&to)?;
        }
    }
    // It belongs to the file that was there before.
    drop(std::fs::remove_file(to.join("journal.db-shm")));
    Ok(())
}

fn command(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
