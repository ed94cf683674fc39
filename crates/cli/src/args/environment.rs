//! What is said about environments apart from runs: holds, overrides, shares of traffic.

use super::{Decision, Recipe, duration};
use clap::{Args, Subcommand, ValueEnum};
use serin_model::{EnvironmentName, FleetName, HoldName, InvalidName, MidRun};
use std::str::FromStr;
use std::time::Duration;

#[derive(Debug, Args)]
pub(crate) struct Start {
    #[command(flatten)]
    pub(crate) recipe: Recipe,
    #[command(flatten)]
    pub(crate) past: Past,
}

/// How a run gets past a hold.
#[derive(Debug, Default, Args)]
pub(crate) struct Past {
    /// Start although a hold or freeze window is on; the reason is recorded first, and shown to everybody
    #[arg(long = "override", value_name = "REASON")]
    pub(crate) over: Option<String>,
    /// The second person who agrees to the override, where the environment wants one
    #[arg(long, value_name = "NAME", requires = "over")]
    pub(crate) second: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Resume {
    #[command(flatten)]
    pub(crate) decision: Decision,
    /// Go on although a hold or freeze window is on; that is recorded first, with the reason, and shown to everybody
    #[arg(long = "override")]
    pub(crate) over: bool,
    /// The second person who agrees to the override, where the environment wants one
    #[arg(long, value_name = "NAME", requires = "over")]
    pub(crate) second: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Hold {
    #[command(subcommand)]
    pub(crate) command: HoldCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HoldCommand {
    /// Refuse new runs, and new stages of those on their way, until the hold ends or is lifted
    Place {
        /// The environment, or one fleet of it: production or production/canary
        #[arg(value_name = "ENVIRONMENT[/FLEET]")]
        place: Place,
        /// Why; it is recorded and shown to everybody
        #[arg(long, short, value_name = "TEXT")]
        reason: String,
        /// For how long, for example 2h [default: until it is lifted]
        #[arg(long = "for", value_name = "TIME", value_parser = duration, conflicts_with = "until")]
        length: Option<Duration>,
        /// Until when, by the clock of this machine, for example 2026-12-01T08:00
        #[arg(long, value_name = "DATE")]
        until: Option<String>,
        /// What it does to a run that is on its way there
        #[arg(long, value_enum, default_value = "next-stage")]
        mid_run: MidRunArg,
    },
    /// Lift a hold
    Lift {
        /// The hold, as `serin hold list` shows it, for example production/h-3
        hold: HoldName,
        /// Why; it is recorded and shown to everybody
        #[arg(long, short, value_name = "TEXT")]
        reason: String,
    },
    /// List the holds and freeze windows that are on, and the windows of the next seven days
    List,
}

#[derive(Debug, Args)]
pub(crate) struct ShareOf {
    /// The canary, for example production/canary
    #[arg(value_name = "ENVIRONMENT/FLEET")]
    pub(crate) place: Place,
    /// The share that it is to get, for example 5% [default: show what it gets]
    pub(crate) percent: Option<String>,
    /// Go there step by step over this time, for example 10m
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "percent")]
    pub(crate) over: Option<Duration>,
    /// Why; it is recorded and shown to everybody
    #[arg(long, short, value_name = "TEXT", requires = "percent")]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Drift {
    /// Put right what differs
    #[arg(long)]
    pub(crate) fix: bool,
}

/// An environment, or one fleet of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) environment: EnvironmentName,
    pub(crate) fleet: Option<FleetName>,
}

impl FromStr for Place {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let (environment, fleet) = match text.split_once('/') {
            Some((environment, fleet)) => (environment, Some(fleet.parse()?)),
            None => (text, None),
        };
        Ok(Self { environment: environment.parse()?, fleet })
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum MidRunArg {
    /// The run halts at once
    Halt,
    /// The run finishes the stage that is at work; the next one does not begin
    NextStage,
}

impl From<MidRunArg> for MidRun {
    fn from(arg: MidRunArg) -> Self {
        match arg {
            MidRunArg::Halt => Self::Halt,
            MidRunArg::NextStage => Self::NextStage,
        }
    }
}
