//! Asks HAProxy of a load balancer for the state of its servers, and changes nothing.
//!
//! A socket in a host's file system is reached through `/proc/PID/root`: sockets with a path ignore network
//! namespaces.

use crate::state::ProcessIdentity;
use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// One server row of `show stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerRow {
    /// `backend/server`.
    pub name: String,
    /// HAProxy's own words: `UP`, `DOWN`, `DRAIN`, `MAINT`, `UP 1/2`, …
    pub status: String,
    /// The effective weight.
    pub weight: String,
}

impl ServerRow {
    /// Says whether it serves and passed all its checks.
    pub(crate) fn is_up(&self) -> bool {
        self.status == "UP"
    }
}

/// Reads the state of every server.
pub(crate) fn server_states(init: ProcessIdentity) -> Result<Vec<ServerRow>> {
    let path = format!("/proc/{}/root/run/haproxy/admin.sock", init.pid);
    let mut socket = UnixStream::connect(&path).context("could not connect to HAProxy's socket")?;
    // HAProxy may accept and never answer when all of its connections are taken.
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.write_all(b"show stat -1 4 -1\n")?;
    let mut reply = String::new();
    socket.read_to_string(&mut reply).context("HAProxy did not answer")?;
    parse_stat(&reply)
}

fn parse_stat(reply: &str) -> Result<Vec<ServerRow>> {
    let mut lines = reply.lines().filter(|line| !line.is_empty());
    let header = lines.next().and_then(|line| line.strip_prefix("# ")).context("no header")?;
    let columns: Vec<&str> = header.split(',').collect();
    let position = |name: &str| {
        columns.iter().position(|column| *column == name).with_context(|| format!("no {name}"))
    };
    let (proxy, server) = (position("pxname")?, position("svname")?);
    let (status, weight) = (position("status")?, position("weight")?);
    Ok(lines
        .map(|line| {
            // Columns with commas in them come after these.
            let fields: Vec<&str> = line.split(',').collect();
            let field = |index: usize| fields.get(index).copied().unwrap_or_default();
            ServerRow {
                name: format!("{}/{}", field(proxy), field(server)),
                status: field(status).to_owned(),
                weight: field(weight).to_owned(),
            }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_their_names() {
        let reply = "# pxname,svname,scur,status,weight,last_chk,\n\
                     web,web-01,0,UP 1/2,100,\"a,b\",\n\n";
        let rows = parse_stat(reply).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].name, "web/web-01");
        assert_eq!(rows[0].status, "UP 1/2");
        assert!(!rows[0].is_up());
    }
}
