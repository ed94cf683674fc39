//! What is rehearsed, and what goes wrong in it.

use super::duration;
use clap::Args;
use serin_model::{DebVersion, PipelineName};
use std::str::FromStr;
use std::time::Duration;

#[derive(Debug, Args)]
pub(crate) struct Rehearse {
    /// The pipeline, for example to-canary
    pub(crate) pipeline: PipelineName,
    /// A version to call the build; nothing is looked up [default: one that stands for any build]
    pub(crate) build: Option<DebVersion>,
    /// What goes wrong: KIND[=WHERE][@WHEN][,TIME]; may be given several times
    ///
    /// WHERE is a host, a load balancer's host or an environment; without it, one is taken where the pipeline ends.
    /// WHEN is a step, such as `install` or `bake`, a stage and a step, such as `8:bake`, or a time since the
    /// beginning, such as `25m`; without it, the step at which such a thing hurts. TIME is how long it lasts.
    /// `--fault help` lists the kinds.
    #[arg(long = "fault", value_name = "FAULT")]
    pub(crate) faults: Vec<FaultWords>,
    /// Repair what is wrong at every halt, and resume: the rehearsal goes on to the end
    #[arg(long)]
    pub(crate) resume: bool,
    /// How many runs the forecast is made of
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) runs: u64,
    /// So many random things go wrong in each run of the forecast
    #[arg(long, value_name = "COUNT", num_args = 0..=1, default_missing_value = "1", default_value_t = 0,
          value_parser = clap::value_parser!(u64).range(0..=100), hide_default_value = true, require_equals = true)]
    pub(crate) random_faults: u64,
    /// What decides everything that is left to chance; the runs of the forecast have this seed and those that follow
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// When it begins, by the clock of this machine, for example 2026-12-01T08:00 [default: now]
    #[arg(long, value_name = "DATE")]
    pub(crate) at: Option<String>,
    /// Show every step, not only what a person would look up for
    #[arg(long)]
    pub(crate) steps: bool,
}

/// Something that is to go wrong, as a person writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FaultWords {
    /// As it was written.
    pub(crate) text: String,
    pub(crate) kind: String,
    pub(crate) place: Option<String>,
    pub(crate) when: Option<When>,
    pub(crate) lasts: Option<Duration>,
}

/// When something goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum When {
    /// So long after the beginning.
    After(Duration),
    /// When a step begins, in a stage if one is named.
    Step(Option<u32>, String),
}

impl FromStr for FaultWords {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (rest, lasts) = match text.split_once(',') {
            Some((rest, lasts)) => (rest, Some(duration(lasts)?)),
            None => (text, None),
        };
        let (rest, when) = match rest.split_once('@') {
            Some((rest, when)) => (rest, Some(when.parse()?)),
            None => (rest, None),
        };
        let (kind, place) = match rest.split_once('=') {
            Some((kind, place)) => (kind, Some(place.to_owned())),
            None => (rest, None),
        };
        if kind.is_empty() || place.as_ref().is_some_and(String::is_empty) {
            return Err("write KIND[=WHERE][@WHEN][,TIME], for example \
                        host-dies=web-03.gprd@install,5m"
                .to_owned());
        }
        Ok(Self { text: text.to_owned(), kind: kind.to_owned(), place, when, lasts })
    }
}

impl FromStr for When {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (stage, step) = match text.split_once(':') {
            Some((stage, step)) => {
                let number = stage.parse().map_err(|_not_a_number| {
                    format!("{stage:?} is not the number of a stage: write for example 8:bake")
                })?;
                (Some(number), step)
            }
            None => (None, text),
        };
        if step.is_empty() {
            return Err("nothing follows @: write a step or a time, for example @bake".to_owned());
        }
        if stage.is_none() && step.starts_with(|first: char| first.is_ascii_digit()) {
            return duration(step).map(Self::After);
        }
        Ok(Self::Step(stage, step.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_a_kind_with_where_when_and_how_long() {
        let read = |text: &str| text.parse::<FaultWords>();
        let whole = read("alert=production@8:bake,20m").unwrap();
        assert_eq!(whole.kind, "alert");
        assert_eq!(whole.place.as_deref(), Some("production"));
        assert_eq!(whole.when, Some(When::Step(Some(8), "bake".to_owned())));
        assert_eq!(whole.lasts, Some(Duration::from_mins(20)));
        assert_eq!(read("x@25m").unwrap().when, Some(When::After(Duration::from_mins(25))));
        let short = read("lb-reload").unwrap();
        assert_eq!((short.place, short.when, short.lasts), (None, None, None));
        for bad in ["", "=web", "alert=", "alert@", "alert@x:bake", "alert,soon", "alert@5y"] {
            assert!(read(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
