//! `serin-standin`: the small program behind the lab's stand-in `gitlab-ee` package.
//!
//! It keeps the documented interface of an omnibus installation (services under runit, health endpoints, `gitlab-rake`)
//! so that Serin is exercised against real processes, sockets and databases. It is no GitLab: it has no users, no
//! repositories and no security, and it must never be reachable from outside a lab.

mod database;
mod flaw;
mod gitaly;
mod http;
mod metrics;
mod rake;
mod settings;
mod sidekiq;
mod web;

use std::path::PathBuf;
use std::process::ExitCode;

use settings::Installation;

const USAGE: &str =
    "usage: serin-standin puma|workhorse|gitaly|gitaly-server|sidekiq|sidekiq-idle|rake TASK";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // One thread keeps a service under 10 MB, and twenty hosts share one machine.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&error.into()),
    };
    match runtime.block_on(run(&arguments)) {
        Ok(code) => code,
        Err(error) => complain(&error),
    }
}

async fn run(arguments: &[&str]) -> anyhow::Result<ExitCode> {
    let installation = Installation::at(installation_root());
    match arguments {
        ["puma"] => web::serve("puma", &installation).await,
        ["workhorse"] => web::serve("workhorse", &installation).await,
        ["gitaly"] => gitaly::supervise(&installation).await,
        ["gitaly-server"] => gitaly::serve(&installation).await,
        ["sidekiq"] => sidekiq::serve(&installation).await,
        ["sidekiq-idle"] => sidekiq::report_idle(&installation).await,
        ["rake", task @ ..] => rake::run(&installation, task).await,
        _ => {
            say(USAGE);
            Ok(ExitCode::from(2))
        }
    }
}

/// Where `/opt/gitlab`, `/etc/gitlab` and `/var/opt/gitlab` are: `/` except in tests.
#[expect(clippy::disallowed_methods, reason = "the edge: read once at start")]
fn installation_root() -> PathBuf {
    std::env::var("SERIN_LAB_ROOT").map_or_else(|_| PathBuf::from("/"), PathBuf::from)
}

/// One line in the service's log. A log that is gone must not end the service.
#[expect(clippy::print_stderr, reason = "standard error is the service's log under runit")]
fn say(line: &str) {
    eprintln!("{line}");
}

fn complain(error: &anyhow::Error) -> ExitCode {
    say(&format!("serin-standin: {error:#}"));
    ExitCode::FAILURE
}
