//! Migrations: run once, and settled by looking.
//!
//! | the job's last attempt | migrations not applied | what is done |
//! |---|---|---|
//! | any | none | it is done |
//! | never started | some | run |
//! | runs | any | attach and wait |
//! | ended by itself with a failure | any | halt: a person decides, and resuming runs what is left |
//! | died | the same as before it began, no session in the database | run again |
//! | died | anything else | halt: it cannot be told |

use super::{Act, Performed, Stop, already, done, failed, unexpected};
use crate::ports::{Job, JobEnd, JobState, Look, Work};
use serin_engine::{Mode, Outcome};
use serin_model::{MigrationKind, Reason, policy::Migrations};

pub(super) async fn migrate(act: &Act, kind: MigrationKind) -> Performed {
    let profile = &act.plan.topology.profile;
    let Some(migrations) = &profile.migrations else {
        return unexpected("a profile with migrations", profile.name.as_str());
    };
    let seen = act.observe(Look::Migrations).await?;
    let target = &act.build()?.version;
    if seen.installed() != Some(target) {
        return unexpected(format!("{target} on {}", act.subject), seen.package.to_string());
    }
    let pending = pending(act, kind).await?;
    if pending.is_empty() && !is_running(act).await? {
        return already("every migration of the build is applied");
    }
    if act.mode == Mode::InDoubt {
        settle(act, migrations, &pending).await?;
    }
    let argv = match kind {
        MigrationKind::Regular => &migrations.regular,
        MigrationKind::PostDeployment => &migrations.post_deployment,
    };
    let work = Work::Command { argv: argv.clone(), environment: migrations.environment.clone() };
    let host = act.host()?.name.clone();
    let job = Job {
        note: pending.join(" "),
        ..act.new_job(host, act.step.id.clone(), work, migrations.timeout)
    };
    let end = act.ports.hosts.run(&job).await?;
    finished(act, kind, &pending, end).await
}

/// Reads which migrations of the installed build are not applied.
async fn pending(act: &Act, kind: MigrationKind) -> Result<Vec<String>, Box<Stop>> {
    match act.observe(Look::Migrations).await?.pending_migrations {
        Some((regular, _)) if kind == MigrationKind::Regular => Ok(regular),
        Some((_, post_deployment)) => Ok(post_deployment),
        None => unexpected("the list of migrations", "it could not be read"),
    }
}

async fn is_running(act: &Act) -> Result<bool, Box<Stop>> {
    let state = act.ports.hosts.look(&act.host()?.name, &act.run, &act.step.id).await?;
    Ok(matches!(state, JobState::Running { .. }))
}

/// Returns when running the migrations, or attaching to them, is right.
async fn settle(act: &Act, migrations: &Migrations, pending: &[String]) -> Result<(), Box<Stop>> {
    let host = &act.host()?.name;
    let state = act.ports.hosts.look(host, &act.run, &act.step.id).await?;
    let (note, end) = match state {
        JobState::NeverStarted | JobState::Running { .. } => return Ok(()),
        JobState::Ended { note, end } => (note, end),
    };
    if let JobEnd::Exited(end) = &end
        && end.status != 0
    {
        // An earlier attempt's own word: it is a failure, not a doubt.
        return failed(super::command_failed("migrations".to_owned(), end));
    }
    let session = act.read(host, &migrations.no_session).await?;
    if session.status == 0 && note == pending.join(" ") {
        return Ok(());
    }
    let session = match session.status {
        0 => "no session lives in the database",
        126 | 127 => "the command that looks for sessions in the database cannot be run",
        _ => "a session may live in the database",
    };
    let before = note.split_whitespace().count();
    Err(Box::new(Outcome::Unknown(Reason::OutcomeUnknown(format!(
        "the migrations ran: {} of the {before} that were due are left, and {session}; \
         finish or undo them by hand, then resume",
        pending.len()
    )))))
}

async fn finished(act: &Act, kind: MigrationKind, before: &[String], end: JobEnd) -> Performed {
    let left = pending(act, kind).await?;
    match end {
        JobEnd::Exited(end) if end.status == 0 && left.is_empty() => {
            done(format!("{} migration(s) applied: {}", before.len(), before.join(", ")))
        }
        JobEnd::Exited(end) if end.status == 0 => unexpected(
            "every migration of the build to be applied",
            format!("{} are not: {}", left.len(), left.join(", ")),
        ),
        JobEnd::Exited(end) => {
            let command = format!("migrations ({} of {} left)", left.len(), before.len());
            failed(super::command_failed(command, &end))
        }
        JobEnd::StillRunning { .. } => {
            let what = "migrations".to_owned();
            let after = act.plan.topology.profile.migrations.as_ref().map(|m| m.timeout);
            failed(Reason::TimedOut { what, after: after.unwrap_or_default() })
        }
        // What became of it is looked at by the next attempt.
        JobEnd::Died { output } => Ok(Outcome::Lost(Reason::OutcomeUnknown(format!(
            "the migrations ran: they died ({})",
            super::last_lines(&output)
        )))),
    }
}
