//! The ports of one pretend process, over the world.
//!
//! Each call takes a moment of virtual time before and after, in which other things happen; changes of the world are
//! counted as effects, and go wrong as the scenario says.

use crate::balancer::Change;
use crate::faults::Trouble;
use crate::jobs;
use crate::process::Process;
use crate::seeds::Planted;
use crate::world::World;
use async_trait::async_trait;
use serin_model::{
    AdminState, AlertSource, BackendName, EnvironmentName, HostName, HostObservation,
    LbObservation, LoadBalancer, PackageState, Patch, PatchId, QaSuite, ServerName, StepId,
    Timestamp,
};
use serin_runtime::TokioClock;
use serin_runtime::ports::{
    AlertPort, AlertReading, Clock, Command, CommandEnd, Fence, HostPort, HostQuery, HostRun, Job,
    JobEnd, JobState, LbPort, PortError, Ports, QaPort, QaResult,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The world as several processes hold it.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    world: Arc<Mutex<World>>,
    pub(crate) clock: TokioClock,
}

impl Shared {
    pub(crate) fn new(world: World, clock: TokioClock) -> Self {
        Self { world: Arc::new(Mutex::new(world)), clock }
    }

    /// Returns the world as it is now.
    pub(crate) fn now(&self) -> MutexGuard<'_, World> {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        world.advance(self.clock.now());
        world
    }
}

/// The ports of one process.
#[derive(Debug, Clone)]
pub(crate) struct SimPorts {
    pub(crate) shared: Shared,
    pub(crate) process: Process,
    /// The clock of the machine that the process is on.
    pub(crate) clock: TokioClock,
}

impl SimPorts {
    pub(crate) fn ports(self) -> Ports {
        let clock = Arc::new(self.clock);
        let this = Arc::new(self);
        Ports {
            hosts: Arc::<Self>::clone(&this),
            load_balancers: Arc::<Self>::clone(&this),
            alerts: Arc::<Self>::clone(&this),
            qa: this,
            clock,
        }
    }

    /// Lets some time pass, and returns the world once this process may act on it.
    async fn after(&self, from: u64, to: u64) -> MutexGuard<'_, World> {
        let latency = self.shared.now().random.millis(from, to);
        tokio::time::sleep(latency).await;
        self.process.may_act().await;
        self.shared.now()
    }

    /// Lets some time pass, and as much more as answers of this host are late.
    async fn late(&self, host: &HostName, from: u64, to: u64) -> MutexGuard<'_, World> {
        let late = self.shared.now().slowness(host);
        if !late.is_zero() {
            tokio::time::sleep(late).await;
        }
        self.after(from, to).await
    }

    async fn host(&self, host: &HostName) -> MutexGuard<'_, World> {
        self.late(host, 5, 50).await
    }

    async fn balancer(&self, host: &HostName) -> MutexGuard<'_, World> {
        self.late(host, 2, 15).await
    }

    /// Waits until an attempt of a job is over.
    async fn wait(&self, job: &Job, attempt: u32) -> Result<JobEnd, PortError> {
        let deadline = self.shared.clock.now().plus(job.timeout);
        loop {
            let next = {
                let mut world = self.shared.now();
                if let Some(end) = world.ended(job, attempt)? {
                    return Ok(end);
                }
                world.next_at()
            };
            let now = self.shared.clock.now();
            if now >= deadline {
                return Ok(JobEnd::StillRunning { output: String::new() });
            }
            self.shared.clock.sleep_until(next.map_or(deadline, |at| at.min(deadline))).await;
            self.process.may_act().await;
        }
    }

    async fn change(
        &self,
        lb: &LoadBalancer,
        fence: Fence,
        changes: Vec<((BackendName, ServerName), Change)>,
    ) -> Result<(), PortError> {
        let trouble = {
            let mut world = self.balancer(&lb.host).await;
            let changes = world.mistaken(&lb.host, changes);
            let trouble = world.effect(format!("{} {changes:?}", lb.host));
            if trouble != Some(Trouble::RequestLost) {
                world.change_servers(&lb.host, fence, &changes, trouble)?;
            }
            if trouble == Some(Trouble::Twice) {
                world.change_servers(&lb.host, fence, &changes, trouble)?;
            }
            trouble
        };
        self.answer(&lb.host, trouble).await
    }

    async fn answer(&self, host: &HostName, trouble: Option<Trouble>) -> Result<(), PortError> {
        if is_lost(trouble) {
            return Err(unreachable(host));
        }
        drop(self.balancer(host).await);
        Ok(())
    }
}

