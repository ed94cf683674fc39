//! The tests themselves, in the order in which they run.

use super::http::Client;
use crate::run::wait_for;
use crate::seed::haproxy::INTERNAL_CANARY_PORT;
use anyhow::{Result, bail, ensure};
use std::time::Duration;

/// One test.
pub(super) struct Test {
    /// What it proves.
    pub(super) name: &'static str,
    /// Whether it makes sense against a canary only.
    pub(super) canary_only: bool,
    /// Whether somebody must be working off jobs.
    pub(super) needs_sidekiq: bool,
    /// Fails with the reason.
    pub(super) run: fn(&Client) -> Result<()>,
}

/// All tests.
pub(super) const ALL: &[Test] = &[
    test("the environment is healthy", healthy),
    test("the sign-in page can be seen", sign_in_page),
    test("the API reports the version that runs", api_version),
    test("a project can be created and read", create_and_read_project),
    test("a project's page shows its files", project_page),
    test("a repository's refs can be listed", list_refs),
    test("a repository can be fetched", fetch_repository),
    Test { needs_sidekiq: true, ..test("a job is worked off", work_off_job) },
    Test { canary_only: true, ..test("the host name canary.* leads to the canary", canary_host) },
    Test {
        canary_only: true,
        ..test("the internal canary API endpoint leads to the canary", internal_canary_api)
    },
];

const fn test(name: &'static str, run: fn(&Client) -> Result<()>) -> Test {
    Test { name, canary_only: false, needs_sidekiq: false, run }
}

fn healthy(client: &Client) -> Result<()> {
    client.get("/-/health").map(drop)
}

fn sign_in_page(client: &Client) -> Result<()> {
    let page = client.get("/users/sign_in")?.body;
    ensure!(page.contains("Sign in") && page.contains("user[password]"), "no form: {page}");
    Ok(())
}

/// Package and application write a version differently; their first two numbers agree.
fn api_version(client: &Client) -> Result<()> {
    let answer = client.get("/api/v4/version")?;
    let reported = answer.member("version")?;
    let reported = reported.as_str().unwrap_or_default();
    let running = answer.header("x-serin-version").unwrap_or_default();
    let numbers = |version: &str| version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    if numbers(reported) != numbers(running) {
        bail!("the API says {reported}, but {running} runs");
    }
    Ok(())
}

fn create_and_read_project(client: &Client) -> Result<()> {
    let created = client.post("/api/v4/projects?name=qa", 201)?.member("id")?;
    let read = client.get(&format!("/api/v4/projects/{created}"))?.member("name")?;
    ensure!(read == "qa", "created qa, read {read}");
    Ok(())
}

fn project_page(client: &Client) -> Result<()> {
    let page = client.get("/group/qa")?.body;
    ensure!(page.contains("<h1>qa</h1>"), "not the project's page: {page}");
    Ok(())
}

fn list_refs(client: &Client) -> Result<()> {
    let refs = client.get("/group/qa.git/info/refs?service=git-upload-pack")?.body;
    ensure!(!refs.is_empty(), "no refs");
    Ok(())
}

fn fetch_repository(client: &Client) -> Result<()> {
    client.post("/group/qa.git/git-upload-pack", 200).map(drop)
}

fn work_off_job(client: &Client) -> Result<()> {
    let job = client.post("/api/v4/jobs?ms=20", 201)?.member("id")?;
    wait_for(&format!("job {job} is finished"), Duration::from_secs(10), || {
        let state = client.get(&format!("/api/v4/jobs/{job}"))?.member("state")?;
        Ok((state == "finished").then_some(()))
    })
}

fn canary_host(client: &Client) -> Result<()> {
    client.ask(80, "/users/sign_in", &["Host: canary.lab"])?.must_be_from("canary")
}

fn internal_canary_api(client: &Client) -> Result<()> {
    let answer = client.ask(INTERNAL_CANARY_PORT, "/api/v4/version", &[])?;
    ensure!(answer.status == 200, "{} instead of 200", answer.status);
    answer.must_be_from("canary")
}
