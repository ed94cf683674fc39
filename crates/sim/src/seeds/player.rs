//! Tells a story: plans what is wanted, lets controllers act, and plays the people around them.
//!
//! First everything goes wrong as the story says. Then everything is repaired for good, and what is still wanted must
//! come to its end: that is how liveness is checked. Read [`Player::live`] first.

mod acting;
mod another;
mod people;
mod rehearsing;

pub(crate) use rehearsing::rehearsed;

use super::extras::Extras;
use super::planted::{Planted, back_all_the_way};
use super::story::{Incident, Story, Wish};
use crate::checker::{Checker, Violation};
use crate::faults::Faults;
use crate::installation::Setting;
use crate::random::Random;
use crate::scenario::{Sim, Wanted, in_virtual_time};
use acting::{Deed, Stood};
use serin_engine::{Arrow, Command, History, NoWayBack, Scope, WayBack};
use serin_model::{EnvironmentName, Pace, PatchDirection, Plan, RunId, Timestamp};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// After so many runs nothing goes wrong any more.
const RUNS_UNTIL_CALM: u32 = 4;

/// So many runs are enough for everything that is wanted, once nothing goes wrong.
const MOST_RUNS: u32 = RUNS_UNTIL_CALM + 8;

/// So many halts of one run are lifted while things go wrong.
const HALTS_UNTIL_CALM: u32 = 5;

/// How often a run may halt although nothing goes wrong: what was in doubt when everything was repaired may halt it.
const HALTS_IN_CALM: u32 = 3;

/// How long one process may act in a story: nothing that is waited for takes longer than some minutes.
pub(super) const LIVELY: Duration = Duration::from_hours(12);

/// What became of a story.
#[derive(Debug, Clone)]
pub struct Tale {
    /// What the checkers found.
    pub violations: Vec<Violation>,
    /// Everything that happened, a line each.
    pub timeline: Vec<String>,
    /// How long it took, in virtual time.
    pub took: Duration,
    /// The arrows of the table of transitions that were taken.
    pub arrows: BTreeSet<Arrow>,
}

/// Tells a story to its end.
///
/// # Panics
/// When no tokio runtime can be made.
pub fn tell(story: &Story) -> Tale {
    tell_with(story, None)
}

/// Tells a story to its end, with a bug that the checkers should find.
///
/// # Panics
/// When no tokio runtime can be made.
pub fn tell_with(story: &Story, planted: Option<Planted>) -> Tale {
    in_virtual_time(async { Player::new(story, planted).tell().await })
}

/// Whoever tells a story.
struct Player {
    sim: Sim,
    planted: Option<Planted>,
    /// Decides what people do.
    random: Random,
    wishes: VecDeque<Wish>,
    /// What happens to processes, and what people ask, in order of time.
    deeds: VecDeque<(Timestamp, Deed)>,
    processes: u32,
    calm: bool,
    /// How long one process may act.
    lively: Duration,
    extras: Extras,
}

/// What became of a wish.
enum Came {
    /// It is fulfilled.
    True,
    /// Not yet: it is tried again.
    ToNothing,
    /// The world went back instead: what else was wanted is not wanted any more.
    Undone,
}

impl Player {
    fn new(story: &Story, planted: Option<Planted>) -> Self {
        let incidents: Vec<Incident> = story.incidents.iter().map(|(_, i)| i.clone()).collect();
        let mut setting = story.shape.setting();
        for stage in setting.pipelines.values_mut().flat_map(|pipeline| &mut pipeline.stages) {
            if Some(stage.number) == story.extras.approval {
                stage.approval = Some("somebody has looked".to_owned());
            }
        }
        let mut player = Self::around(setting, story.seed, &incidents);
        if let Some((environment, window)) = story.extras.freeze.clone() {
            player.sim = player.sim.freezing(environment, window);
        }
        player.extras = story.extras.clone();
        player.sim.shared.now().planted = planted;
        player.planted = planted;
        player.wishes = story.plot.iter().copied().collect();
        player
    }

