//! A person's word to the process that acts for a run.
//!
//! That process reads the inboxes of the environments that it is in. A run goes on while it is asked: what was sent to an
//! environment that it has just left is read by nobody, so it is sent again to where the run is by now.

use crate::context::Context;
use crate::failure::{Code, Failure};
use serin_journal::{CommandId, Scope};
use serin_model::{EnvironmentName, RunId};
use serin_runtime::inbox::Request;
use std::time::Duration;

/// How long to wait for an answer.
const ANSWER: Duration = Duration::from_secs(20);

/// How often to look for one.
const LOOK: Duration = Duration::from_millis(100);

/// What became of a request.
pub(crate) enum Heard {
    /// The process that acts for the run has answered.
    Answered(String),
    /// Nobody acts for the run, or not any more: whoever asks sees to it.
    Nobody,
}

/// Asks the process that acts for a run, if there is one, and waits for its answer.
///
/// # Errors
/// When it does not answer.
pub(crate) async fn ask(context: &Context, request: &Request) -> Result<Heard, Failure> {
    let (journal, run) = (&context.journal, &request.run);
    let body = serde_json::to_string(request).unwrap_or_default();
    let end = context.clock.now().plus(ANSWER);
    let mut sent: Option<(EnvironmentName, CommandId)> = None;
    loop {
        if let Some((_, command)) = &sent
            && let Some(answer) = journal.answered(*command).await?
        {
            return Ok(Heard::Answered(answer));
        }
        let Some((holder, false)) = journal.holder(&Scope::Run(run.clone())).await? else {
            return Ok(Heard::Nobody);
        };
        let claims = journal.claims().await?;
        let is_new = |here: &&EnvironmentName| sent.as_ref().is_none_or(|(to, _)| to != *here);
        let here = claims.iter().find(|(_, of)| *of == run).map(|(name, _)| name);
        if let Some(here) = here.filter(is_new) {
            if sent.is_none() {
                context.say(format!("{holder} acts for run {run}; asking it"));
            }
            let command = journal.send(here, &body, context.clock.now()).await?;
            sent = Some((here.clone(), command));
        }
        let now = context.clock.now();
        if now >= end {
            return Err(unheard(run, sent.as_ref()));
        }
        context.clock.sleep_until(now.plus(LOOK)).await;
    }
}

fn unheard(run: &RunId, sent: Option<&(EnvironmentName, CommandId)>) -> Failure {
    if sent.is_some() {
        let what = format!("nobody answered within {} s", ANSWER.as_secs());
        return Failure::new(Code::TakenOver, what).hint(format!(
            "the command stays in the inbox; if that process is stuck, `serin adopt {run}` takes over"
        ));
    }
    let what = format!("run {run} is in no environment now, so its process cannot be asked");
    Failure::new(Code::TakenOver, what).hint(
        "it waits to enter one: ask again when it has, or end it where it was started (Ctrl-C)",
    )
}
