//! `serin-lab`: a miniature installation of real hosts on one Linux machine, for showing and testing Serin.
//!
//! Reads the command line and hands over; each command has a file of its own. Read `up` first.

mod alerts;
mod balancer;
mod breaks;
mod delayed;
mod down;
mod host;
mod image;
mod network;
mod operator_files;
mod package;
mod qa;
mod repository;
mod run;
mod seed;
mod serin_config;
mod state;
mod status;
mod text;
mod topology;
mod up;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use state::LabFolder;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use topology::{Environment, Fleet, Size};

/// A miniature installation of real hosts on one Linux machine.
///
/// Needs root and what scripts/setup installs. Everything runs in namespaces of its own, at addresses of 10.87.0.0/16.
#[derive(Debug, Parser)]
#[command(name = "serin-lab", version)]
struct Arguments {
    /// The lab's folder.
    #[arg(long, global = true, default_value = ".lab")]
    dir: PathBuf,
    #[command(subcommand)]
    command: LabCommand,
}

#[derive(Debug, Subcommand)]
enum LabCommand {
    /// Start a lab; cleans up first what a crashed one left.
    Up(UpArguments),
    /// End the lab and everything in it.
    Down,
    /// Connect standard input and output to a port, with a delay: for ssh's ProxyCommand.
    Delayed {
        address: String,
        port: u16,
        /// How long a round trip takes.
        #[arg(long, value_name = "MS")]
        milliseconds: u64,
    },
    /// Show every host, its version, the servers in HAProxy, and the alerts.
    Status,
    /// Build a version of the package and add it to the repository.
    Publish(PublishArguments),
    /// Take a version out of the repository; hosts that have it keep it.
    Unpublish {
        /// Such as 16.1.0-ee.0.
        version: String,
    },
    /// Do damage: what can happen to an installation, for real.
    Break {
        #[command(subcommand)]
        damage: breaks::Damage,
    },
    /// Run a command as root inside a host, past SSH and sudo.
    Exec(InsideArguments),
    /// Run a command on a host through SSH, as `deployer`.
    Ssh(InsideArguments),
    /// Run the small QA suite against an environment's load balancer; exit 1 if a test fails.
    Qa(QaArguments),
}

#[derive(Debug, Args)]
struct UpArguments {
    /// Staging only: two web hosts and what they need.
    #[arg(long)]
    small: bool,
    /// The stand-in's binary; next to this program unless told.
    #[arg(long)]
    standin: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct PublishArguments {
    /// Such as 16.1.0-ee.0, 16.1.0-rc1.ee.0 or 16.1.1+rnightly.159756.b2b5f05e-0.
    version: String,
    /// What is wrong with this version, such as five-percent-errors.
    #[arg(long)]
    flaw: Option<package::Flaw>,
    /// How much of the fix in scenarios/redirect.patch this version contains.
    #[arg(long, value_enum)]
    fix: Option<package::Fix>,
    /// The stand-in's binary; next to this program unless told.
    #[arg(long)]
    standin: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct InsideArguments {
    /// Such as web-01.gstg.
    host: String,
    /// The command and its arguments; a shell if there is none.
    #[arg(last = true)]
    command: Vec<String>,
}

#[derive(Debug, Args)]
struct QaArguments {
    /// The environment to test.
    #[arg(long, value_enum, default_value = "staging")]
    environment: Environment,
    /// Test the canary: every request carries the canary cookie, and its fleet must answer.
    #[arg(long)]
    canary: bool,
    /// Write a JUnit report to this file.
    #[arg(long)]
    report: Option<PathBuf>,
}

fn main() -> ExitCode {
    match perform(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            run::complain(format_args!("serin-lab: {error:#}"));
            ExitCode::from(2)
        }
    }
}

fn perform(arguments: Arguments) -> Result<ExitCode> {
    let folder = LabFolder::new(&arguments.dir)?;
    match arguments.command {
        LabCommand::Up(up) => {
            let _lock = state::lock()?;
            let size = if up.small { Size::Small } else { Size::Full };
            up::up(&folder, size, &cache_folder(), &standin(up.standin)?)?;
            if let Some((user, group)) = operator() {
                operator_files::give_to(&folder, user, group)?;
            }
        }
        LabCommand::Down => {
            let _lock = state::lock()?;
            down::down(&folder)?;
        }
        LabCommand::Delayed { address, port, milliseconds } => {
            delayed::delayed(&address, port, Duration::from_millis(milliseconds))?;
        }
        LabCommand::Status => status::status(&folder)?,
        LabCommand::Publish(publish) => {
            folder.load()?;
            let _lock = state::lock()?;
            let PublishArguments { version, flaw, fix, standin: binary } = publish;
            let standin = standin(binary)?;
            let spec = package::PackageSpec { version, flaw, fix };
            repository::publish(&folder, &standin, &spec)?;
            run::say(format_args!("published gitlab-ee {}", spec.version));
        }
        LabCommand::Unpublish { version } => {
            folder.load()?;
            let _lock = state::lock()?;
            repository::unpublish(&folder, &version)?;
        }
        LabCommand::Break { damage } => breaks::perform(&folder, &damage)?,
        LabCommand::Exec(inside) => return Err(exec(&folder, &inside)),
        LabCommand::Ssh(inside) => return Err(ssh(&folder, &inside)),
        LabCommand::Qa(arguments) => {
            let suite = qa::Suite {
                environment: arguments.environment,
                fleet: if arguments.canary { Fleet::Canary } else { Fleet::Main },
                report: arguments.report,
            };
            return qa::qa(&folder, &suite);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Becomes the command; returns only what went wrong.
fn exec(folder: &LabFolder, inside: &InsideArguments) -> anyhow::Error {
    let init = match folder.load().and_then(|record| record.live_init(&inside.host)) {
        Ok(init) => init,
        Err(error) => return error,
    };
    let mut command = if inside.command.is_empty() {
        host::inside(init, ["sh", "-l"])
    } else {
        host::inside(init, &inside.command)
    };
    command.exec().into()
}

fn ssh(folder: &LabFolder, inside: &InsideArguments) -> anyhow::Error {
    let mut command = run::cmd(["ssh", "-F"]);
    command.arg(folder.path("ssh_config")).arg(&inside.host).args(&inside.command);
    command.exec().into()
}

#[expect(clippy::disallowed_methods, reason = "the command line's edge: read once")]
fn cache_folder() -> PathBuf {
    let base = std::env::var("XDG_CACHE_HOME").unwrap_or_else(|_| "/var/cache".to_owned());
    Path::new(&base).join("serin-lab")
}

/// Whoever runs the lab with sudo runs `serin` without: the operator's files are theirs.
#[expect(clippy::disallowed_methods, reason = "the command line's edge: read once")]
fn operator() -> Option<(u32, u32)> {
    let number = |name: &str| std::env::var(name).ok()?.parse().ok();
    Some((number("SUDO_UID")?, number("SUDO_GID")?))
}

fn standin(told: Option<PathBuf>) -> Result<PathBuf> {
    if let Some(path) = told {
        return Ok(path);
    }
    let program = std::env::current_exe()?;
    let folder = program.parent().context("this program has no folder")?;
    Ok(folder.join("serin-standin"))
}