    /// Returns a player who wants nothing yet.
    fn around(setting: Setting, seed: u64, incidents: &[Incident]) -> Self {
        let mut faults = Faults::default();
        let mut deeds = Vec::new();
        for incident in incidents {
            match incident.clone() {
                Incident::Befalls(at, fault) => faults.at.push((at, fault)),
                Incident::Effect(number, trouble) => {
                    faults.effects.insert(number, trouble);
                }
                Incident::Append(number, mode) => {
                    faults.appends.insert(number, mode);
                }
                Incident::Dies(kill) => faults.kills.push(kill),
                Incident::When(when) => faults.when.push(when),
                Incident::ClocksApart(apart) => faults.clocks_apart = apart,
                Incident::Strikes(moment, strike) => faults.strikes.push((moment, strike)),
                Incident::Killed(at) => deeds.push((setting.begin.plus(at), Deed::Kill)),
                Incident::Stopped { at, lasts } => {
                    deeds.push((setting.begin.plus(at), Deed::Stop(lasts)));
                }
                Incident::Asked(at, asked) => {
                    deeds.push((setting.begin.plus(at), Deed::Ask(asked)));
                }
            }
        }
        deeds.sort_by_key(|(at, _)| *at);
        Self {
            sim: Sim::in_setting(setting, seed, faults),
            planted: None,
            random: Random::new(seed ^ 0x9e0_91e),
            wishes: VecDeque::new(),
            deeds: deeds.into(),
            processes: 0,
            calm: false,
            lively: LIVELY,
            extras: Extras::default(),
        }
    }

    async fn tell(mut self) -> Tale {
        if let Err(why) = self.live().await {
            self.violation(why);
        }
        let report = self.sim.report();
        let violations = self.sim.shared.now().violations.clone();
        Tale { violations, timeline: report.trace, took: report.took, arrows: report.arrows }
    }

    /// Has people start what is wanted until nothing is any more.
    ///
    /// # Errors
    /// Says what came to no end although nothing went wrong any more.
    async fn live(&mut self) -> Result<(), String> {
        let mut runs = 0;
        while let Some(wish) = self.wishes.front().copied() {
            runs += 1;
            if runs > MOST_RUNS {
                return Err(format!("{wish:?} came to no end in {MOST_RUNS} runs"));
            }
            if runs > RUNS_UNTIL_CALM {
                self.calm_down().await?;
            }
            self.note(&format!("want {wish:?}"));
            match self.fulfil(wish).await? {
                Came::True => drop(self.wishes.pop_front()),
                Came::Undone => self.wishes.clear(),
                Came::ToNothing => self.sleep(5, 60).await,
            }
        }
        self.calm_down().await?;
        tokio::time::sleep(Duration::from_mins(3)).await;
        self.sim.shared.now().check_end();
        Ok(())
    }

    async fn fulfil(&mut self, wish: Wish) -> Result<Came, String> {
        if let Wish::RollBack(pace) = wish {
            return self.roll_back(pace).await;
        }
        let run = match self.begin(wish).await {
            Ok(run) => run,
            Err(why) => return self.not_begun(&why),
        };
        let came = self.carry(run).await?;
        if let (Wish::Patch(PatchDirection::Apply, _), Came::True) = (wish, &came) {
            self.sim.shared.now().check_patched(&production(), &crate::scenario::patch_id());
        }
        Ok(came)
    }

    /// Plans and records a run of a configured pipeline.
    async fn begin_pipeline(&self, pipeline: &str) -> Result<RunId, String> {
        let wanted = Wanted { pipeline, passed: &BTreeSet::new(), pace: Pace::Careful };
        let plan = self.sim.plan_for(&wanted).await?;
        self.record(plan).await
    }

    /// Plans and records a run of what is wanted.
    async fn begin(&self, wish: Wish) -> Result<RunId, String> {
        let plan = match wish {
            Wish::Canary => return self.begin_pipeline("to-canary").await,
            Wish::Main => return self.begin_pipeline("to-main").await,
            Wish::Expedited => self.sim.plan_expedited(&production()).await,
            Wish::Patch(direction, pace) => self.sim.plan_patch(pace, direction).await,
            Wish::RollBack(_) => Err("a way back is planned from what runs have done".to_owned()),
        }?;
        self.record(plan).await
    }

    /// No plan, or no record of it: something is wrong with the world, unless nothing can be.
    fn not_begun(&mut self, why: &str) -> Result<Came, String> {
        if self.calm {
            return Err(format!("nothing is wrong, and there is no plan: {why}"));
        }
        self.note(&format!("cannot begin: {why}"));
        Ok(Came::ToNothing)
    }

    async fn record(&self, mut plan: Plan) -> Result<RunId, String> {
        if let Some(planted) = self.planted {
            planted.spoil(&mut plan);
        }
        self.sim.record_run(plan).await
    }

