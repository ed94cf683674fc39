//! Job folders of runs that are over: they go, and nothing else does.

use crate::machine::{Machine, run, until, web};
use serin_model::plan::{Action, MigrationKind};
use serin_model::{Argv, StepId};
use serin_runtime::ports::{CommandEnd, Fence, HostPort, Job, JobEnd, Work};
use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

const JOBS: &str = "/var/lib/serin/jobs";

fn job(of: &str, fence: u64) -> Job {
    Job {
        host: web(),
        run: run(of),
        step: StepId::new(1, "deploy-01.gprd", &Action::Migrate(MigrationKind::Regular), None),
        attempt: 1,
        fence: Fence(fence),
        work: Work::Command {
            argv: Argv::new(["true"]).expect("a program"),
            environment: std::collections::BTreeMap::new(),
        },
        note: "a note".to_owned(),
        timeout: Duration::from_mins(1),
    }
}

/// The script that makes the folder of a run's job, as old as it says; all of it is over.
fn ended(run: &str, fence: u64, days: u32) -> String {
    format!(
        "mkdir -p {JOBS}/{run}/s; cd {JOBS}/{run}/s; printf 'fence {fence}\\na note\\n' >claimed.1; \
         touch lock log.1; echo '1 1 1 gone' >started.1; echo 0 >done.1; \
         touch -d '{days} days ago' * . ..; cd /\n"
    )
}

fn names(machine: &Machine) -> Vec<String> {
    machine.ok(&format!("ls -A {JOBS}")).lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn folders_of_runs_that_are_over_go_when_the_next_run_begins() {
    let machine = Machine::start();
    let hosts = machine.hosts("root");
    // Ten that are old, but the last ones; five older ones, of which one alone may go.
    let mut script: String = (1..=10).map(|n| ended(&format!("last-{n:02}"), 1, 20 + n)).collect();
    for run in ["over", "young", "running", "orphaned", "current"] {
        script += &ended(run, if run == "current" { 7 } else { 1 }, 50);
    }
    // Written to yesterday, though the folder itself is old.
    write!(script, "touch -d yesterday {JOBS}/young/s/log.1; mkdir {JOBS}/.over.half").unwrap();
    machine.ok(&script);
    // One has its supervisor, the other lost it and still lives.
    let held = format!("{JOBS}/running/s/lock");
    machine.ok(&format!("setsid flock {held} sleep 1000 >/dev/null 2>&1 &"));
    until("the lock is held", || !machine.sh(&format!("flock -n {held} true")).status.success());
    let orphan = format!(
        "cd {JOBS}/orphaned/s; rm done.1; setsid sleep 1000 >/dev/null 2>&1 & p=$!; sleep 0.2; \
         set -- $(cat /proc/$p/stat); start=${{22}}; set -- $(cat /proc/1/stat); \
         echo $p $p $start $(cat /proc/sys/kernel/random/boot_id)-${{22}} >{JOBS}/orphaned/s/started.1; \
         touch -d '50 days ago' {JOBS}/orphaned/s/* {JOBS}/orphaned/s {JOBS}/orphaned"
    );
    machine.ok(&orphan);
    let done = JobEnd::Exited(CommandEnd { status: 0, output: String::new() });
    assert_eq!(hosts.run(&job("r-8", 7)).await.unwrap(), done);
    let mut expected: Vec<String> = ["current", "orphaned", "r-8-0", "running", "young"]
        .map(str::to_owned)
        .into_iter()
        .chain((1..=10).map(|n| format!("last-{n:02}")))
        .collect();
    expected.sort();
    let mut left = names(&machine);
    left.sort();
    assert_eq!(left, expected);
    // Once the job is over and another controller acts, they go as well; of the last ten, one makes room for r-8.
    machine.ok("kill -9 $(pgrep -f '^sleep 1000'); sleep 0.1");
    assert_eq!(hosts.run(&job("r-9", 8)).await.unwrap(), done);
    let left = names(&machine);
    assert!(
        !left.iter().any(|name| ["current", "orphaned", "running"].contains(&&**name)),
        "{left:?}"
    );
    assert!(left.contains(&"young".to_owned()) && left.contains(&"last-01".to_owned()), "{left:?}");
}

#[tokio::test]
async fn a_sweep_that_cannot_tell_ages_removes_nothing_and_stops_no_job() {
    let machine = Machine::start();
    let mut script: String = (1..=12).map(|n| ended(&format!("r-{n}"), 1, 20 + n)).collect();
    write!(script, "mkdir {JOBS}/.over.r-12; echo >{JOBS}/.over.r-12/x; rm -f /usr/bin/find")
        .unwrap();
    machine.ok(&script);
    let end = machine.hosts("root").run(&job("r-20", 2)).await.unwrap();
    assert!(matches!(end, JobEnd::Exited(CommandEnd { status: 0, .. })), "{end:?}");
    assert_eq!(names(&machine).len(), 13, "nothing is known to be old");
    assert!(fs::exists(machine.root(&format!("{JOBS}/r-12/s/done.1"))).unwrap());
}
