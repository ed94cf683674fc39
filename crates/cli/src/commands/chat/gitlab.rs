//! `serin chat gitlab`: a job of GitLab ChatOps.
//!
//! The command goes on in the foreground, for a job takes its processes with it when it ends; what it prints is in the
//! job's log, and in the end once more in the section that GitLab sends back. GitLab knows who the user is, and `serin`
//! asks for that itself, as in any job.

use crate::context::Context;
use crate::failure::{Code, Failure};
use crate::show::{embargo, line};
use rustix::process::{Pid, Signal, kill_process};
use serin_chat::grammar::Said;
use serin_chat::{Asked, Dialect, confirm, gitlab};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

/// So many lines are kept for the reply, the last ones.
const KEPT: usize = 200;

pub(crate) async fn run(context: &Context) -> Result<Code, Failure> {
    let Some(said) = variable("CHAT_INPUT") else {
        return Err(Failure::new(Code::Refused, "this is not a job that was started from a chat")
            .hint("GitLab sets CHAT_INPUT in jobs of ChatOps; docs/chat.md shows one"));
    };
    let reply = reply(context, &said).await;
    let veil = embargo::from_everybody(&context.config.repository.embargo);
    section(&gitlab::section(&veil.over(&reply), context.clock.now()));
    Ok(Code::Done)
}

async fn reply(context: &Context, said: &str) -> String {
    let input = gitlab::input(said);
    let asked = match serin_chat::parse(input.text, Dialect::Slack) {
        Err(refusal) => return format!("refused: {refusal}"),
        Ok(Said::Help(about)) => return serin_chat::help(about.as_deref()),
        Ok(Said::Confirm(_)) => {
            return "refused: here the code stands after the command that it confirms".to_owned();
        }
        Ok(Said::Asked(asked)) => asked,
    };
    if let Some(will) = asked.confirm() {
        let (by, now) = (variable("GITLAB_USER_LOGIN").unwrap_or_default(), context.clock.now());
        let meant = input.code.is_some_and(|code| confirm::is_derived(&by, &asked, (code, now)));
        if !meant {
            let code = confirm::derived(&by, &asked, now);
            let text = asked.text();
            return format!(
                "{text}\n{will}\nNothing is done before you say, within five minutes: {text} confirm {code}"
            );
        }
    }
    match carry_out(context, &asked).await {
        Ok(printed) => format!("{}\n{printed}", asked.text()),
        Err(error) => format!("refused: serin itself could not be started: {error}"),
    }
}

/// Carries it out, shows all of it in the log, and returns the end of it.
async fn carry_out(context: &Context, asked: &Asked) -> std::io::Result<String> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--config").arg(&context.config.path).args(asked.argv());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let reading = async { tokio::join!(shown(out), shown(err)) };
    let mut reading = std::pin::pin!(reading);
    // A job that is cancelled halts its run safely, as Ctrl-C does in a terminal.
    let (out, err) = loop {
        tokio::select! {
            read = &mut reading => break read,
            _ = interrupt.recv() => pass_on(id),
            _ = terminate.recv() => pass_on(id),
        }
    };
    let status = child.wait().await?;
    let mut lines = out;
    lines.extend(err);
    if let Some(code) = status.code().filter(|code| !matches!(code, 0 | 9)) {
        lines.push(format!("(ended with code {code})"));
    }
    Ok(lines.join("\n"))
}

fn pass_on(id: Option<Pid>) {
    if let Some(id) = id {
        // It may have ended by itself.
        kill_process(id, Signal::TERM).unwrap_or_default();
    }
}

async fn shown(from: Option<impl AsyncRead + Unpin>) -> Vec<String> {
    let mut kept = Vec::new();
    let Some(from) = from else { return kept };
    let mut lines = BufReader::new(from).split(b'\n');
    while let Ok(Some(text)) = lines.next_segment().await {
        let text = String::from_utf8_lossy(&text).into_owned();
        line(&text);
        kept.push(text);
        if kept.len() > KEPT {
            kept.remove(0);
        }
    }
    kept
}

/// Prints the section as it is: its markers are what terminals obey.
fn section(text: &str) {
    use std::io::Write;
    if let Err(error) = writeln!(std::io::stdout(), "{text}") {
        tracing::warn!("the reply could not be printed: {error}");
    }
}

#[expect(clippy::disallowed_methods, reason = "the environment is read at the edge")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}
