//! The lab's network: one bridge in a namespace of its own, one namespace a host, and one cable to the machine.
//!
//! Only the subnet of `topology` is routed, and nothing of the machine's own network is touched: no forwarding, no
//! translation, no name server.

use crate::run::{cmd, feed, read, run, run_unchecked};
use crate::topology::{Host, MACHINE_ADDRESS, PREFIX_LENGTH, SUBNET, Topology};
use anyhow::{Result, ensure};

const BRIDGE: &str = "serinlab0";
/// The machine's end of its cable into the bridge.
const MACHINE_LINK: &str = "serinlab1";
const SWITCH: &str = "serin-lab";
const HOST_PREFIX: &str = "serin-lab-";

/// Returns the path of a host's network namespace.
pub(crate) fn namespace(host: &Host) -> String {
    format!("/run/netns/{HOST_PREFIX}{}", host.name)
}

/// Lays the bridge, the machine's cable and every host's; whatever an earlier lab left must be gone.
pub(crate) fn create(topology: &Topology) -> Result<()> {
    let routed = read(&mut cmd(["ip", "-4", "route", "show", "root", SUBNET]))?;
    ensure!(routed.is_empty(), "this machine already routes a part of {SUBNET}: {routed}");
    run(&mut cmd(["ip", "netns", "add", SWITCH]))?;
    ip_in(
        SWITCH,
        &format!("link add {BRIDGE} type bridge\nlink set {BRIDGE} up\nlink set lo up\n"),
    )?;
    run(&mut cmd([
        "ip",
        "link",
        "add",
        MACHINE_LINK,
        "type",
        "veth",
        "peer",
        "name",
        "machine",
        "netns",
        SWITCH,
    ]))?;
    ip_in(SWITCH, &format!("link set machine master {BRIDGE} up\n"))?;
    let address = format!("{MACHINE_ADDRESS}/{PREFIX_LENGTH}");
    run(&mut cmd(["ip", "address", "add", &address, "dev", MACHINE_LINK]))?;
    run(&mut cmd(["ip", "link", "set", MACHINE_LINK, "up"]))?;
    for (index, host) in topology.hosts.iter().enumerate() {
        plug_in(index, host)?;
    }
    Ok(())
}

/// Returns the processes that live in the lab's namespaces.
pub(crate) fn processes() -> Result<Vec<u32>> {
    let mut pids = Vec::new();
    for namespace in namespaces()? {
        let text = read(&mut cmd(["ip", "netns", "pids", &namespace]))?;
        pids.extend(text.lines().filter_map(|line| line.trim().parse::<u32>().ok()));
    }
    Ok(pids)
}

/// Removes every namespace and link of a lab, whichever of them exist.
pub(crate) fn remove() -> Result<()> {
    for namespace in namespaces()? {
        run(&mut cmd(["ip", "netns", "delete", &namespace]))?;
    }
    // The machine's end goes with the namespace of the other end, but the kernel takes its time over it.
    run_unchecked(&mut cmd(["ip", "link", "delete", MACHINE_LINK]))?;
    Ok(())
}

fn namespaces() -> Result<Vec<String>> {
    let list = read(&mut cmd(["ip", "netns", "list"]))?;
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    let ours = names.filter(|name| *name == SWITCH || name.starts_with(HOST_PREFIX));
    Ok(ours.map(str::to_owned).collect())
}

fn plug_in(index: usize, host: &Host) -> Result<()> {
    let namespace = format!("{HOST_PREFIX}{}", host.name);
    let port = format!("port{index}");
    run(&mut cmd(["ip", "netns", "add", &namespace]))?;
    run(&mut cmd([
        "ip", "-n", SWITCH, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns",
        &namespace,
    ]))?;
    ip_in(SWITCH, &format!("link set {port} master {BRIDGE} up\n"))?;
    ip_in(
        &namespace,
        &format!(
            "link set lo up\naddress add {}/{PREFIX_LENGTH} dev eth0\nlink set eth0 up\n",
            host.address
        ),
    )
}

fn ip_in(namespace: &str, batch: &str) -> Result<()> {
    feed(&mut cmd(["ip", "-n", namespace, "-batch", "-"]), batch)?;
    Ok(())
}
