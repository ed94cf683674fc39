//! Processes that act for a run, one after the other, and sometimes two at once.

use super::super::planted::Planted;
use super::super::story::Asked;
use super::Player;
use super::another::First;
use crate::scenario::{Acting, TTL};
use crate::strikes::Strike;
use serin_engine::Command;
use serin_model::{Reason, RunId, Timestamp};
use serin_runtime::{AdoptError, Ended};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How many processes one run may need until it stands.
pub(super) const MOST_PROCESSES: u32 = 30;

/// How often somebody looks whether a run waits for their approval.
const LOOKS: Duration = Duration::from_mins(2);

/// How long a process that was replaced may go on until it notices.
const NOTICES: Duration = Duration::from_mins(10);

/// Something that happens to the process that acts, or that it is asked.
#[derive(Debug, Clone)]
pub(super) enum Deed {
    Kill,
    Stop(Duration),
    Ask(Asked),
}

/// How a run stands when no process acts for it.
#[derive(Debug)]
pub(super) enum Stood {
    Finished,
    Halted(Reason),
    Cancelled,
}

/// How a process's work ended.
pub(super) enum Drove {
    Killed,
    Ended(Ended),
    Endless,
}

impl Player {
    /// Has processes act until the run is over or halts. The command is put to it first.
    pub(super) async fn see_through(
        &mut self,
        run: &RunId,
        mut command: Option<Command>,
    ) -> Result<Stood, String> {
        for _ in 0..MOST_PROCESSES {
            if let Some(mut acting) = self.adopt(run).await?
                && self.put(&mut acting, &mut command).await
            {
                self.sim.shared.now().attended();
                let drove = self.drive(run, &mut acting).await;
                self.sim.shared.now().attended_since = None;
                let drove = drove?;
                if let Drove::Ended(Ended::Journal(_)) = drove {
                    // It does not know what became of its last append, as if it had died.
                    acting.process.kill();
                }
                self.sim.check_fold(run, &acting).await;
                match drove {
                    Drove::Killed | Drove::Ended(Ended::LeaseLost(_) | Ended::Journal(_)) => {}
                    Drove::Endless => {
                        return Err(format!("{run} came to no end in {:?}", self.lively));
                    }
                    Drove::Ended(Ended::Broken(illegal)) => return Err(illegal.to_string()),
                    Drove::Ended(Ended::Reached) => {
                        return Err(format!("{run} was left at a limit that nobody has set"));
                    }
                    Drove::Ended(Ended::Finished) => return Ok(Stood::Finished),
                    Drove::Ended(Ended::Cancelled) => return Ok(Stood::Cancelled),
                    Drove::Ended(Ended::Halted(reason)) => {
                        let out = acting.controller.run().out_of_service();
                        let mut named: Vec<_> = out.iter().map(|out| out.host.clone()).collect();
                        if self.planted == Some(Planted::NamesNobody) {
                            named.clear();
                        }
                        self.sim.shared.now().check_taken(run, &named);
                        return Ok(Stood::Halted(reason));
                    }
                }
            }
            self.sleep(1, 20).await;
        }
        Err(format!("{run} needed more than {MOST_PROCESSES} processes"))
    }

    /// Has a new process take the run over; `None`: it could not, and another is started.
    pub(super) async fn adopt(&mut self, run: &RunId) -> Result<Option<Acting>, String> {
        self.processes += 1;
        match self.sim.adopt(run, self.processes).await {
            Ok(acting) => Ok(acting),
            Err(AdoptError::Illegal(illegal)) => Err(illegal.to_string()),
            Err(why @ (AdoptError::Lease(_) | AdoptError::Read(_) | AdoptError::Append(_))) => {
                self.note(&format!("cannot adopt {run}: {why}"));
                Ok(None)
            }
        }
    }

    /// Puts a command to the run; `false`: the process died or could not record it.
    pub(super) async fn put(&self, acting: &mut Acting, command: &mut Option<Command>) -> bool {
        let Some(asked) = command.clone() else { return true };
        tokio::select! {
            biased;
            () = acting.process.dead() => false,
            answer = acting.controller.ask(asked) => match answer {
                Ok(taken) => {
                    if let Err(refusal) = taken {
                        // One that was recorded just before its process died needs no second one.
                        self.note(&format!("refused: {refusal}"));
                    }
                    *command = None;
                    true
                }
                Err(_not_recorded) => {
                    acting.process.kill();
                    false
                }
            },
        }
    }

