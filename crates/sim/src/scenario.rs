//! Scenarios: a world, a run of `to-canary` in it, controllers that come and go, and what became of everything.
//!
//! [`simulate`] is the whole story for most tests. Tests that need more than one controller at a time use [`Sim`]
//! under a paused, single-threaded tokio runtime.

mod back;
mod patch;
mod plans;
mod promotion;

pub use back::simulate_rollback;
pub(crate) use patch::id as patch_id;
pub use patch::simulate_patch;
pub(crate) use plans::Wanted;
pub use promotion::simulate_promotion;

use crate::checker::Checker;
use crate::faults::Faults;
use crate::installation::Setting;
use crate::journal::{Appends, SimJournal};
use crate::ports::{Shared, SimPorts};
use crate::process::Process;
use crate::world::{BEGIN, World};
use serin_engine::{Arrow, Command, Due, Event, Run};
use serin_journal::{CommandId, Holder, Journal, JournalError, MemoryJournal};
use serin_model::{EnvironmentName, FreezeWindow, Pace, Plan, RunId, Timestamp};
use serin_runtime::environment::moment::MomentError;
use serin_runtime::environment::{EnvironmentRequest, Moment};
use serin_runtime::ports::{Alert, Ports};
use serin_runtime::{
    AdoptError, Controller, Ended, INBOX_POLL, Observer, Settings, TokioClock, records,
};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// How long a lease holds without a beat.
pub const TTL: Duration = Duration::from_secs(15);

/// How long one controller may act: a healthy run takes about ten minutes, and no wait in the installation's policy is
/// longer than two.
const LIVELY: Duration = Duration::from_hours(2);

/// How many controllers one scenario may need.
const MOST_CONTROLLERS: u32 = 12;

/// More events than one append ever holds.
const MOST_IN_AN_APPEND: usize = 6;

/// What happens in a scenario, besides a run of `to-canary`.
#[derive(Debug, Clone, Default)]
pub struct Scenario {
    /// Decides every latency and duration.
    pub seed: u64,
    /// What goes wrong.
    pub faults: Faults,
    /// What a person asks, and when after the run's beginning.
    pub commands: Vec<(Duration, Command)>,
    /// What people do about a halt.
    pub after_halt: AfterHalt,
}

/// What people do about a halt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AfterHalt {
    /// Nothing: the scenario ends there.
    #[default]
    Stop,
    /// They repair everything and resume the run.
    RepairAndResume,
    /// They give the run up.
    Cancel,
}

/// How a scenario ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The run succeeded.
    Finished,
    /// It halted, for this reason, with these hosts named as out of service.
    Halted(String, Vec<String>),
    /// It was given up.
    Cancelled,
    /// Something that must not happen, happened.
    Wrong(String),
}

/// What became of everything in a scenario.
#[derive(Debug, Clone)]
pub struct Report {
    /// How it ended.
    pub ending: Ending,
    /// Why the run halted on the way.
    pub halts: Vec<String>,
    /// How long it took in virtual time.
    pub took: Duration,
    /// What was in each append, in order: append 1 is the first.
    pub appends: Vec<String>,
    /// What each effect was, in order: effect 1 is the first.
    pub effects: Vec<String>,
    /// The world in the end, without anything that depends on times or counts of attempts.
    pub world: String,
    /// What the checkers found.
    pub violations: Vec<String>,
    /// Everything that happened, a line each.
    pub trace: Vec<String>,
    /// The arrows of the table of transitions that were taken.
    pub arrows: BTreeSet<Arrow>,
    /// What a plan for the same build says right after: the numbers of its stages; `Err`: why there is none.
    pub next_plan: Result<Vec<u32>, String>,
}

/// A world with a journal, and the processes that meet in it.
#[derive(Debug, Clone)]
pub struct Sim {
    pub(crate) shared: Shared,
    pub(crate) journal: MemoryJournal,
    pub(crate) appends: Arc<Mutex<Appends>>,
    freeze: Vec<(EnvironmentName, FreezeWindow)>,
    pub(crate) setting: Setting,
}

/// A controller in its process.
pub struct Acting {
    /// The controller.
    pub controller: Controller,
    pub(crate) process: Process,
}

impl Acting {
    /// Returns a handle by which the process can be stopped and continued while its controller is borrowed.
    pub fn process(&self) -> ProcessHandle {
        ProcessHandle(self.process.clone())
    }
}

