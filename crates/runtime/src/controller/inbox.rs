//! The beat that keeps the leases, and the commands that others have put into the inbox.

use super::{Controller, Ended, lost};
use crate::inbox::Request;
use serin_journal::{AppendError, Lease, Scope};

impl Controller {
    pub(super) async fn beat_and_read_inbox(&mut self) -> Result<(), Ended> {
        let now = self.ports.clock.now();
        if now >= self.next_beat {
            // Three beats in a time to live: one may be late without the lease being taken for dead.
            self.next_beat = now.plus(self.settings.ttl / 3);
            for lease in [&self.lease].into_iter().chain(self.environments.values()) {
                self.journal.beat(lease).await.map_err(lost)?;
            }
        }
        let environments: Vec<Lease> = self.environments.values().cloned().collect();
        for lease in environments {
            let Scope::Environment(environment) = &lease.scope else { continue };
            let waiting = self.journal.inbox(environment).await.map_err(AppendError::from);
            for item in waiting.map_err(lost)? {
                let Ok(request) = serde_json::from_str::<Request>(&item.body) else {
                    self.environment_asked(environment, &item).await?;
                    continue;
                };
                let answer = if request.run == self.id {
                    self.asked(request).await?
                } else {
                    format!("{environment} belongs to run {}, not {}", self.id, request.run)
                };
                self.journal.answer(&lease, item.id, &answer).await.map_err(lost)?;
            }
        }
        self.read_streams().await
    }

    /// Takes a command from the inbox, and returns the answer for whoever sent it.
    pub(super) async fn asked(&mut self, request: Request) -> Result<String, Ended> {
        Ok(match self.ask(request.into()).await? {
            Ok(()) => "accepted".to_owned(),
            Err(refusal) => format!("refused: {refusal}"),
        })
    }
}
