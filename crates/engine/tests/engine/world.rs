//! A tiny world: what is due is begun, takes its time, and changes what is seen.
//!
//! Time goes from one thing to the next: the end of an act, a reading, a wait. What load balancers show is as old as
//! the last reading of them. An outcome that a test has not scripted is `Done`.

use crate::installation::{Installation, of};
use serin_engine::{
    Arrow, Command, Due, Effect, Event, Input, Mode, Outcome, Refusal, Run, Status, StepState,
    Times, View, Watch, decide, due,
};
use serin_model::{
    Action, EnvironmentName, HostName, LbObservation, MigrationKind, Plan, Reason, StepId, Subject,
    Timestamp, Verdict,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// More turns than any run here takes.
const TURNS: usize = 100_000;

#[derive(Clone)]
pub(crate) struct World {
    /// What is true, of hosts and load balancers.
    pub(crate) truth: Installation,
    pub(crate) run: Run,
    pub(crate) events: Vec<Event>,
    /// What its time went to.
    pub(crate) times: Times,
    /// The arrows of the table of transitions that were taken.
    pub(crate) taken: BTreeSet<Arrow>,
    pub(crate) now: Timestamp,
    pub(crate) view: View,
    /// Outcomes of attempts, in order; what is not here is `Done`.
    pub(crate) script: BTreeMap<StepId, VecDeque<Outcome>>,
    /// Outcomes of taking a share away, in order; what is not here is `Done`.
    pub(crate) withdrawals: VecDeque<Outcome>,
    /// What alerts say, from when on.
    pub(crate) alerts: BTreeMap<u64, Verdict>,
    /// How often an install or a migration really happened.
    pub(crate) acted: BTreeMap<StepId, u32>,
    /// Hosts that are down whatever is done.
    pub(crate) dead: BTreeSet<HostName>,
    pub(crate) unavailable: BTreeMap<HostName, String>,
    /// Effects that were begun, but for acts.
    pub(crate) begun: Vec<Effect>,
    pub(crate) in_flight: Vec<(Timestamp, StepId, u32)>,
    /// The most hosts of each role of a fleet that ever were out at once.
    pub(crate) peak: BTreeMap<String, usize>,
    /// When load balancers are not read any more.
    pub(crate) blind_from: Option<Timestamp>,
    next: BTreeMap<Watch, Timestamp>,
}

impl World {
    pub(crate) fn new(truth: Installation) -> Self {
        let request = truth.request();
        let (plan, _) = serin_planner::plan(request).unwrap();
        Self::with_plan(truth, plan)
    }

    pub(crate) fn with_plan(truth: Installation, plan: Plan) -> Self {
        let started = Event::Started { plan: Box::new(plan), by: "ada".to_owned() };
        let mut world = Self {
            truth,
            run: Run::new(&started).unwrap(),
            events: vec![started],
            times: Times::default(),
            taken: BTreeSet::new(),
            now: Timestamp::from_millis(1_000_000),
            view: View::default(),
            script: BTreeMap::new(),
            withdrawals: VecDeque::new(),
            alerts: BTreeMap::from([(0, Verdict::Pass)]),
            acted: BTreeMap::new(),
            dead: BTreeSet::new(),
            unavailable: BTreeMap::new(),
            begun: Vec::new(),
            in_flight: Vec::new(),
            peak: BTreeMap::new(),
            blind_from: None,
            next: BTreeMap::new(),
        };
        world.adopt(1);
        world
    }

    /// A new process takes over: what was in flight is not any more, whether or not it happened.
    pub(crate) fn adopt(&mut self, term: u64) {
        self.in_flight.clear();
        self.view = View::default();
        self.next.clear();
        self.input(Input::Adopt { term, by: format!("process-{term}") }).unwrap();
    }

    pub(crate) fn input(&mut self, input: Input) -> Result<(), Refusal> {
        for event in decide(&self.run, input, self.now)? {
            self.taken.extend(self.run.apply(&event).unwrap());
            self.times.take(&self.run, self.now, &event);
            self.events.push(event);
        }
        Ok(())
    }

    /// Somebody gives their word wherever it is waited for.
    pub(crate) fn approve(&mut self) {
        let (by, note) = ("eve".to_owned(), "looked at it".to_owned());
        drop(self.input(Input::Command(Command::Approve { by, note })));
    }

    pub(crate) fn halt(&mut self) {
        let reason = Reason::Person { who: "ada".to_owned(), why: "lunch".to_owned() };
        self.input(Input::Command(Command::Halt(reason))).unwrap();
    }

    /// Whoever lifts a halt is another process: the one that acted ended with the halt.
    pub(crate) fn resume(&mut self) {
        self.adopt(self.run.term + 1);
        let (by, why) = ("ada".to_owned(), "fixed".to_owned());
        self.input(Input::Command(Command::Resume { by, why })).unwrap();
    }

    pub(crate) fn due(&self) -> Due {
        due(&self.run, &self.view, self.now)
    }

    pub(crate) fn acts(&self) -> Vec<(String, Mode)> {
        let act = |effect| match effect {
            Effect::Act { step, mode } => Some((step.to_string(), mode)),
            Effect::Enter(_)
            | Effect::RaiseFence(_)
            | Effect::Leave(_)
            | Effect::Redrain { .. }
            | Effect::Withdraw { .. }
            | Effect::Reweigh { .. } => None,
        };
        self.due().effects.into_iter().filter_map(act).collect()
    }

    /// Goes on until a claim holds.
    pub(crate) fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        for _ in 0..TURNS {
            if holds(self) {
                return;
            }
            let more = self.turn();
            assert!(more || holds(self), "nothing is left, but not {what}: {:?}", self.run.status);
        }
        panic!("never {what}: {:?}", self.run.status);
    }

    /// Goes on until nothing more happens.
    pub(crate) fn drive(&mut self) {
        for _ in 0..TURNS {
            if !self.turn() {
                return;
            }
        }
        panic!("it never ends: {:?}", self.run.status);
    }

    /// Begins one thing that is due, or goes on to the next thing that happens.
    pub(crate) fn turn(&mut self) -> bool {
        if !self.run.is_over() {
            self.input(Input::Tick).unwrap();
        }
        if let Status::Halted(_) = self.run.status {
            // The process ends with the halt, and what it still watches with it.
            self.in_flight.clear();
            return false;
        }
        let due = self.due();
        let since = self.view.still_since.unwrap_or(self.now);
        self.view.still_since = due.stands_still(&self.run).then_some(since);
        if let Some(reason) = due.in_vain {
            self.input(Input::Problem(reason)).unwrap();
            return true;
        }
        // A fence that could not be raised is due again and again; here nothing ever mends it.
        let mends_nothing = |effect: &&Effect| {
            matches!(effect, Effect::RaiseFence(environment)
                if self.run.environments.get(environment).is_some_and(|e| e.unavailable.is_some()))
        };
        if let Some(effect) = due.effects.iter().find(|effect| !mends_nothing(effect)) {
            self.begin(effect.clone());
            return true;
        }
        let end = self.in_flight.iter().min_by_key(|(at, _, _)| *at).cloned();
        let now = self.now;
        let watch = |watch: &Watch| (self.next.get(watch).copied().unwrap_or(now), watch.clone());
        let reading = due.watches.iter().map(watch).min();
        let ends_at = end.as_ref().map(|(at, _, _)| *at);
        let reads_at = reading.as_ref().map(|(at, _)| *at);
        let Some(at) = [ends_at, reads_at, due.wake_at].into_iter().flatten().min() else {
            return false;
        };
        self.now = self.now.max(at);
        if ends_at == Some(at) {
            let (_, step, attempt) = end.unwrap();
            self.end(&step, attempt);
        } else if reads_at == Some(at) {
            self.read(&reading.unwrap().1);
        }
        true
    }

    fn begin(&mut self, effect: Effect) {
        match effect.clone() {
            Effect::Act { step, .. } => return self.act(&step),
            Effect::Enter(environment) => {
                let fence = self.run.term * 10;
                self.input(Input::Entered { environment, fence }).unwrap();
            }
            Effect::RaiseFence(environment) => {
                let (fence, unavailable) = (self.run.term * 10, self.unavailable.clone());
                self.input(Input::FenceRaised { environment, fence, unavailable }).unwrap();
            }
            Effect::Leave(environment) => self.input(Input::Leave { environment }).unwrap(),
            Effect::Redrain { environment, host, servers } => {
                self.truth.set_admin(&host, serin_model::AdminState::Drain);
                self.input(Input::DrainLost { host, servers }).unwrap();
                self.read_lbs(&environment);
            }
            Effect::Withdraw { environment, fleet } => {
                self.input(Input::Withdraw).unwrap();
                let attempt = self.run.withdrawal.as_ref().unwrap().attempts();
                let outcome = self.withdrawals.pop_front();
                let outcome = outcome.unwrap_or_else(|| Outcome::Done("by weight".to_owned()));
                let action = Action::SetShare { fleet, percent: 0 };
                self.truth.done(&environment, &Subject::Environment, &action);
                self.input(Input::Withdrawn { attempt, outcome }).unwrap();
            }
            Effect::Reweigh { environment, fleet, servers } => {
                let action = Action::SetShare { fleet: fleet.clone(), percent: 0 };
                self.truth.done(&environment, &Subject::Environment, &action);
                self.input(Input::ShareLost { fleet, servers }).unwrap();
                self.read_lbs(&environment);
            }
        }
        self.begun.push(effect);
    }

    fn act(&mut self, step: &StepId) {
        self.input(Input::Begin { step: step.clone() }).unwrap();
        let (stage, lane, found) = self.run.find(step).unwrap();
        let environment = stage.environment.clone();
        let (action, subject) = (found.action.clone(), lane.subject.clone());
        let takes = match &action {
            Action::Guard | Action::Bake { .. } | Action::Approve { .. } => return,
            Action::Install { .. } | Action::Migrate(_) => Duration::from_secs(20),
            Action::Drain | Action::Activate | Action::Ready => Duration::from_secs(5),
            _ => Duration::from_secs(1),
        };
        if action == Action::Drain {
            // HAProxy is told at once; what takes time is the sessions.
            self.truth.done(&environment, &subject, &action);
            self.count();
        }
        self.in_flight.push((self.now.plus(takes), step.clone(), self.run.attempts(step)));
    }

    fn end(&mut self, step: &StepId, attempt: u32) {
        self.in_flight.retain(|(_, known, _)| known != step);
        let outcome = self.script.get_mut(step).and_then(VecDeque::pop_front);
        let outcome = outcome.unwrap_or_else(|| Outcome::Done("seen".to_owned()));
        if let Outcome::Done(_) | Outcome::AlreadyDone(_) = outcome {
            self.happen(step);
        }
        self.input(Input::Ended { step: step.clone(), attempt, outcome }).unwrap();
    }

    /// Makes true what a step does.
    pub(crate) fn happen(&mut self, step: &StepId) {
        let (stage, lane, found) = self.run.find(step).unwrap();
        let environment = stage.environment.clone();
        let (action, subject) = (found.action.clone(), lane.subject.clone());
        if self.is_new(&subject, &action) {
            *self.acted.entry(step.clone()).or_default() += 1;
        }
        self.truth.done(&environment, &subject, &action);
        self.count();
    }

    /// Tells whether an install or a migration has not happened yet.
    fn is_new(&self, subject: &Subject, action: &Action) -> bool {
        let Subject::Host(host) = subject else { return false };
        let seen = &self.truth.observed.hosts[host];
        match action {
            Action::Install { .. } => seen.installed() != Some(&self.truth.build.version),
            Action::Migrate(kind) => seen.pending_migrations.as_ref().is_some_and(|p| match kind {
                MigrationKind::Regular => !p.0.is_empty(),
                MigrationKind::PostDeployment => !p.1.is_empty(),
            }),
            _ => false,
        }
    }

    fn read(&mut self, watch: &Watch) {
        match watch.clone() {
            Watch::Alerts(environment, every) => {
                self.next.insert(watch.clone(), self.now.plus(every));
                let verdict = self.alerts.range(..=self.now.as_millis()).next_back();
                let verdict = verdict.unwrap().1.clone();
                self.input(Input::Alerts { environment, verdict }).unwrap();
            }
            Watch::LoadBalancers(environment, every) => {
                self.next.insert(watch.clone(), self.now.plus(every));
                if self.blind_from.is_none_or(|from| self.now < from) {
                    self.read_lbs(&environment);
                }
            }
        }
    }

    pub(crate) fn read_lbs(&mut self, environment: &EnvironmentName) {
        for host in self.dead.clone() {
            self.truth.servers(host.as_str()).into_iter().for_each(|server| server.up = false);
        }
        let lbs = self.truth.observed.load_balancers.iter();
        let lbs = lbs.filter(|((of, _), _)| of == environment);
        let fresh = |seen: &LbObservation| LbObservation { observed_at: self.now, ..seen.clone() };
        self.view.load_balancers = lbs.map(|((_, lb), seen)| (lb.clone(), fresh(seen))).collect();
    }

    /// Counts the hosts that are out, by role of a fleet.
    fn count(&mut self) {
        let mut out: BTreeMap<String, usize> = BTreeMap::new();
        let environments: Vec<_> = self.truth.topology.environments.values().cloned().collect();
        for (fleet, host) in environments.iter().flat_map(serin_model::Environment::hosts) {
            let dead = self.dead.contains(&host.name);
            if dead || self.truth.servers(host.name.as_str()).iter().any(|server| !server.up) {
                for role in &host.roles {
                    *out.entry(format!("{}/{role}", fleet.name)).or_default() += 1;
                }
            }
        }
        for (role, count) in out {
            let peak = self.peak.entry(role).or_default();
            *peak = (*peak).max(count);
        }
    }

    pub(crate) fn script(&mut self, step: &str, outcomes: impl IntoIterator<Item = Outcome>) {
        self.script.insert(id(&self.run, step), outcomes.into_iter().collect());
    }

    pub(crate) fn state(&self, step: &str) -> &StepState {
        self.run.state(&id(&self.run, step))
    }

    /// Every attempt that began, in order.
    pub(crate) fn attempts(&self) -> Vec<String> {
        let began = |event: &Event| match event {
            Event::AttemptStarted { step, .. } => Some(step.to_string()),
            _ => None,
        };
        self.events.iter().filter_map(began).collect()
    }

    /// The hosts that are out in truth.
    pub(crate) fn drained(&mut self) -> Vec<String> {
        let hosts: Vec<HostName> = self.truth.observed.hosts.keys().cloned().collect();
        let mut out = Vec::new();
        for host in hosts {
            if self.truth.servers(host.as_str()).iter().any(|server| !server.up) {
                out.push(host.to_string());
            }
        }
        out
    }
}

/// A step of the plan by its text.
pub(crate) fn id(run: &Run, step: &str) -> StepId {
    let found = run.plan.steps().find(|(_, _, known)| known.id.as_str() == step);
    found.unwrap_or_else(|| panic!("the plan has no step {step}")).2.id.clone()
}

pub(crate) fn failed(what: &str) -> Outcome {
    Outcome::Failed(Reason::QaBroken(what.to_owned()))
}

pub(crate) fn lost() -> Outcome {
    Outcome::Lost(Reason::OutcomeUnknown("the host answers".to_owned()))
}

/// One stage that deploys web hosts of one fleet of staging, `limit` at once.
pub(crate) fn web_fleet(hosts: &str, limit: &str) -> World {
    let mut truth = Installation::new(&format!("staging lb-01\n  main deploy-01 {hosts}"));
    let web = truth.topology.roles.get_mut(&of::<serin_model::RoleName>("web")).unwrap();
    web.max_unavailable = of(limit);
    truth.pipeline.stages.retain(|stage| stage.number == 3);
    World::new(truth)
}
