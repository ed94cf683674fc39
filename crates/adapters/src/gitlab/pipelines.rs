//! Pipelines of other projects: started by a trigger token, watched to their end, and asked for their tests.

use super::api::{GitLab, GitLabError};
use reqwest::Method;
use serde::Deserialize;

/// What GitLab gives out at once.
const PAGE: usize = 100;

/// More jobs than any pipeline has.
const MOST_PAGES: usize = 50;

/// A pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Pipeline {
    /// Its number.
    pub id: u64,
    /// Where people look at it.
    #[serde(default)]
    pub web_url: String,
    status: String,
}

/// How far a pipeline is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It goes on, or says something that no GitLab said when this was written.
    Going,
    /// Everything that counts has passed.
    Passed,
    /// Something that counts has failed.
    Failed,
    /// Somebody stopped it.
    Canceled,
    /// Nothing of it was run.
    Skipped,
    /// It waits for somebody to start a job by hand.
    Manual,
}

/// What is to be started.
#[derive(Clone, Copy)]
pub struct Trigger<'a> {
    /// The project: its path or number.
    pub project: &'a str,
    /// The branch or tag.
    pub git_ref: &'a str,
    /// The trigger token of the project.
    pub token: &'a str,
    /// Variables of the pipeline.
    pub variables: &'a [(String, String)],
}

/// A test, or a job that is taken for one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestCase {
    /// The suite or stage that it is in.
    pub suite: String,
    /// Its name.
    pub name: String,
    /// What came of it.
    pub result: TestResult,
    /// What it said.
    pub output: String,
}

/// What came of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestResult {
    /// It was run, and nothing was wrong.
    Passed,
    /// It was run, and something was wrong, or nobody knows.
    Failed,
    /// It was not run.
    Skipped,
}

#[derive(Deserialize)]
struct RawReport {
    test_suites: Vec<RawSuite>,
}

#[derive(Deserialize)]
struct RawSuite {
    #[serde(default)]
    name: String,
    #[serde(default)]
    test_cases: Vec<RawCase>,
    /// Why GitLab could not read the report of a job.
    #[serde(default)]
    suite_error: Option<String>,
}

#[derive(Deserialize)]
struct RawCase {
    status: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    system_output: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct RawJob {
    name: String,
    stage: String,
    status: String,
    #[serde(default)]
    allow_failure: bool,
    #[serde(default)]
    failure_reason: Option<String>,
}

impl Pipeline {
    /// Returns how far it is.
    pub fn state(&self) -> State {
        match self.status.as_str() {
            "success" => State::Passed,
            "failed" => State::Failed,
            "canceled" => State::Canceled,
            "skipped" => State::Skipped,
            "manual" => State::Manual,
            _ => State::Going,
        }
    }
}

impl GitLab {
    /// Starts a pipeline. It is not known whether one was started when there is no answer.
    ///
    /// # Errors
    /// See [`GitLabError`]; GitLab says 404 also when the token is not one of the project.
    pub async fn trigger(&self, what: Trigger<'_>) -> Result<Pipeline, GitLabError> {
        let keys: Vec<String> =
            what.variables.iter().map(|(key, _)| format!("variables[{key}]")).collect();
        let variables = what.variables.iter().map(|(_, value)| value.as_str());
        let mut pairs = vec![("token", what.token), ("ref", what.git_ref)];
        pairs.extend(keys.iter().map(String::as_str).zip(variables));
        let path = ["projects", what.project, "trigger", "pipeline"];
        self.ask("start a pipeline", (Method::POST, &path), &pairs).await
    }

    /// Looks at a pipeline.
    ///
    /// # Errors
    /// See [`GitLabError`].
    pub async fn pipeline(&self, project: &str, id: u64) -> Result<Pipeline, GitLabError> {
        let id = id.to_string();
        let path = ["projects", project, "pipelines", &id];
        self.ask("show a pipeline", (Method::GET, &path), &[]).await
    }

    /// Stops a pipeline.
    ///
    /// # Errors
    /// See [`GitLabError`].
    pub async fn cancel(&self, project: &str, id: u64) -> Result<Pipeline, GitLabError> {
        let id = id.to_string();
        let path = ["projects", project, "pipelines", &id, "cancel"];
        self.ask("stop a pipeline", (Method::POST, &path), &[]).await
    }

    /// Returns the tests of a pipeline, as its jobs have reported them.
    ///
    /// # Errors
    /// See [`GitLabError`].
    pub async fn tests(&self, project: &str, id: u64) -> Result<Vec<TestCase>, GitLabError> {
        let id = id.to_string();
        let path = ["projects", project, "pipelines", &id, "test_report"];
        let report: RawReport =
            self.ask("show the tests of a pipeline", (Method::GET, &path), &[]).await?;
        let mut cases = Vec::new();
        for suite in report.test_suites {
            if let Some(error) = suite.suite_error {
                let (suite, name) = (suite.name.clone(), "the report of this job".to_owned());
                cases.push(TestCase { suite, name, result: TestResult::Failed, output: error });
            }
            cases.extend(suite.test_cases.into_iter().map(|case| TestCase {
                suite: suite.name.clone(),
                result: result(&case.status),
                name: case.name,
                output: match case.system_output {
                    None | Some(serde_json::Value::Null) => String::new(),
                    Some(serde_json::Value::String(text)) => text,
                    Some(other) => other.to_string(),
                },
            }));
        }
        Ok(cases)
    }