/// A handle on a process.
#[derive(Debug, Clone)]
pub struct ProcessHandle(Process);

impl ProcessHandle {
    /// Kills the process, as by SIGKILL.
    pub fn kill(&self) {
        self.0.kill();
    }

    /// Stops the process, as by SIGSTOP. Its controller must not be polled until [`ProcessHandle::go_on`].
    pub fn stop(&self) {
        self.0.stop();
    }

    /// Continues the process.
    pub fn go_on(&self) {
        self.0.go_on();
    }
}

/// Runs a scenario to its end.
///
/// # Panics
/// When no tokio runtime can be made.
pub fn simulate(scenario: &Scenario) -> Report {
    in_virtual_time(async { Sim::new(scenario.seed, scenario.faults.clone()).tell(scenario).await })
}

/// Has a future happen on one thread, with a clock that stands still until everybody waits.
#[expect(clippy::disallowed_methods, reason = "the one place in which time is not real")]
pub(crate) fn in_virtual_time<T>(story: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing from the system");
    runtime.block_on(story)
}

impl Sim {
    /// Makes a world. Must be called in a runtime whose time is paused.
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self::in_setting(Setting::small(), seed, faults)
    }

    /// Makes a world around an installation.
    pub(crate) fn in_setting(setting: Setting, seed: u64, faults: Faults) -> Self {
        let appends = Appends::new(&faults);
        let clock = TokioClock::new(setting.begin);
        let shared = Shared::new(World::new(&setting, seed, faults), clock);
        Self { shared, journal: MemoryJournal::new(), appends, freeze: Vec::new(), setting }
    }

    /// Gives an environment a freeze window, as plans from now on know it.
    #[must_use]
    pub fn freezing(mut self, environment: EnvironmentName, window: FreezeWindow) -> Self {
        self.freeze.push((environment, window));
        self
    }

    async fn tell(&self, scenario: &Scenario) -> Report {
        let mut halts = Vec::new();
        let ending = match self.start().await {
            Ok(run) => self.controllers(&run, scenario, &mut halts).await,
            Err(why) => Ending::Wrong(why),
        };
        let passed = if ending == Ending::Finished { (1..=6).collect() } else { BTreeSet::new() };
        let next_plan = self.plan(&passed).await;
        let next_plan = next_plan.map(|plan| plan.stages.iter().map(|s| s.number).collect());
        let mut world = self.shared.now();
        if let Ending::Wrong(why) = &ending {
            world.violation(Checker::Scenario, why.clone());
        }
        if ending == Ending::Finished {
            world.check_success();
        }
        drop(world);
        Report { ending, halts, next_plan, ..self.report() }
    }

    /// Returns what has become of everything so far, with an ending that says nothing.
    pub fn report(&self) -> Report {
        let world = self.shared.now();
        Report {
            ending: Ending::Cancelled,
            halts: Vec::new(),
            took: world.now.since(world.begin),
            appends: self.appends.lock().unwrap_or_else(PoisonError::into_inner).made.clone(),
            effects: world.effects.clone(),
            world: world.projection(),
            violations: world.violations.iter().map(ToString::to_string).collect(),
            trace: world.log.clone(),
            arrows: world.coverage.taken.clone(),
            next_plan: Err("nobody has planned".to_owned()),
        }
    }

    /// Observes the world and plans, as `serin plan` would.
    ///
    /// # Errors
    /// Says why there is no plan.
    pub async fn plan(&self, passed: &BTreeSet<u32>) -> Result<Plan, String> {
        let wanted = Wanted { pipeline: "to-canary", passed, pace: Pace::Careful };
        self.plan_for(&wanted).await
    }

    /// Plans and records a run.
    ///
    /// # Errors
    /// Says why there is no run.
    pub async fn start(&self) -> Result<RunId, String> {
        let plan = self.plan(&BTreeSet::new()).await?;
        self.record_run(plan).await
    }

    /// Records a run of a plan.
    ///
    /// # Errors
    /// Says why there is no run.
    pub async fn record_run(&self, plan: Plan) -> Result<RunId, String> {
        let journal = self.journal(self.process());
        let now = self.shared.now().now;
        let run = serin_runtime::start(&journal, plan, "sim", now).await;
        run.map_err(|error| error.to_string())
    }

    /// Puts a request into an environment's inbox, as another terminal would.
    ///
    /// # Errors
    /// When the journal cannot be used.
    pub async fn send(
        &self,
        environment: &EnvironmentName,
        request: &EnvironmentRequest,
    ) -> Result<CommandId, JournalError> {
        let body = serde_json::to_string(request).unwrap_or_default();
        let now = self.shared.now().now;
        self.journal.send(environment, &body, now).await
    }

    /// Returns the answer to a request, if there is one yet.
    ///
    /// # Errors
    /// When the journal cannot be used.
    pub async fn answered(&self, command: CommandId) -> Result<Option<String>, JournalError> {
        self.journal.answered(command).await
    }

    /// Acts in an environment for a moment, as a terminal does where no run acts.
    ///
    /// # Errors
    /// When somebody acts there.
    pub async fn moment(&self, environment: &EnvironmentName) -> Result<Moment, MomentError> {
        let journal: Arc<dyn Journal> = Arc::new(self.journal(self.process()));
        let holder = Holder { user: "mira".to_owned(), machine: "sim".to_owned(), pid: 99 };
        Moment::take(&journal, environment, &Settings { holder, ttl: TTL, inbox_poll: INBOX_POLL })
            .await
    }

    /// Returns the ports of a new process.
    pub fn ports(&self) -> Ports {
        self.ports_of(self.process())
    }

    /// Returns the ports of a process. Its clock may be apart from others, as clocks of machines are.
    fn ports_of(&self, process: Process) -> Ports {
        let shared = self.shared.clone();
        let clock = TokioClock::new(shared.now().some_clock());
        SimPorts { shared, process, clock }.ports()
    }

    fn process(&self) -> Process {
        Process::new(self.journal.another_process())
    }

    fn journal(&self, process: Process) -> SimJournal {
        let (shared, appends) = (self.shared.clone(), Arc::clone(&self.appends));
        SimJournal { shared, process, appends }
    }

    /// Has a new process take the run over; `None`: it died over it.
    ///
    /// # Errors
    /// When the run cannot be adopted.
    pub async fn adopt(&self, run: &RunId, number: u32) -> Result<Option<Acting>, AdoptError> {
        let process = self.process();
        let journal = Arc::new(self.journal(process.clone()));
        let ports = self.ports_of(process.clone());
        let holder = Holder { user: "sim".to_owned(), machine: "sim".to_owned(), pid: number };
        let inbox_poll = self.setting.inbox_poll;
        let settings = Settings { holder, ttl: TTL, inbox_poll };
        let witness = Box::new(Witness { fold: None, shared: self.shared.clone() });
        let adopting = Controller::adopt(journal, ports, run.clone(), settings, witness);
        tokio::select! {
            biased;
            () = process.dead() => Ok(None),
            controller = adopting => Ok(Some(Acting { controller: controller?, process })),
        }
    }

    /// Lets controllers act for the run, one after the other, until it needs none any more.
    async fn controllers(
        &self,
        run: &RunId,
        scenario: &Scenario,
        halts: &mut Vec<String>,
    ) -> Ending {
        let mut resume = None;
        for number in 1..=MOST_CONTROLLERS {
            let mut acting = match self.adopt(run, number).await {
                Ok(Some(acting)) => acting,
                Ok(None) => {
                    self.pause().await;
                    continue;
                }
                Err(error) => return Ending::Wrong(error.to_string()),
            };
            if let Some(command) = resume.take() {
                let asked = tokio::select! {
                    biased;
                    () = acting.process.dead() => {
                        resume = Some(command);
                        drop(acting);
                        self.pause().await;
                        continue;
                    }
                    asked = acting.controller.ask(Command::clone(&command)) => asked,
                };
                // A resumption that was recorded just before its controller died needs no second one.
                if let Ok(Err(refusal)) = asked {
                    self.shared.now().note("people", &format!("{refusal}"));
                }
            }
            let ended = self.drive(&mut acting, scenario).await;
            self.check_fold(run, &acting).await;
            match ended {
                Driven::Killed => {}
                Driven::Ended(Ended::Finished) => return Ending::Finished,
                Driven::Ended(Ended::Cancelled) => return Ending::Cancelled,
                Driven::Ended(Ended::Halted(reason)) => {
                    let out = acting.controller.run().out_of_service();
                    let named: Vec<_> = out.iter().map(|out| out.host.clone()).collect();
                    self.shared.now().check_halted(&named);
                    halts.push(reason.to_string());
                    let (by, why) = ("sim".to_owned(), "repaired".to_owned());
                    resume = Some(match scenario.after_halt {
                        AfterHalt::RepairAndResume => Command::Resume { by, why },
                        AfterHalt::Cancel => Command::Cancel { by, why },
                        AfterHalt::Stop => {
                            let named = named.iter().map(ToString::to_string).collect();
                            return Ending::Halted(reason.to_string(), named);
                        }
                    });
                    self.shared.now().heal();
                }
                Driven::Ended(
                    ended @ (Ended::Reached
                    | Ended::LeaseLost(_)
                    | Ended::Journal(_)
                    | Ended::Broken(_)),
                ) => return Ending::Wrong(format!("{ended:?}")),
                Driven::Endless => return Ending::Wrong("the run came to no end".to_owned()),
            }
            drop(acting);
            self.pause().await;
        }
        Ending::Wrong(format!("more than {MOST_CONTROLLERS} controllers were needed"))
    }

    /// Until somebody notices, and starts another controller.
    async fn pause(&self) {
        let pause = self.shared.now().random.millis(500, 20_000);
        tokio::time::sleep(pause).await;
    }

    async fn drive(&self, acting: &mut Acting, scenario: &Scenario) -> Driven {
        let (sender, commands) = mpsc::channel(8);
        let mut people = tokio::task::JoinSet::new();
        for (after, command) in scenario.commands.clone() {
            let (at, sender, clock) = (BEGIN.plus(after), sender.clone(), self.shared.clock);
            if at < self.shared.now().now {
                continue;
            }
            people.spawn(async move {
                serin_runtime::ports::Clock::sleep_until(&clock, at).await;
                // A controller that has just ended hears nothing.
                drop(sender.send(command).await);
            });
        }
        let process = acting.process.clone();
        tokio::select! {
            biased;
            () = process.dead() => Driven::Killed,
            ended = tokio::time::timeout(LIVELY, acting.controller.drive(commands)) => {
                ended.map_or(Driven::Endless, Driven::Ended)
            }
        }
    }

    /// What the journal says and what the controller thought are the same.
    ///
    /// A controller that died between writing and reading its own append is behind by what that held. One that was replaced
    /// has heard nothing since its successor began, which may have died of its first append.
    pub(crate) async fn check_fold(&self, run: &RunId, acting: &Acting) {
        let behind = if acting.process.is_dead() { MOST_IN_AN_APPEND } else { 0 };
        let term = acting.controller.run().term;
        let of_another =
            |event: &Event| matches!(event, Event::Adopted { term: new, .. } if *new > term);
        let wrong = match records::load(&self.journal, run).await {
            Err(error) => Some(error.to_string()),
            Ok((_, mut events)) => {
                let own = events.iter().position(|(_, event)| of_another(event));
                events.truncate(own.unwrap_or(events.len()));
                let same = (0..=behind).any(|missing| {
                    let known = events.iter().map(|(_, event)| event);
                    let folded = Run::replay(known.take(events.len().saturating_sub(missing)));
                    folded.is_ok_and(|folded| folded == *acting.controller.run())
                });
                (!same).then(|| "the fold is not the live state".to_owned())
            }
        };
        if let Some(wrong) = wrong {
            self.shared.now().violation(Checker::Fold, wrong);
        }
    }
}

