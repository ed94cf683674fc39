//! QA suites: any command, judged by its exit status and its report together.
//!
//! Neither alone is enough. GitLab-QA exits 0 when no test fitted its tags and when its container client was killed;
//! a report of a killed run is a shorter list of tests that passed. So a suite passes only if it exited 0, its report
//! reads to the end, enough tests ran and none failed. Nothing here decides what a failed suite means for a run.
//! Read [`Qa`] first.

mod ansi;
mod files;
#[doc(hidden)]
pub mod fuzzing;
mod junit;
mod kept;
mod process;
mod report;
mod rspec;
mod secrets;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_process;

use async_trait::async_trait;
use files::Texts;
use kept::Kept;
pub use kept::REPORTS;
use process::{End, Ended};
use report::Report;
use secrets::Secrets;
use serin_model::{Argv, QaReport, QaSuite};
use serin_runtime::ports::{QaPort, QaResult};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::Instant;

/// What a command gets of Serin's own environment besides its secrets: enough to find programs and a container engine.
const INHERITED: [&str; 6] = ["PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "DOCKER_HOST"];

/// The longest time that can be added to any clock without a thought; a longer limit means this one.
const MAX_TIMEOUT: Duration = Duration::from_hours(24 * 365);

/// Names, for the command that retries, the file that lists the failed tests, one a line.
pub const FAILED_TESTS: &str = "SERIN_QA_FAILED";

/// Runs QA suites on this machine.
#[derive(Debug, Clone)]
pub struct Qa {
    environment: BTreeMap<String, String>,
}

impl Qa {
    /// Makes the port. `environment` is Serin's own: suites get little of it, and their secrets are taken from it.
    pub fn new(environment: BTreeMap<String, String>) -> Self {
        Self { environment }
    }
}

#[async_trait]
impl QaPort for Qa {
    async fn run(&self, suite: &QaSuite) -> QaResult {
        match Trial::new(&self.environment, suite) {
            Ok(trial) => trial.run().await,
            Err(why) => QaResult::Broken { why },
        }
    }
}

/// Checks what can be checked of a suite without running it.
///
/// # Errors
/// Says what is wrong, for a person.
pub fn check_suite(environment: &BTreeMap<String, String>, suite: &QaSuite) -> Result<(), String> {
    Secrets::new(environment, &suite.secrets)?;
    if let QaReport::Junit(patterns) = &suite.report {
        files::check_patterns(patterns)?;
    }
    std::iter::once(&suite.command).chain(&suite.retry_failed).try_for_each(process::check_program)
}

/// One suite being run: a working folder, and the secrets that must not leave it.
struct Trial<'a> {
    suite: &'a QaSuite,
    environment: BTreeMap<String, String>,
    secrets: Secrets,
    deadline: Instant,
    kept: Option<Kept>,
    folder: tempfile::TempDir,
}

