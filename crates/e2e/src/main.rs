//! `serin-e2e`: the real `serin` against the real lab, as a release manager would use it, with faults.
//!
//! Every scenario is a story of its own, starts with a new version, and ends with the oracle: every host and server is
//! as it should be or named, each migration and installation happened once, no request failed, main production was not
//! touched. It knows nothing of Serin's insides: it reads what people read. Read [`scenarios`] first.

mod campaign;
mod ci;
mod delivery;
mod disk;
mod events;
mod faults;
mod gates;
mod gitlab;
mod holds;
mod lab;
mod machines;
mod monitor;
mod oracle;
mod others;
mod patches;
mod people;
mod process;
mod production;
mod refusals;
mod scenarios;
mod script;
mod seen;
mod story;
mod traffic;
mod work;
mod world;

use anyhow::{Context, Result, bail};
use clap::Parser;
use lab::Lab;
use scenarios::Scenario;
use std::path::PathBuf;
use std::process::ExitCode;

/// The real serin against the real lab.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where the binaries serin and serin-lab are.
    #[arg(long)]
    bin: PathBuf,
    /// The lab's folder.
    #[arg(long, default_value = ".lab")]
    lab: PathBuf,
    /// Every scenario with its full counts: well over an hour.
    #[arg(long)]
    soak: bool,
    /// The seed of the moments at which something is killed or cut.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Tell the faults of the campaign instead, and write a report of what was seen.
    #[arg(long, value_name = "REPORT", conflicts_with_all = ["soak", "story"])]
    faults: Option<PathBuf>,
    /// What is tested, for the report: a commit.
    #[arg(long, value_name = "TEXT", default_value = "programs of no name")]
    source: String,
    /// Tell this scenario file instead; the lab must be new.
    #[arg(long, value_name = "FILE", requires = "transcript")]
    story: Option<PathBuf>,
    /// Where its transcript goes, or that of the jobs.
    #[arg(long, value_name = "FILE")]
    transcript: Option<PathBuf>,
    /// Where gitlab-ci-local is: tell what becomes of a build whose stages are jobs, and nothing else.
    #[arg(long, value_name = "PROGRAM", conflicts_with_all = ["soak", "story", "faults"])]
    ci: Option<PathBuf>,
    /// Only scenarios whose name holds one of these words.
    only: Vec<String>,
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    let arguments = Arguments::parse();
    let bin = arguments.bin.canonicalize().context("there is no such folder of binaries")?;
    let mut lab = Lab::new(bin, &arguments.lab, arguments.seed)?;
    lab.up()?;
    if let (Some(scenario), Some(transcript)) = (&arguments.story, &arguments.transcript) {
        story::tell(&lab, scenario, transcript)?;
        return Ok(true);
    }
    if let Some(path) = &arguments.faults {
        let report = campaign::Report { path, source: &arguments.source };
        return campaign::tell(&mut lab, &arguments.only, &report);
    }
    let all = match &arguments.ci {
        Some(program) => vec![ci::by_jobs(program.canonicalize()?, arguments.transcript.clone())],
        None if arguments.soak => scenarios::soak(),
        None => scenarios::quick(),
    };
    let wanted = |scenario: &Scenario| {
        arguments.only.is_empty() || arguments.only.iter().any(|word| scenario.name.contains(word))
    };
    let chosen: Vec<Scenario> = all.into_iter().filter(wanted).collect();
    if chosen.is_empty() {
        bail!("no scenario's name holds any of {:?}", arguments.only);
    }
    let (mut passed, mut failed) = (0, 0);
    for scenario in chosen {
        say(format!("      {} …", scenario.name));
        let result = (scenario.run)(&mut lab);
        lab.mend();
        match result {
            Ok(seen) => {
                passed += 1;
                say(format!("ok    {}: {seen}", scenario.name));
            }
            Err(error) => {
                failed += 1;
                say(format!("FAIL  {}: {error:#}", scenario.name));
            }
        }
    }
    say(format!("\n{passed} passed, {failed} failed"));
    Ok(failed == 0)
}

/// Prints a line.
fn say(text: impl AsRef<str>) {
    use std::io::Write;
    drop(writeln!(std::io::stdout(), "{}", text.as_ref()));
}
