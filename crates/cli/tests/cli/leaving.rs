//! A person who interrupts a run: once, twice, three times, from the keyboard and by `kill`; and who looks at processes.
//!
//! The run is one QA suite that waits until the test lets it end: what runs is never cut off.

use crate::support::World;
use rustix::process::{Pid, Signal, kill_process};
use serin_model::Action;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout};
use std::time::Duration;

/// Not the secret of anything.
const SECRET: &str = "hunter2-and-more";

/// A run that goes on until its suite is let go.
struct Running {
    world: World,
    serin: Child,
    lines: BufReader<ChildStdout>,
    gate: tempfile::TempDir,
}

impl Running {
    async fn start() -> Self {
        let gate = tempfile::tempdir().unwrap();
        let path = gate.path().display();
        let script = format!(
            "touch {path}/began; until [ -e {path}/go ] || [ ! -d {path} ]; do sleep 0.05; done; echo 1 example, 0 failures"
        );
        let suite = format!(
            "[environments.production.qa.waits]\ncommand = [\"sh\", \"-c\", {script:?}]\n\
             report = \"rspec\"\nsecrets = [\"QA_TOKEN\"]\n"
        );
        let world = World::with_haproxy_and("roundrobin", &suite);
        world.record_step(1, None, Action::Qa("waits".parse().unwrap())).await;
        let mut serin = world.start_told_with(&["adopt"], &[("QA_TOKEN", SECRET)]);
        let lines = BufReader::new(serin.stdout.take().unwrap());
        let running = Self { world, serin, lines, gate };
        running.until_it_runs().await;
        running
    }

    async fn until_it_runs(&self) {
        while !self.gate.path().join("began").exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.serin.id()).unwrap()).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Reads until a line holds some words.
    fn until(&mut self, words: &str) {
        let mut seen = String::new();
        while !seen.lines().last().is_some_and(|line| line.contains(words)) {
            assert_ne!(self.lines.read_line(&mut seen).unwrap(), 0, "{words:?} is not in: {seen}");
        }
    }

    fn let_go(&self) {
        fs::write(self.gate.path().join("go"), "").unwrap();
    }

    fn code(&mut self) -> Option<i32> {
        self.serin.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.let_go();
        drop(self.serin.kill());
        drop(self.serin.wait());
    }
}

#[tokio::test]
async fn an_interrupt_and_a_term_halt_and_let_what_runs_end() {
    for signal in [Signal::INT, Signal::TERM] {
        let mut running = Running::start().await;
        running.signal(signal);
        running.until("interrupted: halting");
        assert_eq!(running.serin.try_wait().unwrap(), None, "the suite still runs");
        running.let_go();
        running.until("1 test(s) passed");
        running.until("the controller was interrupted");
        assert_eq!(running.code(), Some(5));
        running.world.serin(&["status"]).is(0, &["halted", "the controller was interrupted"]);
    }
}

#[tokio::test]
async fn the_second_interrupt_explains_and_the_third_leaves_what_another_takes_over() {
    for signals in [[Signal::INT; 3], [Signal::TERM, Signal::INT, Signal::TERM]] {
        let mut running = Running::start().await;
        let [first, second, third] = signals;
        running.signal(first);
        running.until("interrupted: halting");
        // Whoever takes over knows of it from here on.
        running.until("the controller was interrupted");
        running.signal(second);
        running.until("still bringing hosts to safety");
        assert_eq!(running.serin.try_wait().unwrap(), None, "it explains and goes on");
        running.signal(third);
        running.until("left. Run r-1 goes on with: serin adopt r-1");
        assert_eq!(running.code(), Some(130));
        running.let_go();
        let adopted = running.world.command(&["adopt", "r-1"]).env("QA_TOKEN", SECRET).output();
        let adopted = adopted.unwrap();
        let said = String::from_utf8(adopted.stdout).unwrap();
        assert_eq!(adopted.status.code(), Some(5), "{said}");
        assert!(said.contains("the controller was interrupted"), "the halt was recorded: {said}");
    }
}

#[tokio::test]
async fn no_process_has_a_secret_among_its_arguments() {
    let running = Running::start().await;
    let mut seen = 0;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(words) = fs::read(entry.path().join("cmdline")) else { continue };
        let words = String::from_utf8_lossy(&words);
        assert!(!words.contains(SECRET), "{words}");
        seen += usize::from(words.contains("/began"));
    }
    assert!(seen > 0, "the suite was not seen");
    let environment = fs::read(format!("/proc/{}/environ", running.serin.id())).unwrap();
    assert!(String::from_utf8_lossy(&environment).contains(SECRET), "it was given");
}
