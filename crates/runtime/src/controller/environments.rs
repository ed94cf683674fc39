//! The streams of the environments that the run acts in: what holds them, and what people ask of them.

use super::effects::Happened;
use super::{Controller, Ended, lost};
use crate::environment::request::answer_to;
use crate::environment::stream::RecordError;
use crate::environment::{EnvironmentRequest, Stream, Want, windows};
use crate::records::ReadError;
use crate::share::Sharing;
use serin_engine::environment::{Canary, Decided, Ramp, Refused, changes, decide_environment};
use serin_engine::{EnvironmentEvent, IllegalEvent, Input};
use serin_journal::{AppendError, CommandId, Inbox};
use serin_model::{EnvironmentName, FleetName};
use std::time::Duration;

impl Controller {
    /// Reads the stream of an environment that was entered.
    pub(super) async fn open_stream(&mut self, name: &EnvironmentName) -> Result<(), Ended> {
        let stream = Stream::read(self.journal.as_ref(), name).await.map_err(unreadable)?;
        self.streams.insert(name.clone(), stream);
        self.read_held(name).await
    }

    /// Reads every stream again, and has the engine decide on what holds the environments now.
    pub(super) async fn read_streams(&mut self) -> Result<(), Ended> {
        let names: Vec<EnvironmentName> = self.streams.keys().cloned().collect();
        for name in names {
            if let Some(stream) = self.streams.get_mut(&name) {
                stream.catch_up(self.journal.as_ref()).await.map_err(unreadable)?;
            }
            self.read_held(&name).await?;
        }
        Ok(())
    }

    async fn read_held(&mut self, name: &EnvironmentName) -> Result<(), Ended> {
        let known = (self.streams.get(name), self.plan.topology.environments.get(name));
        let (Some(stream), Some(environment)) = known else { return Ok(()) };
        let now = self.ports.clock.now();
        let held = stream.state.held_for(&self.id, &windows::on(environment, now), now);
        let held = stream.state.met_by(&self.run.plan, held);
        self.input(Input::Held { environment: name.clone(), held }).await
    }

    /// Records events of an environment under its lease, and shows them.
    pub(super) async fn record_of(
        &mut self,
        name: &EnvironmentName,
        events: &[EnvironmentEvent],
    ) -> Result<(), Ended> {
        let now = self.ports.clock.now();
        let known = (self.streams.get_mut(name), self.environments.get(name));
        let (Some(stream), Some(lease)) = known else {
            let what = format!("{name} is not entered, yet something is recorded of it");
            return Err(Ended::Broken(IllegalEvent(what)));
        };
        let recorded = stream.record(self.journal.as_ref(), lease, events, now).await;
        recorded.map_err(|error| match error {
            RecordError::Append(error) => lost(error),
            RecordError::Illegal(illegal) => Ended::Broken(illegal),
        })?;
        for event in events {
            self.observer.environment(name, now, event);
        }
        Ok(())
    }

    /// Records the share that the run is about to set: the stream has the share, whoever set it.
    ///
    /// Another attempt finds it there.
    pub(super) async fn record_share(
        &mut self,
        (name, fleet): (&EnvironmentName, &FleetName),
        percent: u8,
        why: &str,
    ) -> Result<(), Ended> {
        let by = format!("run {}", self.id);
        let now = self.ports.clock.now();
        let known = self.streams.get(name).and_then(|stream| stream.state.shares.get(fleet));
        let ramp = Ramp::at_once(percent, now);
        let is_same =
            known.is_some_and(|known| known.by == by && Ramp { begins: now, ..known.ramp } == ramp);
        if is_same {
            return Ok(());
        }
        let why = why.to_owned();
        let set = EnvironmentEvent::ShareSet { fleet: fleet.clone(), ramp, by, why };
        self.record_of(name, &[set]).await
    }

