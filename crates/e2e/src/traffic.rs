//! Constant traffic through the load balancers of both environments, by `serin traffic`.

use crate::lab::{Lab, PATIENCE};
use crate::process::Running;
use anyhow::{Context, Result, bail};
use rustix::process::Signal;

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
pub(crate) struct Traffic(Vec<(String, Running)>);

impl Traffic {
    /// Starts 100 requests a second to each environment.
    pub(crate) fn start(lab: &Lab) -> Result<Self> {
        Self::of(lab, [("gstg", &ENDPOINTS), ("gprd", &ENDPOINTS)])
    }

    /// The same, and users of production search.
    pub(crate) fn of_users(lab: &Lab) -> Result<Self> {
        let production: Vec<&str> = ENDPOINTS.into_iter().chain([SEARCH]).collect();
        Self::of(lab, [("gstg", &ENDPOINTS), ("gprd", &production)])
    }

    fn of(lab: &Lab, environments: [(&str, &[&str]); 2]) -> Result<Self> {
        let balancers = lab.hosts("load-balancer")?;
        let mut running = Vec::new();
        for (environment, endpoints) in environments {
            let bases: Vec<String> = balancers
                .iter()
                .filter(|(name, _)| name.ends_with(environment))
                .map(|(_, address)| format!("http://{address}"))
                .collect();
            if bases.is_empty() {
                continue;
            }
            let mut arguments = vec!["--json", "traffic", "--rate", "100"];
            arguments.extend(endpoints.iter().flat_map(|endpoint| ["--endpoint", endpoint]));
            arguments.extend(bases.iter().map(String::as_str));
            running.push((environment.to_owned(), lab.serin_running(&arguments)?));
        }
        Ok(Self(running))
    }

    /// Stops it, and fails if any request failed.
    pub(crate) fn stop(self) -> Result<String> {
        let mut total = 0;
        for (environment, running) in self.0 {
            running.signal(Signal::INT)?;
            let ended = running.end(PATIENCE)?;
            let line = ended.log.last().context("traffic printed nothing")?;
            let summary: serde_json::Value =
                serde_json::from_str(line).with_context(|| format!("traffic printed {line}"))?;
            let count = |name: &str| summary.get(name).and_then(serde_json::Value::as_u64);
            let requests = count("requests").context("a summary without requests")?;
            if count("failed") != Some(0) || count("dropped") != Some(0) || requests == 0 {
                let failed = summary.get("failed_requests").map(ToString::to_string);
                let failed: String = failed.unwrap_or_default().chars().take(1500).collect();
                bail!(
                    "{environment}: {:?} of {requests} requests failed, {:?} were not sent: {failed}",
                    count("failed"),
                    count("dropped")
                );
            }
            total += requests;
        }
        Ok(format!("{total} requests, none failed"))
    }

    /// Stops it; broken versions may fail requests.
    pub(crate) fn stop_regardless(self) -> Result<()> {
        for (_, running) in self.0 {
            running.signal(Signal::INT)?;
            running.end(PATIENCE)?;
        }
        Ok(())
    }
}
