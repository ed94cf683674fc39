//! What GitLab says of a CI job: whose it is.
//!
//! A job's variables can be set by whoever starts its pipeline, and so can the address of GitLab among them. The address
//! therefore comes from the configuration, and the token alone from the job; GitLab gives it to the job for as long as it
//! runs.

use crate::http::{self, HttpError, Peer};
use reqwest::header::{HeaderName, HeaderValue};
use serde::Deserialize;
use std::time::Duration;

/// A person waits for the answer, or a schedule; GitLab looks up one row.
const DEADLINE: Duration = Duration::from_secs(10);

/// A job with its commit and user has a few kilobytes.
const LIMIT: u64 = 1 << 20;

/// A job that runs, as GitLab knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The user name of whoever started it.
    pub user: String,
    /// The number of its project.
    pub project: u64,
    /// What started its pipeline: `push`, `schedule`, `chat`; nothing, if this GitLab does not say.
    pub source: String,
}

/// Why it is not known whose a job is.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The token cannot be one.
    #[error("the job's token is no token")]
    BadToken,
    /// GitLab could not be asked, or does not know the job any more.
    #[error("{address} does not say whose job this is")]
    Unread {
        /// Its address, without secrets.
        address: String,
        /// Why not.
        #[source]
        source: HttpError,
    },
    /// The answer is not about a job that runs.
    #[error("what {address} says about this job makes no sense: {why}")]
    Unclear {
        /// Its address, without secrets.
        address: String,
        /// What is wrong.
        why: String,
    },
}

#[derive(Deserialize)]
struct RawJob {
    status: String,
    user: RawUser,
    pipeline: RawPipeline,
}

#[derive(Deserialize)]
struct RawUser {
    username: String,
}

#[derive(Deserialize)]
struct RawPipeline {
    project_id: u64,
    #[serde(default)]
    source: String,
}

/// Asks GitLab whose job a token belongs to. `api` has no slash at its end.
///
/// # Errors
/// When GitLab cannot be asked, or does not name a user of a job that runs.
pub async fn job(api: &str, token: &str) -> Result<Job, JobError> {
    let mut value = HeaderValue::from_str(token).map_err(|_invalid| JobError::BadToken)?;
    value.set_sensitive(true);
    let header = (HeaderName::from_static("job-token"), value);
    let address = http::redacted(api);
    let unread = |source| JobError::Unread { address: address.clone(), source };
    let client = http::client_with(Peer::Service, DEADLINE, Some(header)).map_err(unread)?;
    let url = format!("{api}/job").parse().map_err(|_invalid| unread(HttpError::BadAddress))?;
    let answer = http::get(&client, url, LIMIT).await.map_err(unread)?;
    let unclear = |why: String| JobError::Unclear { address: address.clone(), why };
    let raw: RawJob =
        serde_json::from_slice(&answer.body).map_err(|error| unclear(error.to_string()))?;
    if raw.status != "running" {
        return Err(unclear(format!("it is {}, and not running", raw.status.escape_debug())));
    }
    if raw.user.username.is_empty() {
        return Err(unclear("it names no user".to_owned()));
    }
    let RawPipeline { project_id: project, source } = raw.pipeline;
    Ok(Job { user: raw.user.username, project, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::test_server::{Reply, TestServer};

    const RUNNING: &str = r#"{"id":1,"status":"running","user":{"id":2,"username":"ada"},
        "pipeline":{"id":3,"project_id":42,"source":"chat"},"commit":null}"#;

    async fn told(reply: Reply) -> Result<Job, String> {
        let server = TestServer::start().await;
        server.reply("/api/v4/job", reply);
        let told = job(&format!("{}/api/v4", server.url), "secret").await;
        assert_eq!(*server.credentials.lock().unwrap(), [Some("job-token: secret".to_owned())]);
        told.map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            format!("{error}: {}", cause.unwrap_or_default())
        })
    }

    #[tokio::test]
    async fn gitlab_says_whose_a_running_job_is() {
        let job = told(Reply::json(RUNNING)).await.unwrap();
        assert_eq!(job, Job { user: "ada".to_owned(), project: 42, source: "chat".to_owned() });
        let older = told(Reply::json(RUNNING.replace(r#","source":"chat""#, ""))).await.unwrap();
        assert_eq!(older.source, "");
    }

    #[tokio::test]
    async fn what_is_no_running_job_of_a_user_is_refused() {
        for (reply, said) in [
            (Reply::json(RUNNING.replace("running", "success")), "it is success, and not running"),
            (Reply::json(RUNNING.replace("ada", "")), "it names no user"),
            (Reply::json("{}"), "missing field"),
            (Reply::json("[]"), "makes no sense"),
            (Reply::full(401, "application/json", b"{}".to_vec()), "HTTP status 401"),
            (Reply::full(302, "text/html", Vec::new()), "HTTP status 302"),
            (Reply::Cut(b"{".to_vec()), "does not say whose job this is"),
            (Reply::Endless, "larger than"),
        ] {
            let refused = told(reply).await.unwrap_err();
            assert!(refused.contains(said), "{said}: {refused}");
            assert!(!refused.contains("secret"), "{refused}");
        }
    }

    #[tokio::test]
    async fn a_token_that_is_none_is_not_sent() {
        let refused = job("http://127.0.0.1:1", "a\nb").await.unwrap_err();
        assert!(matches!(refused, JobError::BadToken), "{refused:?}");
    }
}
