//! Processes whose output is read line by line, and which can be killed at a line.

use crate::seen::{Account, Adopts};
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// A process that is running, with what it has printed so far.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    /// What it has printed on both outputs.
    pub(crate) log: Vec<String>,
    /// Where it is counted what it does, and whether it is to take a run over; nothing: it is no `serin` that acts.
    account: Option<(Account, Adopts)>,
}

/// How a process ended, with all that it printed.
pub(crate) struct Ended {
    /// Its exit status; `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// What it printed.
    pub(crate) log: Vec<String>,
}

impl Ended {
    /// Fails unless the exit status is the one expected; shows the end of the output.
    pub(crate) fn expect(&self, code: i32) -> Result<&Self> {
        if self.code == Some(code) {
            return Ok(self);
        }
        let from = self.log.len().saturating_sub(25);
        let end = self.log.get(from..).unwrap_or_default().join("\n    ");
        bail!("exit status {:?}, expected {code}; it printed\n    {end}", self.code)
    }

    /// Fails unless a line holds all of these words.
    pub(crate) fn says(&self, words: &[&str]) -> Result<&str> {
        let found = self.log.iter().find(|line| words.iter().all(|word| line.contains(word)));
        found.map(String::as_str).with_context(|| {
            let from = self.log.len().saturating_sub(25);
            let end = self.log.get(from..).unwrap_or_default().join("\n    ");
            format!("no line holds all of {words:?}; it printed\n    {end}")
        })
    }
}

impl Running {
    /// Starts a command.
    pub(crate) fn start(command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("could not start {command:?}"))?;
        let (sender, lines) = channel();
        let outputs: [Option<Box<dyn std::io::Read + Send>>; 2] = [
            child.stdout.take().map(|output| Box::new(output) as Box<_>),
            child.stderr.take().map(|output| Box::new(output) as Box<_>),
        ];
        for output in outputs.into_iter().flatten() {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Self { child, lines, log: Vec::new(), account: None })
    }

    /// Has what it does counted.
    pub(crate) fn counted(mut self, account: &Account, adopts: Adopts) -> Self {
        self.account = Some((Account::clone(account), adopts));
        self
    }

    /// Reads until a line holds all of these words; `false`: the output ended without one.
    pub(crate) fn until(&mut self, words: &[&str], limit: Duration) -> Result<bool> {
        loop {
            match self.lines.recv_timeout(limit) {
                Ok(line) => {
                    let found = words.iter().all(|word| line.contains(word));
                    self.log.push(line);
                    if found {
                        return Ok(true);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(false),
                Err(RecvTimeoutError::Timeout) => {
                    let last = self.log.last().map_or("nothing", String::as_str);
                    bail!("nothing new for {} s; the last line: {last}", limit.as_secs())
                }
            }
        }
    }

    /// Reads so many lines; `false`: the output ended before.
    pub(crate) fn lines(&mut self, count: usize, limit: Duration) -> Result<bool> {
        for _ in 0..count {
            if !self.until(&[], limit)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads to the end.
    pub(crate) fn end(mut self, limit: Duration) -> Result<Ended> {
        // No line holds this, so it reads all there is.
        self.until(&["\0"], limit)?;
        let status: ExitStatus = self.child.wait()?;
        let ended = Ended { code: status.code(), log: std::mem::take(&mut self.log) };
        if let Some((account, adopts)) = &self.account {
            account.borrow_mut().read(&ended.log, *adopts);
            account.borrow_mut().ended(&ended);
        }
        Ok(ended)
    }

    /// Kills it as a crash would: without a chance to do anything. Returns all that it has printed.
    pub(crate) fn kill(mut self) -> Result<Vec<String>> {
        self.child.kill()?;
        self.child.wait()?;
        self.log.extend(self.lines.try_iter());
        if let Some((account, adopts)) = &self.account {
            account.borrow_mut().damaged("serin killed");
            account.borrow_mut().read(&self.log, *adopts);
        }
        Ok(std::mem::take(&mut self.log))
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        if let Some((account, _)) = &self.account {
            match signal {
                Signal::STOP => account.borrow_mut().damaged("serin paused"),
                Signal::INT => account.borrow_mut().damaged("serin interrupted"),
                _ => {}
            }
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.context("the process has no id")?, signal)?;
        Ok(())
    }
}

/// What a failed scenario leaves running must not go on beside the next one. One that has ended is not touched.
impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}
