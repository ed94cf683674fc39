//! Builds the stand-in `gitlab-ee` package: the same bytes for the same version, flaw and binary.
//!
//! What is in the package is in `tree` and, as files, in `crates/lab/package`. Nothing here knows a repository, a host
//! or how the lab is laid out.

mod migrations;
mod names;
mod tree;

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};

use names::Names;
use tree::Entry;

/// Every file is as old as this (2023-11-14), so that a package does not depend on when it was built.
const SOURCE_DATE_EPOCH: &str = "1700000000";

/// Which package to build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackageSpec {
    /// A Debian version that starts with `MAJOR.MINOR.`, such as `16.1.0-ee.0`.
    pub version: String,
    /// How the build is broken; `None` is a healthy one.
    pub flaw: Option<Flaw>,
    /// How much of the fix of `scenarios/redirect.patch` the build contains; `None`: nothing of it.
    pub fix: Option<Fix>,
}

/// How much of a security fix is in the Rails code of a build.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Fix {
    /// All of it.
    Whole,
    /// One of its two files: what a backport forgets.
    Half,
}

/// The named ways in which a build can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Flaw {
    /// The postinst exits 1: the package stays half-configured.
    FailsToInstall,
    /// puma and workhorse answer 503 on `/-/readiness` for ever.
    NeverReady,
    /// puma and workhorse exit five seconds after each start.
    DiesAfterFiveSeconds,
    /// puma and workhorse answer one request in twenty with 500.
    FivePercentErrors,
    /// puma and workhorse take 1.5 s longer for every request.
    Slow,
    /// The version's second migration fails after its first was committed.
    MigrationFailsHalfWay,
    /// Every migration takes four seconds, long enough to be met in the middle.
    SlowMigrations,
    /// `/api/v4/version` reports a wrong version.
    QaFails,
    /// `serin_lab_alert` becomes 1 a minute after puma or workhorse started.
    FiresAlertAfterAMinute,
    /// `serin_lab_alert` becomes 1 when a process has answered a few searches, which no test asks for.
    FiresAlertBySearches,
}

impl Flaw {
    /// All of them, in the order of the enum.
    pub(crate) const ALL: [Self; 10] = [
        Self::FailsToInstall,
        Self::NeverReady,
        Self::DiesAfterFiveSeconds,
        Self::FivePercentErrors,
        Self::Slow,
        Self::MigrationFailsHalfWay,
        Self::SlowMigrations,
        Self::QaFails,
        Self::FiresAlertAfterAMinute,
        Self::FiresAlertBySearches,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::FailsToInstall => "fails-to-install",
            Self::NeverReady => "never-ready",
            Self::DiesAfterFiveSeconds => "dies-after-five-seconds",
            Self::FivePercentErrors => "five-percent-errors",
            Self::Slow => "slow",
            Self::MigrationFailsHalfWay => "migration-fails-half-way",
            Self::SlowMigrations => "slow-migrations",
            Self::QaFails => "qa-fails",
            Self::FiresAlertAfterAMinute => "fires-alert-after-a-minute",
            Self::FiresAlertBySearches => "fires-alert-by-searches",
        }
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for Flaw {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        if let Some(flaw) = Self::ALL.into_iter().find(|flaw| flaw.name() == name) {
            return Ok(flaw);
        }
        let known: Vec<&str> = Self::ALL.into_iter().map(Self::name).collect();
        bail!("`{name}` is no flaw; the flaws are {}", known.join(", "))
    }
}

/// Builds the package in `out_dir` and returns its path. An older file of the same name is replaced.
pub(crate) fn build_deb(
    spec: &PackageSpec,
    standin_binary: &Path,
    out_dir: &Path,
) -> anyhow::Result<PathBuf> {
    let names = Names::of(&spec.version)?;
    let architecture = run("dpkg", &[OsStr::new("--print-architecture")])?;
    let architecture = architecture.trim();
    let folder = tempfile::tempdir().context("cannot make a working folder")?;
    let root = folder.path();
    set_mode(root, 0o755)?;
    for (path, entry) in tree::entries(spec, &names, architecture) {
        write_entry(root, &path, &entry).with_context(|| path.clone())?;
    }
    install_binary(standin_binary, &root.join("opt/gitlab/embedded/bin/serin-standin"))?;
    // As Debian does: an epoch is not part of the file's name.
    let version = spec.version.split_once(':').map_or(spec.version.as_str(), |(_, rest)| rest);
    let deb = out_dir.join(format!("gitlab-ee_{version}_{architecture}.deb"));
    std::fs::create_dir_all(out_dir).with_context(|| out_dir.display().to_string())?;
    let arguments = ["--root-owner-group", "-Zgzip", "--build"].map(OsStr::new);
    run("dpkg-deb", &[&arguments[..], &[root.as_os_str(), deb.as_os_str()]].concat())?;
    Ok(deb)
}

fn install_binary(from: &Path, to: &Path) -> anyhow::Result<()> {
    make_parent(to)?;
    std::fs::copy(from, to).with_context(|| from.display().to_string())?;
    set_mode(to, 0o755)?;
    run("strip", &[to.as_os_str()])?;
    Ok(())
}

fn write_entry(root: &Path, path: &str, entry: &Entry) -> anyhow::Result<()> {
    let path = root.join(path);
    make_parent(&path)?;
    match entry {
        Entry::File(content) => {
            std::fs::write(&path, content)?;
            set_mode(&path, 0o644)
        }
        Entry::Script(content) => {
            std::fs::write(&path, content)?;
            set_mode(&path, 0o755)
        }
        Entry::Link(target) => Ok(std::os::unix::fs::symlink(target, &path)?),
    }
}

/// Folders of a package are 0755 whatever the umask of the one who builds it.
fn make_parent(path: &Path) -> anyhow::Result<()> {
    let parent = path.parent().context("a file at the root of the package")?;
    if parent.is_dir() {
        return Ok(());
    }
    make_parent(parent)?;
    std::fs::create_dir(parent)?;
    set_mode(parent, 0o755)
}

fn set_mode(path: &Path, mode: u32) -> anyhow::Result<()> {
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?)
}

fn run(program: &str, arguments: &[&OsStr]) -> anyhow::Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .env("SOURCE_DATE_EPOCH", SOURCE_DATE_EPOCH)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .with_context(|| format!("cannot run {program}"))?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} {arguments:?}: {}: {error}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
