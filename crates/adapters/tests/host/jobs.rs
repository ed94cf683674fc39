//! Jobs: they run once, outlive everything but their own machine, and are found again.

use crate::machine::{Machine, run, until, until_async, web};
use serin_adapters::host::SystemHosts;
use serin_model::plan::{Action, MigrationKind};
use serin_model::{Argv, StepId, Timestamp};
use serin_runtime::ports::{
    CommandEnd, Fence, HostPort, HostRun, Job, JobEnd, JobState, PortError, Work,
};
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

const FOLDER: &str = "/var/lib/serin/jobs/r-7-0/1__deploy-01.gprd__migrate";

fn step() -> StepId {
    StepId::new(1, "deploy-01.gprd", &Action::Migrate(MigrationKind::Regular), None)
}

fn job(attempt: u32, fence: u64, script: &str) -> Job {
    Job {
        host: web(),
        run: run("r-7"),
        step: step(),
        attempt,
        fence: Fence(fence),
        work: Work::Command {
            argv: Argv::new(["sh", "-c", script]).unwrap(),
            environment: [("GREETING".to_owned(), "it's = \"me\" $HOME".to_owned())].into(),
        },
        note: format!("attempt {attempt}:\n\\n of two lines"),
        timeout: Duration::from_mins(1),
    }
}

fn exited(status: i32, output: &str) -> JobEnd {
    JobEnd::Exited(CommandEnd { status, output: output.to_owned() })
}

async fn look(hosts: &SystemHosts) -> JobState {
    hosts.look(&web(), &run("r-7"), &step()).await.unwrap()
}

/// Starts a job of its own task, and waits until its first line is in the log.
async fn begin(
    machine: &Machine,
    user: &str,
    job: Job,
) -> tokio::task::JoinHandle<Result<JobEnd, PortError>> {
    let (hosts, log) =
        (machine.hosts(user), machine.root(&format!("{FOLDER}/log.{}", job.attempt)));
    let running = tokio::spawn(async move { hosts.run(&job).await });
    let begun = || fs::read_to_string(&log).is_ok_and(|text| text.contains("begun"));
    until_async("the job has begun", begun).await;
    running
}

#[tokio::test]
async fn an_attempt_runs_once_and_its_end_is_kept() {
    let machine = Machine::start();
    let hosts = machine.hosts("release");
    assert_eq!(look(&hosts).await, JobState::NeverStarted);
    let script =
        "echo ran >>/root/count; echo $GREETING; env | cut -d= -f1 | sort | tr '\\n' ' '; exit 3";
    let expected = exited(
        3,
        "it's = \"me\" $HOME\nDEBIAN_FRONTEND GREETING HOME LC_ALL NEEDRESTART_MODE PATH PWD ",
    );
    assert_eq!(hosts.run(&job(1, 5, script)).await.unwrap(), expected);
    assert_eq!(hosts.run(&job(1, 5, script)).await.unwrap(), expected);
    let note = "attempt 1:\n\\n of two lines".to_owned();
    assert_eq!(look(&hosts).await, JobState::Ended { note, end: expected });
    assert_eq!(machine.ok("cat /root/count"), "ran\n");
    assert_eq!(hosts.run(&job(2, 5, "echo again")).await.unwrap(), exited(0, "again\n"));
    let late = hosts.run(&job(1, 5, script)).await.unwrap_err();
    assert_eq!(late, PortError::Refused("attempt 2 of this step came after attempt 1".into()));
    assert_eq!(hosts.run(&job(3, 5, "kill -9 $$")).await.unwrap(), exited(137, ""));
    assert_eq!(machine.ok("stat -c '%a %U' /var/lib/serin"), "700 root\n");
}

#[tokio::test]
async fn a_run_of_another_journal_that_has_the_same_name_has_jobs_of_its_own() {
    let machine = Machine::start();
    let hosts = machine.hosts("release");
    assert_eq!(hosts.run(&job(1, 5, "echo one")).await.unwrap(), exited(0, "one\n"));
    let other = HostRun { made: Timestamp::from_millis(1_000), ..run("r-7") };
    assert_eq!(hosts.look(&web(), &other, &step()).await.unwrap(), JobState::NeverStarted);
    let job = Job { run: other, ..job(1, 5, "echo other") };
    assert_eq!(hosts.run(&job).await.unwrap(), exited(0, "other\n"));
}

