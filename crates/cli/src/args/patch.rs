//! What is said about patches.

use super::{Pace, Past, Place};
use clap::{Args, Subcommand};
use serin_model::{DebVersion, EnvironmentName, Sha256};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum PatchCommand {
    /// Say whether a build contains a patch, and what the patch makes of its files; reaches no host
    Check(PatchCheck),
    /// Put a patch on the hosts of a place, every host checked first, and keep it there until builds contain it
    ///
    /// Each host has all of the patch or nothing of it. Hosts whose services have loaded a file of it are drained one after
    /// the other; a host that does not run well with it goes back by itself, and the run halts. The canary takes no new
    /// build that does not contain the patch, and other runs put it on again.
    Apply(PatchApply),
    /// Take a patch off hosts: files are as they were before it
    Remove(PatchRemove),
    /// List the patches that hosts are to have, and the hosts that do not
    List {
        /// Also those that are closed
        #[arg(long)]
        all: bool,
    },
    /// Give a patch up without touching hosts: builds need not contain it, and runs do not keep it
    Withdraw {
        /// The patch: the first digits of its id, as `serin patch list` shows it
        #[arg(value_name = "PATCH")]
        patch: String,
        /// Why; it is recorded and shown to everybody
        #[arg(long, short, value_name = "TEXT")]
        reason: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct PatchApply {
    /// The patch, as `git diff` or `git format-patch` makes it
    pub(crate) file: PathBuf,
    /// Where: an environment, or one fleet of it
    #[arg(long, value_name = "ENVIRONMENT[/FLEET]")]
    pub(crate) fleet: Place,
    /// The incident that it is for, as people refer to it
    #[arg(long, value_name = "TEXT")]
    pub(crate) incident: String,
    /// Why; it is recorded and shown to everybody
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) reason: String,
    /// Where paths in the patch begin: one of `patch_roots` [default: the first]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) root: Option<String>,
    /// The patch's SHA-256 as its author says it: only this tells that nothing is missing at its end
    #[arg(long, value_name = "HASH")]
    pub(crate) sha256: Option<Sha256>,
    /// How hosts are treated
    #[arg(long, value_enum, default_value_t)]
    pub(crate) pace: Pace,
    /// Show what would happen, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) past: Past,
}

#[derive(Debug, Args)]
pub(crate) struct PatchRemove {
    /// The patch: the first digits of its id, as `serin patch list` shows it
    #[arg(value_name = "PATCH")]
    pub(crate) patch: String,
    /// The environment
    #[arg(long, value_name = "ENVIRONMENT")]
    pub(crate) environment: EnvironmentName,
    /// Why; it is recorded and shown to everybody
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) reason: String,
    /// How hosts are treated
    #[arg(long, value_enum, default_value_t)]
    pub(crate) pace: Pace,
    /// Show what would happen, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) past: Past,
}

#[derive(Debug, Args)]
pub(crate) struct PatchCheck {
    /// The patch, as `git diff` or `git format-patch` makes it
    pub(crate) file: PathBuf,
    /// The build's complete version
    #[arg(long, value_name = "VERSION")]
    pub(crate) build: DebVersion,
    /// Where paths in the patch begin: one of `patch_roots` [default: the first]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) root: Option<String>,
    /// The patch's SHA-256 as its author says it: only this tells that nothing is missing at its end
    #[arg(long, value_name = "HASH")]
    pub(crate) sha256: Option<Sha256>,
}
