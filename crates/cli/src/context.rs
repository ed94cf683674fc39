//! What commands work with: the configuration, the journal, the ports, and who is asking.

use crate::failure::{Code, Failure, chain};
use crate::people::identity::account;
use crate::show::{Format, embargo, line};
use serin_adapters::{
    alerts::Alerts,
    haproxy::HaProxy,
    host::SystemHosts,
    qa::Qa,
    repository::{Credentials, PackageCache, Pattern, Repository, RepositoryConfig},
    ssh::SshConfig,
};
use serin_config::{Config, ConfigError, Login};
use serin_journal::{Holder, Journal, Server};
use serin_model::{RunId, Timestamp};
use serin_runtime::audit::{Asker, Hand, Process};
use serin_runtime::records::{self, End};
use serin_runtime::{INBOX_POLL, Settings, TokioClock, ports::Clock, ports::Ports};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// How long a lease holds without a beat. A controller that is stopped this long may be replaced.
const TTL: Duration = Duration::from_secs(15);

/// What commands work with.
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) journal: Arc<dyn Journal>,
    /// The server of the journal, if it has one.
    pub(crate) server: Option<Server>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Who asks, once that is known, and whose words the command's are.
    pub(crate) who: Option<(Asker, Hand)>,
    format: Format,
}

impl Context {
    /// Reads the configuration and opens the journal.
    pub(crate) fn open(from: (Option<&Path>, Hand), format: Format) -> Result<Self, Failure> {
        let config = veiled(from)?;
        let opening = crate::journal::open(&config);
        let opened = tokio::task::block_in_place(|| Handle::current().block_on(opening));
        let (journal, server) = opened?;
        let context = Self { config, journal, server, clock: Arc::new(clock()), who: None, format };
        if embargo::is_drawn() {
            // Here, and not in each command: what one of them forgot could not be told apart.
            let learn = || Handle::current().block_on(context.learn_embargoed());
            tokio::task::block_in_place(learn);
        }
        Ok(context)
    }

    /// Takes in how the builds of all runs are called. A run that cannot be read is an error of whoever shows it.
    async fn learn_embargoed(&self) {
        for summary in self.journal.runs().await.unwrap_or_default() {
            if let Ok((run, _)) = records::load(self.journal.as_ref(), &summary.id).await {
                embargo::learn([&run.plan.build]);
            }
        }
    }

    /// Returns who asks, as records and other people see them: the person, or else the account.
    pub(crate) fn by(&self) -> String {
        match &self.who {
            Some((Asker { person: Some(person), .. }, _)) => person.to_string(),
            // A door's own account is nobody who asked.
            Some((Asker { person: None, identity }, Hand::Door)) => identity.to_string(),
            Some((Asker { person: None, .. }, Hand::Own)) | None => user(),
        }
    }

    /// Returns what is to be printed.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Tells whether JSON is to be printed.
    pub(crate) fn json(&self) -> bool {
        self.format == Format::Json
    }

    /// Tells a person something; programs that read JSON get events only.
    pub(crate) fn say(&self, text: impl AsRef<str>) {
        if !self.json() {
            line(text);
        }
    }

    /// Connects the real ports. Nothing is reached before it is asked.
    pub(crate) fn ports(&self) -> Result<Ports, Failure> {
        let hosts = Arc::new(SystemHosts::new(self.ssh(), Arc::clone(&self.clock)));
        let load_balancers = Arc::new(HaProxy::new(Arc::clone(&hosts), Arc::clone(&self.clock)));
        let alerts = Alerts::new().map_err(|error| Failure::new(Code::Error, chain(&error)))?;
        Ok(Ports {
            hosts,
            load_balancers,
            alerts: Arc::new(alerts),
            qa: Arc::new(Qa::new(environment())),
            clock: Arc::clone(&self.clock),
        })
    }

    /// Returns how hosts are reached.
    pub(crate) fn ssh(&self) -> SshConfig {
        let ssh = &self.config.ssh;
        SshConfig {
            config: ssh.config.clone(),
            max_connecting: ssh.max_connecting,
            connect_timeout: ssh.connect_timeout,
            sudo: ssh.sudo,
        }
    }

    /// Connects the package repository.
    pub(crate) fn repository(&self) -> Result<Repository, Failure> {
        let from = &self.config.repository;
        let kinds = from.kinds.iter().map(|(kind, text)| (*kind, Pattern::new(text))).collect();
        let config = RepositoryConfig {
            url: from.url.clone(),
            suite: from.suite.clone(),
            component: from.component.clone(),
            architecture: from.architecture.clone(),
            keyring: from.keyring.clone(),
            credentials: credentials(from)?,
            package: self.config.topology.package.clone(),
            kinds,
        };
        Repository::new(config).map_err(|error| Failure::new(Code::Refused, chain(&error)))
    }

    /// Where packages are kept that were fetched to be looked into: beside the journal, if that is a file.
    pub(crate) fn packages(&self) -> PackageCache {
        PackageCache::new(self.config.state.join("packages"))
    }

