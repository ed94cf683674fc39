//! What an operator of the lab has in hand: keys, `ssh_config`, `known_hosts` and `serin.toml`.

use crate::repository;
use crate::run::{cmd, run};
use crate::serin_config;
use crate::state::LabFolder;
use crate::text::append;
use crate::topology::{Host, Topology};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// Makes the key that `deployer` logs in with and returns its public half.
pub(crate) fn create_login_key(folder: &LabFolder) -> Result<String> {
    create_key(&folder.path("id_ed25519"))
}

/// Makes a host's key and returns its private half; the public half waits in the lab's folder for `known_hosts`.
pub(crate) fn create_host_key(folder: &LabFolder, host: &Host) -> Result<String> {
    let path = host_key(folder, &host.name);
    create_key(&path)?;
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// Writes the operator's files.
pub(crate) fn write(folder: &LabFolder, topology: &Topology) -> Result<()> {
    let mut known_hosts = String::new();
    for host in &topology.hosts {
        let path = host_key(folder, &host.name).with_extension("pub");
        let key = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        append(&mut known_hosts, format_args!("{},{} {}\n", host.name, host.address, key.trim()));
    }
    std::fs::write(folder.path("known_hosts"), known_hosts)?;
    std::fs::write(folder.path("ssh_config"), render_ssh_config(folder.root(), topology))?;
    let program = std::env::current_exe()?;
    let paths = serin_config::Paths {
        folder: folder.root().to_owned(),
        keyring: repository::keyring(folder),
        serin_lab: program,
    };
    std::fs::write(folder.path("serin.toml"), serin_config::render(topology, &paths))?;
    Ok(())
}

/// Gives the folder and the operator's files to a user; what only root may touch stays root's.
pub(crate) fn give_to(folder: &LabFolder, user: u32, group: u32) -> Result<()> {
    let files =
        ["id_ed25519", "id_ed25519.pub", "known_hosts", "lab.json", "serin.toml", "ssh_config"];
    let files = files.iter().map(|name| folder.path(name));
    for path in files.chain([folder.root().to_owned()]) {
        std::os::unix::fs::chown(&path, Some(user), Some(group))
            .with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn host_key(folder: &LabFolder, host: &str) -> PathBuf {
    // No extension of its own, so that `.pub` is one.
    folder.path("hosts").join(host).join("host_key")
}

fn create_key(path: &Path) -> Result<String> {
    run(cmd(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(path))?;
    let public = path.with_extension("pub");
    std::fs::read_to_string(&public).with_context(|| public.display().to_string())
}

fn render_ssh_config(folder: &Path, topology: &Topology) -> String {
    let folder = folder.display();
    let mut text =
        String::from("# Written by serin-lab. Nothing of your own ssh settings is used.\n");
    for host in &topology.hosts {
        append(
            &mut text,
            format_args!(
                "\nHost {}\n    HostName {}\n    HostKeyAlias {}\n",
                host.name, host.address, host.name
            ),
        );
    }
    append(
        &mut text,
        format_args!(
            "\nHost *\n    Port 22\n    User deployer\n    IdentityFile \"{folder}/id_ed25519\"\n    \
         IdentitiesOnly yes\n    UserKnownHostsFile \"{folder}/known_hosts\"\n    \
         GlobalKnownHostsFile /dev/null\n    StrictHostKeyChecking yes\n    \
         KexAlgorithms curve25519-sha256\n    BatchMode yes\n"
        ),
    );
    text
}
