//! Which worker answers, and which ones are leaving after a reload: `show info`, and the master's `show proc`.
//!
//! What HAProxy is told lives in the memory of one worker. A reload starts another one, which knows nothing of it,
//! while the old one goes on with the sessions that it has. A reload that fails starts none, although the master counts
//! it; so a worker is told from the next by its process, never by a count of reloads.

use super::reply;
use super::state::ServerKey;
use serin_runtime::ports::PortError;

/// Prints facts about the worker that answers.
pub(super) const SHOW_INFO: &str = "show info";

/// Prints the processes of HAProxy. Only the master's socket knows it, and closes only when told so.
pub(super) const SHOW_PROCESSES: &str = "show proc;quit";

/// A worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Worker {
    /// Its process.
    pub(super) pid: u32,
    /// When it started, in seconds since 1970; old versions of HAProxy do not say.
    pub(super) started: Option<u64>,
}

impl Worker {
    /// Returns what tells this worker from every other one: a container may give the same pid again.
    pub(super) fn identity(&self) -> String {
        match self.started {
            Some(started) => format!("{}@{started}", self.pid),
            None => self.pid.to_string(),
        }
    }
}

/// Reads which worker answers.
pub(super) fn answering(reply: &str) -> Result<Worker, PortError> {
    let text = reply::data(SHOW_INFO, reply, "Name:")?;
    let field = |name: &str| {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::trim)
    };
    // Before HAProxy 2.5 there could be several workers at once, each with servers of its own behind another socket.
    if field("Nbproc").is_some_and(|count| count != "1") {
        return Err(PortError::Refused(
            "HAProxy runs several processes, and one socket shows only one: take `nbproc` out of \
             its configuration"
                .to_owned(),
        ));
    }
    match field("Pid").and_then(|pid| pid.parse().ok()) {
        Some(pid) => {
            Ok(Worker { pid, started: field("Start_time_sec").and_then(|text| text.parse().ok()) })
        }
        None => Err(reply::garbled(SHOW_INFO, "there is no Pid")),
    }
}

/// Reads which workers are leaving.
pub(super) fn leaving(reply: &str) -> Result<Vec<u32>, PortError> {
    let text = reply::data(SHOW_PROCESSES, reply, "#<PID>")?;
    if !text.lines().any(|line| line.trim() == "# workers") {
        return Err(reply::garbled(SHOW_PROCESSES, "there is no list of workers"));
    }
    text.lines()
        .skip_while(|line| line.trim() != "# old workers")
        .skip(1)
        .take_while(|line| !line.starts_with('#'))
        .map(|line| {
            let mut words = line.split_whitespace();
            let pid = words.next().and_then(|word| word.parse().ok());
            pid.filter(|_| words.next() == Some("worker"))
                .ok_or_else(|| reply::garbled(SHOW_PROCESSES, &format!("unknown row {line:?}")))
        })
        .collect()
}

/// Makes a command for one worker, to be asked of the master.
pub(super) fn of_worker(pid: u32, command: &str) -> String {
    format!("@!{pid} {command};quit")
}

/// Tells whether the master answered that it has no such worker any more.
pub(super) fn is_gone(reply: &str) -> bool {
    reply::after_preamble(reply).starts_with("Can't find the target PID")
}

/// Reads the ids of a worker's sessions with some servers from `show sess`.
pub(super) fn sessions_with<'a>(reply: &'a str, servers: &[ServerKey]) -> Vec<&'a str> {
    reply::after_preamble(reply)
        .lines()
        .filter(|line| {
            let word = |name: &str| line.split_whitespace().find_map(|w| w.strip_prefix(name));
            servers.iter().any(|(backend, server)| {
                word("be=") == Some(backend.as_str()) && word("srv=") == Some(server.as_str())
            })
        })
        .filter_map(|line| line.split_once(':').map(|(id, _)| id))
        .filter(|id| id.starts_with("0x") && id.chars().all(|c| c.is_ascii_alphanumeric()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PROCESSES: &str = "\
#<PID>          <type>          <reloads>       <uptime>        <version>      
2038            master          3 [failed: 1]   0d00h01m39s     2.6.12-1+deb12u4
# workers
11210           worker          1               0d00h00m03s     2.6.12-1+deb12u4
# old workers
2175            worker          3               0d00h01m38s     2.6.12-1+deb12u4
2176            worker          2               0d00h01m38s     2.6.12-1+deb12u4
# programs

";

    #[test]
    fn only_old_workers_are_leaving() {
        assert_eq!(leaving(PROCESSES).unwrap(), [2175, 2176]);
        let (none, _) = PROCESSES.split_once("# old").unwrap();
        assert!(leaving(&format!("{none}# programs\n\n")).unwrap().is_empty());
    }

    #[test]
    fn a_list_of_processes_that_is_cut_or_strange_is_not_read() {
        for (at, _) in PROCESSES.match_indices('\n').rev().skip(1) {
            assert!(leaving(&PROCESSES[..at]).is_err(), "{:?}", &PROCESSES[..at]);
        }
        assert!(leaving(&PROCESSES.replace("2175 ", "x")).is_err());
        assert!(leaving("#<PID> <type>\n\n").is_err());
    }

    #[test]
    fn a_worker_is_its_process_and_its_start() {
        let reply = "\nName: HAProxy\nPid: 7\nUptime_sec: 3\nStart_time_sec: 1795351325\n\n";
        assert_eq!(answering(reply).unwrap().identity(), "7@1795351325");
        assert_eq!(answering("Name: HAProxy\nPid: 7\n\n").unwrap().identity(), "7");
        assert!(answering("Name: HAProxy\nPid: 7\n").is_err());
        assert!(answering("Name: HAProxy\n\n").is_err());
    }

    #[test]
    fn several_processes_at_once_are_refused() {
        let reply = |count| format!("Name: HAProxy\nNbproc: {count}\nPid: 7\n\n");
        assert!(answering(&reply(1)).is_ok());
        assert!(matches!(answering(&reply(2)), Err(PortError::Refused(_))));
    }

    #[test]
    fn sessions_are_found_by_their_server() {
        let reply = "\n0x56: proto=tcpv4 fe=f be=web srv=web-01 ts=00\n\
                     0x57: proto=tcpv4 fe=f be=web srv=web-010 ts=00\n\
                     0x58: proto=sockpair fe=GLOBAL be=<NONE> srv=<none> ts=00\n\n";
        let server = ("web".parse().unwrap(), "web-01".parse().unwrap());
        assert_eq!(sessions_with(reply, &[server]), ["0x56"]);
    }

    proptest! {
        #[test]
        fn no_reply_makes_it_panic(reply in "(\\PC|\n|Name: |Pid: |#<PID>|# workers\n){0,40}") {
            drop(answering(&reply));
            drop(leaving(&reply));
            is_gone(&reply);
            sessions_with(&reply, &[]);
        }
    }
}
