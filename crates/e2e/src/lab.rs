//! The lab, and `serin` in it, as commands.

use crate::process::{Ended, Running};
use crate::seen::{Account, Adopts, Seen};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::NamedTempFile;

/// How long nothing may be printed by anything: longer than the longest bake and the slowest step of the lab.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);

/// What tells a program another time; Debian's package `libfaketime` has it.
const LIBFAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// Commands that act for a run.
const ACTING: [&str; 5] = ["run", "promote", "rollback", "resume", "adopt"];

/// A host of the lab.
pub(crate) struct LabHost {
    /// Such as `web-01.gstg`.
    pub(crate) name: String,
    /// Its IPv4 address.
    pub(crate) address: String,
    /// Such as `load-balancer`.
    pub(crate) kind: String,
}

/// The lab that the scenarios share.
pub(crate) struct Lab {
    bin: PathBuf,
    folder: PathBuf,
    seed: u64,
    state: u64,
    minor: u32,
    account: Account,
}

impl Lab {
    pub(crate) fn new(bin: PathBuf, folder: &Path, seed: u64) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self {
            bin,
            folder: folder.canonicalize()?,
            seed,
            state: seed,
            minor: 0,
            account: Account::default(),
        })
    }

    /// Starts the lab unless it is up.
    pub(crate) fn up(&mut self) -> Result<()> {
        if self.serin(&["builds", "--json"])?.code != Some(0) {
            self.lab(&["up"])?.expect(0)?;
        }
        let builds = self.serin(&["builds", "--json", "--limit", "1000"])?;
        let builds: serde_json::Value =
            serde_json::from_str(builds.expect(0)?.log.concat().trim())?;
        let minors = builds.as_array().into_iter().flatten().filter_map(|build| {
            build.get("version")?.as_str()?.split('.').nth(1)?.parse::<u32>().ok()
        });
        self.minor = minors.max().unwrap_or(0);
        Ok(())
    }

    /// Returns what was seen since this was last asked.
    pub(crate) fn seen(&self) -> Seen {
        self.account.take()
    }

    /// Returns the seed of all that is random.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns the lab's folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns the folder of the programs.
    pub(crate) fn bin(&self) -> &Path {
        &self.bin
    }

    /// Returns where what is seen is counted.
    pub(crate) fn account(&self) -> &Account {
        &self.account
    }

    /// Publishes a new version, newer than all before.
    pub(crate) fn publish(&mut self, flaw: Option<&str>) -> Result<String> {
        self.minor += 1;
        let version = format!("16.{}.0-ee.0", self.minor);
        let mut arguments = vec!["publish", &version];
        arguments.extend(flaw.into_iter().flat_map(|flaw| ["--flaw", flaw]));
        self.lab(&arguments)?.expect(0)?;
        Ok(version)
    }

    /// Publishes a new version with a fix, `whole` or `half`.
    pub(crate) fn publish_fixed(&mut self, fix: &str) -> Result<String> {
        self.minor += 1;
        let version = format!("16.{}.0-ee.0", self.minor);
        self.lab(&["publish", &version, "--fix", fix])?.expect(0)?;
        Ok(version)
    }

    pub(crate) fn lab(&self, arguments: &[&str]) -> Result<Ended> {
        if let Some(damage) = damage(arguments) {
            self.account.borrow_mut().damaged(damage);
        }
        self.lab_running(arguments)?.end(PATIENCE)
    }

    pub(crate) fn lab_running(&self, arguments: &[&str]) -> Result<Running> {
        let mut command = Command::new(self.bin.join("serin-lab"));
        command.arg("--dir").arg(&self.folder).args(arguments);
        Running::start(&mut command)
    }

    /// Undoes all damage, and gives up what a failed scenario has left; what stays shows in the next scenario.
    pub(crate) fn mend(&self) {
        drop(self.lab(&["break", "mend"]));
        let held = |status: &Ended| !status.log.iter().all(|line| line.ends_with(": free"));
        if self.serin(&["status"]).is_ok_and(|status| held(&status)) {
            drop(self.serin(&["halt", "--reason", "the scenario is over"]));
            drop(self.serin(&["cancel", "--reason", "the scenario is over"]));
        }
    }

    pub(crate) fn serin(&self, arguments: &[&str]) -> Result<Ended> {
        self.serin_running(arguments)?.end(PATIENCE)
    }

    pub(crate) fn serin_running(&self, arguments: &[&str]) -> Result<Running> {
        self.serin_with(&self.folder.join("serin.toml"), arguments)
    }

    /// Starts `serin` with a configuration of one's own.
    pub(crate) fn serin_with(&self, config: &Path, arguments: &[&str]) -> Result<Running> {
        let mut command = Command::new(self.bin.join("serin"));
        command.arg("--config").arg(config).args(arguments);
        let adopts = if arguments.contains(&"adopt") { Adopts::Yes } else { Adopts::No };
        let running = Running::start(&mut command)?;
        // Users send requests, and people look: neither acts.
        let acts = arguments.iter().any(|word| ACTING.contains(word));
        Ok(if acts { running.counted(&self.account, adopts) } else { running })
    }

    /// Starts `serin` with a configuration of one's own as somebody behind `sudo`.
    pub(crate) fn serin_as(&self, who: &str, config: &Path, asked: &[&str]) -> Result<Running> {
        let mut command = Command::new(self.bin.join("serin"));
        command.arg("--config").arg(config).args(asked).env("SUDO_USER", who);
        let running = Running::start(&mut command)?;
        let acts = asked.iter().any(|word| ACTING.contains(word));
        Ok(if acts { running.counted(&self.account, Adopts::No) } else { running })
    }

    /// Starts `serin` with a configuration of one's own on a machine that is called otherwise.
    pub(crate) fn serin_named(
        &self,
        machine: &str,
        config: &Path,
        arguments: &[&str],
    ) -> Result<Running> {
        let mut command = Command::new("unshare");
        command.args(["--uts", "--", "sh", "-c", "hostname \"$1\" && shift && exec \"$@\"", "sh"]);
        command
            .arg(machine)
            .arg(self.bin.join("serin"))
            .arg("--config")
            .arg(config)
            .args(arguments);
        let adopts = if arguments.contains(&"adopt") { Adopts::Yes } else { Adopts::No };
        let running = Running::start(&mut command)?;
        let acts = arguments.iter().any(|word| ACTING.contains(word));
        Ok(if acts { running.counted(&self.account, adopts) } else { running })
    }

    /// Starts `serin` on a machine whose clock is so many seconds ahead, or behind with a minus.
    pub(crate) fn serin_at(&self, seconds: &str, arguments: &[&str]) -> Result<Running> {
        let mut command = Command::new(self.bin.join("serin"));
        command.arg("--config").arg(self.folder.join("serin.toml")).args(arguments);
        command.env("LD_PRELOAD", LIBFAKETIME).env("FAKETIME", format!("{seconds}s"));
        Ok(Running::start(&mut command)?.counted(&self.account, Adopts::No))
    }

    /// Writes a configuration of ssh like the lab's, with a round trip of so many milliseconds to every host.
    pub(crate) fn delayed_ssh_config(&self, milliseconds: u32) -> Result<NamedTempFile> {
        let copy = tempfile::Builder::new().suffix(".ssh").tempfile()?;
        let text = format!(
            "Host *\n    ProxyCommand {} delayed --milliseconds {milliseconds} %h %p\n\
             Include {}\n",
            self.bin.join("serin-lab").display(),
            self.folder.join("ssh_config").display()
        );
        std::fs::write(copy.path(), text)?;
        Ok(copy)
    }

    /// Writes a changed copy of the lab's configuration, outside of the lab's folder, in which nothing else may be.
    pub(crate) fn changed_config(&self, change: impl Fn(&str) -> String) -> Result<NamedTempFile> {
        let text = std::fs::read_to_string(self.folder.join("serin.toml"))?;
        let copy = tempfile::Builder::new().suffix(".toml").tempfile()?;
        std::fs::write(copy.path(), change(&text))?;
        Ok(copy)
    }

    /// Runs a command as root inside a host, and returns its lines.
    pub(crate) fn on(&self, host: &str, command: &str) -> Result<Vec<String>> {
        let ended = self.lab(&["exec", host, "--", "sh", "-c", command])?;
        ended.expect(0).with_context(|| format!("on {host}"))?;
        Ok(ended.log)
    }

    /// Returns the names and addresses of hosts of a kind, for example `load-balancer`.
    pub(crate) fn hosts(&self, kind: &str) -> Result<Vec<(String, String)>> {
        let all = self.all_hosts()?.into_iter();
        Ok(all.filter(|host| host.kind == kind).map(|host| (host.name, host.address)).collect())
    }

    /// Returns all hosts.
    pub(crate) fn all_hosts(&self) -> Result<Vec<LabHost>> {
        let text = std::fs::read_to_string(self.folder.join("lab.json"))?;
        let state: serde_json::Value = serde_json::from_str(&text)?;
        let hosts = state.pointer("/topology/hosts").and_then(|hosts| hosts.as_array());
        let field = |host: &serde_json::Value, name: &str| {
            host.get(name).and_then(|value| value.as_str()).map(str::to_owned)
        };
        let hosts = hosts.context("lab.json has no hosts")?.iter();
        let hosts = hosts.filter_map(|host| {
            Some(LabHost {
                name: field(host, "name")?,
                address: field(host, "address")?,
                kind: field(host, "kind")?,
            })
        });
        Ok(hosts.collect())
    }

    /// Returns a number below a bound, the next of the seed's.
    pub(crate) fn random(&mut self, bound: usize) -> usize {
        // SplitMix64: small, and the same on every machine and in every version.
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).unwrap_or(0) % bound.max(1)
    }
}

/// Names the damage that a command of the lab does; undoing it is none.
fn damage<'a>(arguments: &[&'a str]) -> Option<&'a str> {
    match arguments {
        ["break", "mend" | "power-on", ..] => None,
        ["break", damage, ..] => Some(damage),
        _ => None,
    }
}
