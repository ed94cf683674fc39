//! The named ways in which a build can be broken, as the running services see them.
//!
//! Flaws of maintainer scripts and migrations are in the package's own files, not here; their names are still known, so
//! that a misspelt name stops a service instead of giving a healthy one.

use anyhow::bail;

/// What is wrong with the build that is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The package's postinst fails; the services know nothing of it.
    FailsToInstall,
    /// Readiness answers 503 for ever.
    NeverReady,
    /// The process exits five seconds after its start.
    DiesAfterFiveSeconds,
    /// One request in twenty is answered 500.
    FivePercentErrors,
    /// Every request takes 1.5 s longer.
    Slow,
    /// The second migration fails; the services know nothing of it.
    MigrationFailsHalfWay,
    /// Migrations take long; the services know nothing of it.
    SlowMigrations,
    /// `/api/v4/version` reports a wrong version.
    QaFails,
    /// `serin_lab_alert` becomes 1 after a minute.
    FiresAlertAfterAMinute,
    /// `serin_lab_alert` becomes 1 after a few searches, which are answered all the same.
    FiresAlertBySearches,
}

impl Flaw {
    /// Reads the content of `/opt/gitlab/flaw`; an empty file is a healthy build.
    pub(crate) fn parse_name(name: &str) -> anyhow::Result<Option<Self>> {
        Ok(Some(match name.trim() {
            "" => return Ok(None),
            "fails-to-install" => Self::FailsToInstall,
            "never-ready" => Self::NeverReady,
            "dies-after-five-seconds" => Self::DiesAfterFiveSeconds,
            "five-percent-errors" => Self::FivePercentErrors,
            "slow" => Self::Slow,
            "migration-fails-half-way" => Self::MigrationFailsHalfWay,
            "slow-migrations" => Self::SlowMigrations,
            "qa-fails" => Self::QaFails,
            "fires-alert-after-a-minute" => Self::FiresAlertAfterAMinute,
            "fires-alert-by-searches" => Self::FiresAlertBySearches,
            unknown => bail!("/opt/gitlab/flaw names an unknown flaw `{unknown}`"),
        }))
    }
}
