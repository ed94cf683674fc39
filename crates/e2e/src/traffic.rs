//! Constant traffic through the load balancers of both environments, by `serin traffic`.

use crate::lab::{Lab, PATIENCE};
use crate::process::Running;
use crate::seen::Account;
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;

/// What users do: pages, the API, git, and requests that take long.
const ENDPOINTS: [&str; 5] = [
    "GET /users/sign_in weight=4",
    "GET /api/v4/projects weight=3",
    "GET /group/project weight=2",
    "GET /group/project.git/info/refs weight=2",
    "GET /slow?ms=2000 weight=1",
];

/// What users of production do as well, and no test does.
const SEARCH: &str = "GET /group/project?search=fox weight=3";

/// Traffic that is being sent.
pub(crate) struct Traffic {
    streams: Vec<Stream>,
    account: Account,
}

/// Requests to some load balancers, counted apart from others.
struct Stream {
    /// An environment's domain, or a load balancer.
    to: String,
    running: Running,
}

/// Requests that nobody could save: those to a place that was itself taken away.
pub(crate) struct Excuse<'a> {
    /// Whom they were sent to, as a stream is called.
    pub(crate) to: &'a str,
    /// Why, for the report.
    pub(crate) because: &'a str,
}

/// What a stream's summary says.
struct Sent {
    to: String,
    requests: u64,
    failed: u64,
    dropped: u64,
    examples: String,
}

impl Traffic {
    /// Starts 100 requests a second to each environment.
    pub(crate) fn start(lab: &Lab) -> Result<Self> {
        Self::of(lab, &ENDPOINTS, None)
    }

    /// The same, and users of production search.
    pub(crate) fn of_users(lab: &Lab) -> Result<Self> {
        let production: Vec<&str> = ENDPOINTS.into_iter().chain([SEARCH]).collect();
        Self::of(lab, &production, None)
    }

    /// The same as at first, but users of one load balancer are counted apart.
    pub(crate) fn start_apart(lab: &Lab, balancer: &str) -> Result<Self> {
        Self::of(lab, &ENDPOINTS, Some(balancer))
    }

    fn of(lab: &Lab, production: &[&str], apart: Option<&str>) -> Result<Self> {
        let mut bases: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, address) in lab.hosts("load-balancer")? {
            let domain = name.split_once('.').map_or("", |(_, domain)| domain);
            let stream = if apart == Some(name.as_str()) { &name } else { domain };
            bases.entry(stream.to_owned()).or_default().push(format!("http://{address}"));
        }
        let mut streams = Vec::new();
        for (to, bases) in bases {
            let endpoints = if to.ends_with("gprd") { production } else { &ENDPOINTS };
            let mut arguments = vec!["--json", "traffic", "--rate", "100"];
            arguments.extend(endpoints.iter().flat_map(|endpoint| ["--endpoint", endpoint]));
            arguments.extend(bases.iter().map(String::as_str));
            let running = lab.serin_running(&arguments)?;
            streams.push(Stream { to, running });
        }
        Ok(Self { streams, account: Account::clone(lab.account()) })
    }

    /// Stops it, and fails if any request failed.
    pub(crate) fn stop(self) -> Result<String> {
        self.stop_excusing(None)
    }

    /// Stops it, and fails if any request failed that is not excused.
    pub(crate) fn stop_excusing(self, excuse: Option<&Excuse<'_>>) -> Result<String> {
        let (mut requests, mut failed) = (0, 0);
        let mut wrong = None;
        for stream in self.streams {
            let sent = stream.stop()?;
            requests += sent.requests;
            failed += sent.failed;
            let mut account = self.account.borrow_mut();
            account.requests += sent.requests;
            account.failed += sent.failed;
            let excused = excuse.filter(|excuse| excuse.to == sent.to);
            match excused {
                Some(excuse) if sent.failed > 0 => excuse.because.clone_into(&mut account.excuse),
                Some(_) => {}
                None if sent.is_clean() => {}
                None => wrong = Some(sent),
            }
        }
        if let Some(sent) = wrong {
            bail!(
                "{}: {} of {} requests failed, {} were not sent: {}",
                sent.to,
                sent.failed,
                sent.requests,
                sent.dropped,
                sent.examples
            );
        }
        match failed {
            0 => Ok(format!("{requests} requests, none failed")),
            failed => Ok(format!("{requests} requests, {failed} failed")),
        }
    }

    /// Stops it; broken versions may fail requests.
    pub(crate) fn stop_regardless(self) -> Result<()> {
        for stream in self.streams {
            stream.stop()?;
        }
        Ok(())
    }
}

impl Stream {
    fn stop(self) -> Result<Sent> {
        self.running.signal(Signal::INT)?;
        let ended = self.running.end(PATIENCE)?;
        let line = ended.log.last().context("traffic printed nothing")?;
        let summary: Value =
            serde_json::from_str(line).with_context(|| format!("traffic printed {line}"))?;
        let count = |name: &str| {
            summary
                .get(name)
                .and_then(Value::as_u64)
                .with_context(|| format!("no {name} in {line}"))
        };
        let examples = summary.get("failed_requests").map(ToString::to_string);
        Ok(Sent {
            to: self.to,
            requests: count("requests")?,
            failed: count("failed")?,
            dropped: count("dropped")?,
            examples: examples.unwrap_or_default().chars().take(1500).collect(),
        })
    }
}

impl Sent {
    fn is_clean(&self) -> bool {
        self.failed == 0 && self.dropped == 0 && self.requests > 0
    }
}
