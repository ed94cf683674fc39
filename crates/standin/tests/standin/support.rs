//! What all tests need: an installation in a temporary folder, processes, a PostgreSQL, requests.
//!
//! Nothing waits for time to pass: everything waits for a level, with a limit after which the test fails.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

const LIMIT: Duration = Duration::from_secs(30);
const RAILS: &str = "opt/gitlab/embedded/service/gitlab-rails";

/// A temporary installation: settings, a build, migrations.
pub(crate) struct Host {
    root: TempDir,
}

impl Host {
    /// A host with this build and these settings.
    pub(crate) fn new(version: &str, flaw: &str, settings: &str) -> Self {
        let host = Self { root: TempDir::new().unwrap() };
        host.write("etc/gitlab/serin-lab.env", settings);
        host.write("opt/gitlab/flaw", flaw);
        host.write(&format!("{RAILS}/REVISION"), "abc\n");
        host.migration(
            "migrate",
            "20230101000001_create_projects",
            "CREATE TABLE projects (id bigserial PRIMARY KEY, name text)",
        );
        host.migration(
            "post_migrate",
            "20230101000009_add_legacy",
            "ALTER TABLE projects ADD COLUMN legacy text",
        );
        host.install(version);
        host
    }

    /// Replaces the build's files, as dpkg does under running services.
    pub(crate) fn install(&self, version: &str) {
        self.write(
            "opt/gitlab/version-manifest.json",
            &format!("{{\"build_version\": \"{version}\"}}"),
        );
        self.write(&format!("{RAILS}/VERSION"), &format!("{version}-rails\n"));
    }

    pub(crate) fn migration(&self, folder: &str, file: &str, sql: &str) {
        let content = format!("    execute 'SELECT pg_sleep(0.2)'\n    execute '{sql}'\n");
        self.write(&format!("{RAILS}/db/{folder}/{file}.rb"), &content);
    }

    pub(crate) fn concurrent_migration(&self, file: &str, sql: &str) {
        let content = format!("  disable_ddl_transaction!\n    execute '{sql}'\n");
        self.write(&format!("{RAILS}/db/migrate/{file}.rb"), &content);
    }

    pub(crate) fn path(&self) -> &Path {
        self.root.path()
    }

    /// The program, set to this installation; it dies with the test.
    pub(crate) fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_serin-standin"));
        command.args(arguments).env("SERIN_LAB_ROOT", self.path()).env_remove("DATABASE_URL");
        command.env_remove("SKIP_POST_DEPLOYMENT_MIGRATIONS");
        command.kill_on_drop(true);
        command
    }

    pub(crate) fn start(&self, service: &str) -> Child {
        self.program(&[service]).spawn().unwrap()
    }

    pub(crate) async fn rake(&self, arguments: &[&str]) -> Ended {
        let arguments = [&["rake"], arguments].concat();
        Ended::of(&self.program(&arguments).stdin(Stdio::null()).output().await.unwrap())
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// What a finished process left.
#[derive(Debug)]
pub(crate) struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ended {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

pub(crate) fn send(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// The exit code, once there is one.
pub(crate) async fn ended(child: &mut Child) -> Option<i32> {
    tokio::time::timeout(LIMIT, child.wait()).await.expect("it goes on").unwrap().code()
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// One request on a connection of its own: status and body, or what went wrong.
pub(crate) async fn ask(method: Method, port: u16, path: &str) -> anyhow::Result<(u16, String)> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path).header("host", "lab");
    let response = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
    let status = response.status().as_u16();
    let body = response.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8(body.to_vec())?))
}

pub(crate) async fn get(port: u16, path: &str) -> anyhow::Result<(u16, String)> {
    ask(Method::GET, port, path).await
}

pub(crate) async fn get_json(port: u16, path: &str) -> serde_json::Value {
    let (_, body) = get(port, path).await.unwrap();
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
}

/// Asks until `is` holds of the answer.
pub(crate) async fn until(
    port: u16,
    path: &str,
    is: impl Fn(&anyhow::Result<(u16, String)>) -> bool,
) -> anyhow::Result<(u16, String)> {
    let asking = async {
        loop {
            let answer = get(port, path).await;
            if is(&answer) {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if let Ok(answer) = tokio::time::timeout(LIMIT, asking).await {
        return answer;
    }
    panic!("{path}: never, last {:?}", get(port, path).await);
}

pub(crate) async fn until_ready(port: u16) {
    until(port, "/-/readiness", |answer| matches!(answer, Ok((200, _)))).await.unwrap();
}

/// A PostgreSQL of its own, reachable through a socket in a temporary folder only.
pub(crate) struct Postgres {
    folder: TempDir,
    server: Option<Child>,
}

impl Postgres {
    pub(crate) async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        if let Some((user, group)) = postgres_ids() {
            chown(folder.path(), Some(user), Some(group)).unwrap();
        }
        let mut postgres = Self { folder, server: None };
        let data = postgres.path("data");
        let made = as_postgres("initdb")
            .args([
                "--auth=trust",
                "--username=gitlab",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ])
            .arg(&data)
            .output()
            .await
            .unwrap();
        assert!(made.status.success(), "initdb: {:?}", Ended::of(&made));
        postgres.resume().await;
        postgres
    }

    /// Starts the server and waits until it answers.
    pub(crate) async fn resume(&mut self) {
        let mut command = as_postgres("postgres");
        command.arg("-D").arg(self.path("data")).arg("-k").arg(self.folder.path());
        command.args(["-c", "listen_addresses=", "-c", "fsync=off"]);
        self.server = Some(command.stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap());
        let asking = async {
            while self.try_connect().await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LIMIT, asking).await.expect("PostgreSQL does not answer");
    }

    /// Stops the server at once, with all its sessions.
    pub(crate) async fn stop(&mut self) {
        let mut server = self.server.take().unwrap();
        send(&server, Signal::INT);
        ended(&mut server).await;
    }

    pub(crate) fn url(&self) -> String {
        let socket = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://gitlab@{socket}/postgres")
    }

    pub(crate) async fn connect(&self) -> tokio_postgres::Client {
        self.try_connect().await.unwrap()
    }

    /// One number.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        self.connect().await.query_one(sql, &[]).await.unwrap().get(0)
    }

    /// Asks until the number is what is wanted.
    pub(crate) async fn until(&self, sql: &str, wanted: i64) {
        let asking = async {
            while self.number(sql).await != wanted {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(LIMIT, asking)
            .await
            .unwrap_or_else(|_| panic!("never {wanted}: {sql}"));
    }

    async fn try_connect(&self) -> anyhow::Result<tokio_postgres::Client> {
        let (client, connection) =
            tokio_postgres::connect(&self.url(), tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// PostgreSQL refuses to run as root; `setpriv` becomes the program, so that its pid is the server's.
fn as_postgres(program: &str) -> Command {
    let program = format!("/usr/lib/postgresql/15/bin/{program}");
    assert!(Path::new(&program).exists(), "{program} is missing: install postgresql-15");
    let mut command = if postgres_ids().is_some() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/");
    command
}

/// The ids of user `postgres` when we are root.
fn postgres_ids() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("no user postgres");
    let fields: Vec<&str> = line.split(':').collect();
    Some((fields[2].parse().unwrap(), fields[3].parse().unwrap()))
}
