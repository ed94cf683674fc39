//! `serin-lab break`: what can happen to an installation, done for real, and undone by `mend`.
//!
//! Every command returns when its damage is visible, so that a test need not wait and hope.

use crate::alerts;
use crate::host::{self, shell, wait_for_port};
use crate::run::{feed, in_parallel, read, run, run_unchecked, say, wait_for};
use crate::state::{LabFolder, LabRecord};
use crate::topology::{Environment, Kind, OPS};
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use std::time::Duration;

/// How long a damage may take to show.
const VISIBLE_WITHIN: Duration = Duration::from_secs(20);

/// The damage that can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Damage {
    /// Drop everything that arrives at a host's SSH port; its service goes on.
    Cut { host: String },
    /// Take a host's power away; its disk stays.
    PowerOff { host: String },
    /// Give a host its power back.
    PowerOn { host: String },
    /// Fill a host's disk to the last byte.
    DiskFull { host: String },
    /// Reload HAProxy: everything that was set at run time is forgotten.
    HaproxyReload { balancer: String },
    /// Stop HAProxy.
    HaproxyStop { balancer: String },
    /// Take HAProxy's socket out of the file system.
    HaproxySocketAbsent { balancer: String },
    /// Put a socket in its place that accepts and never answers.
    HaproxySocketMute { balancer: String },
    /// Take a server out of every backend of one load balancer, such as web-01.
    HaproxyForget { balancer: String, server: String },
    /// Stop Alertmanager.
    AlertmanagerStop,
    /// Restart Alertmanager, which forgets all alerts until Prometheus sends them again.
    AlertmanagerRestart,
    /// Hold dpkg's lock on a host for a while.
    DpkgLock { host: String, seconds: u32 },
    /// Leave a host's package as a dpkg that was killed leaves it.
    DpkgHalfInstalled { host: String },
    /// Fire a critical alert in an environment; it fires until it is cleared.
    Alert {
        #[arg(value_enum)]
        environment: Environment,
        /// Clear it instead.
        #[arg(long)]
        clear: bool,
    },
    /// Give a host another host key.
    HostKey { host: String },
    /// Take `deployer`'s right to use sudo away.
    NoSudo { host: String },
    /// Undo everything.
    Mend,
}

/// Does the damage and waits until it shows.
pub(crate) fn perform(folder: &LabFolder, damage: &Damage) -> Result<()> {
    let mut record = folder.load()?;
    match damage {
        Damage::Cut { host } => on(&record, host, CUT),
        Damage::PowerOff { host } => host::power_off(record.live_init(host)?),
        Damage::PowerOn { host } => power_on(folder, &mut record, host),
        Damage::DiskFull { host } => on(&record, host, FILL_DISK),
        Damage::HaproxyReload { balancer } => reload(&record, balancer),
        Damage::HaproxyStop { balancer } => on(&record, balancer, "sv stop haproxy"),
        Damage::HaproxySocketAbsent { balancer } => {
            on(&record, balancer, "mv /run/haproxy/admin.sock /run/haproxy/admin.sock.away")
        }
        Damage::HaproxySocketMute { balancer } => mute(&record, balancer),
        Damage::HaproxyForget { balancer, server } => forget(&record, balancer, server),
        Damage::AlertmanagerStop => on(&record, OPS, "sv stop alertmanager"),
        Damage::AlertmanagerRestart => on(&record, OPS, "sv restart alertmanager"),
        Damage::DpkgLock { host, seconds } => lock_dpkg(&record, host, *seconds),
        Damage::DpkgHalfInstalled { host } => on(&record, host, HALF_INSTALL),
        Damage::Alert { environment, clear: false } => alerts::fire(*environment),
        Damage::Alert { environment, clear: true } => alerts::clear(*environment),
        Damage::HostKey { host } => on(&record, host, SWAP_HOST_KEY),
        Damage::NoSudo { host } => on(&record, host, TAKE_SUDO),
        Damage::Mend => mend(folder, &mut record),
    }
}

const CUT: &str = "nft -f - <<'END'
table inet serin_lab {
    chain input { type filter hook input priority 0; tcp dport 22 drop; }
}
END";

const FILL_DISK: &str = "fallocate -l \"$(df -B1 --output=avail / | tail -n 1)\" \
                         /var/tmp/serin-lab-filler";

const SWAP_HOST_KEY: &str = "mkdir -p /var/lib/serin-lab
key=/etc/ssh/ssh_host_ed25519_key
[ -e /var/lib/serin-lab/host_key ] || mv $key /var/lib/serin-lab/host_key
rm -f $key $key.pub
ssh-keygen -q -t ed25519 -N '' -f $key
sv restart sshd";

const TAKE_SUDO: &str = "mkdir -p /var/lib/serin-lab
mv /etc/sudoers.d/deployer /var/lib/serin-lab/sudoers";

/// A killed dpkg leaves its last change in `updates`; apt then refuses everything until it is configured.
const HALF_INSTALL: &str = "[ -n \"$(dpkg-query -W gitlab-ee)\" ]
version=$(dpkg-query -W -f '${Version}' gitlab-ee)
dpkg --status gitlab-ee |
    sed -e 's/^Status: .*/Status: install ok half-configured/' \
        -e \"/^Version: /a Config-Version: $version\" >/var/lib/dpkg/updates/0000.partial
