//! `serin-lab qa`: a small QA suite that uses an environment as a user would, through its load balancer.
//!
//! Exit 0: all passed; 1: a test failed; 2: the suite could not run. Nothing is retried: a flaky answer is a finding.

mod http;
mod junit;
mod tests;

use crate::run::{now, say};
use crate::state::LabFolder;
use crate::topology::{Environment, Fleet, Kind, Topology};
use anyhow::{Context, Result};
use http::Client;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// What to test and where to report.
#[derive(Debug)]
pub(crate) struct Suite {
    /// The environment.
    pub(crate) environment: Environment,
    /// The fleet: the canary has to answer every request itself, for main any fleet may.
    pub(crate) fleet: Fleet,
    /// The JUnit report.
    pub(crate) report: Option<PathBuf>,
}

/// How one test went.
#[derive(Debug)]
pub(crate) struct Outcome {
    name: &'static str,
    took: Duration,
    verdict: Verdict,
}

#[derive(Debug)]
enum Verdict {
    Passed,
    Failed(String),
    /// The environment has nothing that this test could test.
    Skipped(&'static str),
}

/// Runs the suite.
pub(crate) fn qa(folder: &LabFolder, suite: &Suite) -> Result<ExitCode> {
    let topology = folder.load()?.topology;
    let balancer = topology
        .of_kind(suite.environment, Kind::LoadBalancer)
        .next()
        .with_context(|| format!("this lab has no {}", suite.environment))?;
    let client = Client::new(balancer.address, suite.fleet);
    let outcomes = run_tests(&client, &topology, suite);
    for outcome in &outcomes {
        let (mark, why) = match &outcome.verdict {
            Verdict::Passed => ("passed", String::new()),
            Verdict::Failed(why) => ("FAILED", format!(": {why}")),
            Verdict::Skipped(why) => ("skipped", format!(": {why}")),
        };
        say(format_args!("{mark:<8} {}{why}", outcome.name));
    }
    if let Some(path) = &suite.report {
        let name = format!("lab.{}", suite.environment);
        std::fs::write(path, junit::render(&name, &outcomes))
            .with_context(|| path.display().to_string())?;
    }
    let failed = outcomes.iter().any(|outcome| matches!(outcome.verdict, Verdict::Failed(_)));
    Ok(if failed { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn run_tests(client: &Client, topology: &Topology, suite: &Suite) -> Vec<Outcome> {
    let has_sidekiq = topology.of_kind(suite.environment, Kind::Sidekiq).next().is_some();
    let fitting =
        tests::ALL.iter().filter(|test| suite.fleet == Fleet::Canary || !test.canary_only);
    fitting
        .map(|test| {
            let started = now();
            let verdict = if test.needs_sidekiq && !has_sidekiq {
                Verdict::Skipped("no host works off jobs here")
            } else {
                match (test.run)(client) {
                    Ok(()) => Verdict::Passed,
                    Err(error) => Verdict::Failed(format!("{error:#}")),
                }
            };
            Outcome { name: test.name, took: started.elapsed(), verdict }
        })
        .collect()
}
