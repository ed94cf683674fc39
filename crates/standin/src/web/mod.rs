//! The services that users meet: `puma` (web, api) and `workhorse` (git), one server under two names.
//!
//! Every answer tells which host and which loaded build gave it. The flaws of a running build live here. Requests that
//! need the database or gitaly are in `pages`; nothing here knows either.

mod pages;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Request, StatusCode};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::database::Database;
use crate::flaw::Flaw;
use crate::http::{self, Answer, Connections, Service, StopSignals};
use crate::metrics::{Gauges, Metrics};
use crate::settings::{Build, Installation, Settings, host_name};

/// How long a real Rails process would load; short enough for a lab, long enough to be seen.
pub(crate) const BOOT: Duration = Duration::from_millis(300);

/// So many searches a process of a build with `fires-alert-by-searches` bears. No test searches, users do: at 5% of the
/// lab's traffic it takes about ten seconds.
const SEARCHES_BORNE: u64 = 5;

/// What every service knows of itself and tells on `/-/…` and `/metrics`.
pub(crate) struct Identity {
    pub service: &'static str,
    pub build: Build,
    pub host: String,
    pub fleet: String,
    pub metrics: Metrics,
    pub started: Duration,
    /// The same moment as `started`, on the clock that only goes forward.
    pub booted: Instant,
    pub in_flight: AtomicU64,
    pub searches: AtomicU64,
    pub alert_after: Duration,
}

impl Identity {
    /// Reads the build from disk: this is the moment at which it is loaded.
    pub(crate) fn load(
        service: &'static str,
        installation: &Installation,
        settings: &Settings,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            service,
            build: installation.read_build()?,
            host: host_name(),
            fleet: settings.get("FLEET").unwrap_or("main").to_owned(),
            metrics: Metrics::default(),
            started: unix_time(),
            booted: Instant::now(),
            in_flight: AtomicU64::new(0),
            searches: AtomicU64::new(0),
            alert_after: Duration::from_secs(settings.number("SERIN_LAB_ALERT_AFTER", 60)?),
        })
    }

    /// The answers that all services share; `None` when the path is none of them.
    pub(crate) fn answer_about_itself(&self, path: &str, flaw: Option<Flaw>) -> Option<Answer> {
        Some(match path {
            "/-/health" => http::text(StatusCode::OK, "GitLab OK"),
            "/-/liveness" => http::json(StatusCode::OK, &json!({"status": "ok"})),
            "/-/readiness" if flaw == Some(Flaw::NeverReady) => {
                let check = json!({"status": "failed", "master_check": [{"status": "failed"}]});
                http::json(StatusCode::SERVICE_UNAVAILABLE, &check)
            }
            "/-/readiness" => {
                let check = json!({"status": "ok", "master_check": [{"status": "ok"}]});
                http::json(StatusCode::OK, &check)
            }
            "/-/version" => http::json(StatusCode::OK, &self.version()),
            "/metrics" => http::text(StatusCode::OK, self.render_metrics(flaw)),
            _ => return None,
        })
    }

    fn version(&self) -> serde_json::Value {
        json!({
            "service": self.service,
            "version": self.build.version,
            "rails_version": self.build.rails_version,
            "revision": self.build.revision,
            "pid": std::process::id(),
            "started": self.started.as_millis().to_string().parse::<u64>().unwrap_or(u64::MAX),
        })
    }

    fn render_metrics(&self, flaw: Option<Flaw>) -> String {
        let gauges = Gauges {
            service: self.service,
            alert: self.misbehaves(flaw),
            started: self.started,
            in_flight: self.in_flight.load(Ordering::Relaxed),
        };
        self.metrics.render(&self.build, &gauges)
    }

    fn misbehaves(&self, flaw: Option<Flaw>) -> bool {
        let (old, searches) = (self.booted.elapsed(), self.searches.load(Ordering::Relaxed));
        (flaw == Some(Flaw::FiresAlertAfterAMinute) && old >= self.alert_after)
            || (flaw == Some(Flaw::FiresAlertBySearches) && searches > SEARCHES_BORNE)
    }

    /// Marks the answer with who gave it.
    pub(crate) fn sign(&self, mut answer: Answer) -> Answer {
        let marks = [
            ("x-serin-host", &self.host),
            ("x-serin-fleet", &self.fleet),
            ("x-serin-version", &self.build.version),
        ];
        for (name, value) in marks {
            if let Ok(value) = HeaderValue::from_str(value) {
                answer.headers_mut().insert(name, value);
            }
        }
        answer
    }
}

/// The server of one process.
pub(crate) struct Web {
    identity: Identity,
    settings: Settings,
    database: Database,
    requests: AtomicU64,
}

/// Runs until it is told to stop, then finishes what is in flight.
pub(crate) async fn serve(
    service: &'static str,
    installation: &Installation,
) -> anyhow::Result<ExitCode> {
    let stop = StopSignals::install()?;
    let settings = installation.read_settings()?;
    let identity = Identity::load(service, installation, &settings)?;
    let port = settings.port("PUMA_PORT", 8080)?;
    let web = Arc::new(Web {
        database: Database::new(settings.database_url(), service),
        identity,
        settings,
        requests: AtomicU64::new(0),
    });
    let (flaw, booted) = (web.identity.build.flaw, web.identity.booted);
    crate::say(&format!("{service} {} is booting", web.identity.build.version));
    tokio::time::sleep(BOOT).await;
    let listener = TcpListener::bind(("0.0.0.0", port))
        .await
        .with_context(|| format!("cannot listen on port {port}"))?;
    crate::say(&format!("{service} {} listens on {port}", web.identity.build.version));
    let death = async {
        if flaw == Some(Flaw::DiesAfterFiveSeconds) {
            tokio::time::sleep_until(booted + Duration::from_secs(5)).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        () = death => bail!("{service} died: the build is broken that way"),
        () = http::serve(listener, Connections::KeptAlive, web, stop.wait()) => {}
    }
    crate::say(&format!("{service} finished its requests and stops"));
    Ok(ExitCode::SUCCESS)
}

impl Service for Web {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answer {
        let flaw = self.identity.build.flaw;
        let path = request.uri().path();
        if path == "/-/readiness" && request.uri().query() == Some("all=1") {
            let answer = self.identity.sign(pages::readiness_of_all(&self).await);
            return answer;
        }
        if let Some(answer) = self.identity.answer_about_itself(path, flaw) {
            return self.identity.sign(answer);
        }
        let from = Instant::now();
        self.identity.in_flight.fetch_add(1, Ordering::Relaxed);
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        if pages::is_search(&request) {
            self.identity.searches.fetch_add(1, Ordering::Relaxed);
        }
        if flaw == Some(Flaw::Slow) {
            tokio::time::sleep(Duration::from_millis(1500)).await;
        }
        let answer = if flaw == Some(Flaw::FivePercentErrors) && number.is_multiple_of(20) {
            http::text(StatusCode::INTERNAL_SERVER_ERROR, "500 Whoops, something went wrong\n")
        } else {
            pages::answer(&self, &request).await
        };
        self.identity.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.identity.metrics.count(answer.status().as_u16(), from.elapsed());
        self.identity.sign(answer)
    }
}

#[expect(clippy::disallowed_methods, reason = "the edge: when this process started")]
fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
