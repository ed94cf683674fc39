//! The stories.

use crate::lab::{Lab, PATIENCE};
use crate::monitor::Monitor;
use crate::refusals::refusals;
use crate::traffic::Traffic;
use crate::work::{at_work, slowest};
use crate::{faults, gates, holds, machines, oracle, others, patches, people, production};
use anyhow::{Context, Result, bail};
use rustix::process::Signal;

/// How many hosts of a fleet may be out of a backend in the lab: every role of it allows one.
pub(crate) const MAX_OUT: usize = 1;

/// A story.
pub(crate) struct Scenario {
    /// The claim that it proves.
    pub(crate) name: String,
    /// Tells it; returns what was seen.
    pub(crate) run: Story,
}

type Story = Box<dyn Fn(&mut Lab) -> Result<String>>;

pub(crate) fn scenario(
    name: impl Into<String>,
    run: impl Fn(&mut Lab) -> Result<String> + 'static,
) -> Scenario {
    Scenario { name: name.into(), run: Box::new(run) }
}

/// A build that is broken in a named way, and the words of the halt that it must end in.
const FLAWS: [(&str, &[&str]); 8] = [
    ("never-ready", &["has halted", "activate on"]),
    ("migration-fails-half-way", &["has halted", "migrate on deploy-01.gstg"]),
    ("qa-fails", &["has halted", "QA test(s) failed"]),
    ("fails-to-install", &["has halted", "install on deploy-01.gstg"]),
    ("dies-after-five-seconds", &["has halted"]),
    ("five-percent-errors", &["has halted", "HighErrorRatio"]),
    ("slow", &["has halted", "SlowRequests"]),
    ("fires-alert-after-a-minute", &["has halted", "BuildMisbehaves"]),
];

/// What `make test` runs: one healthy run, what is refused or halts early, two people and a GitLab, three kills, three broken versions.
pub(crate) fn quick() -> Vec<Scenario> {
    let mut all = vec![healthy(), refusals(), others::build_withdrawn(), gates::hung_qa()];
    all.extend([people::agreed_and_told(), killed(3), production::rolled_back(1)]);
    // Each also puts right what the one before has left behind, as far as it gets.
    all.extend(FLAWS.iter().take(3).map(|(flaw, words)| broken(flaw, words)));
    all
}

/// What `make soak` runs: every count in full.
pub(crate) fn soak() -> Vec<Scenario> {
    let mut all = vec![healthy(), refusals()];
    all.extend(FLAWS.iter().flat_map(|(flaw, words)| [broken(flaw, words), recovered(flaw)]));
    all.extend([killed(20), cut(20), reloaded(), taken_over(), interrupted()]);
    all.extend([others::build_withdrawn(), others::build_replaced_later()]);
    all.extend([others::two_operators(), others::third_version(), others::half_right()]);
    all.extend([gates::hung_qa(), gates::brief_alert(), gates::alertmanager_restarted()]);
    all.extend([holds::held(), people::agreed_and_told()]);
    all.extend([faults::dpkg_locked(), faults::drain_never_ends(), faults::power_lost()]);
    all.extend([faults::socket_taken(), faults::socket_stays_taken()]);
    all.push(patches::patched());
    all.extend([production::rolled_back(10), production::expedited(), production::promoted()]);
    // The last: hosts have seen higher fences afterwards than the lab's own journal has given out.
    all.push(machines::share_a_journal(200));
    all
}

fn healthy() -> Scenario {
    scenario("a_healthy_build_reaches_the_canary_without_a_failed_request", |lab| {
        let before = oracle::versions(lab)?;
        let version = lab.publish(None)?;
        let traffic = Traffic::start(lab)?;
        let monitor = Monitor::start(lab)?;
        let run = lab.serin_running(&["run", "to-canary", &version])?.end(PATIENCE)?;
        let seen = monitor.stop(MAX_OUT);
        let sent = traffic.stop();
        run.expect(0)?;
        let (seen, sent) = (seen?, sent?);
        oracle::delivered(lab, &version)?;
        oracle::main_untouched(&before, lab)?;
        Ok(format!("{sent}; {seen}"))
    })
}