enum Driven {
    Killed,
    Ended(Ended),
    Endless,
}

/// Watches a controller: folds the events itself and compares.
struct Witness {
    fold: Option<Run>,
    shared: Shared,
}

impl Observer for Witness {
    fn event(&mut self, run: &Run, _at: Timestamp, event: &Event) {
        match &mut self.fold {
            None => self.fold = Some(run.clone()),
            Some(fold) => {
                if let Err(illegal) = fold.apply(event) {
                    self.shared.now().violation(Checker::Fold, illegal.to_string());
                }
                if fold.status != run.status || fold.out_of_service() != run.out_of_service() {
                    self.shared
                        .now()
                        .violation(Checker::Fold, format!("the fold differs after {event:?}"));
                }
            }
        }
    }

    fn due(&mut self, _run: &Run, _due: &Due) {}

    fn attributed(&mut self, alerts: &[Alert]) {
        let names = alerts.iter().filter_map(|alert| alert.about.clone());
        let names = names.collect::<Vec<_>>().join(", ");
        self.shared.now().note("controller", &format!("attributes alerts about {names}"));
    }

    fn trouble(&mut self, what: &str) {
        self.shared.now().note("controller", what);
    }

    fn told(&mut self, what: &str) {
        self.shared.now().note("controller", what);
    }
}
