//! The command line. Its help is where a release manager learns Serin.

mod audit;
mod chat;
mod ci;
mod environment;
mod gitlab;
mod patch;
mod rehearse;

pub(crate) use audit::{Audit, AuditCommand};
pub(crate) use chat::ChatCommand;
pub(crate) use ci::{Bakes, CiBegin, CiCommand, CiGitlab, CiPromotable, CiStage, Promoting};
pub(crate) use environment::{Drift, Hold, HoldCommand, Past, Place, Resume, ShareOf, Start};
pub(crate) use gitlab::{GitLabCommand, PipelineOf, TestsAre, Variable};
pub(crate) use patch::{PatchApply, PatchCheck, PatchCommand, PatchRemove};
pub(crate) use rehearse::{FaultWords, Rehearse, When};

use clap::{Args, Parser, Subcommand, ValueEnum};
use serin_model::{DebVersion, EnvironmentName, PipelineName, RunId};
use serin_traffic::{BaseUrl, Endpoint};
use std::path::PathBuf;
use std::str::FromStr;

/// Continuous delivery for fleets of hosts that are installed from Debian packages and served through HAProxy.
///
/// A release manager's day: `serin builds` shows what there is, `serin plan to-canary BUILD` what would happen, and
/// `serin run to-canary BUILD` makes it happen, in the foreground, stopping by itself when anything looks wrong.
/// `serin promote` takes the build that is on the canary to the rest of production, and `serin rollback` goes back.
/// From any other terminal, `serin status` and `serin why` say how things stand, `serin halt` stops the run safely, and
/// `serin resume` lets it go on. If this machine or process dies, `serin adopt` takes the run over where it was.
#[derive(Debug, Parser)]
#[command(name = "serin", version, max_term_width = 100)]
pub(crate) struct Arguments {
    /// The configuration [default: serin.toml here, then /etc/serin/serin.toml]
    #[arg(long, short, global = true, value_name = "FILE", env = "SERIN_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON: one object, or one object a line while something is going on
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say more about what Serin itself does
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
    /// The record of the audit trail by which a door has asked for this command; it comes first of all
    #[arg(long, hide = true, value_name = "N")]
    pub(crate) asked: Option<u64>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Recipe {
    /// Returns how much of the plan is shown.
    pub(crate) fn detail(&self) -> Detail {
        if self.steps { Detail::Steps } else { Detail::Stages }
    }
}

/// How much of a plan is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Stages, phases and hosts.
    Stages,
    /// Every step as well.
    Steps,
}

