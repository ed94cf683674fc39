//! What many rehearsals with other chances say together.

use super::facts::{Crew, Facts, Lost, kind};
use serin_model::{Environment, Held, MidRun, Plan, Timestamp, Topology};
use serin_runtime::environment::windows;
use serin_sim::{Rehearsal, RehearsalEnd, Rehearsed, rehearse};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How far ahead windows are looked for where no run is delivered that says how long one takes.
const AHEAD: Duration = Duration::from_hours(24);

/// A run of the forecast.
pub(super) struct Run {
    /// The kinds of random things that were to go wrong.
    pub(super) kinds: Vec<&'static str>,
    pub(super) facts: Option<Facts>,
}

/// What many rehearsals say together.
pub(super) struct Forecast {
    pub(super) runs: Vec<Run>,
    /// What the checkers found, with the seed of the run.
    pub(super) violations: Vec<(u64, String)>,
}

/// A median with the interval that nine of ten runs are in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Interval {
    pub(super) low: Duration,
    pub(super) median: Duration,
    pub(super) high: Duration,
}

/// A freeze window that begins while runs are on their way.
pub(super) struct Met {
    pub(super) begins: Timestamp,
    pub(super) held: Held,
    /// How many runs halt for it, by the stage that they are in or that they do not begin.
    pub(super) stages: BTreeMap<u32, usize>,
}

