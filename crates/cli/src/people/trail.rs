//! Writing to the audit trail, and what doors need of it.
//!
//! A door that is asked for a command records it with [`ask`], and then starts `serin` with the words that [`handed`]
//! returns. That process takes its identity from the record and from nowhere else, so no variable and no flag can make
//! another one.

use crate::args::Arguments;
use crate::context::{Context, process};
use crate::failure::{Code, Failure, chain};
use crate::people::needs;
use clap::Parser;
use serin_journal::Journal;
use serin_model::Identity;
use serin_runtime::audit::{self, Asker, Fact, Hand, NotTaken, TrailError};
use serin_runtime::ports::Clock;

/// The number of the record in which a door has asked for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AskedId(pub(crate) u64);

/// Records that somebody asks for a command through a door. Nothing may be done for them before this returns.
///
/// `words` are those of the command, without the name of the program; options of `serin` itself, such as `--config`, come
/// first. Whether the person may do it is decided by the process that takes the command.
pub(crate) async fn ask(
    context: &Context,
    identity: Identity,
    words: &[String],
) -> Result<AskedId, Failure> {
    let program = std::iter::once("serin".to_owned());
    let parsed = Arguments::try_parse_from(program.chain(words.iter().cloned()));
    let parsed = parsed.map_err(|error| Failure::new(Code::Refused, error.render().to_string()))?;
    if parsed.asked.is_some() {
        return Err(Failure::new(Code::Refused, "a command cannot name its own record"));
    }
    let person = context.config.people.behind(&identity).map(|person| person.name.clone());
    let (who, reason) = (Asker { identity, person }, needs::reason(&parsed.command));
    let asked = Fact::Asked { who, words: words.to_vec(), reason, hand: Hand::Door };
    add(context.journal.as_ref(), context.clock.as_ref(), asked).await.map(AskedId)
}

/// Returns the words with which `serin` is started for a command that a door has recorded.
pub(crate) fn handed(asked: AskedId, words: &[String]) -> Vec<String> {
    let first = [ASKED.to_owned(), asked.0.to_string()];
    first.into_iter().chain(words.iter().cloned()).collect()
}

/// The option by which a process is told the record that it takes.
pub(crate) const ASKED: &str = "--asked";

/// Takes a command that a door has recorded for this process.
pub(super) async fn take(
    context: &Context,
    asked: u64,
    words: &[String],
) -> Result<Asker, Failure> {
    let now = context.clock.now();
    let taken = audit::take(context.journal.as_ref(), &process(), (asked, words), now).await;
    taken.map_err(|error| {
        let code = match &error {
            NotTaken::Trail(_) => Code::Journal,
            NotTaken::NoCommand(_)
            | NotTaken::OtherWords(_)
            | NotTaken::Stale(_)
            | NotTaken::Spent(_)
            | NotTaken::Broken(_) => Code::Refused,
        };
        Failure::new(code, chain(&error))
            .hint("nothing was done; only a door that has just recorded this command starts it")
    })
}

/// Adds a record.
pub(super) async fn add(
    journal: &dyn Journal,
    clock: &dyn Clock,
    what: Fact,
) -> Result<u64, Failure> {
    let added = audit::append(journal, &process(), &what, clock.now()).await;
    added.map_err(|error| {
        let code = match &error {
            TrailError::TooLong(_) => Code::Refused,
            TrailError::Journal(_) | TrailError::Append(_) | TrailError::Record { .. } => {
                Code::Journal
            }
        };
        Failure::new(code, format!("the audit trail could not be written: {}", chain(&error)))
    })
}

/// Says what is not recorded.
#[expect(clippy::print_stderr, reason = "the edge")]
pub(super) fn warn(what: &str, failure: &Failure) {
    eprintln!("warning: {what}: {}", crate::show::embargo::veiled(&failure.what));
}
