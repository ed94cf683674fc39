//! sidekiq: jobs run once, TSTP stops fetching, TERM waits, idle means idle.

use rustix::process::Signal;

use crate::support::{Host, Postgres, ended, free_port, get_json, send, until, until_ready};

const JOBS: &str = "CREATE TABLE jobs (id bigserial PRIMARY KEY, milliseconds bigint NOT NULL, \
                    started_at timestamptz, finished_at timestamptz, host text)";
const FINISHED: &str = "SELECT count(*) FROM jobs WHERE finished_at IS NOT NULL";
const STARTED: &str = "SELECT count(*) FROM jobs WHERE started_at IS NOT NULL";

async fn started(postgres: &Postgres) -> (Host, u16, tokio::process::Child) {
    postgres.connect().await.batch_execute(JOBS).await.unwrap();
    let port = free_port();
    let settings = format!("DATABASE_URL={}\nSIDEKIQ_PORT={port}", postgres.url());
    let host = Host::new("16.0.0-ee.0", "", &settings);
    let child = host.start("sidekiq");
    until_ready(port).await;
    (host, port, child)
}

async fn enqueue(postgres: &Postgres, milliseconds: i64) {
    let sql = "INSERT INTO jobs (milliseconds) VALUES ($1)";
    postgres.connect().await.execute(sql, &[&milliseconds]).await.unwrap();
}

async fn idle(host: &Host) -> Option<i32> {
    host.program(&["sidekiq-idle"]).output().await.unwrap().status.code()
}

#[tokio::test]
async fn after_tstp_running_jobs_finish_and_no_other_starts() {
    let postgres = Postgres::start().await;
    let (host, port, mut child) = started(&postgres).await;
    assert_eq!(idle(&host).await, Some(0));
    enqueue(&postgres, 1500).await;
    postgres.until(STARTED, 1).await;
    assert_eq!(idle(&host).await, Some(1));

    send(&child, Signal::TSTP);
    let stopped = |answer: &anyhow::Result<(u16, String)>| {
        answer.as_ref().is_ok_and(|(_, body)| body.contains("\"fetching\":false"))
    };
    until(port, "/idle", stopped).await.unwrap();
    enqueue(&postgres, 0).await;
    postgres.until(FINISHED, 1).await;
    let nothing = |answer: &anyhow::Result<(u16, String)>| {
        answer.as_ref().is_ok_and(|(_, body)| body.contains("\"busy\":0"))
    };
    until(port, "/idle", nothing).await.unwrap();
    assert_eq!(idle(&host).await, Some(0));
    assert_eq!(postgres.number(STARTED).await, 1, "the second job still waits");

    send(&child, Signal::TERM);
    assert_eq!(ended(&mut child).await, Some(0));
    assert_eq!(idle(&host).await, Some(0), "what does not run is idle");
    let _again = host.start("sidekiq");
    postgres.until(FINISHED, 2).await;
}

#[tokio::test]
async fn term_lets_a_job_finish() {
    let postgres = Postgres::start().await;
    let (_host, _port, mut child) = started(&postgres).await;
    enqueue(&postgres, 700).await;
    postgres.until(STARTED, 1).await;
    send(&child, Signal::TERM);
    assert_eq!(ended(&mut child).await, Some(0));
    assert_eq!(postgres.number(FINISHED).await, 1);
}

#[tokio::test]
async fn it_starts_without_a_database_and_says_what_it_runs() {
    let port = free_port();
    let host = Host::new("16.0.0-ee.0", "", &format!("SIDEKIQ_PORT={port}"));
    let _child = host.start("sidekiq");
    until_ready(port).await;
    assert_eq!(get_json(port, "/-/version").await["version"], "16.0.0-ee.0");
}
