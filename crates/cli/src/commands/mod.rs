//! One file for each command, or for commands that share one story.

mod agree;
mod allowed;
mod asking;
mod audit;
mod builds;
mod changes;
mod chat;
pub(crate) mod ci;
mod doctor;
mod drift;
mod drive;
mod forecast;
mod gitlab;
pub(crate) mod halted;
mod hold;
mod journal;
mod look;
mod metrics;
pub(crate) mod patch;
mod plan;
mod promote;
mod queue;
mod rehearse;
mod rollback;
pub(crate) mod share;
mod traffic;
mod why;
mod word;

use crate::args::{
    Approve, Arguments, CiCommand, Command, ConfigCommand, Decision, GitLabCommand, JournalCommand,
};
use crate::context::{self, Context};
use crate::failure::{Code, Failure};
use crate::people::{self, Words};
use crate::show::line;
use clap::CommandFactory;
use serin_runtime::audit::Hand;
use serin_runtime::inbox::Ask;

/// Runs a command: one that reaches nothing at once, any other once it is admitted.
pub(crate) async fn run(arguments: Arguments, words: Words) -> Result<Code, Failure> {
    let format = arguments.format();
    let Arguments { config, command, .. } = arguments;
    let hand = words.asked.map_or(Hand::Own, |_| Hand::Door);
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
        Command::Rehearse(asked) => rehearse::run((config.as_deref(), hand), format, &asked).await,
        Command::Ci { command: CiCommand::Gitlab(asked) } => {
            ci::write(&context::veiled((config.as_deref(), hand))?, &asked)
        }
        Command::Journal { command: JournalCommand::Copy { from } } => {
            journal::copy(&context::load(config.as_deref())?, &from, (format, words)).await
        }
        Command::GitLab { command: GitLabCommand::Pipeline(what) } => {
            gitlab::pipeline::run(&what).await
        }
        Command::Traffic(traffic) => traffic::run(traffic, format).await,
        Command::Chat { command } => {
            Box::pin(chat::run(Context::open((config.as_deref(), hand), format)?, &command, hand))
                .await
        }
        command @ (Command::Doctor
        | Command::Builds { .. }
        | Command::Changes { .. }
        | Command::Patch { .. }
        | Command::Plan(_)
        | Command::Run(_)
        | Command::Promote(_)
        | Command::Rollback(_)
        | Command::Agree(_)
        | Command::Approve(_)
        | Command::Status
        | Command::Runs { .. }
        | Command::Show(_)
        | Command::Watch { .. }
        | Command::Halt(_)
        | Command::Resume(_)
        | Command::Cancel(_)
        | Command::Adopt { .. }
        | Command::Why
        | Command::History { .. }
        | Command::Audit(_)
        | Command::Hold(_)
        | Command::Share(_)
        | Command::Metrics(_)
        | Command::GitLab { command: GitLabCommand::Deployments }
        | Command::Ci { .. }
        | Command::Drift(_)) => {
            let mut context = Context::open((config.as_deref(), hand), format)?;
            let admitted = people::admit(&mut context, &command, words).await?;
            let ended = Box::pin(perform(&context, command)).await;
            admitted.ended(&context, &ended).await;
            ended
        }
    }
}

/// Performs a command that was admitted.
async fn perform(context: &Context, command: Command) -> Result<Code, Failure> {
    match command {
        Command::Doctor => doctor::run(context).await,
        Command::Builds { limit } => builds::run(context, limit).await,
        Command::Changes { builds } => changes::run(context, &builds).await,
        Command::Patch { command } => patch::run(context, command).await,
        Command::Plan(recipe) => plan::show(context, &recipe).await,
        Command::Run(start) => drive::run(context, &start).await,
        Command::Promote(what) => promote::run(context, what).await,
        Command::Rollback(what) => rollback::run(context, what).await,
        Command::Agree(asked) => agree::run(context, &asked),
        Command::Approve(Approve { run, note }) => {
            drive::ask(context, Decision { run, reason: note }, Ask::Approve).await
        }
        Command::Status => look::status(context).await,
        Command::Runs { limit } => look::runs(context, limit).await,
        Command::Show(what) => look::show(context, what).await,
        Command::Watch { run } => look::watch(context, run).await,
        Command::Halt(decision) => drive::ask(context, decision, Ask::Halt).await,
        Command::Resume(resume) => drive::resume(context, resume).await,
        Command::Cancel(decision) => drive::ask(context, decision, Ask::Cancel).await,
        Command::Adopt { run } => drive::adopt(context, run).await,
        Command::Why => why::run(context).await,
        Command::History { environment } => look::history(context, &environment).await,
        Command::Audit(asked) => audit::run(context, asked).await,
        Command::Hold(hold) => hold::run(context, hold.command).await,
        Command::Share(share) => share::run(context, share).await,
        Command::Metrics(what) => metrics::run(context, &what).await,
        Command::GitLab { command: GitLabCommand::Deployments } => {
            gitlab::deployments::run(context).await
        }
        Command::Ci { command } => ci::run(context, command).await,
        Command::Drift(drift) => drift::run(context, drift).await,
        Command::Completions { .. }
        | Command::Config { .. }
        | Command::Rehearse(_)
        | Command::Journal { .. }
        | Command::GitLab { command: GitLabCommand::Pipeline(_) }
        | Command::Chat { .. }
        | Command::Traffic(_) => Err(Failure::new(Code::Error, "this needs no journal")),
    }
}
