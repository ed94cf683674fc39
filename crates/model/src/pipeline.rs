//! Pipelines as recipes: which stages there are, before it is known for which build.
//!
//! A recipe comes from the configuration and names environments, fleets, roles and QA suites of the topology beside
//! it. It holds no hosts, versions or steps: those are the planner's, which turns a [`Pipeline`] and a build into a
//! [`crate::Plan`].
//!
//! Invariants (checked where recipes are read): a pipeline has at least one stage; stage numbers rise strictly; every
//! name exists in the topology; only a stage that deploys roles of a canary fleet touches the share of traffic.

use crate::{EnvironmentName, FleetName, PipelineName, QaName, RoleName, time};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A named recipe of stages, for example `to-canary`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pipeline {
    /// Its name.
    pub name: PipelineName,
    /// Its stages, by rising number.
    pub stages: Vec<StageSpec>,
}

/// What one stage of a pipeline is to do. In this order: guard, work, QA, alerts, bake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageSpec {
    /// Its number, unique in the pipeline; numbers may leave gaps.
    pub number: u32,
    /// What it does, in words.
    pub title: String,
    /// Where.
    pub environment: EnvironmentName,
    /// The fleet that roles are deployed to. Migrations run from the deploy host, whichever fleet that is in.
    pub fleet: FleetName,
    /// What is done to it.
    pub work: WorkSpec,
    /// What becomes of the fleet's share of traffic.
    pub share: ShareSpec,
    /// How another fleet proves the build with real traffic before the work begins.
    pub exposure: Option<Exposure>,
    /// What a person must have done, and signed, after the work: the stage waits for their word.
    pub approval: Option<String>,
    /// The QA suites that must pass after the work, in this order.
    pub qa: Vec<QaName>,
    /// How long alerts are watched at the end with nothing else happening, in milliseconds; zero: no bake.
    #[serde(with = "time::millis")]
    pub bake: Duration,
}

/// What a stage does to its environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WorkSpec {
    /// Install on the deploy host and run the migrations that must come before the new code.
    Migrations,
    /// Install on every host of the stage's fleet that has one of these roles; all roles side by side.
    Roles(Vec<RoleName>),
    /// Run the migrations that must come after the new code, past which there is no going back.
    PostDeploymentMigrations,
    /// Install on the deploy host and leave the database as it is: how a rollback treats it.
    DeployHost,
    /// Put a patch on every host of the fleet, or take it off; nothing is installed.
    Patch,
}

/// How a fleet proves a build with real traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exposure {
    /// The fleet; every host of it must run the build.
    pub fleet: FleetName,
    /// Its share of traffic from then on, in percent.
    pub percent: u8,
    /// How many requests must reach it.
    pub requests: u64,
    /// How long it is watched at least, in milliseconds: alert rules need time to fire.
    #[serde(with = "time::millis")]
    pub watch: Duration,
    /// After this time without enough requests the stage fails, in milliseconds: too little traffic proves nothing.
    #[serde(with = "time::millis")]
    pub deadline: Duration,
}

/// What becomes of the share of traffic of a stage's fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ShareSpec {
    /// The stage leaves it alone.
    Keep,
    /// Zero before the work begins; after the bake, the fleet's `share_after`. On a halt it stays zero.
    ZeroThenAfterCanary,
    /// Zero before the work begins, and zero afterwards: a person decides when it gets traffic again.
    Zero,
}
