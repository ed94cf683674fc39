//! Who asks, whether they may, and that it is recorded: what stands before every command.
//!
//! `identity` says who asks, `needs` what a command needs, and `trail` writes records. [`admit`] is the procedure. A
//! command that changes something is recorded before it begins, and is refused where that cannot be written. Only a halt
//! goes on all the same: hosts in danger do not wait for a disk, and its run records who halted it.

pub(crate) mod identity;
mod needs;
pub(crate) mod trail;

use crate::args::Command;
use crate::context::{Context, clock};
use crate::failure::{Code, Failure};
use needs::{Needs, Weight};
use serin_config::Config;
use serin_journal::{Journal, SqliteJournal};
use serin_model::{Denied, Identity, Need, NeedScope, PersonRole};
use serin_runtime::audit::{Asker, Fact, Hand};
use std::path::Path;

/// A command's words as they were given, without the name of the program.
#[derive(Debug, Clone)]
pub(crate) struct Words {
    /// The words themselves.
    pub(crate) all: Vec<String>,
    /// The record of the audit trail in which a door has asked for them.
    pub(crate) asked: Option<u64>,
}

/// A command that may begin.
pub(crate) struct Admitted {
    /// The record in which it was asked, if it is recorded.
    asked: Option<u64>,
}

/// Lets a command begin, recorded where it must be, or refuses it.
pub(crate) async fn admit(
    context: &mut Context,
    command: &Command,
    words: Words,
) -> Result<Admitted, Failure> {
    let Some(needs) = needs::of(context, command).await else {
        return Ok(Admitted { asked: None });
    };
    let (identity, unproven) = match words.asked {
        Some(asked) => (trail::take(context, asked, &words.all).await?.identity, None),
        None => identity::of_this_process(&context.config, needs.weight).await,
    };
    let judged = judge(context, command, &identity, &needs).await;
    let person = context.config.people.behind(&identity).map(|person| person.name.clone());
    let who = Asker { identity, person };
    context.who = Some((who.clone(), words.asked.map_or(Hand::Own, |_| Hand::Door)));
    let recorded = match (words.asked, needs.weight, &judged) {
        // The door has recorded it.
        (Some(asked), _, _) => Ok(Some(asked)),
        // What people look at all day would hide what they do.
        (None, Weight::Look, Ok(())) => Ok(None),
        (None, Weight::Look, Err(_)) | (None, Weight::Change | Weight::Halt, _) => {
            let (words, reason) = (words.all, needs::reason(command));
            let asked = Fact::Asked { who, words, reason, hand: Hand::Own };
            add(context, asked).await.map(Some)
        }
    };
    if let Err(failure) = judged {
        if let Ok(Some(asked)) = recorded {
            let why = failure.what.clone();
            add(context, Fact::Refused { asked, why }).await?;
        }
        return Err(unproven.iter().fold(failure, |failure, why| hinted(failure, why)));
    }
    match (recorded, needs.weight) {
        (Ok(asked), _) => Ok(Admitted { asked }),
        (Err(failure), Weight::Halt) => {
            trail::warn("this halt is not in the audit trail", &failure);
            Ok(Admitted { asked: None })
        }
        (Err(failure), Weight::Look | Weight::Change) => {
            Err(failure.hint("nothing was done: nothing is changed without its record"))
        }
    }
}

/// Lets the journal of a file be moved, or refuses it. The move itself is recorded by [`copied`]: the file must stay as it
/// is, so that a move that was interrupted can go on.
pub(crate) async fn admit_copy(
    config: &Config,
    from: &Path,
    words: &Words,
) -> Result<Asker, Failure> {
    if words.asked.is_some() {
        return Err(Failure::new(Code::Refused, "no door moves the journal"));
    }
    let (identity, unproven) = identity::of_this_process(config, Weight::Change).await;
    let need = Need { role: PersonRole::Admin, scope: NeedScope::Installation };
    let judged = config.people.judge(&identity, &need).map(drop);
    let person = config.people.behind(&identity).map(|person| person.name.clone());
    let who = Asker { identity, person };
    let Err(denied) = judged else { return Ok(who) };
    let failure = unproven.iter().fold(refused(&denied), |failure, why| hinted(failure, why));
    if from.exists()
        && let Ok(journal) = SqliteJournal::open(from)
    {
        let (words, why) = (words.all.clone(), failure.what.clone());
        let asked = Fact::Asked { who, words, reason: None, hand: Hand::Own };
        let clock = clock();
        let asked = trail::add(&journal, &clock, asked).await?;
        trail::add(&journal, &clock, Fact::Refused { asked, why }).await?;
    }
    Err(failure)
}

/// Records in the new journal that it was moved there.
pub(crate) async fn copied(journal: &dyn Journal, who: Asker, words: Words) -> Result<(), Failure> {
    let asked = Fact::Asked { who, words: words.all, reason: None, hand: Hand::Own };
    let clock = clock();
    let asked = trail::add(journal, &clock, asked).await?;
    let code = Code::Done.number();
    trail::add(journal, &clock, Fact::Ended { asked, code }).await.map(drop)
}

/// Tells whether somebody may do what a command needs.
async fn judge(
    context: &Context,
    command: &Command,
    identity: &Identity,
    needs: &Needs,
) -> Result<(), Failure> {
    let people = &context.config.people;
    // Whom nobody knows is told nothing, not even whether what they name is there.
    if people.0.is_empty() {
        return Ok(());
    }
    if people.behind(identity).is_none() {
        return Err(refused(&Denied::Unknown(identity.clone())));
    }
    let need = needs::need(context, command, needs).await?;
    people.judge(identity, &need).map(drop).map_err(|denied| refused(&denied))
}

/// Says why somebody may not, and what can be done.
fn refused(denied: &Denied) -> Failure {
    let failure = Failure::new(Code::Refused, denied.to_string());
    match denied {
        Denied::Unknown(_) => {
            failure.hint("nothing was done; whoever keeps serin.toml can list that account")
        }
        Denied::Unproven { .. } => failure.hint(
            "nothing was done; under [gitlab], `verify_jobs` lets GitLab say whose job this is",
        ),
        Denied::TooLittle { .. } => failure.hint("nothing was done; ask one of them"),
    }
}

fn hinted(failure: Failure, why: &str) -> Failure {
    let hint = failure.hint.clone().map(|hint| format!("; {hint}")).unwrap_or_default();
    failure.hint(format!("{why}{hint}"))
}

async fn add(context: &Context, what: Fact) -> Result<u64, Failure> {
    trail::add(context.journal.as_ref(), context.clock.as_ref(), what).await
}

impl Admitted {
    /// Records how the command has ended. It has: what cannot be recorded is only said.
    pub(crate) async fn ended(self, context: &Context, ended: &Result<Code, Failure>) {
        let Some(asked) = self.asked else { return };
        let code = ended.as_ref().map_or_else(|failure| failure.code, |code| *code).number();
        if let Err(failure) = add(context, Fact::Ended { asked, code }).await {
            trail::warn("how this ended is not in the audit trail", &failure);
        }
    }
}