    /// Takes a command that is not about a run. One about a share needs a look at load balancers first.
    pub(super) async fn environment_asked(
        &mut self,
        name: &EnvironmentName,
        item: &Inbox,
    ) -> Result<(), Ended> {
        let Ok(request) = serde_json::from_str::<EnvironmentRequest>(&item.body) else {
            return self
                .answer(name, item.id, "not understood: it was sent by another version of serin")
                .await;
        };
        let Want::SetShare { fleet, percent, .. } = &request.want else {
            let nobody = Canary { percent: 0 };
            let decided = self.decide_of(name, request, Ok(nobody)).await?;
            return self.answer(name, item.id, &answer_to(&decided)).await;
        };
        if !self.shares.looks_at(item.id) {
            return Ok(());
        }
        let (fleet, percent) = (fleet.clone(), *percent);
        let (ports, plan) = (self.ports.clone(), std::sync::Arc::clone(&self.plan));
        let (name, command) = (name.clone(), item.id);
        self.tasks.spawn(async move {
            let canary = match plan.topology.environments.get(&name) {
                Some(environment) => {
                    Sharing { ports: &ports, environment, fleet: &fleet }.canary(percent).await
                }
                None => Err(Refused::NoSuchFleet(fleet.clone())),
            };
            Happened::Canary { environment: name, command, request, canary }
        });
        Ok(())
    }

    /// Decides on a share now that its canary was looked at. It is answered when load balancers were told.
    pub(super) async fn canary_seen(
        &mut self,
        name: EnvironmentName,
        command: CommandId,
        request: EnvironmentRequest,
        seen: Result<Canary, Refused>,
    ) -> Result<(), Ended> {
        self.shares.looked_at(command);
        if !self.streams.contains_key(&name) {
            // The run has left meanwhile: whoever asked finds nobody there, and does it.
            return Ok(());
        }
        let Want::SetShare { fleet, .. } = &request.want else { return Ok(()) };
        let fleet = fleet.clone();
        let changing = changes(&self.run, &name, &fleet);
        let (run, of) = (self.id.clone(), fleet.clone());
        let seen = if changing { Err(Refused::Changing { run, fleet: of }) } else { seen };
        let decided = self.decide_of(&name, request, seen).await?;
        if decided.refused.is_some() {
            return self.answer(&name, command, &answer_to(&decided)).await;
        }
        self.shares.tell_anew((name, fleet), command);
        Ok(())
    }

    async fn decide_of(
        &mut self,
        name: &EnvironmentName,
        request: EnvironmentRequest,
        canary: Result<Canary, Refused>,
    ) -> Result<Decided, Ended> {
        let asking = request.asking(canary);
        let now = self.ports.clock.now();
        let Some(stream) = self.streams.get(name) else {
            return Ok(Decided { events: Vec::new(), refused: None });
        };
        let decided = decide_environment(&stream.state, asking, now);
        self.record_of(name, &decided.events).await?;
        Ok(decided)
    }

    /// Answers a command of an environment's inbox, if the environment is still the run's.
    pub(super) async fn answer(
        &self,
        name: &EnvironmentName,
        command: CommandId,
        answer: &str,
    ) -> Result<(), Ended> {
        let Some(lease) = self.environments.get(name) else { return Ok(()) };
        self.journal.answer(lease, command, answer).await.map_err(lost)
    }
}

pub(super) fn unreadable(error: ReadError) -> Ended {
    match error {
        ReadError::Journal(error) => Ended::Journal(AppendError::Journal(error)),
        other @ (ReadError::Record { .. }
        | ReadError::Illegal { .. }
        | ReadError::EnvironmentRecord { .. }
        | ReadError::EnvironmentIllegal { .. }) => Ended::Broken(IllegalEvent(other.to_string())),
    }
}

/// How long to wait before a share that could not be told is tried again: servers that are down come back, or a
/// person does something about them.
pub(super) const SHARE_RETRY: Duration = Duration::from_secs(10);
