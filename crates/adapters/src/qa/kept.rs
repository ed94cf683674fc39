//! Keeps what suites reported in a folder, as JUnit: a CI system shows it on its own pages.
//!
//! It is a copy for people. Nothing is judged by it, and where it cannot be written a suite's result stays what it is.

use super::report::Report;
use super::secrets::Secrets;
use serin_model::QaName;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Names the folder, in Serin's own environment.
pub const REPORTS: &str = "SERIN_QA_REPORTS";

/// More reports of one suite than this are not kept: a job tries a suite a few times.
const MOST: usize = 1000;

/// Where the reports of a suite are kept.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    folder: PathBuf,
}

impl Kept {
    pub(super) fn new(reports: &str, suite: &QaName) -> Self {
        Self { folder: Path::new(reports).join(suite.as_str()) }
    }

    /// Keeps the report files of one try, without secrets. Files of earlier tries stay.
    pub(super) fn files(&self, texts: &[(String, String)], secrets: &Secrets) {
        for (name, text) in texts {
            self.write(name, &secrets.hide_all(text));
        }
    }

    /// Keeps a summary as a report: a test for each name that is known, and for each that is not.
    pub(super) fn summary(&self, suite: &QaName, report: &Report, secrets: &Secrets) {
        let hidden = |names: &BTreeSet<String>| -> Vec<String> {
            names.iter().map(|name| escaped(&secrets.hide_name(name))).collect()
        };
        let (failed, passed) = (hidden(&report.failed), report.passed.as_ref().map(hidden));
        let mut cases = String::new();
        for name in &failed {
            cases.extend(["  <testcase name=\"", name, "\"><failure/></testcase>\n"]);
        }
        let unnamed = || {
            let count = usize::try_from(report.executed).unwrap_or(0).saturating_sub(failed.len());
            (1..=count).map(|number| format!("example {number}, which passed")).collect()
        };
        for name in passed.unwrap_or_else(unnamed) {
            cases.extend(["  <testcase name=\"", &name, "\"/>\n"]);
        }
        let text =
            format!("<testsuite name=\"{}\">\n{cases}</testsuite>\n", escaped(suite.as_str()));
        self.write("summary.xml", &text);
    }

    fn write(&self, name: &str, text: &str) {
        if let Err(error) = self.try_write(name, text) {
            tracing::warn!(folder = %self.folder.display(), %error, "a QA report was not kept");
        }
    }

    fn try_write(&self, name: &str, text: &str) -> std::io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let number = fs::read_dir(&self.folder)?.take(MOST).count() + 1;
        if number > MOST {
            return Err(std::io::Error::other(format!("it has {MOST} reports already")));
        }
        // One folder, whatever folders the suite has made.
        let name: String = name.chars().map(|c| if c == '/' { '-' } else { c }).collect();
        fs::write(self.folder.join(format!("{number:03}-{name}")), text)
    }
}

fn escaped(text: &str) -> String {
    let replaced = text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    replaced.replace('>', "&gt;")
}
