//! `serin-sim`: tells the stories of seeds, and shows the timeline of one.

use serin_engine::Arrow;
use serin_sim::seeds::{Planted, Story, Tale, shrink, tell, tell_with};
use serin_sim::{Checker, Covered};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const USAGE: &str = "serin-sim [--seeds COUNT] [--from SEED] [--threads COUNT]
serin-sim --seed SEED [--keep NUMBERS] [--halved TIMES] [--shrink]
serin-sim --planted [--seeds COUNT] [--from SEED]";

/// How many stories take every arrow of the table of transitions that stories can take: as many as `make test` tells.
const TAKES_ALL: u64 = 500;

/// How many failures are enough to stop.
const MOST_FAILURES: usize = 10;

/// Seeds whose histories take transitions that few take. When stories change, more seeds say which take them now.
const RARE: [u64; 3] = [581, 838, 848];

#[derive(Debug, Default)]
struct Words {
    seeds: Option<u64>,
    from: Option<u64>,
    threads: Option<u64>,
    seed: Option<u64>,
    keep: Option<Vec<usize>>,
    halved: u32,
    shrinks: Option<()>,
    planted: Option<()>,
}

fn main() -> ExitCode {
    let Some(words) = parse(&std::env::args().skip(1).collect::<Vec<_>>()) else {
        say(USAGE);
        return ExitCode::from(2);
    };
    match (words.seed, words.planted) {
        (Some(seed), _) => one(seed, &words),
        (None, Some(())) => planted(&words),
        (None, None) => many(&words),
    }
}

fn parse(arguments: &[String]) -> Option<Words> {
    let mut words = Words::default();
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "--seeds" => words.seeds = Some(rest.next()?.parse().ok()?),
            "--from" => words.from = Some(rest.next()?.parse().ok()?),
            "--threads" => words.threads = Some(rest.next()?.parse().ok()?),
            "--seed" => words.seed = Some(rest.next()?.parse().ok()?),
            "--halved" => words.halved = rest.next()?.parse().ok()?,
            "--keep" => {
                let numbers = rest.next()?.split(',').filter(|n| !n.is_empty());
                words.keep = Some(numbers.map(|n| n.parse().ok()).collect::<Option<_>>()?);
            }
            "--shrink" => words.shrinks = Some(()),
            "--planted" => words.planted = Some(()),
            _ => return None,
        }
    }
    Some(words)
}

/// Tells one story with its timeline.
fn one(seed: u64, words: &Words) -> ExitCode {
    let mut story = Story::of(seed).halved(words.halved);
    if let Some(keep) = &words.keep {
        story = story.keeping(keep);
    }
    if words.shrinks.is_some() {
        let small = shrink(&story);
        say(&small.command());
        story = small.story;
    }
    say(&format!("seed {seed}: {} hosts, {:?}", story.shape.hosts(), story.plot));
    for (number, incident) in &story.incidents {
        say(&format!("  incident {number}: {incident:?}"));
    }
    let tale = tell(&story);
    say(&tale.timeline.join("\n"));
    say(&format!("{} s of virtual time", tale.took.as_secs()));
    verdict(&tale)
}

fn verdict(tale: &Tale) -> ExitCode {
    for violation in &tale.violations {
        say(&format!("VIOLATION {violation}"));
    }
    if tale.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Plants each bug, and tells stories until the checker that it is to prove is the first to speak.
fn planted(words: &Words) -> ExitCode {
    let (from, count) = (words.from.unwrap_or(1), words.seeds.unwrap_or(2_000));
    let mut missed = 0;
    for checker in Checker::ALL {
        let bugs: Vec<Planted> =
            Planted::ALL.into_iter().filter(|bug| bug.proves() == checker).collect();
        if bugs.is_empty() {
            missed += 1;
            say(&format!("{checker:?}: NOT PROVEN, no bug is planted for it"));
        }
        for bug in bugs {
            let found = (from..from + count).find_map(|seed| {
                let tale = tell_with(&Story::of(seed), Some(bug));
                let first = tale.violations.into_iter().next();
                first.filter(|first| first.checker == checker).map(|first| (seed, first.what))
            });
            if let Some((seed, what)) = found {
                say(&format!("{checker:?}: {bug:?}, seed {seed}: {what}"));
            } else {
                missed += 1;
                say(&format!("{checker:?}: NOT PROVEN by {bug:?} in {count} seeds"));
            }
        }
    }
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Tells many stories, each on one thread.
fn many(words: &Words) -> ExitCode {
    let (from, count) = (words.from.unwrap_or(1), words.seeds.unwrap_or(500));
    let next = AtomicU64::new(0);
    // Where there are enough to take every transition, those that hardly any seed takes are told for sure.
    let rare = if count < TAKES_ALL { &[][..] } else { &RARE[..] };
    let nth = |number: u64| {
        if number < count {
            return Some(from + number);
        }
        rare.get(usize::try_from(number - count).ok()?).copied()
    };
    let failed: Mutex<Vec<(u64, Tale)>> = Mutex::new(Vec::new());
    let taken: Mutex<BTreeMap<Arrow, u64>> = Mutex::new(BTreeMap::new());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = words.threads.unwrap_or(u64::try_from(cores).unwrap_or(1));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let enough = failed.lock().is_ok_and(|f| f.len() >= MOST_FAILURES);
                    let seed = nth(next.fetch_add(1, Ordering::Relaxed));
                    let Some(seed) = seed.filter(|_| !enough) else { return };
                    let tale = tell(&Story::of(seed));
                    if let Ok(mut taken) = taken.lock() {
                        for arrow in &tale.arrows {
                            let first = taken.entry(*arrow).or_insert(seed);
                            *first = seed.min(*first);
                        }
                    }
                    if !tale.violations.is_empty()
                        && let Ok(mut failed) = failed.lock()
                    {
                        failed.push((seed, tale));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_default();
    for (seed, tale) in &failed {
        let first = tale.violations.first().map_or_else(String::new, ToString::to_string);
        say(&format!("seed {seed}: {first}"));
        say(&format!("  serin-sim --seed {seed} --shrink"));
    }
    let taken = taken.into_inner().unwrap_or_default();
    let covered = Covered::of(&taken.keys().copied().collect());
    show(&covered);
    for (arrow, seed) in taken.iter().filter(|(_, seed)| **seed >= from + TAKES_ALL) {
        say(&format!("  {arrow}: taken by seed {seed} first"));
    }
    say(&format!("{count} seeds from {from}: {} with violations", failed.len()));
    // Fewer need not take everything, and more may take by chance what is excused.
    let is_enough = (count < TAKES_ALL || covered.is_whole())
        && (count > TAKES_ALL || covered.stale.is_empty());
    if failed.is_empty() && is_enough { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says which arrows of the table of transitions were not taken, and what is wrong with that.
fn show(covered: &Covered) {
    for (arrow, excuse) in &covered.untaken {
        let excuse = excuse.map_or("NOT TAKEN, and not excused", |why| why);
        say(&format!("  {arrow}: {excuse}"));
    }
    for arrow in &covered.stale {
        say(&format!("  {arrow}: TAKEN, although it is excused"));
    }
    say(&format!("{} of {} transitions were taken", covered.taken, covered.all));
}

/// Prints a line; whoever has read enough closes the pipe.
fn say(text: &str) {
    let _closed = writeln!(std::io::stdout(), "{text}");
}
