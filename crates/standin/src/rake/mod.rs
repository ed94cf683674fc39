//! `gitlab-rake`: `db:migrate` and `db:migrate:status`, with the words and exit codes of Rails.
//!
//! Post-deployment migrations are left out when `SKIP_POST_DEPLOYMENT_MIGRATIONS=true`, as in GitLab: their folder is
//! then not looked at, by the status either.

mod migrate;
mod migration;
mod status;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;

use crate::database;
use crate::settings::Installation;

/// What the database sees as `application_name` of a migrating session.
const APPLICATION_NAME: &str = "gitlab-rake";

/// Runs one task. Tasks are named on the command line; `VARIABLE=value` arguments are settings, as in rake.
pub(crate) async fn run(
    installation: &Installation,
    arguments: &[&str],
) -> anyhow::Result<ExitCode> {
    let tasks: Vec<&str> = arguments.iter().copied().filter(|word| !word.contains('=')).collect();
    let folders: &[&str] =
        if skips_post_deployment(arguments) { &["migrate"] } else { &["migrate", "post_migrate"] };
    let migrations = migration::read_all(&installation.rails().join("db"), folders)?;
    let url = installation.read_settings()?.database_url().context("DATABASE_URL is not set");
    let done = match tasks.as_slice() {
        ["db:migrate"] => {
            let version = installation.read_build()?.version;
            let client = database::connect(&url?, APPLICATION_NAME).await;
            match client {
                Ok(client) => migrate::run(client, &migrations, &version).await,
                Err(error) => Err(error),
            }
        }
        ["db:migrate:status"] => match database::connect(&url?, APPLICATION_NAME).await {
            Ok(client) => status::print(&client, &migrations).await,
            Err(error) => Err(error),
        },
        other => Err(anyhow::anyhow!("Don't know how to build task '{}'", other.join(" "))),
    };
    let Err(error) = done else { return Ok(ExitCode::SUCCESS) };
    crate::say(&format!("rake aborted!\n{error:#}"));
    Ok(ExitCode::FAILURE)
}

#[expect(clippy::disallowed_methods, reason = "the edge: read once at start")]
fn skips_post_deployment(arguments: &[&str]) -> bool {
    let name = "SKIP_POST_DEPLOYMENT_MIGRATIONS";
    let argument =
        arguments.iter().filter_map(|word| word.split_once('=')).find(|(key, _)| *key == name);
    let value = argument.map(|(_, value)| value.to_owned()).or_else(|| std::env::var(name).ok());
    // GitLab takes any value for yes; so do we, except for the ones that nobody means.
    value.is_some_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}

/// One line of the task's output. A reader that is gone ends the task, as it ends a Ruby one.
fn print_line(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("standard output is gone")
}
