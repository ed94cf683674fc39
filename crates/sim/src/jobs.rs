//! Jobs on hosts of the pretend world: what the wrapper promises, and what commands do.
//!
//! A job is named by run and step and outlives its controller. A new attempt is authorised only when the last one is
//! over; how each ended is kept; who asks while one runs, attaches to it.

use crate::faults::Trouble;
use crate::host::Machine;
use crate::installation::{POST_DEPLOYMENT, REGULAR};
use crate::seeds::Planted;
use crate::world::{Happening, World};
use serin_model::{
    Build, CarriedState, HostName, MigrationKind, PackageState, RunId, ServiceName, StepId,
};
use serin_runtime::ports::{CommandEnd, Fence, Job, JobEnd, JobState, PortError, Work};
use std::time::Duration;

/// An attempt of a step's job.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) number: u32,
    pub(crate) state: State,
    note: String,
    work: Work,
    /// Whether it is to fail.
    fails: bool,
}

/// How an attempt is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    Exited(i32),
    Died,
}

impl Attempt {
    pub(crate) fn migrates(&self) -> bool {
        matches!(words(&self.work).as_slice(), ["gitlab-rake", ..])
    }

    fn end(&self) -> Option<JobEnd> {
        match self.state {
            State::Running => None,
            State::Exited(status) => {
                let output = if status == 0 { "done" } else { "it went wrong" }.to_owned();
                Some(JobEnd::Exited(CommandEnd { status, output }))
            }
            State::Died => Some(JobEnd::Died { output: String::new() }),
        }
    }
}

/// Returns the words of a command; none for other work.
pub(crate) fn words(work: &Work) -> Vec<&str> {
    match work {
        Work::Command { argv, .. } => argv.arguments().collect(),
        Work::Fetch(_)
        | Work::Keep { .. }
        | Work::Simulate(_)
        | Work::Install(_)
        | Work::Patch(_)
        | Work::Unpatch(_) => Vec::new(),
    }
}

/// Shows a job for the log.
pub(crate) fn show(job: &Job) -> String {
    let what = match &job.work {
        Work::Command { argv, .. } => argv.to_string(),
        Work::Fetch(build) => format!("fetch {}", build.version),
        Work::Keep { version, .. } => format!("keep {version}"),
        Work::Simulate(build) => format!("simulate {}", build.version),
        Work::Install(build) => format!("install {}", build.version),
        Work::Patch(patch) => format!("patch {} on {}", patch.id.short(), patch.version),
        Work::Unpatch(patch) => format!("unpatch {} on {}", patch.id.short(), patch.version),
    };
    format!("{} {what} (attempt {} of {})", job.host, job.attempt, job.step)
}

impl World {
    /// Checks a fence against the one that a host has seen, and remembers a larger one.
    pub(crate) fn pass_host(&mut self, host: &HostName, fence: Fence) -> Result<(), PortError> {
        let machine = self.machine(host)?;
        if fence.0 < machine.fence {
            let by = machine.fence;
            self.note("fence", &format!("{host} refuses fence {}: has seen {by}", fence.0));
            return Err(PortError::Fenced { by });
        }
        machine.fence = fence.0;
        Ok(())
    }

    /// Starts a job or attaches to it; returns the attempt that this is about.
    pub(crate) fn start(&mut self, job: &Job, trouble: Option<Trouble>) -> Result<u32, PortError> {
        self.pass_host(&job.host, job.fence)?;
        let key = (job.run.id.clone(), job.step.clone());
        let again = self.installs_again(job);
        let attempts = self.machine(&job.host)?.jobs.entry(key.clone()).or_default();
        if again && attempts.last().is_some_and(|last| last.state == State::Exited(0)) {
            attempts.pop();
        } else if let Some(last) = attempts.last() {
            if last.state == State::Running || last.number == job.attempt {
                return Ok(last.number);
            }
            if job.attempt < last.number {
                let why = format!("attempt {} of this step came after", last.number);
                return Err(PortError::Refused(why));
            }
        }
        attempts.push(Attempt {
            number: job.attempt,
            state: State::Running,
            note: job.note.clone(),
            work: job.work.clone(),
            fails: trouble == Some(Trouble::Fails),
        });
        self.note(&format!("fence {}", job.fence.0), &show(job));
        self.check_job(job);
        self.begin(job, key, trouble);
        Ok(job.attempt)
    }

    fn installs_again(&self, job: &Job) -> bool {
        self.planted == Some(Planted::InstallsTwice) && matches!(job.work, Work::Install(_))
    }

    fn has(&self, host: &HostName, build: &Build) -> bool {
        let installed = PackageState::Installed(build.version.clone());
        self.hosts.get(host).is_some_and(|machine| machine.package == installed)
    }

