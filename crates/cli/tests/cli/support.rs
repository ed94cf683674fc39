//! A configuration, a journal and, if wanted, a HAProxy for one test.

use rustix::process::{Pid, Signal, kill_process};
use serin_journal::SqliteJournal;
use serin_model::{
    Action, Actors, Build, BuildKind, Lane, Pace, Phase, Plan, Queue, RunId, Stage, Step, StepId,
    Subject, Timestamp,
};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A world: where `serin` finds everything.
pub(crate) struct World {
    folder: TempDir,
    haproxy: Option<Pid>,
    port: u16,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl World {
    /// Makes a world without a HAProxy. `more` is added to the configuration of production.
    pub(crate) fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // A port that is free now; HAProxy takes it a moment later.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let world = Self { folder, haproxy: None, port };
        world.configure(more);
        world
    }

    /// Makes a world with a HAProxy whose shared backend balances in a way.
    pub(crate) fn with_haproxy(balance: &str) -> Self {
        Self::with_haproxy_and(balance, "")
    }

    /// Makes a world with a HAProxy, and more in the configuration.
    pub(crate) fn with_haproxy_and(balance: &str, more: &str) -> Self {
        let mut world = Self::new(more);
        let path = world.path("haproxy.cfg");
        let port = world.port;
        let server = |name: &str| format!("  server {name} 127.0.0.1:1 weight 100\n");
        let text = format!(
            "global\n  stats socket ipv4@127.0.0.1:{port} level admin\n\
             defaults\n  mode http\n  timeout connect 1s\n  timeout client 1s\n  timeout server 1s\n\
             backend web\n  balance {balance}\n{}{}{}\
             backend canary_web\n{}",
            server("web-01"),
            server("web-02"),
            server("web-cny-01"),
            server("web-cny-01"),
        );
        std::fs::write(&path, text).unwrap();
        let pid = world.path("haproxy.pid");
        // In the background it is only when it listens.
        let mut haproxy = Command::new("haproxy");
        let haproxy = haproxy.args(["-D", "-f", &path, "-p", &pid]);
        let started = haproxy.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(started.success());
        let pid = std::fs::read_to_string(pid).unwrap();
        world.haproxy = Pid::from_raw(pid.trim().parse().unwrap());
        world
    }

    fn configure(&self, more: &str) {
        let port = self.port;
        let text = format!(
            r#"
[package]
name = "serin-standin"
profile = "plain"
[repository]
url = "http://127.0.0.1:9"
suite = "bookworm"
keyring = "none.gpg"
[journal]
path = "journal.db"
[roles.web]
services = [{{ name = "web", action = "restart" }}]
backends = ["web"]
[environments.staging]
load_balancers.lb-01 = {{ host = "lb-01.gstg", tcp = "127.0.0.1:9", unfenced = true, master_socket = "none" }}
fleets.main.hosts = {{ web = ["web-01.gstg", "web-02.gstg"] }}
[environments.production]
load_balancers.lb-01 = {{ host = "lb-01.gprd", tcp = "127.0.0.1:{port}", unfenced = true, master_socket = "none" }}
fleets.main.hosts = {{ web = ["web-01.gprd", "web-02.gprd"] }}
fleets.canary.share = {{ after_canary = "5%" }}
fleets.canary.backends = {{ web = ["canary_web"] }}
fleets.canary.hosts = {{ web = ["web-cny-01.gprd"] }}
{more}
"#
        );
        std::fs::write(self.path("serin.toml"), text).unwrap();
    }

