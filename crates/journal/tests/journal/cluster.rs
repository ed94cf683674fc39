//! A PostgreSQL of a test's own: in a temporary folder, on a Unix socket, gone when the test is.
//!
//! A cluster takes a second to make and a tenth of one to copy and start, so the first test makes one that all others
//! copy. Nothing is shared but that.

use serin_journal::{PostgresJournal, PostgresSettings, Tls};
use std::fs::{File, read_to_string};
use std::io::Write;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// How long a server may take to start on a machine that does much else.
const LIMIT: Duration = Duration::from_mins(1);

/// A server.
pub(crate) struct Cluster {
    folder: TempDir,
    server: Option<Child>,
    port: u16,
}

impl Cluster {
    /// Starts a server with an empty database.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts a server with settings of its own.
    pub(crate) async fn start_with(settings: &[&str]) -> Self {
        let template = template();
        let folder = TempDir::new().unwrap();
        give_away(folder.path());
        copy(&template, &folder.path().join("data"));
        let mut cluster = Self { folder, server: None, port: 5432 };
        cluster.resume(settings).await;
        cluster
    }

    /// Starts the server again, and waits until it answers.
    pub(crate) async fn resume(&mut self, settings: &[&str]) {
        let mut command = as_postgres("postgres");
        command.arg("-D").arg(self.path("data")).arg("-k").arg(self.folder.path());
        for setting in ["listen_addresses=", "log_min_messages=warning"].iter().chain(settings) {
            command.args(["-c", setting]);
        }
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        self.server = Some(command.stdin(Stdio::null()).stderr(log).spawn().unwrap());
        let asking = async {
            while self.connect().await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let answers = tokio::time::timeout(LIMIT, asking).await.is_ok();
        assert!(answers, "PostgreSQL: {}", read_to_string(self.path("log")).unwrap());
    }

    /// The same, at another port.
    pub(crate) async fn resume_at(&mut self, port: u16, settings: &[&str]) {
        self.port = port;
        self.resume(settings).await;
    }

    /// Gives a file to the server's user.
    pub(crate) fn give_away(&self, path: &Path) {
        assert!(path.starts_with(self.folder.path()));
        give_away(path);
    }

    /// Stops the server at once, as when its machine fails: nothing is finished.
    pub(crate) fn stop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        let pid = rustix::process::Pid::from_child(&server);
        rustix::process::kill_process(pid, rustix::process::Signal::QUIT).unwrap();
        server.wait().unwrap();
    }

    /// Opens the journal as one more process.
    pub(crate) async fn open(&self) -> PostgresJournal {
        PostgresJournal::open(self.settings()).await.unwrap()
    }

    /// Returns where the database is.
    pub(crate) fn settings(&self) -> PostgresSettings {
        settings(self.folder.path(), self.folder.path())
    }

    /// Connects as anybody may.
    pub(crate) async fn connect(&self) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
        let (host, port) = (self.folder.path().display(), self.port);
        let url = format!("host={host} port={port} user=serin dbname=postgres");
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Returns a path beside the data.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Returns where the database of a cluster is, for a machine whose lock files are in a folder.
pub(crate) fn settings(cluster: &Path, machine: &Path) -> PostgresSettings {
    PostgresSettings {
        host: cluster.to_str().unwrap().to_owned(),
        port: 5432,
        database: "postgres".to_owned(),
        user: "serin".to_owned(),
        password: None,
        tls: Tls::Off,
        folder: machine.to_owned(),
    }
}

/// Returns a cluster that never runs, made once.
fn template() -> PathBuf {
    let user = rustix::process::geteuid().as_raw();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(folder).unwrap();
    let template = folder.join(format!("postgres-15-of-{user}"));
    // Each test is a process: they wait for the one that makes it.
    let lock = File::create(folder.join(format!("postgres-15-of-{user}.lock"))).unwrap();
    lock.lock().unwrap();
    if !template.exists() {
        let making = TempDir::new().unwrap();
        give_away(making.path());
        let data = making.path().join("data");
        let mut initdb = as_postgres("initdb");
        initdb.args(["--auth=trust", "--username=serin", "--encoding=UTF8", "--locale=C"]);
        // Small: it is copied for every test.
        let made = initdb.args(["--no-sync", "--wal-segsize=1"]).arg(&data).output().unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        drop_what_no_test_uses(&data);
        let half = folder.join(format!("postgres-15-of-{user}.half"));
        std::fs::remove_dir_all(&half).unwrap_or_default();
        copy(&data, &half);
        std::fs::rename(&half, &template).unwrap();
    }
    template
}

/// Two of three databases are there to make further ones.
fn drop_what_no_test_uses(data: &Path) {
    let sql = "UPDATE pg_database SET datistemplate = false\nDROP DATABASE template0\n\
        DROP DATABASE template1\n";
    let mut postgres = as_postgres("postgres");
    postgres.arg("--single").arg("-D").arg(data).arg("postgres");
    let postgres = postgres.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut postgres = postgres.spawn().unwrap();
    postgres.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
    assert!(postgres.wait().unwrap().success());
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success(), "{} could not be copied", from.display());
}

/// PostgreSQL refuses to run as root. `setpriv` becomes the program, which ends when the test does, however that ends.
fn as_postgres(program: &str) -> Command {
    let program = format!("/usr/lib/postgresql/15/bin/{program}");
    assert!(Path::new(&program).exists(), "{program} is missing: scripts/setup installs it");
    let mut command = Command::new("setpriv");
    if postgres_ids().is_some() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.args(["--pdeathsig=QUIT", &program]).current_dir("/");
    command
}

/// Gives a file or a folder to the user whose server will use it.
fn give_away(folder: &Path) {
    if let Some((user, group)) = postgres_ids() {
        chown(folder, Some(user), Some(group)).unwrap();
    }
}

/// Returns the ids of the user `postgres` when we are root.
fn postgres_ids() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("no user postgres");
    let fields: Vec<&str> = line.split(':').collect();
    Some((fields[2].parse().unwrap(), fields[3].parse().unwrap()))
}