fn is_lost(trouble: Option<Trouble>) -> bool {
    match trouble {
        Some(Trouble::RequestLost | Trouble::CutInTheMiddle | Trouble::ReplyLost) => true,
        Some(Trouble::Fails | Trouble::Twice) | None => false,
    }
}

fn unreachable(host: &HostName) -> PortError {
    PortError::Unreachable { host: host.clone(), why: "the connection broke".to_owned() }
}

#[async_trait]
impl HostPort for SimPorts {
    async fn observe(&self, query: &HostQuery) -> Result<HostObservation, PortError> {
        let began = self.clock.now();
        let seen = self.host(&query.host).await.observe_host(query);
        drop(self.host(&query.host).await);
        seen.map(|seen| HostObservation { observed_at: began, ..seen })
    }

    async fn read(&self, host: &HostName, command: &Command) -> Result<CommandEnd, PortError> {
        let words: Vec<&str> = command.argv.arguments().collect();
        let end = self.host(host).await.read(host, &words);
        drop(self.host(host).await);
        end
    }

    async fn run(&self, job: &Job) -> Result<JobEnd, PortError> {
        let (attempt, trouble) = {
            let mut world = self.host(&job.host).await;
            let trouble = world.effect(jobs::show(job)).or(world.trouble_of(&job.step));
            if trouble == Some(Trouble::RequestLost) {
                return Err(unreachable(&job.host));
            }
            (world.start(job, trouble)?, trouble)
        };
        if trouble == Some(Trouble::CutInTheMiddle) {
            return Err(unreachable(&job.host));
        }
        let end = self.wait(job, attempt).await?;
        let planted = self.shared.now().planted.filter(|planted| {
            matches!(planted, Planted::InstallsTwice | Planted::ActsUnrecorded)
                && matches!(job.work, serin_runtime::ports::Work::Install(_))
        });
        if let Some(planted) = planted {
            let unrecorded = u32::from(planted == Planted::ActsUnrecorded);
            let again = Job { attempt: attempt + unrecorded, ..job.clone() };
            let attempt = self.host(&job.host).await.start(&again, None)?;
            return self.wait(&again, attempt).await;
        }
        match trouble {
            Some(Trouble::ReplyLost) => Err(unreachable(&job.host)),
            Some(Trouble::Twice) => {
                let again = self.host(&job.host).await.start(job, trouble)?;
                self.wait(job, again).await
            }
            Some(Trouble::Fails | Trouble::RequestLost | Trouble::CutInTheMiddle) | None => Ok(end),
        }
    }

    async fn look(
        &self,
        host: &HostName,
        run: &HostRun,
        step: &StepId,
    ) -> Result<JobState, PortError> {
        self.host(host).await.look(host, &(run.id.clone(), step.clone()))
    }

    async fn raise_fence(&self, host: &HostName, fence: Fence) -> Result<(), PortError> {
        let mut world = self.host(host).await;
        let trouble = world.effect(format!("{host} fence {}", fence.0));
        match trouble {
            Some(Trouble::RequestLost) => return Err(unreachable(host)),
            Some(Trouble::Fails) => return Err(PortError::Refused("no room".to_owned())),
            Some(Trouble::CutInTheMiddle | Trouble::ReplyLost | Trouble::Twice) | None => {}
        }
        if world.planted == Some(Planted::RaisesNoFence) {
            return Ok(());
        }
        world.pass_host(host, fence)?;
        if is_lost(trouble) { Err(unreachable(host)) } else { Ok(()) }
    }

    async fn store(
        &self,
        host: &HostName,
        fence: Fence,
        _patch: &PatchId,
        _bytes: &[u8],
    ) -> Result<(), PortError> {
        self.host(host).await.pass_host(host, fence)
    }

    async fn fits(&self, host: &HostName, patch: &Patch) -> Result<u32, PortError> {
        let mut world = self.host(host).await;
        let machine = world.machine(host)?;
        if machine.package != PackageState::Installed(patch.version.clone()) {
            return Err(PortError::Refused(format!("{host} has {}", machine.package)));
        }
        let whole = machine.patches.get(&patch.id).is_some_and(|c| c.is_whole_on(&patch.version));
        let files = u32::try_from(patch.files.len()).unwrap_or(u32::MAX);
        Ok(if whole { 0 } else { files })
    }
}

#[async_trait]
impl LbPort for SimPorts {
    async fn observe(&self, lb: &LoadBalancer) -> Result<LbObservation, PortError> {
        let began = self.clock.now();
        let seen = self.balancer(&lb.host).await.observe_balancer(&lb.host, began);
        drop(self.balancer(&lb.host).await);
        seen
    }

