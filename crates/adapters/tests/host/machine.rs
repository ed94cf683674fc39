//! A machine for tests: Debian in its own mount and PID namespace, with a real sshd on a free loopback port.
//!
//! The root is an overlay on a base that is made once (`/var/cache/serin-test/bookworm`). Restarting it is what a
//! restart is to a container: same disk, same kernel, another first process. It is gone when it is dropped.

use serin_adapters::host::SystemHosts;
use serin_adapters::ssh::SshConfig;
use serin_model::{HostName, Timestamp};
use serin_runtime::ports::{Clock, HostRun};
use std::fmt::Write as _;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const BASE: &str = "/var/cache/serin-test/bookworm";

/// See the module.
pub(crate) struct Machine {
    folder: tempfile::TempDir,
    port: u16,
    init: Option<Child>,
}

struct TestClock;

#[async_trait::async_trait]
impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000)
    }
    async fn sleep_until(&self, _at: Timestamp) {}
}

impl Machine {
    /// Starts a machine with the users `root`, `release` (may use sudo) and `guest` (may not).
    pub(crate) fn start() -> Self {
        base();
        let folder = tempfile::Builder::new().prefix("serin-test-").tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut machine = Self { folder, port, init: None };
        for part in ["upper", "work", "root"] {
            fs::create_dir(machine.path(part)).unwrap();
        }
        fs::set_permissions(machine.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let options = format!(
            "lowerdir={BASE},upperdir={},workdir={}",
            machine.path("upper").display(),
            machine.path("work").display()
        );
        let root = machine.path("root");
        done(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(&root));
        machine.make_keys();
        machine.make_users();
        machine.boot();
        machine
    }

    /// Starts the machine that is off.
    pub(crate) fn boot(&mut self) {
        let script = "set -e; mount -t proc proc $0/proc; mount --rbind /dev $0/dev; \
             mount -t tmpfs tmpfs $0/run; mkdir /$0/run/sshd; exec chroot $0 /usr/sbin/sshd -De";
        let log = fs::File::create(self.path("sshd.log")).unwrap();
        // It must not outlive a test process that is killed.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--uts", "--ipc"])
            .args(["--fork", "--kill-child", "sh", "-c", script])
            .arg(self.path("root"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.init = Some(child);
        until("sshd listens", || TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }

    /// Ends everything that runs on the machine at once.
    pub(crate) fn power_off(&mut self) {
        if let Some(mut child) = self.init.take() {
            child.kill().unwrap();
            child.wait().unwrap();
            until("sshd is gone", || TcpStream::connect(("127.0.0.1", self.port)).is_err());
        }
    }

    /// Where a file of the machine is for the test.
    pub(crate) fn root(&self, path: &str) -> PathBuf {
        self.path("root").join(path.trim_start_matches('/'))
    }

    /// Runs a shell script on the machine, not by SSH.
    pub(crate) fn sh(&self, script: &str) -> Output {
        let init = self.init.as_ref().expect("the machine is on");
        let children = format!("/proc/{0}/task/{0}/children", init.id());
        let first = fs::read_to_string(children).unwrap();
        Command::new("nsenter")
            .args(["-m", "-p", "-t", first.trim(), "chroot"])
            .arg(self.path("root"))
            .args(["sh", "-c", script])
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Runs a shell script that must succeed and returns what it printed.
    pub(crate) fn ok(&self, script: &str) -> String {
        let output = self.sh(script);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {text}{errors}");
        text
    }

    /// Runs a shell script in the root of the machine while it is off.
    pub(crate) fn ok_off(&self, script: &str) {
        done(Command::new("sh").args(["-c", script]).current_dir(self.path("root")));
    }

    /// Connects to sshd and says nothing.
    pub(crate) fn connection(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).unwrap()
    }

    /// Returns what sshd has logged since the last start.
    pub(crate) fn sshd_log(&self) -> String {
        fs::read_to_string(self.path("sshd.log")).unwrap()
    }

    /// Returns the port as Serin would make it, for a login user.
    pub(crate) fn hosts(&self, user: &str) -> SystemHosts {
        Self::hosts_with(self.ssh(user))
    }

    /// The same, for any way of reaching it.
    pub(crate) fn hosts_with(config: SshConfig) -> SystemHosts {
        SystemHosts::new(config, Arc::new(TestClock))
    }

    /// The same, for root by an ssh_config that was written before.
    pub(crate) fn hosts_by(config: PathBuf) -> SystemHosts {
        Self::hosts_with(ssh_config(config, false))
    }

    /// Writes the ssh_config for a login user and returns how it is used.
    pub(crate) fn ssh(&self, user: &str) -> SshConfig {
        let config = self.path(&format!("ssh_config.{user}"));
        let known = self.path("known_hosts");
        let mut text =
            format!("Host web-*\n HostName 127.0.0.1\n Port {}\n User {user}\n", self.port);
        writeln!(text, " UserKnownHostsFile {}\n GlobalKnownHostsFile /dev/null", known.display())
            .unwrap();
        writeln!(text, " IdentityFile {}\n IdentitiesOnly yes", self.path("user").display())
            .unwrap();
        writeln!(text, " IdentityAgent none\n KexAlgorithms curve25519-sha256").unwrap();
        fs::write(&config, text).unwrap();
        ssh_config(config, user != "root")
    }

    /// Replaces what the client knows of host keys.
    pub(crate) fn know(&self, key: Option<&Path>) {
        let line = key.map_or(String::new(), |key| {
            let key = fs::read_to_string(key).unwrap();
            format!("[127.0.0.1]:{} {key}", self.port)
        });
        fs::write(self.path("known_hosts"), line).unwrap();
    }

    /// A file of the test beside the machine.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn make_keys(&self) {
        for key in ["host", "other", "user"] {
            let path = self.path(key);
            done(
                Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path),
            );
        }
        fs::copy(self.path("host"), self.root("/etc/ssh/serin_test_key")).unwrap();
        self.know(Some(&self.path("host.pub")));
        let config = format!(
            "Port {}\nListenAddress 127.0.0.1\nHostKey /etc/ssh/serin_test_key\nUsePAM no\nPidFile none\n\
             AcceptEnv LC_*\nLogLevel VERBOSE\nMaxStartups 10:30:100\nPermitRootLogin yes\n",
            self.port
        );
        fs::write(self.root("/etc/ssh/sshd_config"), config).unwrap();
    }

    fn make_users(&self) {
        let public = fs::read_to_string(self.path("user.pub")).unwrap();
        let root = self.path("root");
        for user in ["release", "guest"] {
            done(Command::new("chroot").arg(&root).args([
                "useradd",
                "-m",
                "-s",
                "/bin/bash",
                user,
            ]));
            done(Command::new("chroot").arg(&root).args(["passwd", "-q", "-d", user]));
        }
        for home in ["root", "home/release", "home/guest"] {
            let folder = root.join(home).join(".ssh");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("authorized_keys"), &public).unwrap();
        }
        // A password, so that sudo has something to ask for.
        done(Command::new("chroot").arg(&root).args(["usermod", "-p", "x", "guest"]));
        let rules = "release ALL=(ALL) NOPASSWD: ALL\nguest ALL=(ALL) ALL\n";
        fs::write(root.join("etc/sudoers.d/test"), rules).unwrap();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(mut child) = self.init.take() {
            drop(child.kill());
            drop(child.wait());
        }
        drop(Command::new("umount").arg("-l").arg(self.path("root")).status());
    }
}

#[expect(clippy::fn_params_excessive_bools, reason = "the setting is a bool")]
fn ssh_config(config: PathBuf, sudo: bool) -> SshConfig {
    let connect_timeout = Duration::from_secs(10);
    SshConfig { config: Some(config), max_connecting: 4, connect_timeout, sudo }
}

/// Waits until something is so, for a minute at most.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        // Between two looks at a level, never instead of one.
        done(Command::new("sleep").arg("0.02"));
    }
    panic!("waited a minute in vain: {what}");
}

