//! One Debian host per test: started in namespaces, gone with the test; and the database it may use.
//!
//! Waiting is done by the shell, which looks again and again until a level is reached or half a minute has passed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

use crate::package::{Flaw, PackageSpec, build_deb};

/// What a command inside the host left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub code: Option<i32>,
    /// Standard output, then standard error.
    pub text: String,
}

impl Ended {
    /// The text of a command that must succeed.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.text);
        self.text
    }
}

/// A running host.
pub(crate) struct Host {
    folder: TempDir,
    namespaces: Child,
    init: String,
}

impl Host {
    /// Starts a host with runit and the given settings, without the package.
    pub(crate) fn start(settings: &str) -> Self {
        Self::start_with(settings, "")
    }

    /// The same with `database`'s socket at `/run/postgresql`.
    pub(crate) fn start_with_database(settings: &str, database: &Database) -> Self {
        let settings =
            format!("DATABASE_URL=postgres://gitlab@%2Frun%2Fpostgresql/postgres\n{settings}");
        Self::start_with(&settings, &database.folder.path().display().to_string())
    }

    fn start_with(settings: &str, database: &str) -> Self {
        let base = base();
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let script = r#"set -e
            cd "$1"; mkdir upper work root debs
            mount -t overlay overlay -o "lowerdir=$2,upperdir=upper,workdir=work" root
            mkdir -p root/debs root/run/postgresql root/etc/gitlab
            mount --bind /dev root/dev; mount -t proc proc root/proc; mount --bind debs root/debs
            [ -z "$3" ] || mount --bind "$3" root/run/postgresql
            ip link set lo up; hostname web-01.test
            exec chroot root /usr/bin/runsvdir -P /etc/service"#;
        let namespaces = Command::new("unshare")
            .args(["--mount", "--pid", "--uts", "--ipc", "--net", "--fork", "--kill-child"])
            .args(["sh", "-c", script, "host"])
            .arg(folder.path())
            .arg(&base)
            .arg(database)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let children = format!("/proc/{0}/task/{0}/children", namespaces.id());
        let init = run(
            Command::new("timeout").args(["30", "sh", "-c"]).arg(
                r#"until pid=$(cat "$0") && grep -qsx runsvdir "/proc/${pid% }/comm"; do sleep 0.05; done; echo $pid"#,
            ).arg(children),
        )
        .ok();
        let host = Self { folder, namespaces, init: init.trim().to_owned() };
        host.sh(&format!("cat > /etc/gitlab/serin-lab.env <<'END'\n{settings}\nEND")).ok();
        host
    }

    /// Runs a shell command as root inside.
    pub(crate) fn sh(&self, command: &str) -> Ended {
        run(&mut self.command(command))
    }

    /// The same, not yet run.
    pub(crate) fn command(&self, command: &str) -> Command {
        let mut inside = Command::new("nsenter");
        inside.args(["-t", &self.init, "-m", "-p", "-u", "-i", "-n", "-r", "-w", "--"]);
        inside.args([
            "env",
            "LC_ALL=C.UTF-8",
            "DEBIAN_FRONTEND=noninteractive",
            "sh",
            "-c",
            command,
        ]);
        inside.stdin(Stdio::null());
        inside
    }

    /// Waits until a shell condition holds inside.
    #[track_caller]
    pub(crate) fn until(&self, condition: &str) {
        let waiting = format!("timeout 30 sh -c 'until {condition}; do sleep 0.1; done'");
        assert_eq!(self.sh(&waiting).code, Some(0), "never: {condition}");
    }

    /// Builds a package and installs it with dpkg.
    pub(crate) fn install(&self, version: &str, flaw: Option<Flaw>) -> Ended {
        let deb = self.build(version, flaw);
        self.sh(&format!("dpkg --install {deb} 2>&1"))
    }

