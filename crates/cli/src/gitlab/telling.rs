//! What it takes to tell GitLab what a run has made of each place.

use super::commits;
use super::places::{self, Delivered, Telling};
use crate::context::Context;
use crate::failure::{Code, Failure, chain};
use crate::secrets;
use serin_adapters::gitlab::{DeploymentStatus, GitLab, Target};
use serin_config::DeployedComponent;
use serin_engine::Run;
use serin_model::RunId;
use serin_runtime::ports::Ports;
use std::collections::{BTreeMap, BTreeSet};

/// What was told, in words.
pub(crate) struct Told {
    pub(crate) lines: Vec<String>,
    /// What could not be told, and why.
    pub(crate) failed: Vec<String>,
}

/// A GitLab that is told what is deployed.
pub(crate) struct Knowing {
    gitlab: GitLab,
    components: Vec<DeployedComponent>,
    /// Where hosts list the components of the package.
    manifest: Option<String>,
}

/// Connects the GitLab that is told what is deployed, if there is one. Nothing is reached yet.
///
/// # Errors
/// When its token cannot be used.
pub(crate) fn gitlab(context: &Context) -> Result<Option<Knowing>, Failure> {
    let Some(deployments) = &context.config.deployments else { return Ok(None) };
    let token = secrets::read(&deployments.token_file)?;
    let gitlab = GitLab::new(&deployments.api, Some(&token));
    Ok(Some(Knowing {
        gitlab: gitlab.map_err(|error| Failure::new(Code::Refused, chain(&error)))?,
        components: deployments.components.clone(),
        manifest: context.config.contents.manifest.clone(),
    }))
}

impl Knowing {
    /// Tells what a run has made of each place, but for those that a newer run was told of, and remembers these.
    pub(crate) async fn tell(
        &self,
        ports: &Ports,
        (id, run): (&RunId, &Run),
        newer: &mut BTreeSet<(String, String)>,
    ) -> Told {
        let mut told = Told { lines: Vec::new(), failed: Vec::new() };
        for component in &self.components {
            for (place, name) in &component.places {
                let Some(delivered) = places::delivered(run, place) else { continue };
                if !newer.insert((component.project.clone(), name.clone())) {
                    continue;
                }
                let about = (run, place, &delivered.version);
                let commits = commits::of(self.manifest.as_deref(), ports, about).await;
                match one(&self.gitlab, component, name, (&delivered, &commits)).await {
                    Ok(None) => {}
                    Ok(Some(what)) => told.lines.push(format!("run {id}: {what}")),
                    Err(why) => {
                        let project = &component.project;
                        told.failed.push(format!("run {id}, {name} of {project}: {why}"));
                    }
                }
            }
        }
        told
    }
}

/// Tells one deployment, if it is news, and says what was told.
async fn one(
    gitlab: &GitLab,
    component: &DeployedComponent,
    name: &str,
    (delivered, commits): (&Delivered, &Result<BTreeMap<String, String>, String>),
) -> Result<Option<String>, String> {
    let Delivered { version, status } = delivered;
    let DeployedComponent { project, component, git_ref, places: _ } = component;
    let commits = commits.as_ref().map_err(Clone::clone)?;
    let Some(sha) = commits.get(component).filter(|sha| is_commit(sha)) else {
        return Err(format!("{version} lists no commit of {component}"));
    };
    let target = Target { project, environment: name, git_ref };
    let last = gitlab.deployments(target).await.map_err(|error| chain(&error))?;
    let done = match places::telling(&last, sha, *status) {
        Telling::Nothing => return Ok(None),
        Telling::Update(id) => gitlab.set_deployment(target, id, *status).await,
        Telling::Create => gitlab.deploy(target, sha, *status).await,
    };
    done.map_err(|error| chain(&error))?;
    let short: String = sha.chars().take(11).collect();
    Ok(Some(format!("{name} of {project} is told: {short} {}", word(*status))))
}

fn word(status: DeploymentStatus) -> &'static str {
    match status {
        DeploymentStatus::Running => "is on its way",
        DeploymentStatus::Success => "is there",
        DeploymentStatus::Canceled => "was given up",
    }
}

/// What goes into an address and a form is a commit, and nothing else.
fn is_commit(text: &str) -> bool {
    (7..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_hexdigit())
}
