//! HAProxy's sockets, through the wrapper: a real HAProxy, and sockets that misbehave.

use crate::machine::{Machine, until, web};
use serin_runtime::ports::{Fence, HostPort, PortError};
use std::fs;

const SOCKET: &str = "/run/haproxy.sock";
const MASTER: &str = "/run/master.sock";

fn with_haproxy() -> Machine {
    let machine = Machine::start();
    let config = "global\n stats socket /run/haproxy.sock mode 660 level admin\n stats timeout 60s\n\
         defaults\n mode http\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n\
         backend web\n server web-01 127.0.0.1:9\n server web-02 127.0.0.1:9\n";
    fs::write(machine.root("/srv/haproxy.cfg"), config).unwrap();
    machine
        .ok(&format!("haproxy -W -S {MASTER} -D -f /srv/haproxy.cfg >/dev/null 2>&1 </dev/null"));
    until("HAProxy answers", || {
        machine.sh(&format!("test -S {SOCKET} && test -S {MASTER}")).status.success()
    });
    machine
}

fn commands(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn commands_are_answered_one_by_one_and_changed_only_with_a_good_fence() {
    let machine = with_haproxy();
    let hosts = machine.hosts("release");
    let read =
        commands(&["show servers state web", "show stat nope 4 -1", "get weight web/web-02"]);
    let replies = hosts.ask_haproxy(&web(), SOCKET, None, &read).await.unwrap();
    assert_eq!(replies.len(), 3);
    assert!(replies[0].starts_with("\n1\n# be_id be_name srv_id"), "{}", replies[0]);
    assert_eq!(
        (replies[1].as_str(), replies[2].as_str()),
        ("\n[3]: No such proxy.\n\n", "\n1 (initial 1)\n\n")
    );

    let drain = commands(&["set server web/web-01 state drain", "set server web/nope state drain"]);
    let replies = hosts.ask_haproxy(&web(), SOCKET, Some(Fence(5)), &drain).await.unwrap();
    assert_eq!(replies, ["\n\n", "\n[3]: No such server.\n\n"]);
    let maint = commands(&["set server web/web-01 state maint"]);
    let fenced = hosts.ask_haproxy(&web(), SOCKET, Some(Fence(4)), &maint).await;
    assert_eq!(fenced, Err(PortError::Fenced { by: 5 }));
    assert_eq!(hosts.raise_fence(&web(), Fence(4)).await, Err(PortError::Fenced { by: 5 }));
    let state = hosts.ask_haproxy(&web(), SOCKET, None, &read).await.unwrap();
    let line = state[0].lines().find(|line| line.contains("web-01")).unwrap();
    assert_eq!(line.split(' ').nth(6), Some("8"), "drain, not maint: {line}");

    let master = commands(&["show proc;quit", "@1 show info;quit", "@!1 show info;quit"]);
    let replies = hosts.ask_haproxy(&web(), MASTER, None, &master).await.unwrap();
    assert!(replies[0].contains("# workers"), "{}", replies[0]);
    assert!(replies[1].contains("\nUptime_sec: "), "{}", replies[1]);
    assert!(replies[2].contains("Can't find the target"), "{}", replies[2]);
}

#[tokio::test]
async fn sockets_that_do_not_answer_are_told_apart() {
    let machine = Machine::start();
    let hosts = machine.hosts("root");
    let listen = |name: &str, then: &str| {
        let perl = format!(
            "use Socket; socket(S, PF_UNIX, SOCK_STREAM, 0); bind(S, pack_sockaddr_un(\"/srv/{name}\")) or die; \
             listen(S, 5); {then}"
        );
        machine.ok(&format!("(perl -e '{perl}' >/dev/null 2>&1 </dev/null &)"));
        until("the socket is there", || machine.root(&format!("/srv/{name}")).exists());
    };
    listen("dead", "exit");
    listen("mute", "sleep 1000");
    listen("shut", "while (accept(C, S)) { sysread(C, $x, 100); close C }");
    for (name, expected) in [
        ("missing", "is missing: HAProxy is not running, or has it elsewhere"),
        ("dead", "refuses connections: HAProxy is not running"),
        (
            "mute",
            "takes connections but does not answer: all that it allows are taken, or HAProxy hangs",
        ),
        ("shut", "closed the connection without an answer"),
    ] {
        let socket = format!("/srv/{name}");
        let asked =
            hosts.ask_haproxy(&web(), &socket, Some(Fence(1)), &commands(&["show info"])).await;
        let why = format!("HAProxy's socket {socket} {expected}");
        assert_eq!(asked, Err(PortError::Unreachable { host: web(), why }));
    }
    let split = commands(&["show info\nshow stat"]);
    let refused = hosts.ask_haproxy(&web(), "/srv/mute", None, &split).await;
    assert!(matches!(refused, Err(PortError::Refused(_))), "{refused:?}");
}