#[tokio::test]
async fn a_job_outlives_its_connection_and_is_attached_to() {
    let machine = Machine::start();
    for user in ["root", "release"] {
        machine.ok(&format!("rm -rf {FOLDER} /root/go"));
        let script = "echo begun; while [ ! -e /root/go ]; do sleep 0.05; done; echo ended";
        let running = begin(&machine, user, job(1, 1, script)).await;
        // With what waited for it on the host, which would go on for some seconds.
        machine.ok("kill -9 $(pgrep -f '[s]shd: (root|release)') $(pgrep -f '^flock -s -w')");
        let hosts = machine.hosts(user);
        assert!(matches!(look(&hosts).await, JobState::Running { .. }));
        let (attached, ()) =
            tokio::join!(async { hosts.run(&job(2, 1, "echo never")).await.unwrap() }, async {
                // Both wait for the supervisor's lock: only then is the second attempt attached.
                until_async("both connections to wait for the job", || {
                    machine.ok("pgrep -c -f '^flock -s -w' || true").trim() == "2"
                })
                .await;
                fs::write(machine.root("/root/go"), "").unwrap();
            });
        assert_eq!(attached, exited(0, "begun\nended\n"), "the earlier attempt's end");
        assert_eq!(running.await.unwrap().unwrap(), attached, "by a new connection");
        assert!(!machine.root(&format!("{FOLDER}/claimed.2")).exists());
    }
}

#[tokio::test]
async fn a_job_that_is_killed_with_its_supervisor_has_died() {
    let machine = Machine::start();
    let running = begin(&machine, "root", job(1, 1, "echo begun; sleep 1000")).await;
    let pids =
        machine.ok(&format!("pgrep -f '[s]upervise {FOLDER}'; cut -d' ' -f1 {FOLDER}/started.1"));
    machine.ok(&format!("kill -9 {}", pids.replace('\n', " ")));
    machine.ok("kill -9 $(pgrep -f '^sleep 1000') || true");
    assert_eq!(running.await.unwrap().unwrap(), JobEnd::Died { output: "begun\n".into() });
    let hosts = machine.hosts("root");
    let again = hosts.run(&job(1, 1, "echo never")).await.unwrap();
    assert_eq!(
        again,
        JobEnd::Died { output: "begun\n".into() },
        "a started attempt never runs again"
    );
    assert_eq!(hosts.run(&job(2, 1, "echo new")).await.unwrap(), exited(0, "new\n"));
}

#[tokio::test]
async fn a_job_without_its_supervisor_still_runs_and_no_other_may_start() {
    let machine = Machine::start();
    let script = "echo begun; while [ ! -e /root/go ]; do sleep 0.05; done";
    let running = begin(&machine, "root", job(1, 1, script)).await;
    machine.ok(&format!("kill -9 $(pgrep -f '[s]upervise {FOLDER}')"));
    let hosts = machine.hosts("root");
    assert!(matches!(look(&hosts).await, JobState::Running { .. }));
    let mut short = job(2, 1, "echo never");
    short.timeout = Duration::from_millis(300);
    let still = hosts.run(&short).await.unwrap();
    assert_eq!(still, JobEnd::StillRunning { output: "begun\n".into() });
    fs::write(machine.root("/root/go"), "").unwrap();
    let end = running.await.unwrap().unwrap();
    assert_eq!(end, JobEnd::Died { output: "begun\n".into() }, "nobody saw its end");
}

#[tokio::test]
async fn a_job_has_not_ended_while_something_of_its_group_lives() {
    let machine = Machine::start();
    let script = "echo begun; (while [ ! -e /root/go ]; do sleep 0.05; done; echo last) & exit 4";
    let running = begin(&machine, "root", job(1, 1, script)).await;
    let leader = machine.ok(&format!("cut -d' ' -f1 {FOLDER}/started.1"));
    until("the leader is gone", || !machine.sh(&format!("kill -0 {leader}")).status.success());
    assert!(matches!(look(&machine.hosts("root")).await, JobState::Running { .. }));
    fs::write(machine.root("/root/go"), "").unwrap();
    assert_eq!(running.await.unwrap().unwrap(), exited(4, "begun\nlast\n"));
}

#[tokio::test]
async fn a_restart_of_the_host_in_the_middle_is_a_death() {
    let mut machine = Machine::start();
    let running = begin(&machine, "root", job(1, 1, "echo begun; sleep 1000")).await;
    machine.power_off();
    assert!(matches!(running.await.unwrap(), Err(PortError::Unreachable { .. })));
    machine.boot();
    let end = machine.hosts("root").run(&job(1, 1, "echo never")).await.unwrap();
    assert_eq!(end, JobEnd::Died { output: "begun\n".into() });
}

