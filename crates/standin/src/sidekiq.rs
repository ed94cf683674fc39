//! `sidekiq`: takes jobs from the table `jobs`, one row each, and can be told to take no more.
//!
//! TSTP stops fetching for good (as the real one), TERM also ends the process: at once when no job runs, after 25 s at
//! the latest, and then the unfinished jobs go back to the table. A killed process loses its jobs, as the real one does.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::database::Database;
use crate::http::{self, Answer, Connections, Service, StopSignals};
use crate::settings::Installation;
use crate::web::{BOOT, Identity};

const CONCURRENCY: u64 = 5;
const POLL: Duration = Duration::from_millis(200);
const AFTER_TROUBLE: Duration = Duration::from_secs(1);
const SHUTDOWN: Duration = Duration::from_secs(25);

struct Sidekiq {
    identity: Identity,
    database: Database,
    fetching: AtomicBool,
    /// Jobs that run, and the one that may be on its way from the table.
    busy: watch::Sender<u64>,
    asking: AtomicBool,
    worker: String,
}

/// Runs until TERM.
pub(crate) async fn serve(installation: &Installation) -> anyhow::Result<ExitCode> {
    let stop = StopSignals::install()?;
    let mut tstp = signal(SignalKind::from_raw(20)).context("TSTP")?;
    let settings = installation.read_settings()?;
    let identity = Identity::load("sidekiq", installation, &settings)?;
    let port = settings.port("SIDEKIQ_PORT", 8082)?;
    tokio::time::sleep(BOOT).await;
    let listener = TcpListener::bind(("0.0.0.0", port))
        .await
        .with_context(|| format!("cannot listen on port {port}"))?;
    let worker = format!("{}:{}", identity.host, std::process::id());
    let sidekiq = Arc::new(Sidekiq {
        identity,
        database: Database::new(settings.database_url(), "sidekiq"),
        fetching: AtomicBool::new(true),
        busy: watch::Sender::new(0),
        asking: AtomicBool::new(false),
        worker,
    });
    crate::say(&format!("sidekiq {} fetches", sidekiq.identity.build.version));
    tokio::spawn(http::serve(
        listener,
        Connections::KeptAlive,
        Arc::clone(&sidekiq),
        std::future::pending(),
    ));
    let listening = Arc::clone(&sidekiq);
    tokio::spawn(async move {
        tstp.recv().await;
        crate::say("sidekiq stops fetching");
        listening.fetching.store(false, Ordering::SeqCst);
    });
    tokio::spawn(Arc::clone(&sidekiq).fetch());
    stop.wait().await;
    sidekiq.finish().await;
    Ok(ExitCode::SUCCESS)
}

impl Sidekiq {
    async fn fetch(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(POLL);
        while self.fetching.load(Ordering::SeqCst) {
            ticks.tick().await;
            while self.may_take() {
                match self.take().await {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(error) => {
                        crate::say(&format!("cannot fetch jobs: {error:#}"));
                        tokio::time::sleep(AFTER_TROUBLE).await;
                        break;
                    }
                }
            }
        }
    }

    fn may_take(&self) -> bool {
        self.fetching.load(Ordering::SeqCst) && *self.busy.borrow() < CONCURRENCY
    }

    /// Takes one job, if there is one. It counts as busy before it is asked for, so that "idle and not fetching" can
    /// never be seen while a job is on its way from the table.
    async fn take(self: &Arc<Self>) -> anyhow::Result<bool> {
        self.busy.send_modify(|busy| *busy += 1);
        self.asking.store(true, Ordering::SeqCst);
        let sql = "UPDATE jobs SET started_at = now(), host = $1 WHERE id = (SELECT id FROM jobs \
                   WHERE started_at IS NULL ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) \
                   RETURNING id, milliseconds";
        let taken = self.database.query(sql, &[&self.worker]).await;
        self.asking.store(false, Ordering::SeqCst);
        let job = match &taken {
            Ok(rows) => {
                rows.first().and_then(|row| Some((row.try_get(0).ok()?, row.try_get(1).ok()?)))
            }
            Err(_) => None,
        };
        let Some((id, milliseconds)) = job else {
            self.busy.send_modify(|busy| *busy -= 1);
            return taken.map(|_| false);
        };
        tokio::spawn(Arc::clone(self).work(id, milliseconds));
        Ok(true)
    }

    async fn work(self: Arc<Self>, id: i64, milliseconds: i64) {
        let from = Instant::now();
        tokio::time::sleep(Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0))).await;
        let sql = "UPDATE jobs SET finished_at = now() WHERE id = $1";
        let code = match self.database.query(sql, &[&id]).await {
            Ok(_) => 200,
            Err(error) => {
                crate::say(&format!("job {id} cannot be noted as finished: {error:#}"));
                500
            }
        };
        self.identity.metrics.count(code, from.elapsed());
        self.busy.send_modify(|busy| *busy -= 1);
    }

    async fn finish(&self) {
        self.fetching.store(false, Ordering::SeqCst);
        let mut busy = self.busy.subscribe();
        let idle = busy.wait_for(|busy| *busy == 0);
        if tokio::time::timeout(SHUTDOWN, idle).await.is_ok() {
            return;
        }
        crate::say("jobs still run after 25 s: they go back to the table");
        let sql = "UPDATE jobs SET started_at = NULL, host = NULL WHERE host = $1 AND finished_at IS NULL";
        if let Err(error) = self.database.query(sql, &[&self.worker]).await {
            crate::say(&format!("jobs are lost: {error:#}"));
        }
    }
}

impl Service for Sidekiq {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let path = request.uri().path();
        let answer = match self.identity.answer_about_itself(path, None) {
            Some(answer) => answer,
            None if path == "/idle" => {
                let fetching = self.fetching.load(Ordering::SeqCst);
                // While it fetches, asking an empty table is no work; afterwards the last question may bring a job.
                let asking = fetching && self.asking.load(Ordering::SeqCst);
                let busy = *self.busy.borrow() - u64::from(asking);
                http::json(StatusCode::OK, &json!({"busy": busy, "fetching": fetching}))
            }
            None => http::text(StatusCode::NOT_FOUND, "404 Not Found\n"),
        };
        self.identity.sign(answer)
    }
}

/// `gitlab-sidekiq-idle`: exit code 0 when no job runs here, 1 when one does or when nobody can tell.
pub(crate) async fn report_idle(installation: &Installation) -> anyhow::Result<ExitCode> {
    let port = installation.read_settings()?.port("SIDEKIQ_PORT", 8082)?;
    let answer = http::get(&format!("127.0.0.1:{port}"), "/idle", Duration::from_secs(2)).await;
    let state: serde_json::Value = match answer {
        Ok((_, body)) => {
            serde_json::from_slice(&body).context("sidekiq does not answer in JSON")?
        }
        Err(error) if is_refused(&error) => {
            crate::say("sidekiq is not running: no job runs");
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) => return Err(error),
    };
    crate::say(&state.to_string());
    let busy = state.get("busy").and_then(serde_json::Value::as_u64).context("no `busy`")?;
    Ok(if busy == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn is_refused(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}
