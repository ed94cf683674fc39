//! Deployments, as GitLab's release pages show them: which commit is in which environment.

use super::api::{GitLab, GitLabError};
use reqwest::Method;
use serde::Deserialize;

/// How many of an environment's last ones are looked at.
const LAST: &str = "20";

/// A deployment that GitLab knows.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Deployment {
    /// Its number.
    pub id: u64,
    /// The commit.
    pub sha: String,
    /// How far it is, in GitLab's own words: also `created` and `blocked`, which nobody can set.
    pub status: String,
}

/// What a deployment is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeploymentStatus {
    /// It is on its way.
    Running,
    /// It is there.
    Success,
    /// It was given up.
    Canceled,
}

impl DeploymentStatus {
    /// Returns GitLab's word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Success => "success",
            Self::Canceled => "canceled",
        }
    }
}

/// Where deployments are recorded.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The project: its path or number. It must have the commits.
    pub project: &'a str,
    /// GitLab's name for the environment; one that it does not know is made.
    pub environment: &'a str,
    /// The branch or tag that commits are shown with.
    pub git_ref: &'a str,
}

impl GitLab {
    /// Returns the last deployments of an environment, newest first.
    ///
    /// # Errors
    /// See [`GitLabError`].
    pub async fn deployments(&self, of: Target<'_>) -> Result<Vec<Deployment>, GitLabError> {
        let path = ["projects", of.project, "deployments"];
        let pairs = [
            ("environment", of.environment),
            ("order_by", "id"),
            ("sort", "desc"),
            ("per_page", LAST),
        ];
        self.ask("list deployments", (Method::GET, &path), &pairs).await
    }

    /// Records a deployment.
    ///
    /// # Errors
    /// See [`GitLabError`].
    pub async fn deploy(
        &self,
        to: Target<'_>,
        sha: &str,
        status: DeploymentStatus,
    ) -> Result<Deployment, GitLabError> {
        let path = ["projects", to.project, "deployments"];
        let pairs = [
            ("environment", to.environment),
            ("sha", sha),
            ("ref", to.git_ref),
            ("tag", "false"),
            ("status", status.word()),
        ];
        self.ask("record a deployment", (Method::POST, &path), &pairs).await
    }

    /// Sets how far a deployment is.
    ///
    /// # Errors
    /// See [`GitLabError`].
    pub async fn set_deployment(
        &self,
        to: Target<'_>,
        id: u64,
        status: DeploymentStatus,
    ) -> Result<Deployment, GitLabError> {
        let id = id.to_string();
        let path = ["projects", to.project, "deployments", &id];
        let pairs = [("status", status.word())];
        self.ask("update a deployment", (Method::PUT, &path), &pairs).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::test_server::{Reply, TestServer};

    #[tokio::test]
    async fn deployments_are_listed_recorded_and_updated() {
        let server = TestServer::start().await;
        let gitlab = GitLab::new(&format!("{}/api/v4", server.url), Some("hunter2")).unwrap();
        let to =
            Target { project: "gitlab-org/gitlab", environment: "gprd/cny", git_ref: "master" };
        let list = r#"[{"id":9,"iid":2,"sha":"a91957a858","status":"success","deployable":null}]"#;
        server.reply("*", Reply::json(list));
        let known = gitlab.deployments(to).await.unwrap();
        assert_eq!((known[0].id, known[0].sha.as_str()), (9, "a91957a858"));
        let made = br#"{"id":10,"sha":"b91957a858","status":"running"}"#.to_vec();
        server.reply("*", Reply::full(201, "application/json", made));
        let new = gitlab.deploy(to, "b91957a858", DeploymentStatus::Running).await.unwrap();
        gitlab.set_deployment(to, new.id, DeploymentStatus::Success).await.unwrap();
        assert_eq!(
            *server.asked.lock().unwrap(),
            [
                "/api/v4/projects/gitlab-org%2Fgitlab/deployments?environment=gprd%2Fcny&order_by=id&sort=desc&per_page=20",
                "/api/v4/projects/gitlab-org%2Fgitlab/deployments",
                "/api/v4/projects/gitlab-org%2Fgitlab/deployments/10",
            ]
        );
    }
}
