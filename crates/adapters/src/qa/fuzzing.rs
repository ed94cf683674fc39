//! For the fuzz targets of QA: reports and output as text, without a suite.

use super::report::Report;
use super::{junit, rspec};
use std::collections::BTreeSet;

/// What a report said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// How many tests ran.
    pub executed: u32,
    /// The names of those that passed, if they are known.
    pub passed: Option<BTreeSet<String>>,
    /// How many failed.
    pub failures: u32,
    /// The names of those that failed.
    pub failed: BTreeSet<String>,
}

/// Reads a JUnit report.
pub fn junit(text: &str) -> Result<Told, String> {
    junit::parse(text).map(told)
}

/// Reads what RSpec printed.
pub fn rspec(output: &str) -> Result<Told, String> {
    let lines: Vec<String> = output.split('\n').filter_map(rspec::keep).collect();
    rspec::parse(&lines).map(told)
}

fn told(report: Report) -> Told {
    let Report { executed, passed, failures, failed, flaky: _, outside_errors: _ } = report;
    Told { executed, passed, failures, failed }
}
