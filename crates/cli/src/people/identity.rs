//! Who asks, as this machine or GitLab knows them.
//!
//! A terminal's is the account that the kernel knows; only root is believed to be somebody else, because sudo says so. A
//! job's is whom GitLab names, where it is asked; what a job's variables say is kept apart as unverified.

use super::needs::Weight;
use serin_adapters::gitlab;
use serin_config::{Config, Jobs};
use serin_model::{Door, Identity, Proof};

/// Returns who asks this process, and, if that could not be proven, why.
pub(super) async fn of_this_process(config: &Config, weight: Weight) -> (Identity, Option<String>) {
    if variable("GITLAB_CI").is_none() && variable("CI_JOB_TOKEN").is_none() {
        let (door, subject) = (Door::Terminal, account());
        return (Identity { door, subject, proof: Proof::Verified }, None);
    }
    let said = |proof| {
        let chat = variable("CI_PIPELINE_SOURCE").is_some_and(|source| source == CHAT);
        let door = if chat { Door::GitlabChat } else { Door::Ci };
        let subject = variable("GITLAB_USER_LOGIN").unwrap_or_else(|| "nobody".to_owned());
        Identity { door, subject, proof }
    };
    match (&config.jobs, weight) {
        (Jobs::Trusted, _) => (said(Proof::Trusted), None),
        // Looking needs no proof, and so no GitLab.
        (Jobs::Unproven, _) | (Jobs::Verified { .. }, Weight::Look) => {
            (said(Proof::Unverified), None)
        }
        (Jobs::Verified { api, projects }, Weight::Change | Weight::Halt) => {
            let Some(token) = variable("CI_JOB_TOKEN") else {
                return (said(Proof::Unverified), Some("this job has no CI_JOB_TOKEN".to_owned()));
            };
            match gitlab::job(api, &token).await {
                Ok(job) if projects.is_empty() || projects.contains(&job.project) => {
                    let door = if job.source == CHAT { Door::GitlabChat } else { Door::Ci };
                    (Identity { door, subject: job.user, proof: Proof::Verified }, None)
                }
                Ok(job) => {
                    let why = format!("project {} is not among `projects`", job.project);
                    (said(Proof::Unverified), Some(why))
                }
                Err(error) => (said(Proof::Unverified), Some(crate::failure::chain(&error))),
            }
        }
    }
}

/// What GitLab calls the source of pipelines that its chat bridge starts.
const CHAT: &str = "chat";

/// The program that knows accounts, wherever they are kept. It is named whole, and started without an environment: who
/// asks must not be able to put another in its place.
const ID: &str = "/usr/bin/id";

/// Returns the account that the kernel knows, or for root the one that sudo says.
pub(crate) fn account() -> String {
    let uid = rustix::process::getuid();
    if uid.is_root() {
        return variable("SUDO_USER").unwrap_or_else(|| "root".to_owned());
    }
    let asked = std::process::Command::new(ID).arg("-un").env_clear().output();
    let name = asked.ok().filter(|asked| asked.status.success());
    let name = name.map(|asked| String::from_utf8_lossy(&asked.stdout).trim().to_owned());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| format!("uid-{}", uid.as_raw()))
}

/// Returns a variable that says something.
#[expect(clippy::disallowed_methods, reason = "the environment is read at the edge")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
