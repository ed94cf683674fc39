//! What a process reads once, at its start: the host's settings and the build that is on disk.
//!
//! Nothing is read again later. That is the point: a service goes on reporting the build that it loaded, however often
//! dpkg has replaced the files since.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::flaw::Flaw;

/// The three directory trees of an omnibus installation, below one root.
#[derive(Clone, Debug)]
pub(crate) struct Installation {
    root: PathBuf,
}

impl Installation {
    /// The installation below `root`.
    pub(crate) fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// The Rails tree, the target of patches.
    pub(crate) fn rails(&self) -> PathBuf {
        self.root.join("opt/gitlab/embedded/service/gitlab-rails")
    }

    /// The settings of this host; a host without the file has the defaults.
    pub(crate) fn read_settings(&self) -> anyhow::Result<Settings> {
        let path = self.root.join("etc/gitlab/serin-lab.env");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| path.display().to_string()),
        };
        Ok(Settings { values: parse_env(&text) })
    }

    /// The build that is on disk now.
    pub(crate) fn read_build(&self) -> anyhow::Result<Build> {
        let manifest = read_text(&self.root.join("opt/gitlab/version-manifest.json"))?;
        let manifest: serde_json::Value =
            serde_json::from_str(&manifest).context("version-manifest.json is no JSON")?;
        let version = manifest
            .get("build_version")
            .and_then(serde_json::Value::as_str)
            .context("version-manifest.json has no build_version")?;
        Ok(Build {
            version: version.to_owned(),
            rails_version: read_text(&self.rails().join("VERSION"))?.trim().to_owned(),
            revision: read_text(&self.rails().join("REVISION"))?.trim().to_owned(),
            flaw: Flaw::parse_name(&read_text(&self.root.join("opt/gitlab/flaw"))?)?,
        })
    }
}

/// A build, as loaded into memory by one process.
#[derive(Clone, Debug)]
pub(crate) struct Build {
    /// The package version, such as `16.0.0-ee.0`.
    pub version: String,
    /// What Rails calls itself, such as `16.0.0-ee`.
    pub rails_version: String,
    /// The short commit.
    pub revision: String,
    /// How the build is broken, if it is.
    pub flaw: Option<Flaw>,
}

/// `/etc/gitlab/serin-lab.env`.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    values: BTreeMap<String, String>,
}

impl Settings {
    /// The value of `key`; an empty value counts as absent.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The number under `key`, or the default.
    pub(crate) fn number(&self, key: &str, default: u64) -> anyhow::Result<u64> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.parse().with_context(|| format!("serin-lab.env: {key}={value} is no number"))
    }

    /// The port under `key`, or the default. Lab hosts have an address each and keep the defaults.
    pub(crate) fn port(&self, key: &str, default: u16) -> anyhow::Result<u16> {
        let Some(value) = self.get(key) else { return Ok(default) };
        value.parse().with_context(|| format!("serin-lab.env: {key}={value} is no port"))
    }

    /// Where the database is. The environment wins, so that a task can be run against another one.
    #[expect(clippy::disallowed_methods, reason = "the edge: read once at start")]
    pub(crate) fn database_url(&self) -> Option<String> {
        std::env::var("DATABASE_URL")
            .ok()
            .filter(|url| !url.is_empty())
            .or_else(|| self.get("DATABASE_URL").map(str::to_owned))
    }

    /// The address of the gitaly that keeps `project`; a comma list is spread by the project's name.
    pub(crate) fn gitaly_of(&self, project: &str) -> Option<&str> {
        let gitalys: Vec<&str> = self.get("GITALY")?.split(',').map(str::trim).collect();
        let spread = project.bytes().fold(0_usize, |sum, byte| sum.wrapping_add(usize::from(byte)));
        gitalys.get(spread % gitalys.len().max(1)).copied()
    }
}

/// The name of this host, as the kernel knows it.
pub(crate) fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}

fn read_text(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn parse_env(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.trim().split_once('='))
        .filter(|(key, _)| !key.starts_with('#'))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().trim_matches('"').to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        Settings { values: parse_env(text) }
    }

    #[test]
    fn comments_quotes_and_empty_values_are_understood() {
        let settings = settings("# GITALY=no\nROLES=web,api\nFLEET=\"canary\"\nGITALY=\n");
        assert_eq!(settings.get("ROLES"), Some("web,api"));
        assert_eq!(settings.get("FLEET"), Some("canary"));
        assert_eq!(settings.get("GITALY"), None);
    }

    #[test]
    fn a_number_that_is_none_is_refused() {
        let error = settings("SERIN_LAB_ALERT_AFTER=soon").number("SERIN_LAB_ALERT_AFTER", 60);
        assert!(error.unwrap_err().to_string().contains("SERIN_LAB_ALERT_AFTER=soon is no number"));
    }

    #[test]
    fn a_project_always_lives_on_the_same_gitaly() {
        let settings = settings("GITALY=one:1,two:2");
        assert_eq!(settings.gitaly_of("a"), Some("two:2"));
        assert_eq!(settings.gitaly_of("b"), Some("one:1"));
        assert_eq!(settings.gitaly_of("a"), Some("two:2"));
    }
}
