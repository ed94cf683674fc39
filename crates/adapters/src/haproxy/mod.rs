//! HAProxy: what its servers do, read from the worker that serves and from those that are leaving, and changed.
//!
//! An answer of HAProxy proves nothing, so every change reads the state back before it returns. Changes are fenced on
//! the load balancer's host, except where its config says `unfenced`. Nothing here waits, repeats, or decides whether
//! a state is good. Read [`HaProxy`] first.

mod reply;
pub mod socket;
mod state;
mod table;
mod workers;

use crate::shown::shown;
use async_trait::async_trait;
use serin_model::{AdminState, BackendName, LbObservation, LoadBalancer, ServerName, Workers};
use serin_runtime::ports::{Clock, Fence, LbPort, PortError};
use socket::{DirectSocket, LbSocket};
use state::{ServerKey, Told};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use workers::Worker;

/// The largest weight that HAProxy knows.
const MAX_WEIGHT: u32 = 256;

/// How long one command may take over a direct TCP address. HAProxy answers in milliseconds or, when all its
/// connections are taken, not at all; a lost packet or two still fit in between.
const DIRECT_DEADLINE: Duration = Duration::from_secs(5);

/// The load balancers of an environment, their sockets reached through `S`.
pub struct HaProxy<S> {
    hosts: S,
    direct: DirectSocket,
    clock: Arc<dyn Clock>,
}

impl<S: LbSocket> HaProxy<S> {
    /// Makes the port. `hosts` reaches the sockets on the load balancers' hosts.
    pub fn new(hosts: S, clock: Arc<dyn Clock>) -> Self {
        Self { hosts, direct: DirectSocket::new(DIRECT_DEADLINE), clock }
    }

    /// Asks commands that change nothing of HAProxy's socket.
    async fn read(&self, lb: &LoadBalancer, commands: &[&str]) -> Result<Vec<String>, PortError> {
        let commands: Vec<String> = commands.iter().map(|&command| command.to_owned()).collect();
        let replies = match &lb.tcp {
            Some(address) => self.direct.ask(&lb.host, address, None, &commands).await,
            None => self.hosts.ask(&lb.host, &lb.socket, None, &commands).await,
        };
        complete(&commands, replies?)
    }

    /// Asks commands of HAProxy's socket that change something.
    async fn change(
        &self,
        lb: &LoadBalancer,
        fence: Fence,
        commands: &[String],
    ) -> Result<Vec<String>, PortError> {
        let replies = match unfenced_address(lb) {
            Some(address) => self.direct.ask(&lb.host, address, None, commands).await,
            None => self.hosts.ask(&lb.host, &lb.socket, Some(fence), commands).await,
        };
        complete(commands, replies?)
    }

    /// Asks commands of the master's socket, which is never reached directly.
    async fn master(
        &self,
        lb: &LoadBalancer,
        socket: &str,
        fence: Option<Fence>,
        commands: &[String],
    ) -> Result<Vec<String>, PortError> {
        complete(commands, self.hosts.ask(&lb.host, socket, fence, commands).await?)
    }

    async fn read_all(&self, lb: &LoadBalancer) -> Result<LbObservation, PortError> {
        let observed_at = self.clock.now();
        // The serving worker first: one that a reload turns into a leaving worker meanwhile is then read twice, and
        // never not at all.
        let commands =
            [workers::SHOW_INFO, state::SHOW_STATE, state::SHOW_STAT, workers::SHOW_INFO];
        let replies = self.read(lb, &commands).await?;
        let [before, state, stat, after] = replies.as_slice() else {
            return Err(PortError::Garbled("not one answer for each command".to_owned()));
        };
        let worker = workers::answering(before)?;
        if workers::answering(after)? != worker {
            return Err(PortError::Garbled("HAProxy was reloaded while it was read".to_owned()));
        }
        let servers = state::servers(state, stat)?;
        let leaving = self.read_leaving(lb, &worker).await?;
        let (worker, balance) = (worker.identity(), state::balance(stat)?);
        Ok(LbObservation { observed_at, worker, servers, balance, leaving })
    }

