//! A second run of what somebody has begun already: one of the two is refused, or they take turns.

use super::acting::{Drove, MOST_PROCESSES};
use super::{LIVELY, Player, Wish, cancel};
use crate::process::Process;
use serin_engine::Command;
use serin_model::{Reason, RunId};
use serin_runtime::Ended;
use std::pin::{Pin, pin};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long somebody watches a second run until they notice that there is another.
const NOTICES: Duration = Duration::from_mins(1);

/// The first run's process, which goes on whatever the second does.
pub(super) struct First<'a, F: ?Sized> {
    pub(super) process: &'a Process,
    pub(super) driving: Pin<&'a mut F>,
    /// How it ended meanwhile.
    pub(super) ended: Option<Drove>,
}

impl<F: Future<Output = Ended> + ?Sized> First<'_, F> {
    async fn beside<T>(&mut self, other: impl Future<Output = T>) -> T {
        let mut other = pin!(other);
        loop {
            tokio::select! {
                biased;
                () = self.process.dead(), if self.ended.is_none() => {
                    self.ended = Some(Drove::Killed);
                }
                ended = self.driving.as_mut(), if self.ended.is_none() => {
                    self.ended = Some(Drove::Ended(ended));
                }
                done = other.as_mut() => return done,
            }
        }
    }
}

impl Player {
    /// Has somebody begin the same again, and give it up once they notice.
    pub(super) async fn another_run<F: Future<Output = Ended> + ?Sized>(
        &mut self,
        first: &mut First<'_, F>,
    ) -> Result<(), String> {
        let Some(wish) = self.wishes.front().copied() else { return Ok(()) };
        if matches!(wish, Wish::RollBack(_)) {
            return Ok(());
        }
        self.note(&format!("somebody else wants {wish:?}, too"));
        match first.beside(self.begin(wish)).await {
            Ok(run) => first.beside(self.second(&run)).await,
            Err(why) => {
                self.note(&format!("cannot begin: {why}"));
                Ok(())
            }
        }
    }

    async fn second(&mut self, run: &RunId) -> Result<(), String> {
        let mut command = None;
        for _ in 0..MOST_PROCESSES {
            if let Some(mut acting) = self.adopt(run).await?
                && self.put(&mut acting, &mut command).await
            {
                let (terminal, commands) = mpsc::channel(1);
                let process = acting.process.clone();
                let mut driving = Box::pin(acting.controller.drive(commands));
                let began = Instant::now();
                let mut noticed = false;
                let drove = loop {
                    tokio::select! {
                        biased;
                        () = process.dead() => break Drove::Killed,
                        ended = driving.as_mut() => break Drove::Ended(ended),
                        () = tokio::time::sleep_until(began + NOTICES), if !noticed => {
                            noticed = true;
                            let (who, why) = ("otto".to_owned(), "there are two".to_owned());
                            drop(terminal.try_send(Command::Halt(Reason::Person { who, why })));
                        }
                        () = tokio::time::sleep_until(began + LIVELY) => break Drove::Endless,
                    }
                };
                drop(driving);
                match drove {
                    Drove::Endless => return Err(format!("{run} came to no end in {LIVELY:?}")),
                    Drove::Ended(Ended::Broken(illegal)) => return Err(illegal.to_string()),
                    Drove::Ended(Ended::Reached) => {
                        return Err(format!("{run} was left at a limit that nobody has set"));
                    }
                    Drove::Ended(Ended::Finished | Ended::Cancelled) => return Ok(()),
                    Drove::Ended(Ended::Halted(_)) => {
                        let out = acting.controller.run().out_of_service();
                        let named: Vec<_> = out.into_iter().map(|out| out.host).collect();
                        self.sim.shared.now().check_taken(run, &named);
                        command = Some(cancel());
                    }
                    Drove::Ended(Ended::Journal(_)) => process.kill(),
                    Drove::Killed | Drove::Ended(Ended::LeaseLost(_)) => {}
                }
            }
            self.sleep(1, 20).await;
        }
        Err(format!("{run} needed more than {MOST_PROCESSES} processes"))
    }
}
