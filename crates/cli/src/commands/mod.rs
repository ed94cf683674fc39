//! One file for each command, or for commands that share one story.

mod builds;
mod changes;
mod doctor;
mod drive;
mod look;
mod patch;
mod plan;
mod traffic;
mod why;

use crate::args::{Arguments, Command, ConfigCommand, PatchCommand};
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
        Command::Traffic(traffic) => traffic::run(traffic, format).await,
        Command::Doctor => doctor::run(&open()?).await,
        Command::Builds { limit } => builds::run(&open()?, limit).await,
        Command::Changes { builds } => changes::run(&open()?, &builds).await,
        Command::Patch { command: PatchCommand::Check(what) } => patch::check(&open()?, what).await,
        Command::Plan(recipe) => plan::show(&open()?, &recipe).await,
        Command::Run(recipe) => drive::run(&open()?, &recipe).await,
        Command::Status => look::status(&open()?).await,
        Command::Runs => look::runs(&open()?).await,
        Command::Show(what) => look::show(&open()?, what).await,
        Command::Watch { run } => look::watch(&open()?, run).await,
        Command::Halt(decision) => drive::ask(&open()?, decision, Ask::Halt).await,
        Command::Resume(decision) => drive::ask(&open()?, decision, Ask::Resume).await,
        Command::Cancel(decision) => drive::ask(&open()?, decision, Ask::Cancel).await,
        Command::Adopt { run } => drive::adopt(&open()?, run).await,
        Command::Why => why::run(&open()?).await,
    }
}