impl Arguments {
    /// Returns what is to be printed.
    pub(crate) fn format(&self) -> crate::show::Format {
        if self.json { crate::show::Format::Json } else { crate::show::Format::Text }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check the configuration, reach everything, and say what would stop a run
    Doctor,
    /// List the builds in the package repository, newest first
    Builds {
        /// How many
        #[arg(long, short = 'n', default_value_t = 20)]
        limit: usize,
    },
    /// Show which components of the package differ between two builds
    Changes {
        /// The complete versions of two builds with `..` between them: OLD..NEW
        #[arg(value_name = "OLD..NEW")]
        builds: Builds,
    },
    /// Change files on hosts outside of a build, and keep the change until builds contain it
    Patch {
        #[command(subcommand)]
        command: PatchCommand,
    },
    /// Show what a run would do, without doing anything
    Plan(Recipe),
    /// Run a pipeline in a pretend copy of this installation, with faults, and forecast the real run
    ///
    /// The real planner and engine run on virtual time, in seconds. No host is contacted, nothing is recorded, no
    /// secret is read. A rehearsal ends like a run: with 0 when it delivers, with 5 when it halts.
    Rehearse(Rehearse),
    /// Run a pipeline for a build, in the foreground
    Run(Start),
    /// Take the build that is on the canary to the main fleet
    Promote(Promote),
    /// Go back to what hosts had before, as the journal recorded it
    ///
    /// No version need be named. Hosts go back in reverse order, drained within the same budgets as when they went
    /// forward. A run that is going on there is halted and given up first; a rollback that is interrupted is begun
    /// again with the same command. Alerts that fire when it begins do not stop it; new ones do.
    Rollback(Rollback),
    /// Agree to a run that another person is about to start, where it takes two
    ///
    /// It counts for one hour, for that pipeline and build, and for anybody else who starts it. A rollback and a patch need none.
    Agree(Agree),
    /// Say that what a stage waits for was done
    Approve(Approve),
    /// Show every environment: who it belongs to, what goes on there, which hosts are out of service
    Status,
    /// List runs, newest first
    Runs {
        /// How many
        #[arg(long, short = 'n', default_value_t = 50)]
        limit: usize,
    },
    /// Show one run: its stages, its halt, and every host that it has out of service
    Show(Show),
    /// Follow a run that another process acts for
    Watch {
        /// The run [default: the newest]
        run: Option<RunId>,
    },
    /// Stop a run: nothing new is started, hosts in the middle are brought to safety
    Halt(Decision),
    /// Lift a run's halt: what failed is tried again
    Resume(Resume),
    /// Give a halted run up: its environments are free for other runs
    Cancel(Decision),
    /// Take over the run of a process that died, and go on where it was
    Adopt {
        /// The run [default: the one that is not over]
        run: Option<RunId>,
    },
    /// Say everything that blocks now: alerts, claims, halts, holds, hosts out of service
    Why,
    /// Keep runs from starting in an environment, or let them again
    Hold(Hold),
    /// Show what was asked of an environment apart from runs, and what became of it
    History {
        /// The environment
        environment: EnvironmentName,
    },
    /// Show who asked for what, refused or not, and how it ended
    Audit(Audit),
    /// Show the share of traffic that a canary gets, or set it
    Share(ShareOf),
    /// Say what hosts run and what canaries get, for Prometheus
    Metrics(Metrics),
    /// Compare what load balancers have with what was intended
    Drift(Drift),
    /// Take commands from chats, and answer there
    Chat {
        #[command(subcommand)]
        command: ChatCommand,
    },
    /// Send constant HTTP traffic, and say exactly what came back
    Traffic(Traffic),
    /// Have a CI system run each stage as a job
    Ci {
        #[command(subcommand)]
        command: CiCommand,
    },
    /// Check or print things about the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Ask a GitLab for tests, and tell it what is deployed
    #[command(name = "gitlab")]
    GitLab {
        #[command(subcommand)]
        command: GitLabCommand,
    },
    /// Do things with the journal itself
    Journal {
        #[command(subcommand)]
        command: JournalCommand,
    },
    /// Print shell completions
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check the configuration without reaching anything
    Check,
    /// Print the JSON schema of serin.toml, for editors
    Schema,
}

#[derive(Debug, Subcommand)]
pub(crate) enum JournalCommand {
    /// Move the journal of a file into the empty database that the configuration names
    ///
    /// Nobody may act meanwhile: a lease that is held is refused. Everything is written in one transaction and compared
    /// before it counts. Afterwards the file is refused by every Serin, and says where its journal went; whoever still
    /// has the old configuration is told so. What was interrupted is begun again with the same command.
    Copy {
        /// The file: what `[journal] path` was
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
    },
}

/// Two builds.
#[derive(Debug, Clone)]
pub(crate) struct Builds {
    pub(crate) from: DebVersion,
    pub(crate) to: DebVersion,
}

impl FromStr for Builds {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let version = |text: &str| text.parse().map_err(|error| format!("{error}"));
        match text.split("..").collect::<Vec<_>>().as_slice() {
            [from, to] => Ok(Self { from: version(from)?, to: version(to)? }),
            _ => Err("write two complete versions with `..` between them".to_owned()),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Recipe {
    /// The pipeline, for example to-canary; `expedited` brings a build to one place as fast as possible
    pub(crate) pipeline: PipelineName,
    /// The build's complete version [default: the newest build in the repository by Debian's order]
    pub(crate) build: Option<DebVersion>,
    /// List every step, not only stages and hosts
    #[arg(long)]
    pub(crate) steps: bool,
    /// Where an expedited update goes: an environment, or one fleet of it
    #[arg(long, value_name = "ENVIRONMENT[/FLEET]")]
    pub(crate) fleet: Option<Place>,
    /// Why an expedited update is wanted; it is recorded and shown to everybody
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Promote {
    /// Say what is missing before it may be promoted by itself, and do nothing
    #[arg(long)]
    pub(crate) why_not: bool,
    /// Promote only if nothing is missing: for schedules
    #[arg(long, conflicts_with = "why_not")]
    pub(crate) if_ready: bool,
    /// The pipeline
    #[arg(long, default_value = "to-main")]
    pub(crate) pipeline: PipelineName,
    #[command(flatten)]
    pub(crate) past: Past,
}

#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// What goes back: a run such as r-7, an environment, or a fleet such as production/canary
    #[arg(value_name = "RUN|ENVIRONMENT[/FLEET]")]
    pub(crate) what: Option<Undone>,
    /// Everything that was given the newest build, in every environment that can go back
    #[arg(long)]
    pub(crate) release: bool,
    /// How hosts are treated
    #[arg(long, value_enum, default_value_t)]
    pub(crate) pace: Pace,
    /// Show what would happen, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Go on although environments are left out
    #[arg(long)]
    pub(crate) yes: bool,
    /// Why; it is recorded and shown to everybody
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) past: Past,
}

/// How hosts are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Pace {
    /// Drained within their budgets, with QA and a bake at the end
    #[default]
    Careful,
    /// All of a role at once, without drain, QA or bake; connections may be dropped
    Expedited,
}

/// What is undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Undone {
    Run(RunId),
    Place(Place),
}

