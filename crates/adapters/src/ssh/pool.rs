//! Sessions by host: found or made for a request, and kept for the next one.
//!
//! A host has at most four sessions, so that a long wait does not hold up an observation; two are kept while nothing
//! is asked, and none for longer than a minute. Logins are bounded over all hosts. One thing is tried again here: a
//! login that sshd dropped before it began, because nothing can have run.

use super::session::{Broken, Session};
use super::{Reply, Request, SshConfig, explain::was_throttled};
use serin_model::HostName;
use serin_runtime::ports::PortError;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Sessions that a host may have at once. sshd allows ten for each connection, and these are four connections.
const MAX_SESSIONS: usize = 4;

/// Sessions that are kept for each host.
const KEPT_SESSIONS: usize = 2;

/// How long an unused session is kept: an `ssh` process takes 1.2 MB, and there may be a thousand hosts.
const KEPT_FOR: Duration = Duration::from_mins(1);

/// How often a login is begun that sshd drops at random before it starts (`MaxStartups`, which matters at a jump host):
/// with sixteen logins in progress it drops one in three, and one host in 500 is then lost after six.
const LOGIN_TRIES: u32 = 6;

/// The longest pause before the second login; it doubles with each further one, to 6 s before the last.
const LOGIN_PAUSE: Duration = Duration::from_millis(400);

/// What a reply may take on top of the time that the operation itself is given.
const REPLY_MARGIN: Duration = Duration::from_secs(15);

/// Sessions to any number of hosts.
pub struct SshPool {
    config: SshConfig,
    connecting: Semaphore,
    hosts: Mutex<BTreeMap<HostName, Arc<HostSessions>>>,
}

struct HostSessions {
    places: Semaphore,
    unused: Mutex<Vec<(Instant, Session)>>,
}

impl SshPool {
    /// Makes a pool without any session.
    pub fn new(config: SshConfig) -> Self {
        let connecting = Semaphore::new(config.max_connecting.max(1));
        Self { config, connecting, hosts: Mutex::default() }
    }

    /// Asks a host, and returns what the wrapper answered within `time` and a margin.
    ///
    /// A kept session that turns out to have ended without an answer is replaced once: every operation of the wrapper
    /// may be asked twice.
    ///
    /// # Errors
    /// `Unreachable` when there is no connection or no whole answer, `Garbled` when it is not one of the wrapper's.
    pub async fn ask(
        &self,
        host: &HostName,
        request: &Request,
        time: Duration,
    ) -> Result<Reply, PortError> {
        self.forget_unused();
        let sessions = self.sessions_of(host);
        let unreachable = |why: String| PortError::Unreachable { host: host.clone(), why };
        let Ok(_place) = sessions.places.acquire().await else {
            return Err(unreachable("Serin is ending".to_owned()));
        };
        let deadline = time + REPLY_MARGIN;
        if let Some(mut session) = sessions.take() {
            match session.ask(request, deadline).await {
                Ok(reply) => return Ok(sessions.keep(session, reply)),
                Err(Broken::Unanswered(why)) => tracing::debug!(%host, why, "session had ended"),
                Err(broken) => return Err(broken.into_error(host)),
            }
        }
        let mut session = self.connect(host).await.map_err(unreachable)?;
        match session.ask(request, deadline).await {
            Ok(reply) => Ok(sessions.keep(session, reply)),
            Err(broken) => Err(broken.into_error(host)),
        }
    }

    async fn connect(&self, host: &HostName) -> Result<Session, String> {
        let mut attempt = 1;
        loop {
            let failed = {
                let _permit = self.connecting.acquire().await;
                match Session::connect(&self.config, host).await {
                    Ok(session) => return Ok(session),
                    Err(failed) => failed,
                }
            };
            if attempt >= LOGIN_TRIES || !was_throttled(&failed.stderr) {
                return Err(failed.why);
            }
            // Not a wait for anything: it spreads out logins that came at once, as sshd asks by dropping them.
            tokio::time::sleep(jitter(LOGIN_PAUSE * 2_u32.pow(attempt - 1))).await;
            attempt += 1;
        }
    }

    fn sessions_of(&self, host: &HostName) -> Arc<HostSessions> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let places = Semaphore::new(MAX_SESSIONS);
            Arc::new(HostSessions { places, unused: Mutex::default() })
        };
        Arc::clone(hosts.entry(host.clone()).or_insert_with(new))
    }

    fn forget_unused(&self) {
        let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        for sessions in hosts.values() {
            let mut unused = sessions.unused.lock().unwrap_or_else(PoisonError::into_inner);
            unused.retain(|(since, _)| since.elapsed() < KEPT_FOR);
        }
    }
}

impl HostSessions {
    fn take(&self) -> Option<Session> {
        let mut unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((_, mut session)) = unused.pop() {
            if session.is_alive() {
                return Some(session);
            }
        }
        None
    }

    fn keep(&self, session: Session, reply: Reply) -> Reply {
        let mut unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        if unused.len() < KEPT_SESSIONS {
            unused.push((Instant::now(), session));
        }
        reply
    }
}

impl Broken {
    fn into_error(self, host: &HostName) -> PortError {
        let host = host.clone();
        match self {
            Self::Unanswered(why) | Self::Lost(why) => PortError::Unreachable { host, why },
            Self::Garbled(line) => PortError::Garbled(format!("{host} sent {line}")),
        }
    }
}

/// Returns a random part of a pause, at least half, so that those who were dropped together do not come back together.
fn jitter(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(()) % 500 + 500;
    pause.mul_f64(Duration::from_millis(random).as_secs_f64())
}
