//! People, and how jobs of GitLab CI say who asks.

use crate::at::{At, Text};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A person: by which accounts they are known, and what they may do.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawPerson {
    /// Their accounts on the machine of Serin, for commands that are typed there.
    #[serde(default)]
    pub(crate) unix: Vec<Text>,
    /// Their user names in GitLab, for CI jobs and for commands through GitLab's chat bridge.
    #[serde(default)]
    pub(crate) gitlab: Vec<Text>,
    /// Their member ids in Slack, such as `U012AB3CD`: names there can be changed by whoever has them.
    #[serde(default)]
    pub(crate) slack: Vec<Text>,
    /// Their user ids in Mattermost.
    #[serde(default)]
    pub(crate) mattermost: Vec<Text>,
    /// What they may do, by environment; `"*"` is everywhere else.
    pub(crate) roles: At<BTreeMap<Text, RawPersonRole>>,
}

/// What a person may do; each includes those before it.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
pub(crate) enum RawPersonRole {
    /// Look.
    Viewer,
    /// Stop things, and let them go on.
    Operator,
    /// Bring builds and patches to hosts, and take them back.
    ReleaseManager,
    /// Move the journal.
    Admin,
}

/// How the user behind a job of GitLab CI is known.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawGitlab {
    /// The address of its API, such as `https://gitlab.example.com/api/v4`.
    pub(crate) api: Option<Text>,
    /// Whether GitLab is asked, with the job's own token, whose job it is; default false: variables say it, and who is
    /// known by those may only look.
    pub(crate) verify_jobs: Option<bool>,
    /// The projects, by number, whose jobs may ask for more than a look; default: any. With `verify_jobs`.
    pub(crate) projects: Option<At<Vec<At<i64>>>>,
    /// Whether the job's variables are believed instead, though whoever starts a job can set them; default false.
    pub(crate) trust_variables: Option<At<bool>>,
}