    /// Reads the leaving workers. Without the master's socket there is no way to see any.
    async fn read_leaving(
        &self,
        lb: &LoadBalancer,
        serving: &Worker,
    ) -> Result<Workers, PortError> {
        let mut seen = Workers::default();
        let Some(socket) = &lb.master_socket else { return Ok(seen) };
        let pids = self.leaving_pids(lb, socket, serving).await?;
        if pids.is_empty() {
            return Ok(seen);
        }
        let commands: Vec<String> =
            pids.iter().map(|&pid| workers::of_worker(pid, state::SHOW_STAT)).collect();
        for reply in self.master(lb, socket, None, &commands).await? {
            // It left between the two readings.
            if workers::is_gone(&reply) {
                continue;
            }
            seen.count = seen.count.saturating_add(1);
            for (key, sessions) in state::load(&reply)? {
                let sum = seen.sessions.entry(key).or_default();
                *sum = sum.saturating_add(sessions);
            }
        }
        Ok(seen)
    }

    async fn leaving_pids(
        &self,
        lb: &LoadBalancer,
        socket: &str,
        serving: &Worker,
    ) -> Result<Vec<u32>, PortError> {
        let commands = [workers::SHOW_PROCESSES.to_owned()];
        let replies = self.master(lb, socket, None, &commands).await?;
        let mut pids = workers::leaving(replies.first().map_or("", String::as_str))?;
        // A reload after the serving worker was read has made it a leaving one; it is in this observation already.
        pids.retain(|&pid| pid != serving.pid);
        Ok(pids)
    }

    /// Makes changes, one command for each, and reads back what every server was told.
    async fn change_and_read_back(
        &self,
        lb: &LoadBalancer,
        fence: Fence,
        mut commands: Vec<String>,
    ) -> Result<BTreeMap<ServerKey, Told>, PortError> {
        let changes = commands.len();
        commands.push(state::SHOW_STATE.to_owned());
        let replies = self.change(lb, fence, &commands).await?;
        for (command, reply) in commands.iter().zip(&replies).take(changes) {
            reply::changed(command, reply)?;
        }
        state::told(replies.last().map_or("", String::as_str))
    }

    async fn set_all_admin(
        &self,
        lb: &LoadBalancer,
        fence: Fence,
        servers: &[(BackendName, ServerName)],
        state: AdminState,
    ) -> Result<(), PortError> {
        if servers.is_empty() {
            return Ok(());
        }
        let commands = servers
            .iter()
            .map(|(backend, server)| format!("set server {backend}/{server} state {state}"))
            .collect();
        let told = self.change_and_read_back(lb, fence, commands).await?;
        for key in servers {
            let found = read_back(&told, key)?;
            if found.admin != state {
                return Err(not_taken(key, &state.to_string(), &admin_text(found)));
            }
        }
        Ok(())
    }

    async fn set_all_weights(
        &self,
        lb: &LoadBalancer,
        fence: Fence,
        weights: &[(BackendName, ServerName, u32)],
    ) -> Result<(), PortError> {
        if let Some((backend, server, weight)) =
            weights.iter().find(|(_, _, weight)| *weight > MAX_WEIGHT)
        {
            return Err(PortError::Refused(format!(
                "weight {weight} of {backend}/{server} is more than {MAX_WEIGHT}; nothing was changed"
            )));
        }
        if weights.is_empty() {
            return Ok(());
        }
        let commands = weights
            .iter()
            .map(|(backend, server, weight)| {
                format!("set server {backend}/{server} weight {weight}")
            })
            .collect();
        let told = self.change_and_read_back(lb, fence, commands).await?;
        for (backend, server, weight) in weights {
            let key = (backend.clone(), server.clone());
            let found = read_back(&told, &key)?;
            if found.weight != *weight {
                let found = format!("weight {}", found.weight);
                return Err(not_taken(&key, &format!("weight {weight}"), &found));
            }
        }
        Ok(())
    }

    async fn cut_all_sessions(
        &self,
        lb: &LoadBalancer,
        fence: Fence,
        servers: &[(BackendName, ServerName)],
    ) -> Result<(), PortError> {
        if servers.is_empty() {
            return Ok(());
        }
        let mut commands: Vec<String> = servers
            .iter()
            .map(|(backend, server)| format!("shutdown sessions server {backend}/{server}"))
            .collect();
        let cuts = commands.len();
        commands.push(workers::SHOW_INFO.to_owned());
        let replies = self.change(lb, fence, &commands).await?;
        for (command, reply) in commands.iter().zip(&replies).take(cuts) {
            reply::changed(command, reply)?;
        }
        let serving = workers::answering(replies.last().map_or("", String::as_str))?;
        self.cut_leaving(lb, fence, servers, &serving).await
    }

