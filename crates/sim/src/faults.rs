//! What goes wrong in a scenario, as values.
//!
//! Three kinds: something befalls the world at a moment, a controller's effect goes wrong by its number, or the
//! controller dies by the number of a journal append. Effects and appends are numbered from 1, in order, over all
//! controllers of a scenario; a baseline run without faults shows what each number is.

use crate::strikes::{Moment, Strike};
use serin_engine::transitions::Cause;
use serin_journal::FailMode;
use serin_model::{EnvironmentName, HostName};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// What goes wrong with the effects of controllers, and in the world.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// What befalls the world, by the time since it began.
    pub at: Vec<(Duration, Fault)>,
    /// What happens when steps begin, each once.
    pub strikes: Vec<(Moment, Strike)>,
    /// What goes wrong with single effects.
    pub effects: BTreeMap<u64, Trouble>,
    /// What goes wrong with every effect.
    pub every_effect: Option<Trouble>,
    /// When controllers die.
    pub kills: Vec<Kill>,
    /// Which appends go wrong, by number.
    pub appends: BTreeMap<u64, FailMode>,
    /// What goes wrong when something else has just begun.
    pub when: Vec<When>,
    /// How far the clocks of processes may be apart.
    pub clocks_apart: Duration,
}

/// Something that befalls the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A host loses its power, and starts again after a while, if ever.
    HostDies {
        /// The host.
        host: HostName,
        /// After how long it is there again.
        back_after: Option<Duration>,
    },
    /// A host or load balancer cannot be reached for a while; it lives on.
    Cut {
        /// The host.
        host: HostName,
        /// For how long.
        lasts: Duration,
    },
    /// HAProxy is reloaded: a new worker that knows only its configuration, and an old one that is leaving.
    Reload {
        /// The load balancer's host.
        host: HostName,
    },
    /// A critical alert fires.
    Alert {
        /// Where.
        environment: EnvironmentName,
        /// The host that it is about, if its rule is one that can be attributed.
        about: Option<HostName>,
        /// For how long.
        lasts: Duration,
    },
    /// Alerts cannot be read.
    AlertsUnreadable {
        /// Whose.
        environment: EnvironmentName,
        /// For how long.
        lasts: Duration,
    },
    /// Somebody installs a version that nobody expects.
    ThirdVersion {
        /// On this host.
        host: HostName,
    },
    /// Every answer of a host or load balancer takes longer.
    Slow {
        /// The host.
        host: HostName,
        /// By how much.
        by: Duration,
        /// For how long.
        lasts: Duration,
    },
    /// Somebody else holds dpkg's lock.
    DpkgLocked {
        /// On this host.
        host: HostName,
        /// For how long.
        lasts: Duration,
    },
    /// The repository does not have the package.
    PackageGone {
        /// For how long.
        lasts: Duration,
    },
    /// QA does not come to an end.
    QaHangs {
        /// For how long.
        lasts: Duration,
    },
    /// Config management converges now, out of its turn.
    Converges {
        /// On this host.
        host: HostName,
    },
}

/// Something that goes wrong when something else has just begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct When {
    /// What must be recorded first.
    pub cause: Cause,
    /// The how manieth time, from 1.
    pub nth: u32,
    /// How long after it: nobody waits to die.
    pub after: Duration,
    /// What then happens.
    pub mishap: Mishap,
}

/// What happens then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mishap {
    /// The process dies before it is written.
    DiesBefore,
    /// The process dies right after it is written.
    Dies,
    /// Something befalls the world.
    Befalls(Fault),
}

/// How an effect goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It is refused, or fails half-way where it is one that can.
    Fails,
    /// Nothing happens, and nobody answers.
    RequestLost,
    /// It begins; the connection breaks before its end.
    CutInTheMiddle,
    /// It happens to its end; the answer gets lost.
    ReplyLost,
    /// It happens, and then it is asked for once more.
    Twice,
}

impl Fault {
    /// Returns what kind of thing goes wrong, as a person would call it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::HostDies { back_after: None, .. } => "a host dies",
            Self::HostDies { back_after: Some(_), .. } => "a host reboots",
            Self::Cut { .. } => "a host cannot be reached",
            Self::Reload { .. } => "HAProxy is reloaded",
            Self::Alert { about: None, .. } => "an alert fires",
            Self::Alert { about: Some(_), .. } => "an alert about a host fires",
            Self::AlertsUnreadable { .. } => "alerts cannot be read",
            Self::ThirdVersion { .. } => "somebody installs another version",
            Self::Slow { .. } => "a host is slow",
            Self::DpkgLocked { .. } => "dpkg's lock is held",
            Self::PackageGone { .. } => "the package is gone",
            Self::QaHangs { .. } => "QA hangs",
            Self::Converges { .. } => "config management converges",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let long = |lasts: &Duration| serin_model::verdict::seconds(*lasts);
        match self {
            Self::HostDies { host, back_after: None } => write!(f, "{host} loses its power"),
            Self::HostDies { host, back_after: Some(after) } => {
                write!(f, "{host} loses its power, and boots after {}", long(after))
            }
            Self::Cut { host, lasts } => {
                write!(f, "{host} cannot be reached for {}", long(lasts))
            }
            Self::Reload { host } => write!(f, "HAProxy on {host} is reloaded"),
            Self::Alert { environment, about: None, lasts } => {
                write!(f, "a critical alert of {environment} fires for {}", long(lasts))
            }
            Self::Alert { environment, about: Some(host), lasts } => {
                write!(f, "an alert of {environment} about {host} fires for {}", long(lasts))
            }
            Self::AlertsUnreadable { environment, lasts } => {
                write!(f, "alerts of {environment} cannot be read for {}", long(lasts))
            }
            Self::ThirdVersion { host } => {
                write!(f, "somebody installs {} on {host}", crate::world::THIRD)
            }
            Self::Slow { host, by, lasts } => {
                write!(f, "{host} answers {} late for {}", long(by), long(lasts))
            }
            Self::DpkgLocked { host, lasts } => {
                write!(f, "somebody holds dpkg's lock on {host} for {}", long(lasts))
            }
            Self::PackageGone { lasts } => {
                write!(f, "the repository does not have the package for {}", long(lasts))
            }
            Self::QaHangs { lasts } => write!(f, "QA hangs for {}", long(lasts)),
            Self::Converges { host } => write!(f, "config management converges on {host}"),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fails => "fails",
            Self::RequestLost => "does not arrive",
            Self::CutInTheMiddle => "begins, and the connection breaks",
            Self::ReplyLost => "happens, and its answer gets lost",
            Self::Twice => "happens twice",
        })
    }
}

/// When a controller dies, as by `kill -9`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kill {
    /// When it is about to make this append.
    Before(u64),
    /// When this append is on disk, and nothing has followed from it.
    After(u64),
}
