//! `serin-fuzz`: looks for inputs that a target does not hold, with no other engine than seeded mutations; tries one again.
//!
//! `make fuzz` calls it where there is no `cargo fuzz`. It knows no coverage, and runs on stable Rust.

use anyhow::{Context, Result, bail};
use serin_fuzz::{Random, TARGETS, Target, check, mutated, target};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const USAGE: &str = "say `serin-fuzz list`, `serin-fuzz try TARGET FILE…` or \
                     `serin-fuzz search TARGET SECONDS [SEED]`";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match perform(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("serin-fuzz: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn perform(words: &[&str]) -> Result<()> {
    match words {
        ["list"] => {
            for target in TARGETS {
                say(target.name);
            }
            Ok(())
        }
        ["try", name, files @ ..] if !files.is_empty() => {
            let target = named(name)?;
            for file in files {
                let input = std::fs::read(file).with_context(|| (*file).to_owned())?;
                check(target, &input)
                    .map_err(|broken| anyhow::anyhow!("{name} does not hold {file}: {broken}"))?;
                say(&format!("{name} holds {file}"));
            }
            Ok(())
        }
        ["search", name, seconds] => search(named(name)?, seconds, "1"),
        ["search", name, seconds, seed] => search(named(name)?, seconds, seed),
        _ => bail!(USAGE),
    }
}

fn named(name: &str) -> Result<&'static Target> {
    target(name).with_context(|| format!("there is no target {name}: `serin-fuzz list` has all"))
}

/// Tries mutations of the corpus until the time is over. What was tried last is in a file, also when the process dies.
fn search(target: &Target, seconds: &str, seed: &str) -> Result<()> {
    let (name, corpus) = (target.name, corpus(target.name)?);
    let length = Duration::from_secs(seconds.parse().context("SECONDS is a number")?);
    let mut random = Random::new(seed.parse().context("SEED is a number")?);
    let last = Path::new("target").join(format!("fuzz-{name}"));
    let begin = now();
    let mut tried = 0_u64;
    while begin.elapsed() < length {
        let from = random.one_of(&corpus).map(Vec::as_slice).unwrap_or_default();
        let input = mutated(&mut random, from, &corpus, target.words);
        std::fs::write(&last, &input).with_context(|| last.display().to_string())?;
        if let Err(broken) = check(target, &input) {
            bail!("{name} does not hold {} (seed {seed}): {broken}", last.display());
        }
        tried += 1;
    }
    std::fs::remove_file(&last).ok();
    say(&format!("{name}: {tried} inputs in {} s, all held (seed {seed})", length.as_secs()));
    Ok(())
}

fn corpus(name: &str) -> Result<Vec<Vec<u8>>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
        .iter()
        .map(|file| std::fs::read(file).with_context(|| file.display().to_string()))
        .collect()
}

#[expect(clippy::disallowed_methods, reason = "the edge: how long is looked")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::print_stdout, reason = "the edge")]
fn say(text: &str) {
    println!("{text}");
}
