//! Verdicts and the reasons behind them, rendered for people in this one place.
//!
//! A gate, a guard or a step never answers with a bare "no": it names a [`Reason`]. Terminal, journal and, later, web
//! and chat all print the same words, because they all print this type.

use crate::{Action, EnvironmentName, FleetName, Held, HostName, RunId, time};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// What a guard or a gate says. Only `Pass` lets a run go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything that had to be seen was seen, and is good.
    Pass,
    /// Something is wrong.
    Fail(Reason),
    /// It cannot be told whether anything is wrong, so it is not a pass.
    Inconclusive(Reason),
}

/// Why something stopped, failed or could not be judged. `Display` is a fragment that a sentence can end with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// Alerts that count are firing.
    AlertsFiring(Vec<String>),
    /// Alerts cannot be read, or what was read cannot be proven fresh.
    AlertsUnreadable(String),
    /// The world is not as the plan expects it.
    Unexpected {
        /// What the plan counts on.
        expected: String,
        /// What is there.
        found: String,
    },
    /// A command on a host failed.
    CommandFailed {
        /// The command as a person would type it.
        command: String,
        /// Its exit status in words.
        status: String,
        /// The last lines that it printed.
        output: String,
    },
    /// A host or load balancer cannot be reached.
    Unreachable {
        /// Which one.
        host: HostName,
        /// What was tried, and what came back.
        why: String,
    },
    /// Something took longer than it may.
    TimedOut {
        /// What was waited for.
        what: String,
        /// How long, in milliseconds.
        #[serde(with = "time::millis")]
        after: Duration,
    },
    /// Sessions were left on a server when the drain deadline came.
    SessionsLeft {
        /// The servers, with their sessions.
        servers: Vec<String>,
        /// The deadline, in milliseconds.
        #[serde(with = "time::millis")]
        after: Duration,
    },
    /// Who was asked understood, and refused; the text is its own.
    Refused(String),
    /// A newer controller has taken over: nothing was changed.
    Fenced {
        /// The number that the host or load balancer has already seen.
        by: u64,
    },
    /// Looking cannot tell whether a step that must not run twice has run.
    OutcomeUnknown(String),
    /// QA ran, and tests failed.
    TestsFailed(Vec<String>),
    /// QA ran too few tests to mean anything.
    TooFewTests {
        /// How many were executed.
        executed: u32,
        /// How many there must be.
        minimum: u32,
    },
    /// Too little real traffic came to judge a build by.
    TooFewRequests {
        /// The fleet that should have got it.
        fleet: FleetName,
        /// How many requests came.
        seen: u64,
        /// How many there must be.
        wanted: u64,
        /// Within which time, in milliseconds.
        #[serde(with = "time::millis")]
        after: Duration,
    },
    /// QA did not produce a result that can be read.
    QaBroken(String),
    /// Hosts or servers are not as they should be after everything was done.
    Strays(Vec<String>),
    /// A step failed on a host.
    StepFailed {
        /// The host.
        host: HostName,
        /// The step's action.
        step: String,
        /// What went wrong.
        reason: Box<Reason>,
    },
    /// No host could be taken out of service for too long, and nothing else is going on.
    NotAdmitted {
        /// The first host that waits.
        host: HostName,
        /// What stands in its way.
        why: String,
        /// How long it was waited, in milliseconds.
        #[serde(with = "time::millis")]
        after: Duration,
    },
    /// The environment belongs to another run.
    Claimed {
        /// The environment.
        environment: EnvironmentName,
        /// The run.
        run: RunId,
    },
    /// A newer run of the same pipeline goes on instead.
    Superseded {
        /// The newer run.
        by: RunId,
    },
    /// Another run has changed what this one is about since it was planned.
    Outdated {
        /// Where.
        environment: EnvironmentName,
        /// The other run.
        by: RunId,
    },
    /// A hold or a freeze window is on.
    Held(Box<Held>),
    /// A person asked for it.
    Person {
        /// Who.
        who: String,
        /// Why, in their words.
        why: String,
    },
    /// The controller was interrupted by a signal.
    Interrupted,
}