    async fn roll_back(&mut self, pace: Pace) -> Result<Came, String> {
        let scope = Scope::Place(production(), None);
        let way = match self.way_back(&scope).await? {
            Ok(way) => way,
            Err(NoWayBack::PointOfNoReturn { .. })
                if self.planted == Some(Planted::NoPointOfNoReturn) =>
            {
                back_all_the_way(&self.sim.setting.topology)
            }
            Err(
                why @ (NoWayBack::PointOfNoReturn { .. }
                | NoWayBack::NothingChanged
                | NoWayBack::IsRollback(_)
                | NoWayBack::ChangedSince { .. }),
            ) => {
                self.note(&format!("no way back: {why}"));
                return Ok(Came::Undone);
            }
            Err(why) => return Err(why.to_string()),
        };
        match self.sim.plan_back(way, pace).await {
            Ok(plan) => {
                let run = self.record(plan).await?;
                Ok(match self.carry(run).await? {
                    Came::True | Came::Undone => Came::Undone,
                    Came::ToNothing => Came::ToNothing,
                })
            }
            Err(why) => self.not_begun(&why),
        }
    }

    async fn way_back(&self, scope: &Scope) -> Result<Result<WayBack, NoWayBack>, String> {
        let runs = self.sim.history().await?;
        Ok(History(&runs).way_back(scope))
    }

    /// Brings a run to its end, with people who do something about every halt.
    async fn carry(&mut self, mut run: RunId) -> Result<Came, String> {
        let mut command = None;
        let mut came = Came::True;
        let mut back_in = None;
        let (mut halts, mut calm_halts) = (0, 0);
        loop {
            let reason = match self.see_through(&run, command.take()).await? {
                Stood::Finished => return Ok(came),
                Stood::Cancelled => {
                    // Half of production has gone back: there is no canary to go on from, so the rest goes back as well.
                    if back_in == Some(production()) {
                        self.wishes = [Wish::RollBack(Pace::Careful)].into();
                    }
                    return Ok(Came::ToNothing);
                }
                Stood::Halted(reason) => reason,
            };
            halts += 1;
            calm_halts += u32::from(self.calm);
            if calm_halts > HALTS_IN_CALM {
                return Err(format!("nothing is wrong, and {run} halts: {reason}"));
            }
            if self.calm && reason.is_outdated_plan() {
                // As `serin` says then.
                command = Some(cancel());
                continue;
            }
            if halts > HALTS_UNTIL_CALM || self.calm {
                self.calm_down().await?;
                command = Some(resume());
                continue;
            }
            self.sleep(1, 200).await;
            match self.random.below(10) {
                0..=5 => {
                    if self.random.one_in(2) {
                        self.sim.shared.now().mend();
                    }
                    command = Some(resume());
                }
                6 | 7 => command = Some(cancel()),
                _ => {
                    if let Some((back, environment)) = self.give_up_for_rollback(&run).await? {
                        (run, came, back_in) = (back, Came::Undone, Some(environment));
                    } else {
                        command = Some(cancel());
                    }
                }
            }
        }
    }

    /// Takes everything in the halted run's environment back, if there is a way.
    async fn give_up_for_rollback(
        &mut self,
        run: &RunId,
    ) -> Result<Option<(RunId, EnvironmentName)>, String> {
        let runs = self.sim.history().await?;
        let halted = runs.iter().find(|(id, _)| id == run);
        let environment = halted.and_then(|(_, run)| Some(run.current()?.0.environment.clone()));
        let Some(environment) = environment else { return Ok(None) };
        let scope = Scope::Place(environment.clone(), None);
        let Ok(way) = History(&runs).way_back(&scope) else { return Ok(None) };
        let pace = if self.random.one_in(2) { Pace::Careful } else { Pace::Expedited };
        let Ok(plan) = self.sim.plan_back(way, pace).await else { return Ok(None) };
        match self.see_through(run, Some(cancel())).await? {
            Stood::Cancelled => Ok(Some((self.record(plan).await?, environment))),
            Stood::Finished | Stood::Halted(_) => Ok(None),
        }
    }

    fn note(&self, what: &str) {
        self.sim.shared.now().note("people", what);
    }

    fn violation(&self, what: String) {
        self.sim.shared.now().violation(Checker::Lively, what);
    }

    async fn sleep(&mut self, from: u64, to: u64) {
        tokio::time::sleep(self.random.seconds(from, to)).await;
    }
}

pub(super) fn production() -> EnvironmentName {
    crate::installation::name("production")
}

fn resume() -> Command {
    Command::Resume { by: "mira".to_owned(), why: "looked at".to_owned() }
}

fn cancel() -> Command {
    Command::Cancel { by: "mira".to_owned(), why: "another day".to_owned() }
}