mv /var/lib/dpkg/updates/0000.partial /var/lib/dpkg/updates/0000";

fn on(record: &LabRecord, host: &str, line: &str) -> Result<()> {
    run(&mut shell(record.live_init(host)?, line)).with_context(|| host.to_owned())?;
    Ok(())
}

fn power_on(folder: &LabFolder, record: &mut LabRecord, name: &str) -> Result<()> {
    if record.live_init(name).is_ok() {
        return Ok(());
    }
    let host = record.topology.host(name).with_context(|| format!("the lab has no host {name}"))?;
    let init = host::boot(folder, &record.base, host)?;
    wait_for_port(host, 22, VISIBLE_WITHIN)?;
    record.inits.insert(name.to_owned(), init);
    folder.save(record)
}

/// The master's count of reloads is what shows that the new worker is there.
fn reload(record: &LabRecord, balancer: &str) -> Result<()> {
    let init = record.live_init(balancer)?;
    let worker = "echo 'show proc' | socat -t5 - UNIX-CONNECT:/run/haproxy-master.sock |
                  awk '/# workers/ { getline; print $1; exit }'";
    let before = read(&mut shell(init, worker))?;
    run(&mut shell(init, "sv 2 haproxy"))?;
    wait_for(&format!("HAProxy of {balancer} reloads"), VISIBLE_WITHIN, || {
        let after = read(&mut shell(init, worker))?;
        let is_new = after != before && after.chars().next().is_some_and(|c| c.is_ascii_digit());
        // A worker that is listed may not listen yet.
        Ok((is_new && crate::balancer::server_states(init).is_ok()).then_some(()))
    })
}

fn mute(record: &LabRecord, balancer: &str) -> Result<()> {
    on(
        record,
        balancer,
        "mv /run/haproxy/admin.sock /run/haproxy/admin.sock.away
         setsid socat UNIX-LISTEN:/run/haproxy/admin.sock,fork,mode=660 'SYSTEM:sleep 3600' \
             </dev/null >/dev/null 2>&1 &
         echo $! >/run/serin-lab-mute
         until [ -S /run/haproxy/admin.sock ]; do sleep 0.02; done",
    )
}

fn forget(record: &LabRecord, balancer: &str, server: &str) -> Result<()> {
    let init = record.live_init(balancer)?;
    let known = crate::balancer::server_states(init)?;
    if !known.iter().any(|row| row.name.ends_with(&format!("/{server}"))) {
        bail!("{balancer} has no server {server}");
    }
    let line = format!(
        "mkdir -p /var/lib/serin-lab
         [ -e /var/lib/serin-lab/haproxy.cfg ] ||
             cp /etc/haproxy/haproxy.cfg /var/lib/serin-lab/haproxy.cfg
         sed -i '/^    server {server} /d' /etc/haproxy/haproxy.cfg"
    );
    on(record, balancer, &line)?;
    reload(record, balancer)
}

fn lock_dpkg(record: &LabRecord, host: &str, seconds: u32) -> Result<()> {
    let init = record.live_init(host)?;
    let script = "cat >/run/serin-lab-dpkg-lock.pl";
    feed(&mut shell(init, script), include_str!("../files/dpkg-lock.pl"))?;
    let line = format!(
        "rm -f /run/serin-lab-dpkg-lock
         setsid perl /run/serin-lab-dpkg-lock.pl {seconds} </dev/null >/dev/null 2>&1 &"
    );
    on(record, host, &line)?;
    wait_for(&format!("dpkg's lock on {host} is held"), VISIBLE_WITHIN, || {
        let held = run_unchecked(&mut shell(init, "[ -s /run/serin-lab-dpkg-lock ]"))?;
        Ok(held.status.success().then_some(()))
    })
}

fn mend(folder: &LabFolder, record: &mut LabRecord) -> Result<()> {
    let names: Vec<String> = record.topology.hosts.iter().map(|host| host.name.clone()).collect();
    for name in &names {
        if record.live_init(name).is_err() {
            power_on(folder, record, name)?;
            say(format_args!("{name}: power is back"));
        }
    }
    in_parallel(&record.topology.hosts, 4, |host| {
        let said = feed(
            &mut host::inside(record.live_init(&host.name)?, ["sh", "-s"]),
            include_str!("../files/mend.sh"),
        )?;
        let said = String::from_utf8_lossy(&said.stderr).trim().to_owned();
        if !said.is_empty() {
            say(format_args!("{}: {said}", host.name));
        }
        Ok(())
    })?;
    let ops = record.topology.hosts.iter().find(|host| host.kind == Kind::Ops).context(OPS)?;
    for port in [9090, 9091, 9093] {
        wait_for_port(ops, port, VISIBLE_WITHIN)?;
    }
    for environment in record.topology.environments() {
        alerts::clear(environment)?;
        // What a flawed version does is not for mending: it is named, and stays.
        if let Err(error) = alerts::wait_for_quiet(environment) {
            say(format_args!("{error:#}"));
        }
    }
    Ok(())
}