fn list(f: &mut fmt::Formatter<'_>, items: &[String]) -> fmt::Result {
    /// More than this many items are counted, not printed: a halt has to fit on a screen.
    const SHOWN: usize = 8;
    let shown = items.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    f.write_str(&shown)?;
    match items.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => write!(f, " and {more} more"),
        Some(_) | None => Ok(()),
    }
}

impl Reason {
    /// Tells whether the plan counts on what is not so: going on with it comes to the same end, unless somebody puts the
    /// world back.
    pub fn is_outdated_plan(&self) -> bool {
        matches!(self, Self::StepFailed { step, reason, .. }
            if *step == Action::CheckHost { from: None }.name()
                && matches!(**reason, Self::Unexpected { .. }))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlertsFiring(alerts) => {
                f.write_str("alerts are firing: ")?;
                list(f, alerts)
            }
            Self::AlertsUnreadable(why) => write!(f, "alerts cannot be trusted: {why}"),
            Self::Unexpected { expected, found } => {
                write!(f, "expected {expected}, found {found}")
            }
            Self::CommandFailed { command, status, output } if output.is_empty() => {
                write!(f, "`{command}` {status}")
            }
            Self::CommandFailed { command, status, output } => {
                write!(f, "`{command}` {status}: {output}")
            }
            Self::Unreachable { host, why } => write!(f, "{host} cannot be reached: {why}"),
            Self::TimedOut { what, after } => {
                write!(f, "{what} took longer than {}", seconds(*after))
            }
            Self::SessionsLeft { servers, after } => {
                write!(f, "sessions were left after {}: ", seconds(*after))?;
                list(f, servers)
            }
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::Fenced { by } => {
                write!(f, "a newer controller (fence {by}) has taken over; nothing was changed")
            }
            Self::OutcomeUnknown(what) => write!(f, "it cannot be told whether {what}"),
            Self::TestsFailed(tests) => {
                write!(f, "{} QA test(s) failed: ", tests.len())?;
                list(f, tests)
            }
            Self::TooFewTests { executed, minimum } => {
                write!(f, "QA executed {executed} test(s), at least {minimum} must run")
            }
            Self::TooFewRequests { fleet, seen, wanted, after } => write!(
                f,
                "{seen} request(s) reached {fleet} in {}, at least {wanted} must: too few to judge by",
                seconds(*after)
            ),
            Self::QaBroken(why) => write!(f, "QA gave no result: {why}"),
            Self::Strays(strays) => {
                f.write_str("not as intended: ")?;
                list(f, strays)
            }
            Self::StepFailed { host, step, reason } => write!(f, "{step} on {host}: {reason}"),
            Self::NotAdmitted { host, why, after } => {
                write!(f, "{host} could not be taken out of service for {}: {why}", seconds(*after))
            }
            Self::Claimed { environment, run } => write!(f, "{environment} belongs to run {run}"),
            Self::Superseded { by } => write!(f, "superseded by run {by}, which is newer"),
            Self::Outdated { environment, by } => {
                write!(f, "run {by} has changed {environment} since this one was planned")
            }
            Self::Held(held) => held.fmt(f),
            Self::Person { who, why } => write!(f, "{who} asked for it: {why}"),
            Self::Interrupted => f.write_str("the controller was interrupted"),
        }
    }
}

/// Shows a duration as a person says it: `90s`, `5m`, `1.5s`.
pub fn seconds(duration: Duration) -> String {
    let millis = duration.as_millis();
    match (millis / 1000, millis % 1000) {
        (0, ms) => format!("{ms}ms"),
        (s, 0) if s >= 120 && s % 60 == 0 => format!("{}m", s / 60),
        (s, 0) => format!("{s}s"),
        (s, ms) => format!("{s}.{}s", ms / 100),
    }
}
