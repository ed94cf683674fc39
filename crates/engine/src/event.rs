//! Events: facts in the journal, past tense. They are the journal's format: see `docs/design/events-are-records.md`.

use serde::{Deserialize, Serialize};
use serin_model::{
    EnvironmentName, FleetName, Held, HostName, Plan, Reason, StepId, Timestamp, Verdict, time,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// A fact about a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A person started the run; always the first event.
    Started {
        /// The whole plan.
        plan: Box<Plan>,
        /// Who.
        by: String,
    },
    /// A process took the run over: everything that an earlier one had in flight is in doubt.
    Adopted {
        /// The number of its lease.
        term: u64,
        /// The process.
        by: String,
    },
    /// The run took an environment's claim and lease.
    EnvironmentEntered {
        /// The environment.
        environment: EnvironmentName,
        /// The number of the lease: the fence on its hosts and load balancers.
        fence: u64,
    },
    /// The fence was raised on the hosts and load balancers of an environment.
    FenceRaised {
        /// The environment.
        environment: EnvironmentName,
        /// The fence.
        fence: u64,
        /// Where it could not be raised, and why: these count as unavailable.
        unavailable: BTreeMap<HostName, String>,
    },
    /// The run gave an environment's claim and lease back.
    EnvironmentLeft {
        /// The environment.
        environment: EnvironmentName,
    },
    /// An attempt of a step began; on disk before anything happens.
    AttemptStarted {
        /// The step.
        step: StepId,
        /// The attempt, from 1.
        attempt: u32,
        /// The lease it was started under.
        term: u64,
    },
    /// An attempt ended.
    AttemptEnded {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
        /// How.
        outcome: Outcome,
        /// When.
        at: Timestamp,
    },
    /// HAProxy forgot that a host is drained (it was reloaded), and is told again.
    DrainLost {
        /// The host.
        host: HostName,
        /// Its servers that had come back.
        servers: Vec<String>,
    },
    /// HAProxy forgot a fleet's share of traffic (it was reloaded), and is told again.
    ShareLost {
        /// The fleet.
        fleet: FleetName,
        /// Its servers that had other weights.
        servers: Vec<String>,
    },
    /// What alerts say about an environment is not what it was.
    AlertsChanged {
        /// The environment.
        environment: EnvironmentName,
        /// What they say now.
        verdict: Verdict,
        /// Since when.
        since: Timestamp,
    },
    /// What holds an environment, for this run, is not what it was.
    HeldChanged {
        /// The environment.
        environment: EnvironmentName,
        /// What holds it now; empty: nothing.
        held: Vec<Held>,
    },
    /// A bake came further, or began again.
    BakeProgressed {
        /// The step.
        step: StepId,
        /// How much of it has been watched without a break, in milliseconds.
        #[serde(with = "time::millis")]
        watched: Duration,
        /// The last good sample; `None`: there is none that the next can follow.
        sample: Option<Timestamp>,
    },
    /// The run starts no more work, and brings hosts in the middle to safety.
    HaltRequested {
        /// Why.
        reason: Reason,
    },
    /// The run begins to take away the share that an exposure gave a fleet; on disk before anything happens.
    WithdrawalStarted {
        /// Where.
        environment: EnvironmentName,
        /// Whose share.
        fleet: FleetName,
        /// The attempt, from 1.
        attempt: u32,
        /// The lease it was started under.
        term: u64,
    },
    /// An attempt to take the share away ended.
    WithdrawalEnded {
        /// The attempt.
        attempt: u32,
        /// How.
        outcome: Outcome,
        /// When.
        at: Timestamp,
    },
    /// Nothing is in flight any more.
    Halted,
    /// A person lifted the halt: what failed is tried again.
    Resumed {
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
    /// A person gave the run up.
    Cancelled {
        /// Who.
        by: String,
        /// Why.
        why: String,
    },
    /// Every step is done.
    Finished,
}

/// How an attempt of a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was done, and reading back proved it. The text says what was seen.
    Done(String),
    /// Nothing had to be done. The text says what was seen.
    AlreadyDone(String),
    /// It failed, and is known not to have happened in full.
    Failed(Reason),
    /// Nobody answered: it may have happened. It is looked at again.
    Lost(Reason),
    /// Looking cannot tell whether it happened: a person must.
    Unknown(Reason),
}
