//! The suite's HTTP client: `curl`, one request a process, no retries.

use crate::run::{cmd, run};
use crate::topology::Fleet;
use anyhow::{Context, Result, bail};
use std::net::Ipv4Addr;

/// Asks one load balancer.
#[derive(Debug)]
pub(crate) struct Client {
    base: String,
    fleet: Fleet,
}

/// An answer of any status.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status code.
    pub(crate) status: u16,
    head: String,
    /// The body.
    pub(crate) body: String,
}

impl Client {
    /// Names the load balancer. For the canary every request carries its cookie, and its fleet must answer; for
    /// main any fleet may.
    pub(crate) fn new(address: Ipv4Addr, fleet: Fleet) -> Self {
        Self { base: format!("http://{address}"), fleet }
    }

    /// Gets a path that must be answered with 200, by the right fleet.
    pub(crate) fn get(&self, path: &str) -> Result<Answer> {
        self.expect("GET", path, 200)
    }

    /// Posts to a path that must be answered with this status, by the right fleet.
    pub(crate) fn post(&self, path: &str, status: u16) -> Result<Answer> {
        self.expect("POST", path, status)
    }

    /// Asks a port of the load balancer with other headers than usual.
    pub(crate) fn ask(&self, port: u16, path: &str, headers: &[&str]) -> Result<Answer> {
        let url = format!("{}:{port}{path}", self.base);
        let mut command = cmd(["curl", "-sS", "-i", "--max-time", "10"]);
        for header in headers {
            command.args(["-H", header]);
        }
        Answer::parse(&run(command.arg(&url))?.stdout)
    }

    fn expect(&self, method: &str, path: &str, status: u16) -> Result<Answer> {
        let url = format!("{}{path}", self.base);
        let mut command = cmd(["curl", "-sS", "-i", "--max-time", "10", "-X", method]);
        if self.fleet == Fleet::Canary {
            command.args(["-H", "Cookie: gitlab_canary=true"]);
        }
        let answer = Answer::parse(&run(command.arg(&url))?.stdout)?;
        if answer.status != status {
            let host = answer.header("x-serin-host").unwrap_or("the load balancer");
            bail!("{method} {path}: {} instead of {status}, from {host}", answer.status);
        }
        if self.fleet == Fleet::Canary {
            answer.must_be_from("canary").with_context(|| format!("{method} {path}"))?;
        }
        Ok(answer)
    }
}

impl Answer {
    fn parse(bytes: &[u8]) -> Result<Self> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").context("no HTTP answer")?;
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        Ok(Self {
            status: status.context("no HTTP status")?,
            head: head.to_owned(),
            body: body.to_owned(),
        })
    }

    /// Returns a header's value; `name` is in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }

    /// Checks which fleet answered.
    pub(crate) fn must_be_from(&self, fleet: &str) -> Result<()> {
        match self.header("x-serin-fleet") {
            Some(found) if found == fleet => Ok(()),
            found => bail!("answered by {}, not by {fleet}", found.unwrap_or("nobody's host")),
        }
    }

    /// Reads a member of a JSON body.
    pub(crate) fn member(&self, name: &str) -> Result<serde_json::Value> {
        let body: serde_json::Value = serde_json::from_str(&self.body).context("no JSON")?;
        body.get(name).cloned().with_context(|| format!("no {name} in {}", self.body))
    }
}
