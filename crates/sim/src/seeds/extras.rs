//! What stories have that came later, drawn apart from the rest: seeds that were kept from before tell what they told.

use super::fleet::Shape;
use super::story::{Asked, Incident, Wish};
use crate::random::Random;
use crate::world::BEGIN;
use serin_model::{EnvironmentName, FreezeWindow, MidRun, Pace, PatchDirection, WindowTime};
use std::time::Duration;

/// A freeze window lasts half an hour at most: people wait for its end.
const LONGEST_FREEZE: u64 = 1_800;

/// What a story has besides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Extras {
    /// The number of the stage after which a person has to approve.
    pub approval: Option<u32>,
    /// A window in which nothing is started.
    pub freeze: Option<(EnvironmentName, FreezeWindow)>,
}

/// What is drawn for a seed: what is wanted instead, what people ask besides, and what else there is.
pub(super) struct Drawn {
    pub(super) plot: Option<Vec<Wish>>,
    pub(super) incidents: Vec<Incident>,
    pub(super) extras: Extras,
}

impl Drawn {
    pub(super) fn of(seed: u64, shape: &Shape) -> Self {
        let mut random = Random::new(seed ^ 0xe7_4a5);
        let setting = shape.setting();
        let plot = random.one_in(10).then(|| patch_plot(&mut random));
        let stages: Vec<u32> =
            setting.pipelines.values().flat_map(|p| &p.stages).map(|s| s.number).collect();
        let approval = if random.one_in(8) { random.pick(&stages).copied() } else { None };
        let environments: Vec<EnvironmentName> =
            setting.topology.environments.keys().cloned().collect();
        let span = 900 + 8 * shape.hosts();
        let freeze = random.one_in(8).then(|| freeze(&mut random, &environments, span)).flatten();
        let rival = random.one_in(8).then(|| random.seconds(0, span));
        let incidents =
            rival.map(|at| Incident::Asked(at, Asked::AnotherRun)).into_iter().collect();
        Self { plot, incidents, extras: Extras { approval, freeze } }
    }
}

fn patch_plot(random: &mut Random) -> Vec<Wish> {
    let mut pace = || if random.one_in(2) { Pace::Careful } else { Pace::Expedited };
    let apply = Wish::Patch(PatchDirection::Apply, pace());
    let remove = Wish::Patch(PatchDirection::Remove, pace());
    if random.one_in(2) { vec![apply] } else { vec![apply, remove] }
}

fn freeze(
    random: &mut Random,
    environments: &[EnvironmentName],
    span: u64,
) -> Option<(EnvironmentName, FreezeWindow)> {
    let environment = random.pick(environments)?.clone();
    let from = BEGIN.plus(random.seconds(0, span));
    let to = from.plus(random.seconds(1, LONGEST_FREEZE));
    let mid_run = if random.one_in(2) { MidRun::Halt } else { MidRun::NextStage };
    let when = WindowTime::Once { from, to };
    Some((environment, FreezeWindow { reason: "a freeze".to_owned(), when, mid_run }))
}

/// Returns how long it is until a freeze is over.
pub(super) fn until_its_end(
    freeze: Option<&(EnvironmentName, FreezeWindow)>,
    now: serin_model::Timestamp,
) -> Duration {
    match freeze.map(|(_, window)| &window.when) {
        Some(WindowTime::Once { to, .. }) => to.since(now),
        Some(WindowTime::Weekly { .. }) | None => Duration::ZERO,
    }
}
