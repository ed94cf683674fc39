//! Two machines with Serin on one journal in PostgreSQL: random commands and kills from both, a PostgreSQL that is restarted
//! and once away, and one owner at a time.
//!
//! The machines are this one under two names, each with a folder of its own for what a Serin keeps for itself: neither sees
//! that a process of the other is dead but by its silence. What happened is asked of the hosts: their jobs say under which
//! fence each was asked for, dpkg's log how often something was installed, the database how often it was migrated.

mod cluster;
mod owners;

use crate::events;
use crate::lab::{Lab, PATIENCE};
use crate::monitor::Monitor;
use crate::oracle;
use crate::process::{Ended, Running};
use crate::scenarios::{MAX_OUT, Scenario, scenario};
use crate::traffic::Traffic;
use crate::work::timed;
use anyhow::{Context, Result, bail};
use cluster::Cluster;
use owners::Owners;
use std::path::Path;
use std::time::Duration;
use tempfile::NamedTempFile;

/// What the machines are called.
const NAMES: [&str; 2] = ["deploy-a", "deploy-b"];

/// How soon another machine must have taken over. Two leases last 15 s each without a beat, the run's and then that of the
/// environment that it is in, and looks and a start come on top.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(45);

/// How a run is taken over.
const ADOPT: &[&str] = &["--json", "adopt"];

/// How a halt is lifted.
const RESUME: &[&str] = &["--json", "resume", "--reason", "looked"];

/// What people ask at random, and the exit codes that are an answer while a run goes on.
const COMMANDS: [(&[&str], &[i32]); 9] = [
    (&["status"], &[0]),
    (&["why"], &[0, 9]),
    (&["runs"], &[0]),
    (&["show"], &[0]),
    (&["history", "production"], &[0]),
    (&["hold", "list"], &[0]),
    (&["approve", "--note", "looked at it"], &[4]),
    // Somebody acts for it, on this machine or the other.
    (&["adopt"], &[4]),
    // Both environments, or the first, belong to a run; after it, there is nothing to do.
    (&["run", "to-canary"], &[0, 4]),
];

/// Two machines with one journal.
struct Machines {
    configs: Vec<NamedTempFile>,
    cluster: Cluster,
    folders: tempfile::TempDir,
}

/// What was done so far.
#[derive(Default)]
struct Done {
    commands: usize,
    halts: usize,
    kills: usize,
    restarts: usize,
    outages: usize,
    /// From a kill to the first thing that another process did, on the same machine and on the other.
    back: [Vec<Duration>; 2],
}

/// Tells it with so many commands and kills.
pub(crate) fn share_a_journal(times: usize) -> Scenario {
    scenario(
        format!("of_two_machines_on_one_journal_one_acts_through_{times}_commands_and_kills"),
        move |lab| {
            let mut machines = Machines::new(lab)?;
            let (mut done, mut runs, mut jobs) = (Done::default(), 0, 0);
            while done.commands + done.kills < times {
                let version = lab.publish(None)?;
                for command in [vec!["run", "to-canary", &version], vec!["promote"]] {
                    let traffic = Traffic::start(lab)?;
                    let monitor = Monitor::start(lab)?;
                    let mut owners = Owners::default();
                    let at = lab.random(2);
                    let run = machines.start(lab, at, &[&["--json"], &command[..]].concat())?;
                    let told = machines.disturb(lab, (at, run), times, (&mut done, &mut owners));
                    let seen = monitor.stop(MAX_OUT);
                    let sent = traffic.stop();
                    told?;
                    seen?;
                    sent?;
                    jobs += owners.one_at_a_time()?;
                    runs += 1;
                    oracle::nothing_left_out(lab)?;
                    oracle::migrations_ran_once(lab)?;
                    let (commands, kills) = (done.commands, done.kills);
                    crate::say(format!("      {commands} commands and {kills} kills so far"));
                }
                oracle::everywhere(lab, &version)?;
            }
            let slowest =
                |times: &[Duration]| times.iter().max().map_or(0.0, Duration::as_secs_f64);
            let [same, other] = &done.back;
            Ok(format!(
                "{} commands, {} halts, {} kills, {} restarts of PostgreSQL and {} longer outage(s) in {runs} runs; {jobs} jobs on hosts, under fences that only rise; \
                 at work again within {:.1} s on the same machine ({} times), {:.1} s on the other ({})",
                done.commands,
                done.halts,
                done.kills,
                done.restarts,
                done.outages,
                slowest(same),
                same.len(),
                slowest(other),
                other.len(),
            ))
        },
    )
}

impl Machines {
    fn new(lab: &Lab) -> Result<Self> {
        let folders = tempfile::tempdir()?;
        let cluster = Cluster::start()?;
        let old = format!("path = \"{}/journal.db\"", lab.folder().display());
        let config = |name: &&str| {
            let state = folders.path().join(name);
            std::fs::create_dir(&state)?;
            let journal = format!(
                "state = \"{}\"\npostgres = {{ host = \"{}\", user = \"serin\", database = \"postgres\" }}",
                state.display(),
                cluster.socket().display()
            );
            lab.changed_config(|text| text.replace(&old, &journal))
        };
        let configs = NAMES.iter().map(config).collect::<Result<Vec<_>>>()?;
        let machines = Self { configs, cluster, folders };
        // Hosts remember runs and fences of the scenarios before: the database goes on from there.
        let from = machines.folders.path().join("journal.db");
        std::fs::copy(lab.folder().join("journal.db"), &from)?;
        let from = from.to_str().context("a strange name for a folder")?;
        machines.start(lab, 0, &["journal", "copy", "--from", from])?.end(PATIENCE)?.expect(0)?;
        Ok(machines)
    }