    pub(crate) fn settings() -> Settings {
        Settings { holder: holder(), ttl: TTL, inbox_poll: INBOX_POLL }
    }

    /// Returns the run that was named, or else the newest.
    pub(crate) async fn newest(&self, run: Option<RunId>) -> Result<RunId, Failure> {
        if let Some(run) = run {
            return Ok(run);
        }
        let newest = self.journal.runs().await?.into_iter().next();
        newest.map(|run| run.id).ok_or_else(|| Failure::new(Code::Refused, "there are no runs yet"))
    }

    /// Returns the runs that are not over, newest first.
    pub(crate) async fn open_runs(&self) -> Result<Vec<RunId>, Failure> {
        let mut open = Vec::new();
        for summary in self.journal.runs().await? {
            if records::end(self.journal.as_ref(), &summary).await? == End::Open {
                open.push(summary.id);
            }
        }
        Ok(open)
    }

    /// Returns the run that was named, or else the only one that is not over.
    pub(crate) async fn open_run(&self, run: Option<RunId>) -> Result<RunId, Failure> {
        if let Some(run) = run {
            return Ok(run);
        }
        match self.open_runs().await?.as_slice() {
            [only] => Ok(only.clone()),
            [] => Err(Failure::new(Code::Refused, "there is no run that is not over")),
            several => {
                let names = several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                Err(Failure::new(Code::Refused, format!("several runs are not over: {names}"))
                    .hint("name the one that is meant"))
            }
        }
    }
}

/// Reads the configuration, and draws the veil that it says. Who asks through a door is no account of this machine.
pub(crate) fn veiled((config, hand): (Option<&Path>, Hand)) -> Result<Config, Failure> {
    let config = load(config)?;
    let from = &config.repository;
    let reader = || match hand {
        Hand::Own => person(),
        Hand::Door => String::new(),
    };
    embargo::draw(&from.embargo, &from.embargo_readers, reader);
    Ok(config)
}

/// Reads the password for the repository, each time anew: it may have been changed.
fn credentials(from: &serin_config::Repository) -> Result<Option<Credentials>, Failure> {
    let read = match &from.login {
        None => return Ok(None),
        Some(Login::User { user, password_file }) => {
            Credentials::from_password_file(user, password_file)
        }
        Some(Login::AuthConf(path)) => Credentials::from_auth_conf(path, &from.url),
    };
    read.map(Some).map_err(|error| Failure::new(Code::Refused, chain(&error)))
}

/// Finds and reads the configuration.
pub(crate) fn load(path: Option<&Path>) -> Result<Config, Failure> {
    let found = path.map(PathBuf::from).or_else(|| {
        ["serin.toml", "/etc/serin/serin.toml"].map(PathBuf::from).into_iter().find(|p| p.exists())
    });
    let Some(found) = found else {
        return Err(Failure::new(Code::Config, "there is no serin.toml here or in /etc/serin")
            .hint("name one with --config, or start from examples/gitlab.toml"));
    };
    serin_config::load(&found).map_err(|error| match error {
        ConfigError::Wrong(diagnostics) => {
            Failure::new(Code::Config, format!("{} is refused\n\n{diagnostics}", found.display()))
        }
        unreadable @ ConfigError::Unreadable { .. } => {
            Failure::new(Code::Config, chain(&unreadable))
        }
    })
}

#[expect(clippy::disallowed_methods, reason = "the one reading of the wall clock")]
pub(crate) fn clock() -> TokioClock {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let millis = since.unwrap_or_default().as_millis();
    TokioClock::new(Timestamp::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)))
}

/// Who is asking: the person behind sudo, or behind a job of GitLab, if there is one.
fn user() -> String {
    let started = variable("GITLAB_USER_LOGIN").filter(|_| in_gitlab());
    if let Some(login) = started {
        let job = variable("CI_JOB_ID").map(|job| format!(" by job {job}")).unwrap_or_default();
        return format!("{login}{job}");
    }
    let named = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(variable);
    let uid = rustix::process::getuid();
    named.unwrap_or_else(|| {
        if uid.is_root() { "root".to_owned() } else { format!("uid-{}", uid.as_raw()) }
    })
}

/// Tells whether a job of GitLab runs this: its log knows sections, and its variables who began it.
pub(crate) fn in_gitlab() -> bool {
    variable("GITLAB_CI").as_deref() == Some("true")
}

/// Returns a variable of the environment that is not empty.
#[expect(clippy::disallowed_methods, reason = "the environment is read at the edge")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Who looks, as the machine knows it and not as the environment says: only root is believed to be somebody else.
fn person() -> String {
    if rustix::process::getuid().is_root() { user() } else { account() }
}

fn environment() -> std::collections::BTreeMap<String, String> {
    std::env::vars().collect()
}

fn holder() -> Holder {
    let Process { machine, pid } = process();
    Holder { user: user(), machine, pid }
}

/// This process, as others would look for it.
pub(crate) fn process() -> Process {
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Process { machine, pid: std::process::id() }
}