/// The same, while other tasks go on.
pub(crate) async fn until_async(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited a minute in vain: {what}");
}

/// Returns the host's name.
/// A run that was made long ago.
pub(crate) fn run(id: &str) -> HostRun {
    HostRun { id: id.parse().unwrap(), made: Timestamp::from_millis(0) }
}

pub(crate) fn web() -> HostName {
    "web-01".parse().unwrap()
}

/// Runs a command of the test that must succeed.
pub(crate) fn done(command: &mut Command) {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
}

fn base() {
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| {
        if Path::new(BASE).join("usr/sbin/sshd").exists() {
            return;
        }
        fs::create_dir_all("/var/cache/serin-test").unwrap();
        // Each test is a process of its own: the first makes the base, and the others wait for it.
        let making = fs::File::create("/var/cache/serin-test/making").unwrap();
        making.lock().unwrap();
        if Path::new(BASE).join("usr/sbin/sshd").exists() {
            return;
        }
        let new = format!("{BASE}.new-{}", std::process::id());
        done(Command::new("mmdebstrap").args([
            "--variant=minbase",
            "--include=openssh-server,sudo,procps,haproxy",
            "--format=directory",
            "bookworm",
            &new,
        ]));
        fs::rename(&new, BASE).unwrap();
    });
}