    /// Cuts the sessions that leaving workers hold, one by one: those workers refuse every command that names a server.
    async fn cut_leaving(
        &self,
        lb: &LoadBalancer,
        fence: Fence,
        servers: &[(BackendName, ServerName)],
        serving: &Worker,
    ) -> Result<(), PortError> {
        let Some(socket) = &lb.master_socket else { return Ok(()) };
        let pids = self.leaving_pids(lb, socket, serving).await?;
        if pids.is_empty() {
            return Ok(());
        }
        let commands: Vec<String> =
            pids.iter().map(|&pid| workers::of_worker(pid, "show sess")).collect();
        let replies = self.master(lb, socket, None, &commands).await?;
        let cuts: Vec<String> = pids
            .iter()
            .zip(&replies)
            .flat_map(|(&pid, reply)| {
                workers::sessions_with(reply, servers)
                    .into_iter()
                    .map(move |id| workers::of_worker(pid, &format!("shutdown session {id}")))
            })
            .collect();
        if cuts.is_empty() {
            return Ok(());
        }
        // Sessions and workers may end by themselves meanwhile, so complaints are no failure; observing tells.
        self.master(lb, socket, Some(fence), &cuts).await.map(drop)
    }
}

#[async_trait]
impl<S: LbSocket> LbPort for HaProxy<S> {
    async fn observe(&self, lb: &LoadBalancer) -> Result<LbObservation, PortError> {
        self.read_all(lb).await.map_err(|error| naming(lb, error))
    }

    async fn set_admin(
        &self,
        lb: &LoadBalancer,
        fence: Fence,
        servers: &[(BackendName, ServerName)],
        state: AdminState,
    ) -> Result<(), PortError> {
        self.set_all_admin(lb, fence, servers, state).await.map_err(|error| naming(lb, error))
    }

    async fn set_weights(
        &self,
        lb: &LoadBalancer,
        fence: Fence,
        weights: &[(BackendName, ServerName, u32)],
    ) -> Result<(), PortError> {
        self.set_all_weights(lb, fence, weights).await.map_err(|error| naming(lb, error))
    }

    async fn cut_sessions(
        &self,
        lb: &LoadBalancer,
        fence: Fence,
        servers: &[(BackendName, ServerName)],
    ) -> Result<(), PortError> {
        self.cut_all_sessions(lb, fence, servers).await.map_err(|error| naming(lb, error))
    }

    /// Does nothing on a load balancer that is changed without a fence: there is nothing that could refuse.
    async fn raise_fence(&self, lb: &LoadBalancer, fence: Fence) -> Result<(), PortError> {
        match unfenced_address(lb) {
            Some(_) => Ok(()),
            None => self.hosts.raise_fence(&lb.host, fence).await,
        }
    }
}

fn unfenced_address(lb: &LoadBalancer) -> Option<&str> {
    lb.tcp.as_deref().filter(|_| lb.unfenced)
}

fn complete(commands: &[String], replies: Vec<String>) -> Result<Vec<String>, PortError> {
    if replies.len() == commands.len() {
        return Ok(replies);
    }
    Err(PortError::Garbled(format!("{} answers to {} commands", replies.len(), commands.len())))
}

/// Finds a server that was changed, unless an agent may undo the change at any moment.
fn read_back<'a>(
    told: &'a BTreeMap<ServerKey, Told>,
    key: &ServerKey,
) -> Result<&'a Told, PortError> {
    let (backend, server) = key;
    let found = told
        .get(key)
        .ok_or_else(|| not_taken(key, "to be there", "that it is not in `show servers state`"))?;
    if found.agent {
        return Err(PortError::Refused(format!(
            "{backend}/{server} has an agent check, which overrides what HAProxy was just told; \
             take it out of the configuration or say `disable agent {backend}/{server}`"
        )));
    }
    Ok(found)
}

fn not_taken(key: &ServerKey, expected: &str, found: &str) -> PortError {
    let (backend, server) = key;
    PortError::Refused(format!(
        "{backend}/{server} did not take the change: expected {expected}, found {found}"
    ))
}

fn admin_text(told: &Told) -> String {
    if told.inherited {
        format!("{}, inherited from the server that it tracks", told.admin)
    } else {
        told.admin.to_string()
    }
}

/// Says which load balancer it was, where the error itself does not.
fn naming(lb: &LoadBalancer, error: PortError) -> PortError {
    match error {
        PortError::Refused(text) => PortError::Refused(format!("{}: {}", lb.name, shown(&text))),
        PortError::Garbled(text) => PortError::Garbled(format!("{}: {}", lb.name, shown(&text))),
        PortError::Unreachable { .. } | PortError::Fenced { .. } => error,
    }
}