    /// Puts what a job does, and its end, on the list of what happens.
    fn begin(&mut self, job: &Job, key: (RunId, StepId), trouble: Option<Trouble>) {
        let fails = trouble == Some(Trouble::Fails);
        let (host, attempt) = (job.host.clone(), job.attempt);
        let takes = match (&job.work, words(&job.work).as_slice()) {
            (Work::Fetch(_), _) => self.latencies.fetch.draw(&mut self.random),
            // The wrapper looks first.
            (Work::Install(build), _) if self.has(&host, build) => Duration::from_millis(200),
            (Work::Install(_), _) => {
                let unpacks = self.latencies.unpack.draw(&mut self.random);
                let unpacks = self.waits_for_dpkg(&host) + unpacks;
                let (host, job) = (host.clone(), key.clone());
                self.schedule(unpacks, Happening::Unpacked { host, job, attempt });
                unpacks + self.latencies.configure.draw(&mut self.random)
            }
            (_, ["gitlab-rake", "db:migrate", kind]) => {
                return self.migrate(&host, key, attempt, (kind, fails));
            }
            (_, ["gitlab-ctl", "hup" | "restart", service]) if !fails => {
                let after = self.latencies.activate.draw(&mut self.random);
                let service = service.parse::<ServiceName>();
                if let Ok(service) = service {
                    let host = host.clone();
                    self.schedule(after, Happening::Replaced { host, service });
                }
                Duration::from_millis(200)
            }
            (_, ["gitlab-ctl", "reconfigure"]) => self.latencies.reconfigure.draw(&mut self.random),
            _ => self.latencies.command.draw(&mut self.random),
        };
        self.schedule(takes, Happening::JobEnds { host, job: key, attempt });
    }

    /// Returns how long dpkg's lock is waited for.
    fn waits_for_dpkg(&self, host: &HostName) -> Duration {
        let locked = self.hosts.get(host).map(|machine| machine.dpkg_locked_until);
        locked.map_or(Duration::ZERO, |until| until.since(self.now))
    }

    /// Migrations are applied one after the other, each in its own transaction.
    fn migrate(
        &mut self,
        host: &HostName,
        key: (RunId, StepId),
        attempt: u32,
        (kind, fails): (&str, bool),
    ) {
        let (regular, post_deployment) = self.pending(host).unwrap_or_default();
        let (due, kind) = if kind == "regular" {
            (regular, MigrationKind::Regular)
        } else {
            (post_deployment, MigrationKind::PostDeployment)
        };
        let each = self.latencies.of_migration(kind).clone();
        let most = if fails { 1 } else { due.len() };
        let mut after = self.latencies.migrations_begin.draw(&mut self.random);
        for id in due.into_iter().take(most) {
            let (host, job) = (host.clone(), key.clone());
            self.schedule(after, Happening::Migrated { host, job, attempt, id });
            after += each.draw(&mut self.random);
        }
        let host = host.clone();
        self.schedule(after, Happening::JobEnds { host, job: key, attempt });
    }

    /// Returns how an attempt ended; `None` while it runs.
    ///
    /// # Errors
    /// When the host cannot be reached.
    pub(crate) fn ended(&mut self, job: &Job, attempt: u32) -> Result<Option<JobEnd>, PortError> {
        let jobs = &self.machine(&job.host)?.jobs;
        let attempts = jobs.get(&(job.run.id.clone(), job.step.clone()));
        let found = attempts.into_iter().flatten().find(|found| found.number == attempt);
        Ok(found.and_then(Attempt::end))
    }

    /// Looks at the last attempt of a step's job.
    pub(crate) fn look(
        &mut self,
        host: &HostName,
        key: &(RunId, StepId),
    ) -> Result<JobState, PortError> {
        let last = self.machine(host)?.jobs.get(key).and_then(|attempts| attempts.last());
        Ok(match last {
            None => JobState::NeverStarted,
            Some(last) => {
                let note = last.note.clone();
                match last.end() {
                    None => JobState::Running { note },
                    Some(end) => JobState::Ended { note, end },
                }
            }
        })
    }

    /// Returns an attempt's work and whether it is to fail, if it still runs.
    fn running(&self, host: &HostName, key: &(RunId, StepId), number: u32) -> Option<(Work, bool)> {
        let attempts = self.hosts.get(host)?.jobs.get(key)?;
        let attempt = attempts.iter().find(|attempt| attempt.number == number)?;
        (attempt.state == State::Running).then(|| (attempt.work.clone(), attempt.fails))
    }

    pub(crate) fn unpacked(&mut self, host: &HostName, key: &(RunId, StepId), attempt: u32) {
        let Some((Work::Install(build), _)) = self.running(host, key, attempt) else { return };
        let machine = self.hosts.get_mut(host);
        if let Some(machine) = machine.filter(|m| m.fetched.contains(&build.version)) {
            let state = "half-configured".to_owned();
            machine.package = PackageState::Broken { version: build.version, state };
        }
    }