    fn config(&self, at: usize) -> Result<&Path> {
        Ok(self.configs.get(at).context("there are two machines")?.path())
    }

    /// Starts `serin` on one of the machines.
    fn start(&self, lab: &Lab, at: usize, arguments: &[&str]) -> Result<Running> {
        lab.serin_named(NAMES.get(at).copied().unwrap_or_default(), self.config(at)?, arguments)
    }

    /// Kills a run's process and asks all kinds of things, at random moments and on both machines, until the run is over.
    fn disturb(
        &mut self,
        lab: &mut Lab,
        (mut at, mut running): (usize, Running),
        times: usize,
        (done, owners): (&mut Done, &mut Owners),
    ) -> Result<()> {
        if !running.until(&["\"event\":\"adopted\""], PATIENCE)? {
            running.end(PATIENCE)?.expect(0)?;
            bail!("the run was over before anybody could disturb it");
        }
        loop {
            let wait = 1 + lab.random(12);
            let enough = done.commands + done.kills >= times;
            if enough || !running.lines(wait, PATIENCE)? {
                owners.look(lab)?;
                let ended = running.end(PATIENCE)?;
                if ended.code == Some(8) && done.restarts > 0 {
                    // On a busy machine PostgreSQL may take longer to recover than a process waits for it.
                    (running, done.outages) = (self.start(lab, at, ADOPT)?, done.outages + 1);
                    continue;
                }
                ended.expect(0)?;
                return Ok(());
            }
            match lab.random(10) {
                0..3 => {
                    let moment = running.log.last().cloned().unwrap_or_default();
                    running.kill()?;
                    owners.look(lab)?;
                    done.kills += 1;
                    // Each third time by the other machine, which has to wait.
                    let next = if lab.random(3) == 0 { 1 - at } else { at };
                    let over = self.taken_over(lab, (at, next), done).with_context(|| moment)?;
                    let Some(adopting) = over else { return Ok(()) };
                    (running, at) = (adopting, next);
                }
                3 => {
                    // Shorter than a connection is made again and again: nobody notices.
                    self.cluster.stop()?;
                    self.cluster.serve()?;
                    done.restarts += 1;
                }
                4 if done.outages == 0 => {
                    // Longer: nothing is started without its record, and the process ends.
                    self.cluster.stop()?;
                    let ended = running.end(PATIENCE)?;
                    self.cluster.serve()?;
                    if ended.code == Some(0) {
                        return Ok(());
                    }
                    ended.expect(8)?;
                    at = lab.random(2);
                    running = self.start(lab, at, ADOPT)?;
                    done.outages += 1;
                }
                5 => {
                    let by = lab.random(2);
                    let halt =
                        self.start(lab, by, &["halt", "--reason", "a look"])?.end(PATIENCE)?;
                    done.commands += 1;
                    if halt.code != Some(0) {
                        // It was just over.
                        halt.expect(4)?;
                        continue;
                    }
                    running.end(PATIENCE)?.expect(5)?;
                    owners.look(lab)?;
                    at = lab.random(2);
                    running = self.start(lab, at, RESUME)?;
                    (done.commands, done.halts) = (done.commands + 1, done.halts + 1);
                }
                _ => {
                    self.ask(lab)?;
                    done.commands += 1;
                }
            }
        }
    }

    /// Asks something at random, from either machine.
    fn ask(&self, lab: &mut Lab) -> Result<()> {
        let (chosen, by) = (lab.random(COMMANDS.len()), lab.random(2));
        let (words, codes) = COMMANDS.get(chosen).context("there is such a command")?;
        let ended = self.start(lab, by, words)?.end(PATIENCE)?;
        if ended.code.is_some_and(|code| codes.contains(&code)) {
            return Ok(());
        }
        let wanted = codes.first().copied().unwrap_or_default();
        ended.expect(wanted).map(drop).with_context(|| words.join(" "))
    }

    /// Starts a process that acts, and waits until it does; or says how it ended before.
    fn at_work(&self, lab: &Lab, at: usize, words: &[&str]) -> Result<Result<Running, Ended>> {
        let mut running = self.start(lab, at, words)?;
        while running.lines(1, PATIENCE)? {
            if running.log.last().is_some_and(|line| events::is_work(line)) {
                return Ok(Ok(running));
            }
        }
        Ok(Err(running.end(PATIENCE)?))
    }

    /// Has a run taken over by a machine, and waits until it is at work; nothing, if it was just over when it was killed.
    fn taken_over(
        &self,
        lab: &Lab,
        (before, at): (usize, usize),
        done: &mut Done,
    ) -> Result<Option<Running>> {
        let (adopted, took) = timed(|| self.at_work(lab, at, ADOPT));
        let adopted = match adopted? {
            // Whoever was to lift a halt was killed before that was recorded.
            Err(ended) if ended.code == Some(5) => self.at_work(lab, at, RESUME)?,
            other => other,
        };
        let running = match adopted {
            Ok(running) => running,
            Err(ended) if ended.code == Some(0) => return Ok(None),
            Err(ended) => {
                ended.expect(4)?.says(&["there is no run that is not over"])?;
                return Ok(None);
            }
        };
        if took > TAKEN_OVER_WITHIN {
            bail!("a machine that took over was at work after {:.1} s only", took.as_secs_f64());
        }
        let [same, other] = &mut done.back;
        let back = if before == at { same } else { other };
        back.push(took);
        Ok(Some(running))
    }
}
