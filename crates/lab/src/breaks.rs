//! `serin-lab break`: what can happen to an installation, done for real, and undone by `mend`.
//!
//! Every command returns when its damage is visible, so that a test need not wait and hope.

mod clock;
mod lines;

use crate::alerts;
use crate::host::{self, shell, wait_for_port};
use crate::run::{feed, in_parallel, read, run, run_unchecked, say, wait_for};
use crate::state::{self, LabFolder, LabRecord};
use crate::topology::{Environment, Host, OPS};
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use lines::{
    AT_DPKG, CUT, FILL_DISK, HALF_INSTALL, LOSE, STOP_DATABASE, SWAP_HOST_KEY, TAKE_CONNECTIONS,
    TAKE_SUDO,
};
use std::time::Duration;

/// How long a damage may take to show.
const VISIBLE_WITHIN: Duration = Duration::from_secs(20);

/// The damage that can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Damage {
    /// Drop everything that arrives at a host's SSH port; its service goes on.
    Cut {
        host: String,
        /// Answer with a reset, so that the other side notices at once.
        #[arg(long)]
        reset: bool,
    },
    /// Take a host's power away; its disk stays.
    PowerOff { host: String },
    /// Give a host its power back.
    PowerOn { host: String },
    /// Lose a share of the packets of SSH and of alerts that arrive at a host or leave it.
    Loss { host: String, percent: u32 },
    /// Start a host again with its clock so many seconds ahead, or behind with a minus.
    Clock {
        host: String,
        #[arg(allow_negative_numbers = true)]
        seconds: i64,
    },
    /// Fill a host's disk to the last byte.
    DiskFull { host: String },
    /// Reload HAProxy: everything that was set at run time is forgotten.
    HaproxyReload { balancer: String },
    /// Restart HAProxy: connections are cut, and what was set at run time is forgotten.
    HaproxyRestart { balancer: String },
    /// Stop HAProxy.
    HaproxyStop { balancer: String },
    /// Take HAProxy's socket out of the file system.
    HaproxySocketAbsent { balancer: String },
    /// Put a socket in its place that accepts and never answers.
    HaproxySocketMute { balancer: String },
    /// Take all of its connections, for as long as HAProxy lets them idle: two minutes.
    HaproxySocketTaken { balancer: String },
    /// Take a server out of every backend of one load balancer, such as web-01.
    HaproxyForget { balancer: String, server: String },
    /// Stop Alertmanager.
    AlertmanagerStop,
    /// Restart Alertmanager, which forgets all alerts until Prometheus sends them again.
    AlertmanagerRestart,
    /// Answer in Alertmanager's place with something that is not the truth.
    AlertmanagerLie {
        #[arg(value_enum)]
        lie: Lie,
    },
    /// Hold dpkg's lock on a host for a while.
    DpkgLock { host: String, seconds: u32 },
    /// Wait until dpkg unpacks a package on a host, and stop it there until it is continued or killed.
    DpkgFreeze { host: String },
    /// Wait until dpkg unpacks a package on a host, and kill it.
    DpkgKill { host: String },
    /// Stop PostgreSQL: sessions are ended, and what they had not committed is undone.
    DatabaseStop { host: String },
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
    /// Tell Alertmanager of a critical alert in an environment that ends by itself.
    AlertBriefly {
        #[arg(value_enum)]
        environment: Environment,
        seconds: u32,
    },
    /// Give a host another host key.
    HostKey { host: String },
    /// Take `deployer`'s right to use sudo away.
    NoSudo { host: String },
    /// Undo everything, or everything on these hosts.
    Mend { hosts: Vec<String> },
}

/// What is answered in Alertmanager's place.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Lie {
    /// A page for people, with status 200, as a proxy in front of it gives.
    Html,
    /// The beginning of the truth.
    Truncated,
    /// What was true when the lie began, the watchdog included, for ever.
    Stale,
    /// No alerts at all.
    Empty,
}

/// Does the damage and waits until it shows.
pub(crate) fn perform(folder: &LabFolder, damage: &Damage) -> Result<()> {
    let record = folder.load()?;
    match damage {
        Damage::Cut { host, reset } => {
            let verdict = if *reset { "reject with tcp reset" } else { "drop" };
            on(&record, host, &CUT.replace("VERDICT", verdict))
        }
        Damage::PowerOff { host } => host::power_off(record.live_init(host)?),
        Damage::PowerOn { host } => power_on(folder, host),
        Damage::Loss { host, percent } => {
            on(&record, host, &LOSE.replace("PERCENT", &percent.to_string()))
        }
        Damage::Clock { host, seconds } => clock::set(folder, host, *seconds),
        Damage::DiskFull { host } => on(&record, host, FILL_DISK),
        Damage::HaproxyReload { balancer } => reload(&record, balancer),
        Damage::HaproxyRestart { balancer } => restart(&record, balancer),
        Damage::HaproxyStop { balancer } => on(&record, balancer, "sv stop haproxy"),
        Damage::HaproxySocketAbsent { balancer } => {
            on(&record, balancer, "mv /run/haproxy/admin.sock /run/haproxy/admin.sock.away")
        }
        Damage::HaproxySocketMute { balancer } => mute(&record, balancer),
        Damage::HaproxySocketTaken { balancer } => take_connections(&record, balancer),
        Damage::HaproxyForget { balancer, server } => forget(&record, balancer, server),
        Damage::AlertmanagerStop => on(&record, OPS, "sv stop alertmanager"),
        Damage::AlertmanagerRestart => on(&record, OPS, "sv restart alertmanager"),
        Damage::AlertmanagerLie { lie } => tell_lie(&record, *lie),
        Damage::DpkgLock { host, seconds } => lock_dpkg(&record, host, *seconds),
        Damage::DpkgFreeze { host } => on(&record, host, &AT_DPKG.replace("SIGNAL", "STOP")),
        Damage::DpkgKill { host } => on(&record, host, &AT_DPKG.replace("SIGNAL", "KILL")),
        Damage::DatabaseStop { host } => on(&record, host, STOP_DATABASE),
        Damage::DpkgHalfInstalled { host } => on(&record, host, HALF_INSTALL),
        Damage::Alert { environment, clear: false } => alerts::fire(*environment),
        Damage::Alert { environment, clear: true } => alerts::clear(*environment),
        Damage::AlertBriefly { environment, seconds } => {
            alerts::fire_briefly(*environment, *seconds)
        }
        Damage::HostKey { host } => on(&record, host, SWAP_HOST_KEY),
        Damage::NoSudo { host } => on(&record, host, TAKE_SUDO),
        Damage::Mend { hosts } => mend(folder, hosts),
    }
}

