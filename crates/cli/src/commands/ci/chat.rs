//! `serin ci chat`: the answer to a chat command, in the section of the job's log that GitLab sends back.
//!
//! It looks and changes nothing: whoever may start a chat command has proven nothing else. What was typed is compared
//! with a few words, and reaches no shell.

use crate::args::Show;
use crate::commands::{look, why};
use crate::context::{self, Context};
use crate::failure::{Code, Failure};
use crate::show::{line, sections};
use serin_model::RunId;

/// What is told to whoever asks for something else.
const KNOWN: &str = "I know: status, why, runs, show RUN. Nothing of it changes anything.";

pub(crate) async fn answer(open: impl Fn() -> Result<Context, Failure>) -> Result<Code, Failure> {
    let asked = context::variable("CHAT_INPUT").unwrap_or_default();
    let words: Vec<&str> = asked.split_whitespace().collect();
    sections::start(context::now(), "chat_reply", "");
    // GitLab takes the first line of the section for the command, and leaves it out.
    line("");
    // A job that fails is answered by a link alone: what went wrong is an answer, too.
    if let Err(failure) = look_up(open, &words).await {
        line(failure.what);
        failure.hint.into_iter().for_each(line);
    }
    sections::end(context::now(), "chat_reply");
    Ok(Code::Done)
}

async fn look_up(
    open: impl Fn() -> Result<Context, Failure>,
    words: &[&str],
) -> Result<Code, Failure> {
    match words {
        [] | ["status"] => look::status(&open()?).await,
        ["why"] => why::run(&open()?).await,
        ["runs"] => look::runs(&open()?).await,
        ["show", run] => {
            let run: Result<RunId, _> = run.parse();
            let run = run.map_err(|error| Failure::new(Code::Refused, error.to_string()))?;
            look::show(&open()?, Show { run: Some(run), events: false }).await
        }
        _ => {
            line(KNOWN);
            Ok(Code::Done)
        }
    }
}
