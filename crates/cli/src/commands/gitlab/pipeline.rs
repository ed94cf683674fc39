//! `serin gitlab pipeline`: a pipeline of another project as a QA suite. It needs no configuration and no journal.

use crate::args::{PipelineOf, TestsAre, Variable};
use crate::failure::{Code, Failure, chain};
use crate::show::line;
use serin_adapters::gitlab::{GitLab, GitLabError, Pipeline, State, TestResult, Trigger, junit};
use std::fs::File;
use std::io::BufWriter;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Starts a pipeline.
const TRIGGER_TOKEN: &str = "SERIN_GITLAB_TRIGGER_TOKEN";

/// Looks at it.
const TOKEN: &str = "SERIN_GITLAB_TOKEN";

/// How often GitLab is asked again to start a pipeline while it says that it has too much to do.
const TRIES: u32 = 3;

pub(crate) async fn run(what: &PipelineOf) -> Result<Code, Failure> {
    let (trigger, token) = (secret(TRIGGER_TOKEN)?, secret(TOKEN)?);
    let gitlab = GitLab::new(&what.api, Some(&token)).map_err(|error| unusable(&error))?;
    let started = start(&gitlab, what, &trigger).await?;
    line(format!("pipeline {} of {} was started: {}", started.id, what.project, started.web_url));
    let state = tokio::select! {
        state = end(&gitlab, what, started.id) => state?,
        () = asked_to_end() => {
            // Nobody waits for it any more: it would go on to test what may be changed by then.
            return match gitlab.cancel(&what.project, started.id).await {
                Ok(_) => Err(Failure::new(Code::Error, format!("pipeline {} was stopped", started.id))),
                Err(error) => Err(unusable(&error).hint("the pipeline goes on by itself")),
            };
        }
    };
    let cases = match what.tests {
        TestsAre::Reported => gitlab.tests(&what.project, started.id).await,
        TestsAre::Jobs => gitlab.jobs(&what.project, started.id).await,
    };
    let cases = cases.map_err(|error| unusable(&error))?;
    let file = File::create(&what.junit).and_then(|file| junit(&cases, BufWriter::new(file)));
    file.map_err(|error| {
        Failure::new(Code::Error, format!("{} cannot be written: {error}", what.junit.display()))
    })?;
    let count = |result| cases.iter().filter(|case| case.result == result).count();
    let (passed, failed) = (count(TestResult::Passed), count(TestResult::Failed));
    line(format!("it {}: {passed} test(s) passed, {failed} failed", word(state)));
    if cases.is_empty() && what.tests == TestsAre::Reported {
        line("no job of it reports tests as JUnit; with --tests jobs each job counts as one");
    }
    Ok(if state == State::Passed { Code::Done } else { Code::Error })
}

async fn start(gitlab: &GitLab, what: &PipelineOf, token: &str) -> Result<Pipeline, Failure> {
    let pair = |Variable { name, value }: &Variable| (name.clone(), value.clone());
    let variables: Vec<(String, String)> = what.variable.iter().map(pair).collect();
    let trigger =
        Trigger { project: &what.project, git_ref: &what.git_ref, token, variables: &variables };
    let mut tried = 0;
    loop {
        tried += 1;
        match gitlab.trigger(trigger).await {
            Ok(pipeline) => return Ok(pipeline),
            // It said so itself: nothing was started.
            Err(error) if tried < TRIES && error.was_refused() && error.may_pass() => {
                tokio::time::sleep(what.poll).await;
            }
            Err(error) => {
                return Err(unusable(&error).hint(
                    "GitLab says 404 also for a trigger token of another project, and 400 for a branch that is not there",
                ));
            }
        }
    }
}

/// Waits for the end of a pipeline. While GitLab is away nothing is known, and it is asked again.
async fn end(gitlab: &GitLab, what: &PipelineOf, id: u64) -> Result<State, Failure> {
    let mut away = false;
    loop {
        match gitlab.pipeline(&what.project, id).await {
            Ok(pipeline) => match pipeline.state() {
                State::Going => away = false,
                State::Manual => {
                    return Err(Failure::new(Code::Error, format!("pipeline {id} waits for a job that is started by hand"))
                        .hint("a QA gate waits for nobody: have the pipeline run without manual jobs that block it"));
                }
                ended @ (State::Passed | State::Failed | State::Canceled | State::Skipped) => {
                    return Ok(ended);
                }
            },
            Err(error) if error.may_pass() => {
                if !away {
                    line(format!("{error}; asking again"));
                }
                away = true;
            }
            Err(error) => return Err(unusable(&error)),
        }
        tokio::time::sleep(what.poll.max(Duration::from_millis(100))).await;
    }
}

async fn asked_to_end() {
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Passed => "passed",
        State::Failed => "failed",
        State::Canceled => "was canceled",
        State::Skipped => "was skipped",
        State::Manual => "waits for somebody",
        State::Going => "goes on",
    }
}

#[expect(clippy::disallowed_methods, reason = "secrets come from the environment, at the edge")]
fn secret(name: &str) -> Result<String, Failure> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).ok_or_else(|| {
        Failure::new(Code::Refused, format!("{name} is not set"))
            .hint("list it under `secrets` of the QA suite, and set it in Serin's own environment")
    })
}

fn unusable(error: &GitLabError) -> Failure {
    Failure::new(Code::Error, chain(error))
}
