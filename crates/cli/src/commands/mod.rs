//! One file for each command, or for commands that share one story.

mod allowed;
mod asking;
mod builds;
mod changes;
mod ci;
mod doctor;
mod drift;
mod drive;
mod forecast;
mod halted;
mod hold;
mod journal;
mod look;
mod metrics;
mod patch;
mod plan;
mod promote;
mod queue;
mod rehearse;
mod rollback;
mod share;
mod traffic;
mod why;

use crate::args::{Approve, Arguments, Command, ConfigCommand, Decision, JournalCommand};
use crate::context::{self, Context};
use crate::failure::{Code, Failure};
use crate::show::line;
use clap::CommandFactory;
use serin_runtime::inbox::Ask;

/// Runs a command.
pub(crate) async fn run(arguments: Arguments) -> Result<Code, Failure> {
    let format = arguments.format();
    let Arguments { config, command, .. } = arguments;
    let open = || Context::open(config.as_deref(), format);
    match command {
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            clap_complete::generate(shell, &mut command, "serin", &mut std::io::stdout());
            Ok(Code::Done)
        }
        Command::Config { command: ConfigCommand::Schema } => {
            line(serin_config::schema::schema_text());
            Ok(Code::Done)
        }
        Command::Config { command: ConfigCommand::Check } => {
            let config = context::load(config.as_deref())?;
            line(format!("{} is well-formed", config.path.display()));
            Ok(Code::Done)
        }
        Command::Rehearse(asked) => rehearse::run(config.as_deref(), format, &asked).await,
        Command::Ci { command } => ci::run(config.as_deref(), format, command).await,
        Command::Journal { command: JournalCommand::Copy { from } } => {
            journal::copy(&context::load(config.as_deref())?, &from, format).await
        }
        Command::Traffic(traffic) => traffic::run(traffic, format).await,
        Command::Doctor => doctor::run(&open()?).await,
        Command::Builds { limit } => builds::run(&open()?, limit).await,
        Command::Changes { builds } => changes::run(&open()?, &builds).await,
        Command::Patch { command } => patch::run(&open()?, command).await,
        Command::Plan(recipe) => plan::show(&open()?, &recipe).await,
        Command::Run(start) => drive::run(&open()?, &start).await,
        Command::Promote(what) => promote::run(&open()?, what).await,
        Command::Rollback(what) => rollback::run(&open()?, what).await,
        Command::Approve(Approve { run, note }) => {
            drive::ask(&open()?, Decision { run, reason: note }, Ask::Approve).await
        }
        Command::Status => look::status(&open()?).await,
        Command::Runs => look::runs(&open()?).await,
        Command::Show(what) => look::show(&open()?, what).await,
        Command::Watch { run } => look::watch(&open()?, run).await,
        Command::Halt(decision) => drive::ask(&open()?, decision, Ask::Halt).await,
        Command::Resume(resume) => drive::resume(&open()?, resume).await,
        Command::Cancel(decision) => drive::ask(&open()?, decision, Ask::Cancel).await,
        Command::Adopt { run } => drive::adopt(&open()?, run).await,
        Command::Why => why::run(&open()?).await,
        Command::History { environment } => look::history(&open()?, &environment).await,
        Command::Hold(hold) => hold::run(&open()?, hold.command).await,
        Command::Share(share) => share::run(&open()?, share).await,
        Command::Metrics(what) => metrics::run(&open()?, &what).await,
        Command::Drift(drift) => drift::run(&open()?, drift).await,
    }
}