impl FromStr for Undone {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        // A run's id is `r-` and a number; any other name is a place's.
        let number = text.strip_prefix("r-").is_some_and(|rest| rest.parse::<u64>().is_ok());
        if let (true, Ok(run)) = (number, text.parse::<RunId>()) {
            return Ok(Self::Run(run));
        }
        let place: Result<Place, _> = text.parse();
        place
            .map(Self::Place)
            .map_err(|why| format!("{why}; write for example r-7, production or production/canary"))
    }
}

#[derive(Debug, Args)]
pub(crate) struct Agree {
    /// The pipeline
    pub(crate) pipeline: PipelineName,
    /// The build's complete version
    pub(crate) build: DebVersion,
    /// What was looked at; it is recorded and shown to everybody
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) note: String,
}

#[derive(Debug, Args)]
pub(crate) struct Approve {
    /// The run [default: the one that is not over]
    pub(crate) run: Option<RunId>,
    /// What was done and found; it is recorded and shown to everybody
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) note: String,
}

#[derive(Debug, Args)]
pub(crate) struct Metrics {
    /// Tell the Pushgateway of the configuration instead of printing
    #[arg(long)]
    pub(crate) push: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The run, for example r-7 [default: the newest]
    pub(crate) run: Option<RunId>,
    /// Show every event
    #[arg(long)]
    pub(crate) events: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Decision {
    /// The run [default: the one that is not over]
    pub(crate) run: Option<RunId>,
    /// Why; it is recorded and shown to everybody
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct Traffic {
    /// Where to, for example http://127.0.0.1:8080; several take turns
    #[arg(required = true)]
    pub(crate) bases: Vec<BaseUrl>,
    /// Requests a second
    #[arg(long, default_value_t = 100.0)]
    pub(crate) rate: f64,
    /// For how long, for example 30s or 5m [default: until interrupted]
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(crate) length: Option<std::time::Duration>,
    /// What to ask for, for example 'GET /path weight=3 cookie=a=b host=canary.x'; may be given several times
    #[arg(long, short, default_value = "GET /")]
    pub(crate) endpoint: Vec<Endpoint>,
    /// How long a request may take
    #[arg(long, value_parser = duration, default_value = "10s")]
    pub(crate) timeout: std::time::Duration,
    /// The seed of the choice between endpoints
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

pub(crate) fn duration(text: &str) -> Result<std::time::Duration, String> {
    let parsed: Result<jiff::SignedDuration, _> = text.parse();
    parsed
        .ok()
        .and_then(|duration| std::time::Duration::try_from(duration).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| format!("{text:?} is not a time: write for example 30s, 5m or 1h 30m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_and_a_place_are_told_apart_by_their_names() {
        assert_eq!("r-7".parse(), Ok(Undone::Run("r-7".parse().unwrap())));
        for place in ["staging", "production/canary", "r-staging"] {
            assert_eq!(place.parse(), Ok(Undone::Place(place.parse().unwrap())), "{place}");
        }
        assert!("../x".parse::<Undone>().is_err());
    }
}
