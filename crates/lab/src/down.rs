//! `serin-lab down`, and the cleaning that `up` starts with: after it, nothing of a lab runs or is mounted.
//!
//! Ends processes by recorded identity first. What a crashed `up` did not get to record is found by where it lives:
//! in one of the lab's network namespaces.

use crate::host::power_off;
use crate::network;
use crate::run::{cmd, run, run_unchecked, say};
use crate::state::{LabFolder, ProcessIdentity};
use anyhow::{Context, Result, bail, ensure};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Holds the folder of the one lab of this machine.
const CURRENT: &str = "/run/serin-lab/current";

/// What a lab writes into its folder. Anything else there, a journal of Serin's above all, is somebody's.
const WRITTEN: &[&str] = &[
    "boot.sh",
    "hosts",
    "id_ed25519",
    "id_ed25519.pub",
    "keys",
    "known_hosts",
    "lab.json",
    "repo",
    "repo-partial",
    "serin.toml",
    "ssh_config",
];

/// Marks a folder as a lab's. In a folder without it nothing is ever removed.
const MARK: &str = ".serin-lab";

/// Ends the lab.
pub(crate) fn down(folder: &LabFolder) -> Result<()> {
    if let Some(other) = current().filter(|other| other.root() != folder.root())
        && other.load().is_ok_and(|record| record.is_up())
    {
        bail!(
            "the lab of this machine is in {0}: `serin-lab down --dir {0}`",
            other.root().display()
        );
    }
    clean(folder)?;
    say("the lab is down");
    Ok(())
}

/// Removes whatever is left of a lab in this folder, or of one that crashed elsewhere on this machine.
pub(crate) fn clean(folder: &LabFolder) -> Result<()> {
    let crashed = current().filter(|other| other.root() != folder.root());
    for lab in crashed.iter().chain([folder]) {
        let Ok(record) = lab.load() else { continue };
        for init in record.inits.values() {
            power_off(*init)?;
        }
    }
    for pid in network::processes()? {
        if let Some(stray) = ProcessIdentity::observe(pid) {
            power_off(stray)?;
        }
    }
    for lab in crashed.iter().chain([folder]) {
        unmount_disks(lab)?;
        if lab.path(MARK).exists() {
            for name in WRITTEN {
                remove(&lab.path(name))?;
            }
        }
    }
    network::remove()?;
    remove(Path::new(CURRENT))
}

/// Makes the folder a lab's; refuses one that is somebody else's.
pub(crate) fn claim_folder(lab: &LabFolder) -> Result<()> {
    let root = lab.root().display();
    if lab.root().exists() && !lab.path(MARK).exists() {
        let is_empty = std::fs::read_dir(lab.root())?.next().is_none();
        ensure!(
            is_empty,
            "{root} is not empty, and no lab made it: name another folder with --dir"
        );
    }
    std::fs::create_dir_all(lab.root())?;
    std::fs::set_permissions(lab.root(), std::fs::Permissions::from_mode(0o700))?;
    std::fs::write(lab.path(MARK), "made by serin-lab\n").with_context(|| root.to_string())?;
    keep_journal_apart(lab)
}

/// What Serin wrote about an earlier lab is kept, but says nothing about this one.
fn keep_journal_apart(lab: &LabFolder) -> Result<()> {
    for entry in std::fs::read_dir(lab.root())? {
        let name = entry?.file_name();
        let Some(name) = name.to_str().filter(|name| name.starts_with("journal.")) else {
            continue;
        };
        // Locks of processes that are gone; a folder could not take the place of an earlier one either.
        if lab.path(name).is_dir() {
            std::fs::remove_dir_all(lab.path(name))?;
        } else {
            std::fs::rename(lab.path(name), lab.path(&format!("previous-{name}")))?;
        }
    }
    Ok(())
}

/// Notes which folder holds the lab of this machine.
pub(crate) fn note_current(folder: &LabFolder) -> Result<()> {
    let path = Path::new(CURRENT);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, folder.root().to_string_lossy().as_bytes()).context(CURRENT)
}

/// Returns the folder of the lab that was last started on this machine and not ended.
pub(crate) fn current() -> Option<LabFolder> {
    let path = std::fs::read_to_string(CURRENT).ok()?;
    LabFolder::new(Path::new(path.trim())).ok()
}

fn unmount_disks(lab: &LabFolder) -> Result<()> {
    let Ok(hosts) = std::fs::read_dir(lab.path("hosts")) else { return Ok(()) };
    for host in hosts {
        let disk = host?.path().join("disk");
        while run_unchecked(cmd(["mountpoint", "-q"]).arg(&disk))?.status.success() {
            run(cmd(["umount"]).arg(&disk))?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<()> {
    let outcome = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(_) => return Ok(()),
    };
    outcome.with_context(|| format!("could not remove {}", path.display()))
}