    async fn set_admin(
        &self,
        lb: &LoadBalancer,
        fence: Fence,
        servers: &[(BackendName, ServerName)],
        state: AdminState,
    ) -> Result<(), PortError> {
        let changes = servers.iter().map(|key| (key.clone(), Change::Admin(state))).collect();
        self.change(lb, fence, changes).await
    }

    async fn set_weights(
        &self,
        lb: &LoadBalancer,
        fence: Fence,
        weights: &[(BackendName, ServerName, u32)],
    ) -> Result<(), PortError> {
        let change = |(backend, server, weight): &(BackendName, ServerName, u32)| {
            ((backend.clone(), server.clone()), Change::Weight(*weight))
        };
        self.change(lb, fence, weights.iter().map(change).collect()).await
    }

    async fn cut_sessions(
        &self,
        lb: &LoadBalancer,
        fence: Fence,
        servers: &[(BackendName, ServerName)],
    ) -> Result<(), PortError> {
        let changes = servers.iter().map(|key| (key.clone(), Change::Cut)).collect();
        self.change(lb, fence, changes).await
    }

    async fn raise_fence(&self, lb: &LoadBalancer, fence: Fence) -> Result<(), PortError> {
        let mut world = self.balancer(&lb.host).await;
        let trouble = world.effect(format!("{} fence {}", lb.host, fence.0));
        match trouble {
            Some(Trouble::RequestLost) => return Err(unreachable(&lb.host)),
            Some(Trouble::Fails) => return Err(PortError::Refused("no room".to_owned())),
            Some(Trouble::CutInTheMiddle | Trouble::ReplyLost | Trouble::Twice) | None => {}
        }
        world.pass_balancer(&lb.host, fence)?;
        if is_lost(trouble) { Err(unreachable(&lb.host)) } else { Ok(()) }
    }
}

#[async_trait]
impl AlertPort for SimPorts {
    async fn read(&self, source: &AlertSource) -> AlertReading {
        let world = self.after(10, 60).await;
        let environment = watched(source);
        if world.planted == Some(Planted::SeesNoAlerts) {
            return AlertReading { firing: Vec::new(), doubts: Vec::new() };
        }
        match environment.and_then(|environment| world.firing(&environment)) {
            Some(firing) => AlertReading { firing, doubts: Vec::new() },
            None => AlertReading { firing: Vec::new(), doubts: vec!["no answer".to_owned()] },
        }
    }

    async fn read_back(
        &self,
        source: &AlertSource,
        from: Timestamp,
        to: Timestamp,
    ) -> AlertReading {
        let mut world = self.after(10, 60).await;
        let (begin, length) = (world.begin, to.since(from).as_millis());
        let from_begin = from.since(begin).as_millis();
        world.note("alerts", &format!("looks back at {length} ms from {from_begin} on"));
        match watched(source) {
            Some(environment) if to <= world.now => {
                AlertReading { firing: world.fired(&environment, (from, to)), doubts: Vec::new() }
            }
            Some(_) | None => {
                AlertReading { firing: Vec::new(), doubts: vec!["it is not over".to_owned()] }
            }
        }
    }
}

/// Returns the environment that a source is about.
fn watched(source: &AlertSource) -> Option<EnvironmentName> {
    let url = source.alertmanagers.first()?;
    url.strip_prefix("http://alerts.")?.parse().ok()
}

#[async_trait]
impl QaPort for SimPorts {
    async fn run(&self, suite: &QaSuite) -> QaResult {
        let (trouble, hangs, takes) = {
            let mut world = self.after(5, 50).await;
            let hangs = world.qa_hangs_until.since(world.now);
            let takes = world.latencies.of_suite(&suite.name).clone().draw(&mut world.random);
            let trouble = world.effect(format!("QA {}", suite.name)).or(world.trouble_of_qa());
            (trouble, hangs, takes)
        };
        if hangs > suite.timeout {
            tokio::time::sleep(suite.timeout).await;
            self.process.may_act().await;
            let why = format!("no end within {} s", suite.timeout.as_secs());
            return QaResult::Broken { why };
        }
        tokio::time::sleep(takes + hangs).await;
        self.process.may_act().await;
        let fails = self.shared.now().planted == Some(Planted::FailsQa);
        match trouble.or(fails.then_some(Trouble::Fails)) {
            Some(Trouble::Fails) => QaResult::Failed { tests: vec!["login".to_owned()] },
            Some(Trouble::RequestLost | Trouble::CutInTheMiddle | Trouble::ReplyLost) => {
                QaResult::Broken { why: "no report".to_owned() }
            }
            Some(Trouble::Twice) | None => QaResult::Passed { executed: 20, flaky: Vec::new() },
        }
    }
}