    /// Returns the jobs of a pipeline, each taken for a test. One that may fail counts as not run when it did.
    ///
    /// # Errors
    /// See [`GitLabError`].
    pub async fn jobs(&self, project: &str, id: u64) -> Result<Vec<TestCase>, GitLabError> {
        let id = id.to_string();
        let path = ["projects", project, "pipelines", &id, "jobs"];
        let mut cases = Vec::new();
        for page in 1..=MOST_PAGES {
            let (size, page) = (PAGE.to_string(), page.to_string());
            let pairs = [("per_page", size.as_str()), ("page", page.as_str())];
            let jobs: Vec<RawJob> =
                self.ask("show the jobs of a pipeline", (Method::GET, &path), &pairs).await?;
            let last = jobs.len() < PAGE;
            cases.extend(jobs.into_iter().map(|job| {
                let result = match job.status.as_str() {
                    "success" => TestResult::Passed,
                    "manual" | "skipped" => TestResult::Skipped,
                    _ if job.allow_failure => TestResult::Skipped,
                    _ => TestResult::Failed,
                };
                let output = job.failure_reason.unwrap_or_default();
                TestCase { suite: job.stage, name: job.name, result, output }
            }));
            if last {
                break;
            }
        }
        Ok(cases)
    }
}

/// What is not known to be good is not.
fn result(status: &str) -> TestResult {
    match status {
        "success" => TestResult::Passed,
        "skipped" => TestResult::Skipped,
        _ => TestResult::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::test_server::{Reply, TestServer};

    const REPORT: &str = r#"{"total_count":4,"test_suites":[
        {"name":"smoke","total_count":3,"test_cases":[
          {"status":"success","name":"logs in","classname":"a","system_output":null},
          {"status":"failed","name":"pushes <b>","classname":"a","system_output":"expected 1"},
          {"status":"error","name":"merges","system_output":{"message":"boom"}},
          {"status":"skipped","name":"pages"}]},
        {"name":"broken","suite_error":"JUnit XML parsing failed","test_cases":[]}]}"#;

    async fn gitlab() -> (TestServer, GitLab) {
        let server = TestServer::start().await;
        let gitlab = GitLab::new(&format!("{}/api/v4/", server.url), Some("hunter2")).unwrap();
        (server, gitlab)
    }

    #[tokio::test]
    async fn a_pipeline_is_started_and_watched() {
        let (server, gitlab) = gitlab().await;
        let made = br#"{"id":7,"status":"created","web_url":"https://x/7","detailed_status":{}}"#;
        server.reply("*", Reply::full(201, "application/json", made.to_vec()));
        let variables = [("SUITE".to_owned(), "smoke".to_owned())];
        let trigger = Trigger {
            project: "group/qa tests",
            git_ref: "main",
            token: "t0ken",
            variables: &variables,
        };
        let started = gitlab.trigger(trigger).await.unwrap();
        assert_eq!((started.id, started.state()), (7, State::Going));
        let asked = server.asked.lock().unwrap().clone();
        assert_eq!(asked, ["/api/v4/projects/group%2Fqa%20tests/trigger/pipeline"]);
        for (status, state) in [
            ("success", State::Passed),
            ("failed", State::Failed),
            ("canceled", State::Canceled),
            ("skipped", State::Skipped),
            ("manual", State::Manual),
            ("waiting_for_callback", State::Going),
            ("running", State::Going),
        ] {
            server.reply("*", Reply::json(format!(r#"{{"id":7,"status":"{status}"}}"#)));
            assert_eq!(gitlab.pipeline("9", 7).await.unwrap().state(), state, "{status}");
        }
    }

    #[tokio::test]
    async fn tests_that_are_not_known_to_be_good_have_failed() {
        let (server, gitlab) = gitlab().await;
        server.reply("*", Reply::json(REPORT));
        let cases = gitlab.tests("9", 7).await.unwrap();
        let told: Vec<(&str, TestResult)> =
            cases.iter().map(|case| (case.name.as_str(), case.result)).collect();
        assert_eq!(
            told,
            [
                ("logs in", TestResult::Passed),
                ("pushes <b>", TestResult::Failed),
                ("merges", TestResult::Failed),
                ("pages", TestResult::Skipped),
                ("the report of this job", TestResult::Failed),
            ]
        );
    }

    #[tokio::test]
    async fn jobs_are_read_page_by_page() {
        let (server, gitlab) = gitlab().await;
        let job = |status: &str, may_fail: &str| {
            format!(r#"{{"name":"j","stage":"s","status":"{status}","allow_failure":{may_fail}}}"#)
        };
        let full = vec![job("success", "false"); PAGE].join(",");
        server.reply("*", Reply::json(format!("[{full}]")));
        assert_eq!(gitlab.jobs("9", 7).await.unwrap().len(), PAGE * MOST_PAGES, "it ends");
        let jobs = [job("failed", "false"), job("failed", "true"), job("canceled", "false")];
        server.reply("*", Reply::json(format!("[{}]", jobs.join(","))));
        let told: Vec<TestResult> =
            gitlab.jobs("9", 7).await.unwrap().iter().map(|case| case.result).collect();
        assert_eq!(told, [TestResult::Failed, TestResult::Skipped, TestResult::Failed]);
    }

    #[tokio::test]
    async fn what_may_pass_is_told_from_what_will_not() {
        let (server, gitlab) = gitlab().await;
        for (reply, passes) in [
            (
                Reply::full(404, "application/json", br#"{"message":"404 Not Found"}"#.to_vec()),
                false,
            ),
            (Reply::full(401, "application/json", b"{}".to_vec()), false),
            (Reply::full(429, "text/plain", b"Retry later".to_vec()), true),
            (Reply::full(502, "text/html", b"<html>".to_vec()), true),
            (Reply::Cut(b"{".to_vec()), true),
            (Reply::json("<html>"), false),
        ] {
            server.reply("*", reply);
            let error = gitlab.pipeline("9", 7).await.unwrap_err();
            assert_eq!(error.may_pass(), passes, "{error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