    /// Builds a package and returns where the host sees it.
    pub(crate) fn build(&self, version: &str, flaw: Option<Flaw>) -> String {
        let spec = PackageSpec { version: version.to_owned(), flaw, fix: None };
        let deb = build_deb(&spec, &standin(), &self.folder.path().join("debs")).unwrap();
        format!("/debs/{}", deb.file_name().unwrap().to_str().unwrap())
    }

    /// dpkg's view of the package: `want status error version`.
    pub(crate) fn package_state(&self) -> String {
        let format = "${db:Status-Want} ${db:Status-Status} ${db:Status-Eflag} ${Version}";
        self.sh(&format!("dpkg-query -W -f '{format}' gitlab-ee")).ok()
    }

    /// The version that the process on `port` has loaded.
    pub(crate) fn running(&self, port: u16) -> String {
        let ask = format!("curl -fsS http://127.0.0.1:{port}/-/version");
        let answer: serde_json::Value = serde_json::from_str(&self.sh(&ask).ok()).unwrap();
        answer.get("version").and_then(|version| version.as_str()).unwrap().to_owned()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // `unshare --kill-child` takes everything inside along; its mounts go with the namespace.
        let _already_gone = self.namespaces.kill();
        let _status = self.namespaces.wait();
    }
}

/// A PostgreSQL that is reachable through a socket only.
pub(crate) struct Database {
    folder: TempDir,
    server: Child,
}

impl Database {
    pub(crate) fn start() -> Self {
        let folder = TempDir::new().unwrap();
        run(Command::new("chown").arg("postgres").arg(folder.path())).ok();
        let data = folder.path().join("data");
        let initdb = ["--auth=trust", "--username=gitlab", "--encoding=UTF8", "--locale=C"];
        run(as_postgres("initdb").args(initdb).arg("--no-sync").arg(&data)).ok();
        let server = as_postgres("postgres")
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(folder.path())
            .args(["-c", "listen_addresses=", "-c", "fsync=off"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let ready = "until pg_isready -q -h \"$0\"; do sleep 0.05; done";
        run(Command::new("timeout").args(["30", "sh", "-c", ready]).arg(folder.path())).ok();
        Self { folder, server }
    }

    /// The one value that `sql` gives.
    pub(crate) fn value(&self, sql: &str) -> String {
        let mut psql = Command::new("psql");
        psql.arg("-h")
            .arg(self.folder.path())
            .args(["-U", "gitlab", "-d", "postgres", "-qtAc", sql]);
        run(&mut psql).ok().trim().to_owned()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _already_gone = self.server.kill();
        let _status = self.server.wait();
    }
}

fn as_postgres(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    command.arg(format!("/usr/lib/postgresql/15/bin/{program}")).current_dir("/");
    command
}

/// The stand-in program of this checkout.
pub(crate) fn standin() -> PathBuf {
    static BUILT: Mutex<bool> = Mutex::new(false);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if !*built {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--package", "serin-standin", "--target-dir"]).arg(target);
        run(&mut cargo).ok();
        *built = true;
    }
    target.join("debug/serin-standin")
}

/// A minimal Debian with runit, made once and kept.
fn base() -> PathBuf {
    static MAKING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let base = Path::new(env!("CARGO_TARGET_TMPDIR")).join("package-base-3");
    if !base.exists() {
        let made = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let root = made.path().join("root");
        let mut mmdebstrap = Command::new("mmdebstrap");
        // Debian's own services are not part of these hosts. The hook looks for them inside the root: /etc/service is a
        // link to an absolute path.
        mmdebstrap
            .args(["--variant=minbase", "--include=runit,curl,procps"])
            .arg("--customize-hook=chroot \"$1\" find /etc/service/ -mindepth 1 -delete")
            .arg("bookworm")
            .arg(&root);
        run(&mut mmdebstrap).ok();
        std::fs::rename(root, &base).unwrap();
    }
    base
}

fn run(command: &mut Command) -> Ended {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = [output.stdout, output.stderr].concat();
    Ended { code: output.status.code(), text: String::from_utf8_lossy(&text).into_owned() }
}
