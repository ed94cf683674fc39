//! A host's life: its disk, its boot, running something inside it, and the end of its power.
//!
//! What a host is made of is `seed`'s business. Processes are only ever ended by a recorded identity.

use crate::network;
use crate::run::{cmd, run, wait_for};
use crate::seed::haproxy::METRICS_PORT;
use crate::state::{LabFolder, ProcessIdentity};
use crate::topology::{Host, Kind};
use anyhow::{Context, Result};
use std::fs::File;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const BOOT: &str = include_str!("../files/boot.sh");

/// A disk of its own size limit, in memory: full when it is full, kept over a power cut, gone with the lab.
pub(crate) fn mount_disk(folder: &LabFolder, host: &Host) -> Result<()> {
    let disk = folder.disk(&host.name);
    std::fs::create_dir_all(&disk).with_context(|| disk.display().to_string())?;
    let size = match host.kind {
        // Their data grows with the lab's age.
        Kind::Ops | Kind::Database => "size=1g",
        Kind::Deploy
        | Kind::Gitaly
        | Kind::Web
        | Kind::Api
        | Kind::Git
        | Kind::Sidekiq
        | Kind::LoadBalancer => "size=512m",
    };
    let options = format!("mode=0755,{size}");
    run(cmd(["mount", "-t", "tmpfs", "-o", &options, "serin-lab-disk"]).arg(&disk))?;
    for part in ["upper", "work", "root"] {
        std::fs::create_dir(disk.join(part))?;
    }
    Ok(())
}

/// Starts the host and returns its PID 1; its services come up after that.
pub(crate) fn boot(folder: &LabFolder, base: &Path, host: &Host) -> Result<ProcessIdentity> {
    let script = folder.path("boot.sh");
    if !script.exists() {
        std::fs::write(&script, BOOT)?;
    }
    let pid_file = folder.path(&format!("hosts/{}/pid", host.name));
    drop(std::fs::remove_file(&pid_file));
    let console = File::options().create(true).append(true).open(folder.console(&host.name))?;
    let mut command = cmd(["setsid", "nsenter"]);
    command
        .arg(format!("--net={}", network::namespace(host)))
        .args(["unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"])
        .arg("sh")
        .arg(&script)
        .arg(&host.name)
        .arg(base)
        .arg(folder.disk(&host.name))
        .arg(&pid_file);
    if host.kind == Kind::Ops {
        command.arg(folder.path("repo")).arg("/srv/repo");
    }
    let mut child = command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(console.try_clone()?)
        .stderr(console)
        .spawn()
        .with_context(|| format!("could not start {}", host.name))?;
    let pid = wait_for(&format!("{} boots", host.name), Duration::from_secs(10), || {
        if let Some(status) = child.try_wait()? {
            let console = folder.console(&host.name);
            anyhow::bail!("its boot ended with {status}: see {}", console.display());
        }
        Ok(std::fs::read_to_string(&pid_file).ok().and_then(|text| text.trim().parse().ok()))
    })?;
    ProcessIdentity::observe(pid).with_context(|| format!("{} died while booting", host.name))
}

/// Ends the host's PID 1, and with it everything that runs in the host; its disk stays.
pub(crate) fn power_off(init: ProcessIdentity) -> Result<()> {
    if !init.is_alive() {
        return Ok(());
    }
    let pid =
        rustix::process::Pid::from_raw(i32::try_from(init.pid)?).context("no such process")?;
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    wait_for("the host's power is off", Duration::from_secs(10), || {
        Ok((!init.is_alive()).then_some(()))
    })
}

/// Returns a command that runs as root inside the host.
pub(crate) fn inside<S: AsRef<std::ffi::OsStr>>(
    init: ProcessIdentity,
    words: impl IntoIterator<Item = S>,
) -> Command {
    let mut command = cmd(["nsenter", "-t", &init.pid.to_string(), "-m", "-u", "-i", "-n", "-p"]);
    command
        .args(["env", "-i", "LANG=C.UTF-8", "HOME=/root"])
        .arg("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .args(words);
    command
}

/// Returns a command that runs a line of shell as root inside the host.
pub(crate) fn shell(init: ProcessIdentity, line: &str) -> Command {
    inside(init, ["sh", "-euc", line])
}

/// Waits until the host accepts connections on a port.
pub(crate) fn wait_for_port(host: &Host, port: u16, limit: Duration) -> Result<()> {
    let address = SocketAddr::from((host.address, port));
    wait_for(&format!("{} listens on port {port}", host.name), limit, || {
        TcpStream::connect_timeout(&address, Duration::from_millis(500))?;
        Ok(Some(()))
    })
}

/// Waits until the services that the host runs of its own accord, without the package, accept connections.
pub(crate) fn wait_for_services(host: &Host) -> Result<()> {
    let ports: &[u16] = match host.kind {
        Kind::Ops => &[80, 9090, 9091, 9093],
        Kind::LoadBalancer => &[80, METRICS_PORT],
        Kind::Database => &[5432],
        Kind::Deploy | Kind::Gitaly | Kind::Web | Kind::Api | Kind::Git | Kind::Sidekiq => &[],
    };
    for port in ports {
        wait_for_port(host, *port, Duration::from_secs(20))?;
    }
    Ok(())
}
