//! The lab's folder: where things are in it, and `lab.json`, the record of what runs.
//!
//! A process is recorded with its start time, so that a number used again by a stranger is never mistaken for ours.
//! Nothing here starts or ends anything.

use crate::topology::Topology;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

/// Is locked by whoever changes the lab of this machine.
const LOCK: &str = "/run/serin-lab/lock";

/// Waits until nobody else changes the lab of this machine; the lock lives as long as the file that is returned.
pub(crate) fn lock() -> Result<File> {
    let folder = Path::new(LOCK).parent().context(LOCK)?;
    std::fs::create_dir_all(folder).with_context(|| LOCK.to_owned())?;
    let file = File::create(LOCK).context(LOCK)?;
    file.lock().context(LOCK)?;
    Ok(file)
}

/// A process of the machine, proof against reused numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessIdentity {
    /// Its number on the machine.
    pub pid: u32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub start_time: u64,
}

impl ProcessIdentity {
    /// Reads the identity of a live process.
    pub(crate) fn observe(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field may hold spaces and brackets; what follows its last bracket is regular.
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_whitespace();
        if matches!(fields.next(), Some("Z" | "X")) {
            return None;
        }
        let start_time = fields.nth(18)?.parse().ok()?;
        Some(Self { pid, start_time })
    }

    /// Says whether this very process lives.
    pub(crate) fn is_alive(self) -> bool {
        Self::observe(self.pid) == Some(self)
    }
}

/// The content of `lab.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LabRecord {
    /// The hosts.
    pub topology: Topology,
    /// Whether `up` got to its end; what it did not finish is cleaned up by the next one.
    pub is_complete: bool,
    /// The unpacked base image.
    pub base: PathBuf,
    /// PID 1 of each host that runs, seen from the machine.
    pub inits: BTreeMap<String, ProcessIdentity>,
}

/// The lab's folder.
#[derive(Clone, Debug)]
pub(crate) struct LabFolder {
    root: PathBuf,
}

impl LabFolder {
    /// Names the folder; it need not exist.
    pub(crate) fn new(root: &Path) -> Result<Self> {
        let root = std::path::absolute(root)
            .with_context(|| format!("could not resolve {}", root.display()))?;
        Ok(Self { root })
    }

    /// Returns the folder itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns a path inside the folder.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// Returns the mount point of a host's disk.
    pub(crate) fn disk(&self, host: &str) -> PathBuf {
        self.root.join("hosts").join(host).join("disk")
    }

    /// Returns the file that a host's console is written to.
    pub(crate) fn console(&self, host: &str) -> PathBuf {
        self.root.join("hosts").join(host).join("console.log")
    }

    /// Reads `lab.json`.
    pub(crate) fn load(&self) -> Result<LabRecord> {
        let path = self.path("lab.json");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                bail!("no lab in {}: start one with `serin-lab up`", self.root.display())
            }
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Writes `lab.json` so that a reader sees the old or the new one, never half of one.
    pub(crate) fn save(&self, record: &LabRecord) -> Result<()> {
        let text = serde_json::to_string_pretty(record)?;
        let partial = self.path("lab.json.partial");
        std::fs::write(&partial, text).with_context(|| partial.display().to_string())?;
        std::fs::rename(&partial, self.path("lab.json"))?;
        Ok(())
    }
}

impl LabRecord {
    /// Says whether the lab is of use to somebody: it was started to the end, and a host of it lives.
    pub(crate) fn is_up(&self) -> bool {
        self.is_complete && self.inits.values().any(|init| init.is_alive())
    }

    /// Returns the live PID 1 of a host.
    pub(crate) fn live_init(&self, host: &str) -> Result<ProcessIdentity> {
        if self.topology.host(host).is_none() {
            bail!("the lab has no host {host}; `serin-lab status` lists them");
        }
        match self.inits.get(host) {
            Some(init) if init.is_alive() => Ok(*init),
            _ => bail!("{host} is powered off; `serin-lab break power-on {host}` starts it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_another_start_time_is_a_stranger() {
        let own = ProcessIdentity::observe(std::process::id()).unwrap();
        assert!(own.is_alive());
        assert!(!ProcessIdentity { start_time: own.start_time + 1, ..own }.is_alive());
    }

    #[test]
    fn a_record_survives_being_written_and_read() {
        let folder = tempfile::tempdir().unwrap();
        let lab = LabFolder::new(folder.path()).unwrap();
        let record = LabRecord {
            topology: Topology::new(crate::topology::Size::Small),
            is_complete: true,
            base: "/base".into(),
            inits: BTreeMap::new(),
        };
        lab.save(&record).unwrap();
        assert_eq!(lab.load().unwrap().topology, record.topology);
    }
}
