//! HAProxy's replies, through the port that reads and changes load balancers.
//!
//! The input is the replies in their order, with a line `====` between them. Whatever they are, the port says the same of
//! them twice, and nothing of theirs reaches a screen as it came.

use super::{MIB, Target, at_once, is_for_people};
use async_trait::async_trait;
use serin_adapters::haproxy::HaProxy;
use serin_adapters::haproxy::socket::LbSocket;
use serin_model::{AdminState, HostName, LbObservation, LoadBalancer, Timestamp};
use serin_runtime::ports::{Clock, Fence, LbPort, PortError};
use std::sync::{Arc, Mutex, PoisonError};

pub(super) const HAPROXY: Target = Target {
    name: "haproxy",
    hold,
    memory: MIB,
    words: &[
        b"\n====\n",
        b"\n\n",
        b"Name: HAProxy\n",
        b"Pid: 7\n",
        b"# be_id ",
        b"# pxname,",
        b"web,web-01,",
        b"UP,",
        b"DRAIN,",
        b"# workers\n",
        b"# old workers\n",
        b"#<PID>",
        b"0x5: be=web srv=web-01",
        b"[3]: No such server.\n\n",
        b"Permission denied",
        b"MAINT (via web/web-01)",
        b"web/web-01",
    ],
    mutations: 600,
};

/// The most characters of a message: a name, and a thousand of HAProxy's own.
const MOST_SAID: usize = 1300;

/// A socket that answers with what it was given, and then with nothing.
struct Told(Mutex<Vec<String>>);

#[async_trait]
impl LbSocket for Told {
    async fn ask(
        &self,
        _host: &HostName,
        _socket: &str,
        _fence: Option<Fence>,
        commands: &[String],
    ) -> Result<Vec<String>, PortError> {
        let one_line = |command: &String| !command.contains(['\n', '\r', '\0']);
        assert!(commands.iter().all(one_line), "{commands:?} would be more commands");
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(commands.iter().map(|_| left.pop().unwrap_or_default()).collect())
    }

    async fn raise_fence(&self, _host: &HostName, _fence: Fence) -> Result<(), PortError> {
        Ok(())
    }
}

struct Stopped;

#[async_trait]
impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(0)
    }
    async fn sleep_until(&self, _at: Timestamp) {}
}

fn hold(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let mut replies: Vec<String> = text.split("\n====\n").map(str::to_owned).collect();
    replies.reverse();
    let port = || HaProxy::new(Told(Mutex::new(replies.clone())), Arc::new(Stopped));
    let lb = lb();
    let seen = at_once(port().observe(&lb));
    assert_eq!(seen, at_once(port().observe(&lb)), "the same replies mean the same");
    if let Some(seen) = said(seen) {
        shown(&seen);
        for server in seen.servers.keys() {
            let servers = std::slice::from_ref(server);
            let weight = (server.0.clone(), server.1.clone(), 7);
            said(at_once(port().set_admin(&lb, Fence(1), servers, AdminState::Drain)));
            said(at_once(port().set_weights(&lb, Fence(1), &[weight])));
            said(at_once(port().cut_sessions(&lb, Fence(1), servers)));
        }
    }
    let server = (name("web"), name("web-01"));
    said(at_once(port().set_admin(
        &lb,
        Fence(1),
        std::slice::from_ref(&server),
        AdminState::Ready,
    )));
    said(at_once(port().cut_sessions(&lb, Fence(1), &[server])));
}

fn shown(seen: &LbObservation) {
    is_for_people(&seen.worker, 64);
    for server in seen.servers.values() {
        is_for_people(&server.status, MOST_SAID);
        is_for_people(&server.address, MOST_SAID);
    }
    for balance in seen.balance.values() {
        is_for_people(balance, MOST_SAID);
    }
}

fn said<T>(result: Result<T, PortError>) -> Option<T> {
    result.map_err(|error| is_for_people(&error.to_string(), MOST_SAID)).ok()
}

fn lb() -> LoadBalancer {
    LoadBalancer {
        name: name("lb-01"),
        host: name("lb-01.gprd"),
        socket: "/run/haproxy.sock".to_owned(),
        master_socket: Some("/run/master.sock".to_owned()),
        tcp: None,
        unfenced: false,
    }
}

fn name<T: std::str::FromStr>(text: &str) -> T {
    text.parse().ok().expect("it is such a name")
}