    pub(crate) fn migrated(
        &mut self,
        host: &HostName,
        key: &(RunId, StepId),
        attempt: u32,
        id: &str,
    ) {
        if self.running(host, key, attempt).is_none() {
            return;
        }
        self.note(host.as_str(), &format!("migration {id} is applied"));
        let Some(machine) = self.hosts.get(host) else { return };
        let environment = machine.environment.clone();
        let Some(database) = self.databases.get_mut(&environment) else { return };
        *database.applied.entry(id.to_owned()).or_default() += 1;
        self.check_migration(&environment, id);
    }

    /// Returns a job's status as a planted bug takes it.
    fn mistaken_status(&self, work: &Work, status: i32) -> i32 {
        let broken = Some(Planted::TakesBrokenForWhole);
        if self.planted == broken && matches!(work, Work::Install(_)) { 0 } else { status }
    }

    pub(crate) fn job_ends(&mut self, host: &HostName, key: &(RunId, StepId), number: u32) {
        let Some((work, fails)) = self.running(host, key, number) else { return };
        let mut status = i32::from(fails);
        let gone = self.is_package_gone();
        let now = self.now;
        let looks_first = self.planted != Some(Planted::InstallsTwice);
        let Some(machine) = self.hosts.get_mut(host) else { return };
        match (&work, words(&work).as_slice()) {
            (Work::Fetch(build), _) if gone && !machine.fetched.contains(&build.version) => {
                status = 100;
            }
            (Work::Fetch(build), _) if !fails => {
                machine.fetched.insert(build.version.clone());
            }
            (Work::Fetch(_), _) => {}
            (Work::Install(build), _)
                if looks_first
                    && machine.package == PackageState::Installed(build.version.clone()) => {}
            (Work::Install(build), _) => {
                if !machine.fetched.contains(&build.version) {
                    status = 100;
                } else if !fails {
                    machine.installed(build, &key.0);
                }
            }
            (Work::Patch(patch) | Work::Unpatch(patch), _) if !fails => {
                status = machine.patched(patch, &work);
            }
            (_, ["gitlab-ctl", "tstp", service]) if !fails => {
                let idle_from = now.plus(Duration::from_secs(3));
                let told = |machine: &mut Machine| {
                    let service = service.parse::<ServiceName>().ok()?;
                    let service = machine.services.get_mut(&service)?;
                    service.fetches = false;
                    service.idle_from = idle_from;
                    Some(())
                };
                status = i32::from(told(machine).is_none());
            }
            (_, ["sv", verb, "chef-client"]) if !fails => machine.agent.runs = *verb == "start",
            (_, ["version-role", "set", key, version]) if !fails => match version.parse() {
                Ok(version) => {
                    self.records.insert((*key).to_owned(), version);
                }
                Err(_not_a_version) => status = 1,
            },
            (Work::Keep { version, .. }, _) if !fails => {
                machine.fetched.insert(version.clone());
            }
            (Work::Simulate(build), _) if !fails => {
                status = if machine.fetched.contains(&build.version) { 0 } else { 10 };
            }
            (
                Work::Command { .. }
                | Work::Keep { .. }
                | Work::Simulate(_)
                | Work::Patch(_)
                | Work::Unpatch(_),
                _,
            ) => {}
        }
        let status = self.mistaken_status(&work, status);
        self.note(host.as_str(), &format!("{} ended with {status}", key.1));
        self.over(host, key, number, status);
        self.check_install(host);
    }

    fn over(&mut self, host: &HostName, key: &(RunId, StepId), number: u32, status: i32) {
        let attempts = self.hosts.get_mut(host).and_then(|machine| machine.jobs.get_mut(key));
        for attempt in attempts.into_iter().flatten().filter(|a| a.number == number) {
            attempt.state = State::Exited(status);
        }
    }
}

/// Tells whether a migration is one that must come before the new code.
pub(crate) fn is_regular(id: &str) -> bool {
    REGULAR.contains(&id) && !POST_DEPLOYMENT.contains(&id)
}

impl Machine {
    fn installed(&mut self, build: &Build, run: &RunId) {
        self.package = PackageState::Installed(build.version.clone());
        self.sha256 = Some(build.sha256.clone());
        self.before_third = None;
        *self.installs.entry(run.clone()).or_default() += 1;
        // What dpkg lays down has no patch in it, and the wrapper forgets those of before.
        self.patches.retain(|_, carried| carried.version == build.version);
        for carried in self.patches.values_mut() {
            carried.state = CarriedState::Lost { files: Vec::new() };
        }
    }
}