fn broken(flaw: &'static str, words: &'static [&'static str]) -> Scenario {
    scenario(format!("a_build_that_is_broken_by_{flaw}_stops_before_main"), move |lab| {
        let before = oracle::versions(lab)?;
        let version = lab.publish(Some(flaw))?;
        let traffic = Traffic::start(lab)?;
        let run = lab.serin_running(&["run", "to-canary", &version])?.end(PATIENCE)?;
        traffic.stop_regardless()?;
        run.expect(5)?;
        let halt = run.says(words)?.trim().to_owned();
        oracle::main_untouched(&before, lab)?;
        named_or_in_service(lab)?;
        give_up(lab)?;
        Ok(halt)
    })
}

/// What is out of service is named by `serin status`.
pub(crate) fn named_or_in_service(lab: &Lab) -> Result<()> {
    let status = lab.serin(&["status"])?;
    let named = |host: &str| {
        status.log.iter().any(|line| line.contains("OUT OF SERVICE") && line.contains(host))
    };
    for (name, _) in lab.hosts("load-balancer")? {
        let stat = lab.on(
            &name,
            "echo 'show stat -1 4 -1' | socat -t2 - UNIX-CONNECT:/run/haproxy/admin.sock",
        )?;
        for line in stat.iter().filter(|line| !line.starts_with('#')) {
            let fields: Vec<&str> = line.split(',').collect();
            let (Some(server), Some(status)) = (fields.get(1), fields.get(17)) else { continue };
            // A build that dies or fails its checks by itself is not held out by anyone.
            if (status.starts_with("MAINT") || status.starts_with("DRAIN")) && !named(server) {
                bail!("{name}: {server} is {status}, and `serin status` does not name it");
            }
        }
    }
    Ok(())
}

pub(crate) fn give_up(lab: &Lab) -> Result<()> {
    lab.serin(&["cancel", "--reason", "the build is broken"])?.expect(6)?;
    Ok(())
}

/// What a bad build does goes on after it was given up: staging goes back, and the next build has a fair start.
fn recovered(flaw: &'static str) -> Scenario {
    scenario(format!("the_next_good_build_follows_when_{flaw}_was_rolled_back"), move |lab| {
        lab.serin(&["rollback", "staging", "--reason", "the build is broken"])?.expect(0)?;
        oracle::nothing_left_out(lab)?;
        let version = lab.publish(None)?;
        lab.serin(&["run", "to-canary", &version])?.expect(0)?;
        oracle::delivered(lab, &version)?;
        Ok("every host is as it should be".to_owned())
    })
}

fn killed(times: usize) -> Scenario {
    scenario(format!("a_controller_killed_{times}_times_is_adopted_each_time"), move |lab| {
        let before = oracle::versions(lab)?;
        let version = lab.publish(None)?;
        let traffic = Traffic::start(lab)?;
        let monitor = Monitor::start(lab)?;
        let (mut moments, mut times_to_work) = (Vec::new(), Vec::new());
        let mut running = lab.serin_running(&["run", "to-canary", &version])?;
        // Before this line there is nothing to adopt; after it about 150 lines come.
        running.until(&["begins; from another terminal"], PATIENCE)?;
        let mut wait = 1 + lab.random(300 / times);
        while moments.len() < times && running.lines(wait, PATIENCE)? {
            moments.push(running.log.last().cloned().unwrap_or_default());
            running.kill()?;
            let (adopting, took) = at_work(lab, &["--json", "adopt"])?;
            running = adopting;
            times_to_work.extend(took);
            wait = 1 + lab.random(300 / times);
        }
        let ended = running.end(PATIENCE)?;
        let seen = monitor.stop(MAX_OUT);
        let sent = traffic.stop();
        ended.expect(0).with_context(|| format!("killed after {moments:#?}"))?;
        let (seen, sent) = (seen?, sent?);
        oracle::delivered(lab, &version).with_context(|| format!("killed after {moments:#?}"))?;
        oracle::main_untouched(&before, lab)?;
        let back = slowest(&times_to_work)?;
        Ok(format!("killed {} times, {back}; {sent}; {seen}", moments.len()))
    })
}

/// The SSH connections of a host are cut while its package is being installed.
fn cut(times: usize) -> Scenario {
    scenario(format!("a_connection_cut_{times}_times_during_dpkg_stops_nothing"), move |lab| {
        let mut cuts = 0;
        while cuts < times {
            let version = lab.publish(None)?;
            let mut running = lab.serin_running(&["run", "to-canary", &version])?;
            while cuts < times && running.until(&["check-config", "fits the build"], PATIENCE)? {
                let line = running.log.last().cloned().unwrap_or_default();
                let Some(host) = line.split_whitespace().nth(1) else { continue };
                lab.lab(&["break", "cut", host, "--reset"])?.expect(0)?;
                lab.lab(&["break", "mend", host])?.expect(0)?;
                cuts += 1;
            }
            running.end(PATIENCE)?.expect(0)?;
            oracle::delivered(lab, &version)?;
        }
        Ok(format!("{cuts} cuts"))
    })
}

fn reloaded() -> Scenario {
    scenario("haproxy_reloaded_while_hosts_are_drained_is_noticed", |lab| {
        let version = lab.publish(None)?;
        let traffic = Traffic::start(lab)?;
        let mut running = lab.serin_running(&["run", "to-canary", &version])?;
        let mut reloads = 0;
        while running.until(&["drain", "no session on"], PATIENCE)? {
            let line = running.log.last().cloned().unwrap_or_default();
            let environment = if line.contains(".gstg") { "gstg" } else { "gprd" };
            lab.lab(&["break", "haproxy-reload", &format!("lb-01.{environment}")])?.expect(0)?;
            reloads += 1;
        }
        let ended = running.end(PATIENCE)?;
        let sent = traffic.stop();
        ended.expect(0)?;
        ended.says(&["HAProxy was reloaded"])?;
        oracle::delivered(lab, &version)?;
        Ok(format!("{reloads} reloads; {}", sent?))
    })
}

pub(crate) fn taken_over() -> Scenario {
    scenario("a_controller_paused_past_its_lease_is_refused_when_it_wakes", |lab| {
        let version = lab.publish(None)?;
        let traffic = Traffic::start(lab)?;
        let mut first = lab.serin_running(&["run", "to-canary", &version])?;
        let second = loop {
            if !first.until(&["drain", "no session on"], PATIENCE)? {
                bail!("the run ended before it was taken over");
            }
            first.signal(Signal::STOP)?;
            let mut second = lab.serin_running(&["adopt"])?;
            let taken = second.until(&["takes the run over"], PATIENCE)?;
            first.signal(Signal::CONT)?;
            if taken {
                break second;
            }
            // It was stopped in the middle of a write: until it goes on, nobody else can write the journal.
            second.end(PATIENCE)?.expect(8)?;
        };
        let woken = first.end(PATIENCE)?;
        woken.expect(7)?.says(&["another process has taken run"])?;
        second.end(PATIENCE)?.expect(0)?;
        let sent = traffic.stop()?;
        oracle::delivered(lab, &version)?;
        Ok(format!("the first one stopped by itself; {sent}"))
    })
}

fn interrupted() -> Scenario {
    scenario("an_interrupted_run_halts_safely_and_is_resumed", |lab| {
        let version = lab.publish(None)?;
        let traffic = Traffic::start(lab)?;
        let mut running = lab.serin_running(&["run", "to-canary", &version])?;
        running.until(&["web-01.gstg", "drain", "no session on"], PATIENCE)?;
        running.signal(Signal::INT)?;
        let ended = running.end(PATIENCE)?;
        ended.expect(5)?.says(&["the controller was interrupted"])?;
        named_or_in_service(lab)?;
        lab.serin(&["resume", "--reason", "go on"])?.expect(0)?;
        let sent = traffic.stop()?;
        oracle::delivered(lab, &version)?;
        Ok(sent)
    })
}
