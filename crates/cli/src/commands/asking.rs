//! Asking something of an environment: through its inbox where a process acts there, or else by acting for a moment.

use crate::context::Context;
use crate::failure::{Code, Failure, chain};
use crate::show::line;
use serin_engine::environment::Canary;
use serin_journal::{CommandId, LeaseRefused, Scope};
use serin_model::{Environment, EnvironmentName, FleetName};
use serin_runtime::environment::moment::MomentError;
use serin_runtime::environment::request::{ACCEPTED, answer_to};
use serin_runtime::environment::stream::RecordError;
use serin_runtime::environment::{EnvironmentRequest, Moment};
use std::time::Duration;

/// How long to wait for the process that acts in an environment: for a share it looks, tells and measures.
const ANSWER: Duration = Duration::from_secs(30);

/// How often to look for an answer.
const LOOK: Duration = Duration::from_millis(100);

/// Who has to see to it.
pub(crate) enum Through {
    /// The process that acts in the environment did, and answered.
    Answered(String),
    /// Nobody acts there: this process does, for a moment. A request that was sent meanwhile wants an answer.
    Here(Moment, Option<CommandId>),
}

/// Finds the environment in the configuration.
pub(crate) fn find<'a>(
    context: &'a Context,
    name: &EnvironmentName,
) -> Result<&'a Environment, Failure> {
    let environments = &context.config.topology.environments;
    environments.get(name).ok_or_else(|| {
        let known: Vec<&str> = environments.keys().map(EnvironmentName::as_str).collect();
        Failure::new(Code::Refused, format!("there is no environment {name}"))
            .hint(format!("there are: {}", known.join(", ")))
    })
}

/// Finds an environment in the configuration, and makes sure that it has the fleet.
pub(crate) fn find_place<'a>(
    context: &'a Context,
    name: &EnvironmentName,
    fleet: Option<&FleetName>,
) -> Result<&'a Environment, Failure> {
    let environment = find(context, name)?;
    let Some(fleet) = fleet.filter(|fleet| !environment.fleets.contains_key(*fleet)) else {
        return Ok(environment);
    };
    let known: Vec<&str> = environment.fleets.keys().map(FleetName::as_str).collect();
    Err(Failure::new(Code::Refused, format!("{name} has no fleet {fleet}"))
        .hint(format!("it has: {}", known.join(", "))))
}

/// Asks something that needs no load balancer, and returns the answer of whoever saw to it.
pub(crate) async fn ask(
    context: &Context,
    name: &EnvironmentName,
    request: EnvironmentRequest,
) -> Result<String, Failure> {
    match through(context, name, &request).await? {
        Through::Answered(answer) => Ok(answer),
        Through::Here(mut moment, sent) => {
            let asking = request.asking(Ok(Canary { percent: 0 }));
            let decided = moment.ask(asking, context.clock.now()).await;
            let answer = decided.map(|decided| answer_to(&decided)).map_err(not_recorded)?;
            end(moment, sent, &answer).await?;
            Ok(answer)
        }
    }
}

/// Finds who has to see to a request, and waits for the answer of another process.
pub(crate) async fn through(
    context: &Context,
    name: &EnvironmentName,
    request: &EnvironmentRequest,
) -> Result<Through, Failure> {
    let journal = &context.journal;
    let end = context.clock.now().plus(ANSWER);
    let mut sent = None;
    loop {
        if let Some(command) = sent
            && let Some(answer) = journal.answered(command).await?
        {
            return Ok(Through::Answered(answer));
        }
        match journal.holder(&Scope::Environment(name.clone())).await? {
            Some((holder, false)) if sent.is_none() => {
                if !context.json() {
                    line(format!("{holder} acts in {name}; asking it"));
                }
                let body = serde_json::to_string(request).unwrap_or_default();
                sent = Some(journal.send(name, &body, context.clock.now()).await?);
            }
            Some((_, false)) => {}
            Some((_, true)) | None => match Moment::take(journal, name, &Context::settings()).await
            {
                Ok(moment) => return here(context, moment, sent).await,
                // Somebody was faster: the next look finds them.
                Err(MomentError::Lease(LeaseRefused::Held { .. })) => {}
                Err(error) => return Err(no_moment(error)),
            },
        }
        let now = context.clock.now();
        if now >= end {
            let what = format!("nobody answered within {} s", ANSWER.as_secs());
            return Err(Failure::new(Code::TakenOver, what)
                .hint("the request stays in the inbox, and is seen to when that process goes on"));
        }
        context.clock.sleep_until(now.plus(LOOK)).await;
    }
}

/// The process that acted may have answered just before it went.
async fn here(
    context: &Context,
    moment: Moment,
    sent: Option<CommandId>,
) -> Result<Through, Failure> {
    if let Some(command) = sent
        && let Some(answer) = context.journal.answered(command).await?
    {
        moment.end().await?;
        return Ok(Through::Answered(answer));
    }
    Ok(Through::Here(moment, sent))
}

/// Answers what was sent, and gives the environment back.
pub(crate) async fn end(
    moment: Moment,
    sent: Option<CommandId>,
    answer: &str,
) -> Result<(), Failure> {
    if let Some(command) = sent {
        moment.answer(command, answer).await.map_err(not_recorded)?;
    }
    Ok(moment.end().await?)
}

/// Says an answer, and returns how the command ends.
pub(crate) fn say(
    context: &Context,
    name: &EnvironmentName,
    answer: &str,
) -> Result<Code, Failure> {
    let accepted = answer.starts_with(ACCEPTED);
    if context.json() {
        let object = serde_json::json!({
            "environment": name.as_str(), "accepted": accepted, "answer": answer,
        });
        line(object.to_string());
        return Ok(if accepted { Code::Done } else { Code::Refused });
    }
    self::accepted(name, answer)?;
    line(format!("{name}: {answer}"));
    Ok(Code::Done)
}

/// Tells whether what was asked is let through.
pub(crate) fn accepted(name: &EnvironmentName, answer: &str) -> Result<(), Failure> {
    if answer.starts_with(ACCEPTED) {
        return Ok(());
    }
    let why = answer.strip_prefix("refused: ").unwrap_or(answer);
    Err(Failure::new(Code::Refused, format!("{name}: {why}")))
}

/// Why nothing could be recorded.
pub(crate) fn not_recorded(error: impl Into<RecordError>) -> Failure {
    Failure::new(Code::Journal, chain(&error.into()))
        .hint("nothing was done: nothing is without its record")
}

/// Why this process cannot act in an environment.
pub(crate) fn no_moment(error: MomentError) -> Failure {
    match error {
        MomentError::Lease(refused @ LeaseRefused::Held { .. }) => {
            Failure::new(Code::Refused, chain(&refused))
        }
        MomentError::Lease(LeaseRefused::Journal(error)) => error.into(),
        MomentError::Read(error) => error.into(),
    }
}