fn on(record: &LabRecord, host: &str, line: &str) -> Result<()> {
    run(&mut shell(record.live_init(host)?, line)).with_context(|| host.to_owned())?;
    Ok(())
}

fn power_on(folder: &LabFolder, name: &str) -> Result<()> {
    let _lock = state::lock()?;
    let mut record = folder.load()?;
    if record.live_init(name).is_ok() {
        return Ok(());
    }
    let host = record.topology.host(name).with_context(|| format!("the lab has no host {name}"))?;
    let init = host::boot(folder, &record.base, host)?;
    wait_for_port(host, 22, VISIBLE_WITHIN)?;
    record.inits.insert(name.to_owned(), init);
    folder.save(&record)
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

/// Done when the new one answers.
fn restart(record: &LabRecord, balancer: &str) -> Result<()> {
    on(record, balancer, "sv -w 20 restart haproxy")?;
    let init = record.live_init(balancer)?;
    wait_for(&format!("HAProxy of {balancer} is back"), VISIBLE_WITHIN, || {
        Ok(crate::balancer::server_states(init).is_ok().then_some(()))
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

fn take_connections(record: &LabRecord, balancer: &str) -> Result<()> {
    on(record, balancer, TAKE_CONNECTIONS)?;
    let init = record.live_init(balancer)?;
    let ask = "echo 'show version' | timeout 1 socat -t1 - UNIX-CONNECT:/run/haproxy/admin.sock";
    wait_for(&format!("the connections of {balancer} are taken"), VISIBLE_WITHIN, || {
        Ok(run_unchecked(&mut shell(init, ask))?.stdout.is_empty().then_some(()))
    })
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

fn tell_lie(record: &LabRecord, lie: Lie) -> Result<()> {
    // Half of nothing, or nothing for ever, would be no lie.
    wait_for("the watchdog fires", VISIBLE_WITHIN, || {
        Ok(alerts::active()?.iter().any(|alert| alert.name == "Watchdog").then_some(()))
    })?;
    let prepare = match lie {
        Lie::Html => "echo '<html><body>Bad Gateway</body></html>' >/run/lie/answer",
        Lie::Truncated => "truncate -s 100 /run/lie/answer",
        Lie::Stale => ":",
        Lie::Empty => "echo '[]' >/run/lie/answer",
    };
    // The files are named for the paths that are asked, so that the status is as stale as the alerts.
    let script = format!(
        "mkdir -p /run/lie
         api=http://127.0.0.1:9093/api/v2
         curl -fsS $api/alerts >/run/lie/answer
         curl -fsS $api/status >/run/lie/status
         {prepare}
         sv stop alertmanager
         cat >/run/lie/nginx.conf <<'END'
user www-data;
pid /run/lie/nginx.pid;
error_log stderr;
events {{ }}
http {{
    access_log off;
    default_type application/json;
    server {{
        listen 9093;
        location = /api/v2/status {{ alias /run/lie/status; }}
        location = /api/v2/alerts {{ alias /run/lie/answer; }}
    }}
}}
END
         nginx -c /run/lie/nginx.conf >/dev/null 2>&1 </dev/null"
    );
    on(record, OPS, &script)?;
    let ops = record.topology.host(OPS).context(OPS)?;
    wait_for_port(ops, 9093, VISIBLE_WITHIN)
}

fn mend(folder: &LabFolder, only: &[String]) -> Result<()> {
    let record = folder.load()?;
    let hosts: Vec<Host> = record.topology.hosts.clone();
    let hosts: Vec<Host> =
        hosts.into_iter().filter(|host| only.is_empty() || only.contains(&host.name)).collect();
    if let Some(stranger) = only.iter().find(|name| record.topology.host(name).is_none()) {
        bail!("the lab has no host {stranger}");
    }
    let names: Vec<String> = hosts.iter().map(|host| host.name.clone()).collect();
    for name in &names {
        clock::put_right(folder, name)?;
        if record.live_init(name).is_err() {
            power_on(folder, name)?;
            say(format_args!("{name}: power is back"));
        }
    }
    let record = folder.load()?;
    in_parallel(&hosts, 4, |host| {
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
    for host in &hosts {
        host::wait_for_services(host)?;
    }
    if !only.is_empty() && !only.iter().any(|name| name == OPS) {
        return Ok(());
    }
    for environment in record.topology.environments() {
        alerts::clear(environment)?;
        // What a flawed version does is not for mending: it is named, and stays.
        if let Err(error) = alerts::wait_for_quiet(environment, VISIBLE_WITHIN) {
            say(format_args!("{error:#}"));
        }
    }
    Ok(())
}