    async fn drive(&mut self, run: &RunId, acting: &mut Acting) -> Result<Drove, String> {
        let (terminal, commands) = mpsc::channel(8);
        let process = acting.process.clone();
        let mut driving = Box::pin(acting.controller.drive(commands));
        let end = Instant::now() + self.lively;
        let mut look = Instant::now() + LOOKS;
        loop {
            let wake = self.until_next_deed().map_or(end, |deed| end.min(Instant::now() + deed));
            tokio::select! {
                biased;
                () = process.dead() => return Ok(Drove::Killed),
                ended = driving.as_mut() => return Ok(Drove::Ended(ended)),
                () = tokio::time::sleep_until(look), if self.extras.approval.is_some() => {
                    look += LOOKS;
                    approve(&terminal);
                    continue;
                }
                () = tokio::time::sleep_until(wake) => {}
            }
            if Instant::now() >= end {
                return Ok(Drove::Endless);
            }
            match self.deeds.pop_front().map(|(_, deed)| deed) {
                None => {}
                Some(Deed::Kill) => {
                    self.sim.shared.now().befell(&Strike::Dies.to_string());
                    process.kill();
                }
                Some(Deed::Ask(Asked::AnotherRun)) => {
                    let (process, driving) = (&process, driving.as_mut());
                    let mut first = First { process, driving, ended: None };
                    Box::pin(self.another_run(&mut first)).await?;
                    if let Some(drove) = first.ended {
                        return Ok(drove);
                    }
                }
                Some(Deed::Ask(asked)) => self.ask(&terminal, asked).await,
                Some(Deed::Stop(lasts)) => {
                    let lasting = serin_model::verdict::seconds(lasts);
                    let what = format!("the process that acts is stopped for {lasting}");
                    self.sim.shared.now().befell(&what);
                    process.stop();
                    self.sim.shared.now().attended_since = None;
                    let continues = Instant::now() + lasts;
                    let Some(mut other) = self.successor(run, lasts).await? else {
                        tokio::time::sleep_until(continues).await;
                        process.go_on();
                        self.sim.shared.now().attended();
                        continue;
                    };
                    let approves = self.extras.approval.is_some().then_some(LOOKS);
                    let times = (continues, Instant::now() + self.lively);
                    let drove =
                        Self::beside(&mut other, (&process, times), driving.as_mut(), approves);
                    let drove = drove.await?;
                    drop(driving);
                    *acting = other;
                    return Ok(drove);
                }
            }
        }
    }

    /// Returns how long it is until the next deed; what nobody was there for does not happen.
    fn until_next_deed(&mut self) -> Option<Duration> {
        let now = self.sim.shared.now().now;
        self.deeds.retain(|(at, _)| *at >= now);
        self.deeds.front().map(|(at, _): &(Timestamp, Deed)| at.since(now))
    }

    /// Starts another process while the one that acts is stopped, if that takes longer than a lease holds.
    async fn successor(&mut self, run: &RunId, lasts: Duration) -> Result<Option<Acting>, String> {
        if lasts <= TTL * 2 {
            return Ok(None);
        }
        tokio::time::timeout(lasts, self.adopt(run)).await.unwrap_or(Ok(None))
    }

    /// Drives a successor; the first process goes on after a while, and must notice that it was replaced.
    async fn beside(
        other: &mut Acting,
        (first, (continues, end)): (&crate::process::Process, (Instant, Instant)),
        mut driving: std::pin::Pin<&mut (impl Future<Output = Ended> + ?Sized)>,
        approves: Option<Duration>,
    ) -> Result<Drove, String> {
        let (terminal, commands) = mpsc::channel(1);
        let process = other.process.clone();
        let mut taking_over = Box::pin(other.controller.drive(commands));
        let mut replaced = None;
        let mut stopped = true;
        let mut look = Instant::now() + LOOKS;
        let drove = loop {
            tokio::select! {
                biased;
                () = process.dead() => break Drove::Killed,
                ended = taking_over.as_mut() => break Drove::Ended(ended),
                () = tokio::time::sleep_until(continues), if stopped => {
                    stopped = false;
                    first.go_on();
                }
                ended = driving.as_mut(), if !stopped && replaced.is_none() && !first.is_dead() => {
                    replaced = Some(ended);
                }
                () = tokio::time::sleep_until(look), if approves.is_some() => {
                    look += LOOKS;
                    approve(&terminal);
                }
                () = tokio::time::sleep_until(end) => break Drove::Endless,
            }
        };
        first.go_on();
        if replaced.is_none() && !first.is_dead() {
            let ended = tokio::time::timeout(NOTICES, driving.as_mut()).await;
            replaced =
                Some(ended.map_err(|_still| "a process that was replaced goes on".to_owned())?);
        }
        match replaced {
            None | Some(Ended::LeaseLost(_) | Ended::Journal(_)) => Ok(drove),
            Some(other) => Err(format!("a process that was replaced ended with {other:?}")),
        }
    }

    async fn ask(&self, terminal: &mpsc::Sender<Command>, asked: Asked) {
        self.note(&format!("ask: {asked:?}"));
        let (who, why) = ("mira".to_owned(), "it looks wrong".to_owned());
        match asked {
            // A process that has just ended hears nothing.
            Asked::Halt => {
                drop(terminal.send(Command::Halt(Reason::Person { who, why })).await);
            }
            Asked::Hold(environment) => self.hold(&environment, serin_model::MidRun::Halt).await,
            Asked::HoldNextStage(environment) => {
                self.hold(&environment, serin_model::MidRun::NextStage).await;
            }
            Asked::Share(percent) => self.share(percent).await,
            Asked::AnotherRun => {}
        }
    }
}

/// Whoever was asked to look has looked; it is refused where nothing waits for it.
fn approve(terminal: &mpsc::Sender<Command>) {
    let (by, note) = ("otto".to_owned(), "it looks good".to_owned());
    drop(terminal.try_send(Command::Approve { by, note }));
}
