//! Controllers: killed at any moment, two of them at once, and a journal without room.

use crate::delivery::{Delivery, during, until_again};
use crate::disk::JournalDisk;
use crate::events::{self, Event};
use crate::lab::{Lab, PATIENCE};
use crate::monitor::Monitor;
use crate::oracle;
use crate::process::{Ended, Running};
use crate::scenarios::{MAX_OUT, Scenario, scenario};
use crate::traffic::Traffic;
use crate::work::{at_work, slowest, timed};
use anyhow::{Context, Result, bail};
use std::time::Duration;

/// How often one run is killed at most: it has to get somewhere in between.
const KILLS_OF_A_RUN: usize = 50;

/// Runs to the canary and promotions, each killed many times, until all kills are done.
pub(crate) fn killed(times: usize) -> Scenario {
    scenario(
        format!("a_controller_killed_{times}_times_over_several_promotions_loses_nothing"),
        move |lab| {
            let (mut kills, mut back, mut runs) = (0, Vec::new(), 0);
            while kills < times {
                let version = lab.publish(None)?;
                for command in [vec!["run", "to-canary", &version], vec!["promote"]] {
                    let traffic = Traffic::start(lab)?;
                    let monitor = Monitor::start(lab)?;
                    let run = lab.serin_running(&[&["--json"], &command[..]].concat())?;
                    let killed = kill_again_and_again(lab, run, KILLS_OF_A_RUN.min(times - kills))?;
                    let seen = monitor.stop(MAX_OUT);
                    let sent = traffic.stop();
                    let moments = || format!("killed after {:#?}", killed.moments);
                    killed.ended.expect(0).with_context(moments)?;
                    seen.with_context(moments)?;
                    sent.with_context(moments)?;
                    if killed.moments.is_empty() && kills < times {
                        bail!("a whole run went by without a kill");
                    }
                    kills += killed.moments.len();
                    back.extend(killed.back);
                    runs += 1;
                    oracle::nothing_left_out(lab).with_context(moments)?;
                    oracle::migrations_ran_once(lab).with_context(moments)?;
                }
                oracle::everywhere(lab, &version)?;
                oracle::records_hold(lab)?;
            }
            Ok(format!("killed {kills} times in {runs} runs, {}", slowest(&back)?))
        },
    )
}

/// A run that was killed many times and came to its end.
pub(crate) struct Killed {
    pub(crate) ended: Ended,
    /// What was printed last before each kill.
    pub(crate) moments: Vec<String>,
    /// From each start of `serin adopt` to the first thing that it did.
    pub(crate) back: Vec<Duration>,
}

/// Kills a run after random lines, and has it adopted each time.
pub(crate) fn kill_again_and_again(
    lab: &mut Lab,
    mut running: Running,
    times: usize,
) -> Result<Killed> {
    let (mut moments, mut back) = (Vec::new(), Vec::new());
    // Before this there is nothing to adopt; after it about 300 lines come.
    if !running.until(&["\"event\":\"adopted\""], PATIENCE)? {
        running.end(PATIENCE)?.expect(0)?;
        bail!("the run was over before anybody could kill it");
    }
    let mut wait = 1 + lab.random(600 / times.max(1));
    while moments.len() < times && running.lines(wait, PATIENCE)? {
        moments.push(running.log.last().cloned().unwrap_or_default());
        running.kill()?;
        let (adopting, took) = at_work(lab, &["--json", "adopt"])?;
        running = adopting;
        back.extend(took);
        wait = 1 + lab.random(600 / times.max(1));
    }
    Ok(Killed { ended: running.end(PATIENCE)?, moments, back })
}

/// Where a run is killed, each time to be adopted by several at once.
const RACES: [&str; 4] = [
    "1/deploy-01.gstg/migrate",
    "3/web-01.gstg/drain",
    "3/web-02.gstg/install",
    "6/web-cny-01.gprd/activate",
];

/// How many try to take a run over at once.
const RIVALS: usize = 3;

pub(crate) fn adopted_by_several() -> Scenario {
    during("of_several_controllers_that_adopt_a_run_at_once_one_acts", |lab, mut run| {
        for step in RACES {
            events::until(&mut run, |event| event.is("attempt-started", step)).context(step)?;
            run.kill()?;
            let (winner, took) = timed(|| race(lab));
            run = winner.context(step)?;
            lab.account().borrow_mut().recoveries.push(took);
        }
        Ok(run)
    })
}

/// Several adopt at once; one of them acts, and every other one says that it does not.
fn race(lab: &Lab) -> Result<Running> {
    let adopt = || lab.serin_running(&["--json", "adopt"]);
    let mut rivals = (0..RIVALS).map(|_| adopt()).collect::<Result<Vec<_>>>()?;
    lab.account().borrow_mut().damaged("adopted by three at once");
    let mut winner = None;
    for mut rival in rivals.drain(..) {
        // Whoever acts says so; the others end.
        if rival.until(&["\"event\":\"attempt-"], PATIENCE)? {
            if winner.replace(rival).is_some() {
                bail!("two controllers acted");
            }
        } else {
            let ended = rival.end(PATIENCE)?;
            if !matches!(ended.code, Some(4 | 7)) {
                ended.expect(7)?;
            }
        }
    }
    winner.context("nobody took the run over")
}

pub(crate) fn journal_full() -> Scenario {
    scenario("a_journal_whose_disk_is_full_stops_the_controller_and_loses_nothing", |lab| {
        let delivery = Delivery::of(lab, None)?;
        let disk = JournalDisk::new(lab)?;
        let config = disk.config();
        let arguments = ["--json", "run", "to-canary", &delivery.version];
        let mut run = lab.serin_with(config, &arguments)?;
        for step in ["3/web-01.gstg/install", "3/web-02.gstg/drain"] {
            events::until(&mut run, |event| event.is("attempt-started", step))?;
            disk.fill()?;
            lab.account().borrow_mut().damaged("journal's disk full");
            let ended = run.end(PATIENCE)?;
            ended.expect(8)?;
            disk.free()?;
            run = lab.serin_with(config, &["--json", "adopt"])?;
            until_again(lab, &mut run, Event::is_success)?;
        }
        let ended = run.end(PATIENCE)?;
        ended.expect(0)?;
        disk.put_back()?;
        delivery.look(lab, &ended, None)
    })
}
