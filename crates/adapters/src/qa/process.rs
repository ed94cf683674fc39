//! Runs a command with everything that it starts, and leaves nothing of it behind.
//!
//! The command leads a process group of its own. When its time is over the group is asked to end and then killed; when
//! the caller goes away it is killed at once; when the command ends by itself, what it left running is killed. A process
//! that leaves the group (a container, a daemon) is out of reach: a suite that starts one must stop it itself.

use super::{ansi, rspec};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use serin_model::Argv;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long a suite has to clean up after it was asked to end: containers take ten seconds to stop.
const GRACE: Duration = Duration::from_secs(15);

/// How often it is looked whether a group is gone.
const LOOK: Duration = Duration::from_millis(50);

/// How long output is waited for once everything is dead: only a process outside of the group can still hold it open.
const LAST_OUTPUT: Duration = Duration::from_secs(2);

/// How much of the output's end is kept for people.
const MAX_TAIL: usize = 1200;

/// The longest line that is looked at. A longer one is no summary, and is not shown: it may be cut within a secret.
const MAX_LINE: usize = 8 << 10;

/// How many lines a summary may have: more failed tests than this are a broken environment.
const MAX_LINES: usize = 20_000;

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Exit(i32),
    Signal(i32),
    TimedOut,
}

/// How a command ended, and what it printed.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) end: End,
    /// Lines of standard output that may be a summary.
    pub(super) lines: Vec<String>,
    /// The last of both outputs.
    pub(super) tail: String,
}

/// A path is looked up from the working folder, which is empty: only a mistake names one.
pub(super) fn check_program(argv: &Argv) -> Result<(), String> {
    let program = argv.arguments().next().unwrap_or_default();
    if program.contains('/') && !program.starts_with('/') {
        return Err(format!(
            "{program:?} is relative to a working folder that is new and empty: write its whole path"
        ));
    }
    Ok(())
}

/// Runs a command until it ends or the deadline has come.
pub(super) async fn run(
    argv: &Argv,
    folder: &Path,
    environment: &BTreeMap<String, String>,
    deadline: Instant,
) -> Result<Ended, String> {
    let mut words = argv.arguments();
    let program = words.next().unwrap_or_default();
    let mut child = Command::new(program)
        .args(words)
        .env_clear()
        .envs(environment)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{program:?} cannot be started: {error}"))?;
    let group = Group::of(&child)?;
    let output = Arc::new(Mutex::new(Output::default()));
    let mut readers = JoinSet::new();
    if let Some(stdout) = child.stdout.take() {
        readers.spawn(capture(stdout, Arc::clone(&output), Source::Stdout));
    }
    if let Some(stderr) = child.stderr.take() {
        readers.spawn(capture(stderr, Arc::clone(&output), Source::Stderr));
    }
    let end = wait(&mut child, &group, deadline).await?;
    // Also closes the outputs, unless a process outside of the group holds them.
    drop(group);
    let drain = async { while readers.join_next().await.is_some() {} };
    drop(timeout(LAST_OUTPUT, drain).await);
    let output = std::mem::take(&mut *output.lock().unwrap_or_else(PoisonError::into_inner));
    output.ended(end)
}

async fn wait(child: &mut Child, group: &Group, deadline: Instant) -> Result<End, String> {
    let lost = |error: std::io::Error| format!("it cannot be waited for: {error}");
    if let Ok(status) = timeout_at(deadline, child.wait()).await {
        return Ok(end_of(status.map_err(lost)?));
    }
    group.signal(Signal::TERM);
    let gone = async {
        // The first process may end long before those that clean up for it.
        drop(child.wait().await);
        while group.is_there() {
            sleep(LOOK).await;
        }
    };
    drop(timeout(GRACE, gone).await);
    group.signal(Signal::KILL);
    child.wait().await.map_err(lost)?;
    Ok(End::TimedOut)
}

fn end_of(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exit(code),
        (None, Some(signal)) => End::Signal(signal),
        // Unix has no third way to end; a status that is neither passes nothing.
        (None, None) => End::Signal(0),
    }
}

/// A process group that dies with this value.
struct Group(Pid);

impl Group {
    fn of(child: &Child) -> Result<Self, String> {
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        id.map(Self).ok_or_else(|| "it ended before it could be watched".to_owned())
    }

    fn signal(&self, signal: Signal) {
        // An error says that nobody is left.
        kill_process_group(self.0, signal).ok();
    }

    fn is_there(&self) -> bool {
        test_kill_process_group(self.0).is_ok()
    }
}

impl Drop for Group {
    /// The number of a group whose members are all gone can be given to a new one, but only after millions of others:
    /// this comes within microseconds of the end of the first member.
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Which output is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Stdout,
    Stderr,
}

async fn capture(mut pipe: impl AsyncRead + Unpin, output: Arc<Mutex<Output>>, source: Source) {
    let mut buffer = vec![0; 16 << 10];
    let mut line = Vec::new();
    loop {
        let count = pipe.read(&mut buffer).await.unwrap_or(0);
        let chunk = buffer.get(..count).unwrap_or_default();
        let mut output = output.lock().unwrap_or_else(PoisonError::into_inner);
        if chunk.is_empty() {
            output.take_line(&mut line, source);
            return;
        }
        for part in chunk.split_inclusive(|byte| *byte == b'\n') {
            let room = MAX_LINE.saturating_sub(line.len());
            line.extend(part.iter().take(room));
            if part.ends_with(b"\n") {
                output.take_line(&mut line, source);
            }
        }
    }
}

/// What is kept of the outputs, bounded whatever they print.
#[derive(Debug, Default)]
struct Output {
    lines: Vec<String>,
    too_many: bool,
    /// Whole lines, the last ones.
    tail: String,
}

impl Output {
    fn take_line(&mut self, line: &mut Vec<u8>, source: Source) {
        let text = if line.len() < MAX_LINE {
            String::from_utf8_lossy(line).into_owned()
        } else {
            format!("(a line of more than {MAX_LINE} bytes)")
        };
        line.clear();
        let summary = if source == Source::Stdout { rspec::keep(&text) } else { None };
        if let Some(summary) = summary {
            self.too_many |= self.lines.len() >= MAX_LINES;
            if !self.too_many {
                self.lines.push(summary);
            }
        }
        let shown = ansi::strip(&text);
        if !shown.trim().is_empty() {
            self.tail.push_str(shown.trim_end());
            self.tail.push('\n');
        }
        // Cut at lines only, so that no half of a secret is left over. The first line goes when the last ones fill it.
        while self.tail.len() > MAX_TAIL {
            let Some((_, rest)) = self.tail.split_once('\n').filter(|(_, rest)| !rest.is_empty())
            else {
                break;
            };
            self.tail = rest.to_owned();
        }
    }

    fn ended(self, end: End) -> Result<Ended, String> {
        if self.too_many {
            return Err(format!("it printed more than {MAX_LINES} lines of summary"));
        }
        Ok(Ended { end, lines: self.lines, tail: self.tail.trim_end().to_owned() })
    }
}