/// Rehearses on a thread of its own: this one has a runtime whose time is real.
pub(super) fn alone(rehearsal: &Rehearsal) -> Rehearsed {
    std::thread::scope(|scope| match scope.spawn(|| rehearse(rehearsal)).join() {
        Ok(rehearsed) => rehearsed,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Rehearses on every core, and returns what came of each in the same order.
pub(super) fn side_by_side(
    rehearsals: &[(Rehearsal, Vec<&'static str>)],
) -> Vec<(u64, Vec<&'static str>, Rehearsed)> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores.min(rehearsals.len()) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some((rehearsal, kinds)) = rehearsals.get(number) else { return };
                    // A timeline of every run would fill the memory, and nobody reads it.
                    let rehearsed = Rehearsed { timeline: Vec::new(), ..rehearse(rehearsal) };
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done.insert(number, (rehearsal.seed, kinds.clone(), rehearsed));
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect()
}

impl Forecast {
    pub(super) fn of(rehearsed: Vec<(u64, Vec<&'static str>, Rehearsed)>) -> Self {
        let (mut runs, mut violations) = (Vec::new(), Vec::new());
        for (seed, kinds, rehearsed) in rehearsed {
            violations.extend(rehearsed.violations.iter().map(|what| (seed, what.clone())));
            runs.push(Run { kinds, facts: Facts::of(&rehearsed) });
        }
        Self { runs, violations }
    }

    fn facts(&self) -> impl Iterator<Item = &Facts> {
        self.runs.iter().filter_map(|run| run.facts.as_ref())
    }

    /// Returns the runs that came to their end.
    pub(super) fn delivered(&self) -> impl Iterator<Item = &Facts> {
        self.facts().filter(|facts| facts.end == RehearsalEnd::Delivered)
    }

    /// Returns how long runs take; `None`: none was delivered.
    pub(super) fn duration(&self) -> Option<Interval> {
        Interval::of(self.delivered().map(|facts| facts.took).collect())
    }

    /// Returns how long a stage takes.
    pub(super) fn stage(&self, number: u32) -> Option<Interval> {
        let times = self.delivered().filter_map(|facts| facts.stages.get(&number));
        Interval::of(times.map(|(_, took)| *took).collect())
    }

    /// Counts the runs that halted, by stage and by kind of reason; most first.
    pub(super) fn halts(&self) -> Vec<(u32, String, usize)> {
        let mut counts: BTreeMap<(u32, String), usize> = BTreeMap::new();
        for (stage, reason) in self.facts().filter_map(|facts| facts.halt.as_ref()) {
            *counts.entry((*stage, kind(reason))).or_default() += 1;
        }
        let mut halts: Vec<_> =
            counts.into_iter().map(|((stage, why), count)| (stage, why, count)).collect();
        halts.sort_by_key(|(_, _, count)| std::cmp::Reverse(*count));
        halts
    }

    /// Counts runs, and those that halted, by the kind of random thing that was to go wrong in them.
    pub(super) fn kinds(&self) -> BTreeMap<&'static str, (usize, usize)> {
        let mut counts: BTreeMap<&'static str, (usize, usize)> = BTreeMap::new();
        for run in &self.runs {
            let halted = run.facts.as_ref().is_some_and(|facts| facts.halt.is_some());
            for kind in &run.kinds {
                let count = counts.entry(kind).or_default();
                count.0 += 1;
                count.1 += usize::from(halted);
            }
        }
        counts
    }

    /// Returns what was out of service: the most of all runs at once, and the median of the times.
    pub(super) fn capacity(&self) -> BTreeMap<Crew, Lost> {
        let mut all: BTreeMap<&Crew, Vec<&Lost>> = BTreeMap::new();
        for (crew, lost) in self.facts().flat_map(|facts| &facts.capacity) {
            all.entry(crew).or_default().push(lost);
        }
        let together = |lost: Vec<&Lost>| {
            let hosts = lost.iter().map(|lost| lost.hosts).max().unwrap_or_default();
            let most = lost.iter().map(|lost| lost.most).max().unwrap_or_default();
            let time = Interval::of(lost.iter().map(|lost| lost.time).collect());
            Lost { hosts, most, time: time.map_or(Duration::ZERO, |time| time.median) }
        };
        all.into_iter().map(|(crew, lost)| (crew.clone(), together(lost))).collect()
    }

    /// Returns the freeze windows that begin while runs are on their way, and what they do to them. The runs themselves know of
    /// none: what they would have come to is compared with the windows of the configuration.
    pub(super) fn windows(&self, topology: &Topology, plan: &Plan, begin: Timestamp) -> Vec<Met> {
        let within = self.duration().map_or(AHEAD, |long| long.high);
        let mut all = Vec::new();
        let concerned = |environment: &&Environment| {
            plan.stages.iter().any(|stage| stage.environment == environment.name)
        };
        for environment in topology.environments.values().filter(concerned) {
            for (begins, held) in windows::ahead(environment, begin, within) {
                let after = begins.since(begin);
                let mut stages = BTreeMap::new();
                for facts in self.delivered() {
                    if let Some(number) = met(facts, plan, (environment, after), held.mid_run) {
                        *stages.entry(number).or_default() += 1;
                    }
                }
                all.push(Met { begins, held, stages });
            }
        }
        all.sort_by_key(|met| met.begins);
        all
    }
}

/// Returns the stage in which, or before which, a run halts for a window that begins so long after the run.
fn met(
    facts: &Facts,
    plan: &Plan,
    (environment, after): (&Environment, Duration),
    mid_run: MidRun,
) -> Option<u32> {
    let here = plan.stages.iter().filter(|stage| stage.environment == environment.name);
    let times = here.filter_map(|stage| Some((stage.number, facts.stages.get(&stage.number)?)));
    let mut times = times.collect::<Vec<_>>().into_iter();
    let stops = |(_, (began, took)): &(u32, &(Duration, Duration))| match mid_run {
        MidRun::Halt => *began + *took > after,
        MidRun::NextStage => *began >= after,
    };
    times.find(stops).map(|(number, _)| number)
}

impl Interval {
    /// Returns nothing of nothing.
    fn of(mut all: Vec<Duration>) -> Option<Self> {
        all.sort();
        // The nearest rank.
        let at = |percent: usize| {
            let rank = (all.len() * percent).div_ceil(100).max(1);
            all.get(rank - 1).copied()
        };
        Some(Self { low: at(5)?, median: at(50)?, high: at(95)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_has_nine_of_ten_runs_in_it() {
        let seconds = |from: u64, to: u64| (from..=to).map(Duration::from_secs).collect();
        let all = Interval::of(seconds(1, 100)).unwrap();
        assert_eq!([all.low, all.median, all.high].map(|long| long.as_secs()), [5, 50, 95]);
        let one = Interval::of(seconds(7, 7)).unwrap();
        assert_eq!([one.low, one.high].map(|long| long.as_secs()), [7, 7]);
        assert!(Interval::of(Vec::new()).is_none());
    }
}