    /// Puts the journal into a database, whose socket is in a folder. The configuration of before is kept beside it.
    pub(crate) fn use_postgres(&self, socket: &Path) {
        let text = std::fs::read_to_string(self.path("serin.toml")).unwrap();
        std::fs::write(self.path("old.toml"), &text).unwrap();
        let socket = socket.display();
        let journal = format!(
            "state = \"state\"\npostgres = {{ host = \"{socket}\", database = \"postgres\" }}"
        );
        let text = text.replace("path = \"journal.db\"", &journal);
        std::fs::write(self.path("serin.toml"), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Runs `serin`.
    pub(crate) fn serin(&self, words: &[&str]) -> Said {
        Said::of(&mut self.command(words))
    }

    /// The same, with a variable of the environment.
    pub(crate) fn serin_with(&self, name: &str, value: &str, words: &[&str]) -> Said {
        Said::of(self.command(words).env(name, value))
    }

    /// Starts `serin`, and does not wait for it.
    pub(crate) fn start(&self, words: &[&str]) -> Child {
        self.command(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
        command.env("SERIN_CONFIG", self.path("serin.toml")).args(words);
        // The person, whoever runs the tests.
        command
            .env_remove("SUDO_USER")
            .env_remove("PGPASSWORD")
            .env_remove("GITLAB_CI")
            .env("USER", "mira")
            .env("TZ", "UTC");
        command.current_dir(Path::new("/"));
        command
    }

    /// Starts `serin` with some variables, so that what it prints can be read while it goes on.
    pub(crate) fn start_told_with(&self, words: &[&str], variables: &[(&str, &str)]) -> Child {
        let mut command = self.command(words);
        command.envs(variables.iter().copied());
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Records a run of a plan that is nothing but a guard in production, which needs no host.
    pub(crate) async fn record(&self, stage: u32, queue: Option<Queue>) {
        self.record_step(stage, queue, Action::Guard).await;
    }

    /// The same with another step.
    pub(crate) async fn record_step(&self, stage: u32, queue: Option<Queue>, action: Action) {
        self.record_plan((&[stage], action), queue, Actors::One).await;
    }

    /// Records a run for jobs: stages that are nothing but guards.
    pub(crate) async fn record_for_jobs(&self, stages: &[u32]) {
        let actors =
            Actors::EachStage { of: Some("https://gitlab.example/-/pipelines/7".to_owned()) };
        self.record_plan((stages, Action::Guard), None, actors).await;
    }

    async fn record_plan(
        &self,
        (stages, action): (&[u32], Action),
        queue: Option<Queue>,
        actors: Actors,
    ) {
        let stage = |number: &u32| {
            let id = StepId::new(*number, "environment", &action, None);
            let guard = Step { id, action: action.clone() };
            let lane = Lane { subject: Subject::Environment, steps: vec![guard] };
            Stage {
                number: *number,
                title: "look".to_owned(),
                environment: "production".parse().unwrap(),
                phases: vec![Phase { title: "guard".to_owned(), lanes: vec![lane] }],
            }
        };
        let stages = stages.iter().map(stage).collect();
        self.begin(Plan { queue, actors, ..self.plan(stages) }).await;
    }

    /// Makes a plan of these stages, by this installation's configuration.
    pub(crate) fn plan(&self, stages: Vec<Stage>) -> Plan {
        let config = serin_config::load(Path::new(&self.path("serin.toml"))).unwrap();
        Plan {
            pipeline: "to-canary".parse().unwrap(),
            build: Build {
                package: config.topology.package.clone(),
                version: "16.2.0-ee.0".parse().unwrap(),
                sha256: "ab".repeat(32).parse().unwrap(),
                size: 1,
                kind: BuildKind::Official,
            },
            topology: config.topology,
            stages,
            pace: Pace::Careful,
            back: None,
            patching: None,
            overlays: Vec::new(),
            tolerated: BTreeMap::new(),
            why: None,
            queue: None,
            actors: Actors::One,
        }
    }

    /// Records a run for which nobody acts yet.
    pub(crate) async fn begin(&self, plan: Plan) -> RunId {
        let journal = SqliteJournal::open(Path::new(&self.path("journal.db"))).unwrap();
        let now =
            Timestamp::from_millis(jiff::Timestamp::now().as_millisecond().try_into().unwrap());
        serin_runtime::start(&journal, plan, "mira", now).await.unwrap()
    }

    /// Asks HAProxy something.
    pub(crate) fn haproxy(&self, command: &str) -> String {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(format!("{command}\n").as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text.trim().to_owned()
    }
}

impl Said {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        Self {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Checks how it ended, and that it says all of these.
    #[track_caller]
    pub(crate) fn is(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        let text = format!("{}{}", self.out, self.err);
        for word in words {
            assert!(text.contains(word), "{word:?} is not in: {text}");
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(haproxy) = self.haproxy {
            // It may have ended by itself: then there is nothing to end.
            kill_process(haproxy, Signal::KILL).unwrap_or_default();
        }
    }
}
