//! The lab, and `serin` in it, as commands.

use crate::process::{Ended, Running};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::NamedTempFile;

/// How long nothing may be printed by anything: longer than the longest bake and the slowest step of the lab.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);

/// The lab that the scenarios share.
pub(crate) struct Lab {
    bin: PathBuf,
    folder: PathBuf,
    state: u64,
    minor: u32,
}

impl Lab {
    pub(crate) fn new(bin: PathBuf, folder: &Path, seed: u64) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        Ok(Self { bin, folder: folder.canonicalize()?, state: seed, minor: 0 })
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
        Running::start(&mut command)
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
        let text = std::fs::read_to_string(self.folder.join("lab.json"))?;
        let state: serde_json::Value = serde_json::from_str(&text)?;
        let hosts = state.pointer("/topology/hosts").and_then(|hosts| hosts.as_array());
        let field = |host: &serde_json::Value, name: &str| {
            host.get(name).and_then(|value| value.as_str()).map(str::to_owned)
        };
        Ok(hosts
            .context("lab.json has no hosts")?
            .iter()
            .filter(|host| field(host, "kind").as_deref() == Some(kind))
            .filter_map(|host| Some((field(host, "name")?, field(host, "address")?)))
            .collect())
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
