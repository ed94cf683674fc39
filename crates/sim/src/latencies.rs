//! How long things take in a pretend world: what each kind of work takes, as a range or as it was measured.

use crate::random::Random;
use serin_model::{MigrationKind, QaName};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long one kind of work takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spread {
    /// Always as long. Draws nothing.
    Always(Duration),
    /// At least the first and less than the second, to the millisecond.
    Between(Duration, Duration),
    /// As long as it once took: one of these, each as likely. None: no time at all.
    Seen(Vec<Duration>),
}

impl Spread {
    /// Draws a duration.
    pub(crate) fn draw(&self, random: &mut Random) -> Duration {
        match self {
            Self::Always(long) => *long,
            Self::Between(from, to) => random.between(*from, *to),
            Self::Seen(all) => random.pick(all).copied().unwrap_or_default(),
        }
    }

    /// Returns so much of every duration: `count` parts of `of`, which is at least 1.
    #[must_use]
    pub fn part(&self, count: u32, of: u32) -> Self {
        let part = |long: &Duration| *long * count / of.max(1);
        match self {
            Self::Always(long) => Self::Always(part(long)),
            Self::Between(from, to) => Self::Between(part(from), part(to)),
            Self::Seen(all) => Self::Seen(all.iter().map(part).collect()),
        }
    }
}

/// How long the work of an installation takes. What a plan or a policy says (bakes, polls, deadlines) is not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latencies {
    /// Until a package is fetched.
    pub fetch: Spread,
    /// Until a package is unpacked.
    pub unpack: Spread,
    /// From there until it is configured.
    pub configure: Spread,
    /// A host's configuration is brought up to date.
    pub reconfigure: Spread,
    /// Until a service that was told to has a new process.
    pub activate: Spread,
    /// Until the first migration begins.
    pub migrations_begin: Spread,
    /// Each regular migration, of which a build brings three.
    pub regular: Spread,
    /// Each post-deployment migration, of which it brings two.
    pub post_deployment: Spread,
    /// A run of a QA suite of which nothing else is known.
    pub qa: Spread,
    /// A run of these suites.
    pub suites: BTreeMap<QaName, Spread>,
    /// Until the last session of a drained server ends.
    pub sessions: Spread,
    /// Any other command.
    pub command: Spread,
}

const fn millis(from: u64, to: u64) -> Spread {
    Spread::Between(Duration::from_millis(from), Duration::from_millis(to))
}

const fn secs(from: u64, to: u64) -> Spread {
    millis(from * 1_000, to * 1_000)
}

impl Latencies {
    /// Returns those of most tests: everything is quick, so that much of a story is about what happens at once.
    pub fn quick() -> Self {
        Self {
            fetch: millis(1_500, 4_000),
            unpack: millis(1_000, 3_000),
            configure: millis(2_000, 6_000),
            reconfigure: millis(1_000, 4_000),
            activate: millis(300, 2_500),
            migrations_begin: millis(500, 1_000),
            regular: millis(500, 2_000),
            post_deployment: millis(500, 2_000),
            qa: Spread::Always(Duration::from_secs(8)),
            suites: BTreeMap::new(),
            sessions: millis(200, 4_000),
            command: millis(100, 400),
        }
    }

    /// Returns what is taken for an installation of which nothing was measured: a package of GitLab's size (about
    /// 1 GB) on ordinary machines, with a database and a QA of middling size.
    pub fn assumed() -> Self {
        Self {
            fetch: secs(20, 60),
            unpack: secs(30, 75),
            configure: secs(30, 75),
            reconfigure: secs(30, 90),
            activate: secs(15, 45),
            migrations_begin: secs(20, 40),
            regular: secs(20, 180),
            post_deployment: secs(20, 180),
            qa: secs(5 * 60, 15 * 60),
            suites: BTreeMap::new(),
            sessions: secs(1, 15),
            command: millis(300, 1_500),
        }
    }

    pub(crate) fn of_migration(&self, kind: MigrationKind) -> &Spread {
        match kind {
            MigrationKind::Regular => &self.regular,
            MigrationKind::PostDeployment => &self.post_deployment,
        }
    }

    pub(crate) fn of_suite(&self, suite: &QaName) -> &Spread {
        self.suites.get(suite).unwrap_or(&self.qa)
    }
}