#[tokio::test]
async fn a_controller_with_an_old_fence_changes_nothing() {
    let machine = Machine::start();
    let hosts = machine.hosts("root");
    hosts.raise_fence(&web(), Fence(4)).await.unwrap();
    let fenced = Err(PortError::Fenced { by: 4 });
    assert_eq!(hosts.run(&job(1, 3, "touch /root/done")).await, fenced);
    assert_eq!(hosts.raise_fence(&web(), Fence(3)).await, fenced.map(|_: JobEnd| ()));
    assert!(!machine.root("/root/done").exists() && !machine.root(FOLDER).exists());
    assert_eq!(hosts.run(&job(1, 9, "true")).await.unwrap(), exited(0, ""));
    assert_eq!(hosts.raise_fence(&web(), Fence(8)).await, Err(PortError::Fenced { by: 9 }));
    hosts.raise_fence(&web(), Fence(9)).await.unwrap();
    fs::write(machine.root("/var/lib/serin/fence"), "").unwrap();
    let refused = hosts.run(&job(2, 10, "true")).await.unwrap_err();
    assert_eq!(
        refused,
        PortError::Refused("/var/lib/serin/fence cannot be read as a number".into())
    );
}

#[tokio::test]
async fn what_a_job_prints_is_bounded_and_cannot_pass_for_a_frame() {
    let machine = Machine::start();
    let hosts = machine.hosts("root");
    let script = "yes 0123456 | head -c 1048576; printf 'end exited 1 0\\ndata 7\\n\\377'";
    let JobEnd::Exited(CommandEnd { status: 0, output }) =
        hosts.run(&job(1, 1, script)).await.unwrap()
    else {
        panic!("not an exit with 0")
    };
    // The last byte is no text: it became a sign of three bytes.
    assert_eq!(output.len(), 65536 + 2);
    assert!(
        output.starts_with("\n0123456\n") && output.ends_with("\nend exited 1 0\ndata 7\n\u{fffd}")
    );
    assert_eq!(hosts.run(&job(2, 1, "true")).await.unwrap(), exited(0, ""));
}

#[tokio::test]
async fn waiting_does_not_hold_up_anything_else() {
    let machine = Machine::start();
    let hosts = machine.hosts("root");
    let slow = job(1, 1, "echo begun; while [ ! -e /root/go ]; do sleep 0.05; done");
    let meanwhile = async {
        while !matches!(look(&hosts).await, JobState::Running { .. }) {}
        hosts.hello(&web()).await.unwrap();
        fs::write(machine.root("/root/go"), "").unwrap();
    };
    let (end, ()) = tokio::join!(hosts.run(&slow), meanwhile);
    assert_eq!(end.unwrap(), exited(0, "begun\n"));
}

#[tokio::test]
async fn a_controller_that_is_killed_leaves_no_ssh_behind() {
    let machine = Machine::start();
    let config = machine.ssh("root").config.unwrap();
    let mut controller = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "jobs::the_controller_that_is_killed", "--nocapture"])
        .env("SERIN_TEST_SSH_CONFIG", &config)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let log = machine.root(&format!("{FOLDER}/log.1"));
    until("the job runs", || fs::read_to_string(&log).is_ok_and(|text| text.contains("begun")));
    let sessions = || {
        let found = Command::new("pgrep").args(["-cf", config.to_str().unwrap()]).output().unwrap();
        String::from_utf8(found.stdout).unwrap().trim().parse::<u32>().unwrap()
    };
    assert!(sessions() > 0);
    controller.kill().unwrap();
    controller.wait().unwrap();
    until("its ssh is gone", || sessions() == 0);
    assert!(matches!(look(&machine.hosts("root")).await, JobState::Running { .. }));
}

/// Not a test but the process that the test above kills.
#[tokio::test]
async fn the_controller_that_is_killed() {
    let Some(config) = std::env::var_os("SERIN_TEST_SSH_CONFIG") else { return };
    let hosts = Machine::hosts_by(config.into());
    drop(hosts.run(&job(1, 1, "echo begun; sleep 1000")).await);
}

/// Runs the shortest job there is.
pub(crate) async fn run_true(hosts: &SystemHosts, number: u32) {
    let mut short = job(1, 1, "");
    short.step = StepId::new(number, "web-01", &Action::Fetch, None);
    short.work = Work::Command { argv: Argv::new(["true"]).unwrap(), environment: [].into() };
    assert_eq!(hosts.run(&short).await.unwrap(), exited(0, ""));
}
