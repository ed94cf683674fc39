//! A pretend process: it can be stopped and continued, as by signals, and killed.
//!
//! A controller is a future and the tasks that it has started. Dropping or not polling the future reaches only itself,
//! so every port call passes through here before it touches the world.

use serin_journal::MemoryJournal;
use tokio::sync::watch;

/// A process.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    state: watch::Sender<State>,
    pub(crate) journal: MemoryJournal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Runs,
    Stopped,
    Dead,
}

impl Process {
    pub(crate) fn new(journal: MemoryJournal) -> Self {
        Self { state: watch::Sender::new(State::Runs), journal }
    }

    /// Ends it, as by `kill -9`.
    pub(crate) fn kill(&self) {
        self.journal.kill();
        self.state.send_replace(State::Dead);
    }

    /// Stops it, as by SIGSTOP.
    pub(crate) fn stop(&self) {
        self.state.send_replace(State::Stopped);
    }

    /// Continues it, as by SIGCONT.
    pub(crate) fn go_on(&self) {
        self.state.send_replace(State::Runs);
    }

    pub(crate) fn is_dead(&self) -> bool {
        *self.state.borrow() == State::Dead
    }

    /// Returns when it may do something: never, once it is dead.
    pub(crate) async fn may_act(&self) {
        self.reaches(State::Runs).await;
    }

    /// Returns when it is dead.
    pub(crate) async fn dead(&self) {
        self.reaches(State::Dead).await;
    }

    async fn reaches(&self, wanted: State) {
        let mut state = self.state.subscribe();
        if state.wait_for(|state| *state == wanted).await.is_err() {
            // The sender is `self`: it cannot have gone.
            std::future::pending::<()>().await;
        }
    }
}
