//! `serin ci`: what the jobs of a CI pipeline call, and the pipeline itself.

use super::{Past, duration};
use clap::{Args, Subcommand, ValueEnum};
use serin_model::PipelineName;
use serin_traffic::BaseUrl;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(crate) enum CiCommand {
    /// Write a pipeline for GitLab in which each stage is a job, and its child for the promotion
    ///
    /// The same configuration and options give the same files. Files that somebody else has written are not
    /// overwritten.
    Gitlab(CiGitlab),
    /// Plan and record a run for jobs, without acting
    ///
    /// A pipeline with an exposure promotes the build that is on the canary; any other takes the build that is named, or
    /// the newest. Where there is nothing to do, no run is recorded, and the jobs of its stages have nothing to do.
    Begin(CiBegin),
    /// Adopt a run, act until a stage has passed, and leave it open for the next job
    ///
    /// A stage that has passed already is done at once; so a job that died is tried again by the same command. A stage
    /// whose predecessor has not passed is refused.
    Stage(CiStage),
    /// Say whether the run's build may be promoted now: the canary still has it
    Promotable(CiPromotable),
}

#[derive(Debug, Args)]
pub(crate) struct CiGitlab {
    /// The folder for .gitlab-ci.yml and production.gitlab-ci.yml
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub(crate) out: PathBuf,
    /// Say whether the files are what would be written, and write nothing
    #[arg(long)]
    pub(crate) check: bool,
    /// The pipeline that takes a build to the canary
    #[arg(long, value_name = "PIPELINE", default_value = "to-canary")]
    pub(crate) pipeline: PipelineName,
    /// The pipeline of the child, which promotes; one that there is not is left out
    #[arg(long, value_name = "PIPELINE", default_value = "to-main")]
    pub(crate) promotion: PipelineName,
    /// A tag of the runners that may run the jobs; may be given several times
    #[arg(long, value_name = "TAG")]
    pub(crate) tag: Vec<String>,
    /// The image of the jobs, for runners with containers
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,
    /// The configuration, as jobs find it in their checkout
    #[arg(long, value_name = "FILE", default_value = "serin.toml")]
    pub(crate) serin_toml: String,
    /// Who watches while a build bakes: `live` a job, `afterwards` nobody, so that no runner is held
    #[arg(long, value_enum, default_value_t)]
    pub(crate) bakes: Bakes,
    /// Send traffic there while the canary proves a build; may be given several times
    #[arg(long, value_name = "URL")]
    pub(crate) traffic: Vec<BaseUrl>,
    /// What to ask for there, as `serin traffic --endpoint` takes it; may be given several times
    #[arg(long, value_name = "ENDPOINT", requires = "traffic")]
    pub(crate) traffic_endpoint: Vec<String>,
    /// How many jobs send it side by side
    #[arg(long, value_name = "COUNT", default_value_t = 2, requires = "traffic",
        value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(crate) traffic_jobs: u32,
    /// Requests a second of each of these jobs
    #[arg(long, value_name = "RATE", default_value_t = 20, requires = "traffic",
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) traffic_rate: u32,
    /// For how long each of them sends
    #[arg(long = "traffic-for", value_name = "TIME", value_parser = duration, default_value = "15m",
        requires = "traffic")]
    pub(crate) traffic_length: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct CiBegin {
    /// The pipeline
    pub(crate) pipeline: PipelineName,
    /// The build's complete version [default: the newest]
    #[arg(env = "SERIN_BUILD")]
    pub(crate) build: Option<String>,
    /// The newest build of this kind: nightly, candidate or official
    #[arg(long, value_name = "KIND", env = "SERIN_KIND")]
    pub(crate) kind: Option<String>,
    /// Who watches while the build bakes: `live` a job; `afterwards` nobody: what Prometheus has recorded of the whole
    /// bake is checked when it is over
    #[arg(long, value_enum, default_value_t)]
    pub(crate) bakes: Bakes,
    /// The CI pipeline that the jobs are of: begun a second time for the same one, the run of before is taken
    #[arg(long, value_name = "TEXT", env = "CI_PIPELINE_URL")]
    pub(crate) of: Option<String>,
    /// Write the run to this file, as a line SERIN_RUN=r-7
    #[arg(long, value_name = "FILE")]
    pub(crate) dotenv: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) past: Past,
}

/// Who watches while a build bakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Bakes {
    /// A job, all the time
    #[default]
    Live,
    /// Nobody; it is checked afterwards
    Afterwards,
}

#[derive(Debug, Args)]
pub(crate) struct CiStage {
    /// The stage's number
    pub(crate) number: u32,
    /// The run, as `serin ci begin` has recorded it
    #[arg(long, env = "SERIN_RUN")]
    pub(crate) run: String,
    /// Leave the stage's bake to another job: it is not begun
    #[arg(long)]
    pub(crate) before_bake: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CiPromotable {
    /// The run that has brought the build to the canary
    #[arg(long, env = "SERIN_RUN")]
    pub(crate) run: String,
    /// The pipeline that promotes
    #[arg(long, default_value = "to-main")]
    pub(crate) pipeline: PipelineName,
    /// Who promotes: `asked` is a person, `if-ready` a schedule, which needs all that `serin promote --if-ready` needs
    #[arg(long, value_parser = promoting, default_value = "asked", env = "SERIN_PROMOTE")]
    pub(crate) by: Promoting,
}

/// Who promotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promoting {
    /// A person has asked for it.
    Asked,
    /// Nobody has: everything must be there that a promotion by itself needs.
    IfReady,
}

/// Reads who promotes; CI systems hand variables over that are empty.
fn promoting(text: &str) -> Result<Promoting, String> {
    match text {
        "" | "asked" => Ok(Promoting::Asked),
        "if-ready" => Ok(Promoting::IfReady),
        other => Err(format!("{other:?} is neither `asked` nor `if-ready`")),
    }
}