impl<'a> Trial<'a> {
    fn new(own: &BTreeMap<String, String>, suite: &'a QaSuite) -> Result<Self, String> {
        check_suite(own, suite)?;
        let secrets = Secrets::new(own, &suite.secrets)?;
        let inherited = INHERITED
            .iter()
            .filter_map(|name| own.get(*name).map(|value| ((*name).to_owned(), value.clone())));
        let mut environment: BTreeMap<_, _> = inherited.collect();
        environment.insert("LANG".to_owned(), "C.UTF-8".to_owned());
        environment.extend(suite.environment.clone());
        environment.extend(secrets.variables());
        let folder = tempfile::Builder::new()
            .prefix(&format!("serin-qa-{}-", suite.name))
            .tempdir()
            .map_err(|error| format!("no working folder can be made: {error}"))?;
        std::fs::create_dir(folder.path().join("work"))
            .map_err(|error| format!("no working folder can be made: {error}"))?;
        Ok(Self {
            suite,
            environment,
            secrets,
            kept: own
                .get(REPORTS)
                .filter(|folder| !folder.is_empty())
                .map(|folder| Kept::new(folder, &suite.name)),
            deadline: Instant::now() + suite.timeout.min(MAX_TIMEOUT),
            folder,
        })
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    async fn run(mut self) -> QaResult {
        let first = match self.attempt(&self.suite.command).await {
            Ok(report) => report,
            Err(why) => return self.broken(&why),
        };
        let minimum = self.suite.minimum_tests.max(1);
        if first.failed.is_empty() {
            return self.passed(&first, minimum);
        }
        let Some(retry) = &self.suite.retry_failed else {
            return self.failed(&first.failed);
        };
        let second = match self.prepare_retry(&first.failed) {
            Ok(()) => self.attempt(retry).await,
            Err(why) => Err(why),
        };
        match second {
            Ok(second) => {
                let still = second.still_failed(&first);
                if !still.is_empty() {
                    return self.failed(&still);
                }
                let flaky = first.flaky.union(&first.failed).cloned().collect();
                self.passed(&Report { flaky, ..first }, minimum)
            }
            // What failed has failed, whatever became of the second try.
            Err(why) => {
                tracing::warn!(suite = %self.suite.name, why = %self.secrets.hide(&why), "retry broke");
                self.failed(&first.failed)
            }
        }
    }

    /// Runs a command once and reads its report. A report with failed tests is a report.
    async fn attempt(&self, command: &Argv) -> Result<Report, String> {
        let ended = process::run(command, &self.work(), &self.environment, self.deadline).await?;
        let report = match &ended.end {
            End::TimedOut => Err(format!(
                "it did not end within {} s and was stopped",
                self.suite.timeout.as_secs()
            )),
            End::Signal(signal) => Err(format!("it was ended by signal {signal}")),
            End::Exit(status) => {
                let report = self.report(&ended).await;
                report.and_then(|report| trust(report, *status)).map_err(|why| {
                    if *status == 0 { why } else { format!("{why} (exit status {status})") }
                })
            }
        };
        report.map_err(|why| match ended.tail.as_str() {
            "" => format!("{why}; it printed nothing"),
            tail => format!("{why}; its last lines: {tail}"),
        })
    }

    async fn report(&self, ended: &Ended) -> Result<Report, String> {
        match &self.suite.report {
            QaReport::Rspec => {
                let report = rspec::parse(&ended.lines)?;
                if let Some(kept) = &self.kept {
                    kept.summary(&self.suite.name, &report, &self.secrets);
                }
                Ok(report)
            }
            QaReport::Junit(patterns) => {
                let (work, patterns) = (self.work(), patterns.clone());
                let read = move || read_junit(&work, &patterns);
                let read = tokio::task::spawn_blocking(read).await;
                let (report, texts) = read.map_err(|error| error.to_string())??;
                if let Some(kept) = &self.kept {
                    kept.files(&texts, &self.secrets);
                }
                report
            }
        }
    }

    /// Takes the first reports away, so that only the retry's own are read after it, and says what has failed.
    fn prepare_retry(&mut self, failed: &BTreeSet<String>) -> Result<(), String> {
        if let QaReport::Junit(patterns) = &self.suite.report {
            for file in files::find(&self.work(), patterns)? {
                std::fs::remove_file(&file).map_err(|error| error.to_string())?;
            }
        }
        let list = self.folder.path().join("failed-tests");
        let text = failed.iter().fold(String::new(), |text, name| text + name + "\n");
        std::fs::write(&list, text).map_err(|error| error.to_string())?;
        self.environment.insert(FAILED_TESTS.to_owned(), list.display().to_string());
        Ok(())
    }

    fn passed(&self, report: &Report, minimum: u32) -> QaResult {
        if report.executed < minimum {
            return QaResult::TooFew { executed: report.executed };
        }
        let flaky = report.flaky.iter().map(|name| self.secrets.hide_name(name)).collect();
        QaResult::Passed { executed: report.executed, flaky }
    }

    fn failed(&self, tests: &BTreeSet<String>) -> QaResult {
        QaResult::Failed { tests: tests.iter().map(|name| self.secrets.hide_name(name)).collect() }
    }

    fn broken(&self, why: &str) -> QaResult {
        QaResult::Broken { why: self.secrets.hide(why) }
    }
}

/// An exit status and a report that contradict each other are believed in neither direction.
fn trust(report: Report, status: i32) -> Result<Report, String> {
    if !report.failed.is_empty() {
        Ok(report)
    } else if report.outside_errors > 0 {
        Err(format!("{} errors occurred outside of tests", report.outside_errors))
    } else if status != 0 {
        Err(format!("no test failed among {}, but the command did", report.executed))
    } else {
        Ok(report)
    }
}

/// Reads the report files: what they say together, if that can be told, and each as it is.
fn read_junit(work: &Path, patterns: &[String]) -> Result<(Result<Report, String>, Texts), String> {
    let found = files::find(work, patterns)?;
    if found.is_empty() {
        return Err(format!("it wrote no report that fits {}", patterns.join(" ")));
    }
    let texts = files::read(work, &found)?;
    Ok((add_up(&texts), texts))
}

fn add_up(texts: &[(String, String)]) -> Result<Report, String> {
    let mut all = Report::default();
    for (file, text) in texts {
        all.add(junit::parse(text).map_err(|why| format!("the report {file} {why}"))?);
    }
    Ok(all)
}
