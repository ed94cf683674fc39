//! What is asked of a GitLab that is not the one that is deployed.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(crate) enum GitLabCommand {
    /// Start a pipeline of another project, wait for its end, and write its tests as JUnit: for a QA suite
    ///
    /// Tokens are read from the environment and never shown: SERIN_GITLAB_TRIGGER_TOKEN starts the pipeline,
    /// SERIN_GITLAB_TOKEN (scope read_api, or api to stop it as well) looks at it. Ends with 0 only if the pipeline passed.
    Pipeline(PipelineOf),
    /// Tell GitLab what is deployed where, as far as it does not know: runs tell it while they go, if it is there
    Deployments,
}

#[derive(Debug, Args)]
pub(crate) struct PipelineOf {
    /// The project: its path, or its number
    pub(crate) project: String,
    /// The address of the API, such as https://gitlab.example.com/api/v4
    #[arg(long, value_name = "URL", env = "SERIN_GITLAB_API")]
    pub(crate) api: String,
    /// The branch or tag
    #[arg(long = "ref", value_name = "REF", default_value = "main")]
    pub(crate) git_ref: String,
    /// A variable of the pipeline; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) variable: Vec<Variable>,
    /// What counts as a test
    #[arg(long, value_enum, default_value_t)]
    pub(crate) tests: TestsAre,
    /// Where the tests are written
    #[arg(long, value_name = "FILE", default_value = "pipeline.xml")]
    pub(crate) junit: PathBuf,
    /// How often it is looked at
    #[arg(long, value_name = "TIME", value_parser = super::duration, default_value = "10s")]
    pub(crate) poll: Duration,
}

/// What counts as a test of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum TestsAre {
    /// What its jobs report as JUnit
    #[default]
    Reported,
    /// Its jobs
    Jobs,
}

/// A variable of a pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl FromStr for Variable {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        match text.split_once('=') {
            Some((name, value)) if plain(name) => {
                Ok(Self { name: name.to_owned(), value: value.to_owned() })
            }
            Some(_) | None => Err("write NAME=VALUE, the name of letters, digits and _".to_owned()),
        }
    }
}
