//! Acting for a run: starting one, adopting one, and deciding about one.

use super::word::{self, Heard};
use super::{agree, allowed, halted, patch, plan, queue};
use crate::args::{Decision, Detail, Past, Resume, Start};
use crate::beside::Beside;
use crate::context::Context;
use crate::failure::{Code, Failure, chain};
use crate::show::{line, progress::Progress};
use serin_engine::{Command, Run};
use serin_journal::LeaseRefused;
use serin_model::{EnvironmentName, PatchDirection, Pipeline, Reason, RunId};
use serin_runtime::inbox::{Ask, Request};
use serin_runtime::ports::Ports;
use serin_runtime::{AdoptError, Controller, Ended, Observer, Until, records};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

pub(crate) async fn run(context: &Context, start: &Start) -> Result<Code, Failure> {
    let recipe = &start.recipe;
    let pipeline = context.config.pipelines.get(&recipe.pipeline);
    if let Some(pipeline) = pipeline {
        queue::refuse_if_busy(context, pipeline).await?;
        free(context, pipeline).await?;
    }
    let ports = context.ports()?;
    let mut planned = plan::make(context, &ports, recipe).await?;
    planned.plan.queue = pipeline.and_then(|pipeline| queue::of(context, pipeline));
    begin(context, ports, (planned, recipe.detail()), &start.past).await
}

/// Records a run of a plan, and acts for it in the foreground.
pub(crate) async fn begin(
    context: &Context,
    ports: Ports,
    (planned, detail): (plan::Planned, Detail),
    past: &Past,
) -> Result<Code, Failure> {
    begin_until(context, ports, (planned, detail), (past, Until::End)).await
}

/// The same, but no further than a limit.
pub(crate) async fn begin_until(
    context: &Context,
    ports: Ports,
    planned: (plan::Planned, Detail),
    (past, until): (&Past, Until),
) -> Result<Code, Failure> {
    let Some(id) = record(context, planned, past).await? else { return Ok(Code::Done) };
    context.say(format!(
        "run {id} begins; from another terminal: serin status, serin halt {id} --reason …"
    ));
    let code = drive_until(context, ports, id.clone(), (None, until)).await?;
    give_up_if_untouched(context, &id).await?;
    queue::settle(context, id, code, (past, until)).await
}

/// Shows a plan, and records a run of it: nothing happens before somebody acts for it. `None`: there is nothing to do.
pub(crate) async fn record(
    context: &Context,
    (planned, detail): (plan::Planned, Detail),
    past: &Past,
) -> Result<Option<RunId>, Failure> {
    if !context.json() {
        plan::print(context, &planned, detail).await?;
        line("");
    }
    if planned.plan.is_empty() {
        return Ok(None);
    }
    if planned.plan.queue.is_some() {
        queue::refuse_if_clock_was_set_back(context).await?;
    }
    agree::check(context, &planned.plan).await?;
    let wish = past.into();
    // What a build is proven to contain lifts a hold that would else be in the way.
    patch::record(context, &planned.proven).await?;
    let through = allowed::check(context, &planned.plan, &wish).await?;
    let now = context.clock.now();
    let plan = planned.plan.clone();
    let id =
        serin_runtime::start(context.journal.as_ref(), planned.plan, &context.by(), now).await?;
    // Nothing happens before a controller adopts it: what it is let through is recorded by then.
    through.record(context, &plan, &id).await?;
    Ok(Some(id))
}

/// A run whose environment belongs to another is refused before it is made.
pub(crate) async fn free(context: &Context, pipeline: &Pipeline) -> Result<(), Failure> {
    let first = pipeline.stages.first();
    let claims = context.journal.claims().await?;
    let Some((environment, run)) = first.and_then(|stage| claims.get_key_value(&stage.environment))
    else {
        return Ok(());
    };
    Err(busy(environment, run))
}

pub(crate) fn busy(environment: &EnvironmentName, run: &RunId) -> Failure {
    Failure::new(Code::Refused, format!("{environment} belongs to run {run}")).hint(format!(
        "`serin show {run}` says how it stands; it keeps the environment until it is finished or cancelled"
    ))
}

/// A run that lost the race for its first environment has done nothing: it does not stay around as halted.
pub(crate) async fn give_up_if_untouched(context: &Context, id: &RunId) -> Result<(), Failure> {
    let (run, _) = records::load(context.journal.as_ref(), id).await?;
    let untouched = run.plan.steps().all(|(_, _, step)| run.attempts(&step.id) == 0);
    let serin_engine::Status::Halted(reason @ Reason::Claimed { environment, run: other }) =
        &run.status
    else {
        return Ok(());
    };
    if untouched {
        let by = context.by();
        let cancel = Command::Cancel { by, why: reason.to_string() };
        drive(context, context.ports()?, id.clone(), Some(cancel)).await?;
        return Err(busy(environment, other));
    }
    Ok(())
}

pub(crate) async fn adopt(context: &Context, run: Option<RunId>) -> Result<Code, Failure> {
    let id = context.open_run(run).await?;
    let (run, _) = records::load(context.journal.as_ref(), &id).await?;
    if run.is_over() {
        return Err(Failure::new(
            Code::Refused,
            format!("run {id} is over: there is nothing to adopt"),
        ));
    }
    let code = drive(context, context.ports()?, id.clone(), None).await?;
    queue::settle(context, id, code, (&Past::default(), Until::End)).await
}

/// Lifts a run's halt; what holds its environments may be overridden for it first.
pub(crate) async fn resume(context: &Context, resume: Resume) -> Result<Code, Failure> {
    let Resume { decision, over, second } = resume;
    if over {
        let id = context.open_run(decision.run.clone()).await?;
        let (run, _) = records::load(context.journal.as_ref(), &id).await?;
        refuse_early(&run, &id, Ask::Resume)?;
        let wish = allowed::Wish { over: Some(decision.reason.as_str()), second };
        allowed::check(context, &run.plan, &wish).await?.record(context, &run.plan, &id).await?;
    }
    ask(context, decision, Ask::Resume).await
}

/// Asks something of a run: through the inbox when a process acts for it, or else by acting for it.
pub(crate) async fn ask(context: &Context, decision: Decision, ask: Ask) -> Result<Code, Failure> {
    if decision.reason.trim().is_empty() {
        return Err(Failure::new(Code::Refused, "the reason is empty")
            .hint("say why in a few words: it is recorded and shown to everybody"));
    }
    let id = context.open_run(decision.run).await?;
    let (run, _) = records::load(context.journal.as_ref(), &id).await?;
    let request = Request { run: id.clone(), by: context.by(), why: decision.reason, ask };
    refuse_early(&run, &id, ask)?;
    if let Heard::Answered(answer) = word::ask(context, &request).await? {
        line(format!("run {id}: {answer}"));
        return Ok(if answer == "accepted" { Code::Done } else { Code::Refused });
    }
    let (run, _) = records::load(context.journal.as_ref(), &id).await?;
    refuse_early(&run, &id, ask)?;
    // Where each stage has a process of its own, this one only lifts the halt.
    let hands_on = ask == Ask::Resume && !run.plan.actors.is_one();
    let until = if hands_on { Until::Stage(0) } else { Until::End };
    let asked = (Some(request.into()), until);
    let code = drive_until(context, context.ports()?, id.clone(), asked).await?;
    queue::settle(context, id, code, (&Past::default(), until)).await
}

/// What the run's records already refuse needs nobody to act for it.
fn refuse_early(run: &Run, id: &RunId, ask: Ask) -> Result<(), Failure> {
    let halted = matches!(run.status, serin_engine::Status::Halted(_));
    let refuse = |why: String| Err(Failure::new(Code::Refused, why));
    match ask {
        _ if run.is_over() => refuse(format!("run {id} is over")),
        Ask::Halt if halted => refuse(format!("run {id} is halted already")),
        Ask::Resume if !halted => {
            refuse(format!("run {id} is not halted: there is nothing to resume"))
        }
        Ask::Cancel if !halted => {
            Err(Failure::new(Code::Refused, format!("run {id} is not halted")).hint(format!(
                "halt it first, so that no host is left in the middle: serin halt {id} --reason …"
            )))
        }
        Ask::Approve if halted => refuse(format!("run {id} is halted: resume it first")),
        Ask::Halt | Ask::Resume | Ask::Cancel | Ask::Approve => Ok(()),
    }
}

/// Acts for a run in the foreground until it ends one way or another.
pub(crate) async fn drive(
    context: &Context,
    ports: Ports,
    id: RunId,
    first: Option<Command>,
) -> Result<Code, Failure> {
    drive_until(context, ports, id, (first, Until::End)).await
}

/// The same, but no further than a limit.
pub(crate) async fn drive_until(
    context: &Context,
    ports: Ports,
    id: RunId,
    limited: (Option<Command>, Until),
) -> Result<Code, Failure> {
    let (mut observers, beside) = Beside::begin(context, &ports, &id).await;
    observers.insert(0, Box::new(Progress::new(id.clone(), context.format())));
    let ended = act(context, (ports, observers), id, limited).await;
    beside.end().await;
    ended
}

async fn act(
    context: &Context,
    (ports, observers): (Ports, Vec<Box<dyn Observer>>),
    id: RunId,
    (first, until): (Option<Command>, Until),
) -> Result<Code, Failure> {
    let adopted = Controller::adopt(
        context.journal.clone(),
        ports,
        id.clone(),
        Context::settings(),
        Box::new(observers),
    );
    let mut controller = adopted.await.map_err(|error| not_adopted(&id, error))?;
    let asked = match first {
        Some(command) => controller.ask(command).await,
        None => Ok(Ok(())),
    };
    let ended = match asked {
        Ok(Ok(())) => {
            let (sender, commands) = mpsc::channel(4);
            let interrupts = tokio::spawn(interrupts(id.clone(), sender));
            let ended = controller.drive_until(commands, until).await;
            interrupts.abort();
            ended
        }
        Ok(Err(refusal)) => {
            return Err(Failure::new(Code::Refused, format!("run {id}: {refusal}")));
        }
        Err(ended) => ended,
    };
    let finished = matches!(ended, Ended::Finished);
    let code = say_end(context, &id, controller.run(), ended).await;
    if finished {
        patch::finished(context, &controller.run().plan).await?;
    }
    Ok(code)
}

fn not_adopted(id: &RunId, error: AdoptError) -> Failure {
    match error {
        AdoptError::Lease(LeaseRefused::Held { holder, .. }) => {
            Failure::new(Code::Refused, format!("{holder} acts for run {id} and lives")).hint(
                format!(
                    "`serin watch {id}` follows it; `serin halt {id} --reason …` asks it to stop"
                ),
            )
        }
        AdoptError::Read(error) => error.into(),
        error @ (AdoptError::Lease(_) | AdoptError::Append(_) | AdoptError::Illegal(_)) => {
            Failure::new(Code::Journal, chain(&error))
        }
    }
}

/// The first interrupt halts safely, the second explains, the third leaves.
async fn interrupts(id: RunId, commands: mpsc::Sender<Command>) {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    let mut count = 0;
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        count += 1;
        match count {
            1 => {
                line("interrupted: halting. Hosts in the middle are brought to safety first");
                if commands.send(Command::Halt(Reason::Interrupted)).await.is_err() {
                    return;
                }
            }
            2 => line(format!(
                "still bringing hosts to safety: what runs on a host is never cut off. Interrupt once more to leave \
                 now; jobs on hosts go on, hosts stay as they are, and `serin adopt {id}` takes over"
            )),
            _ => {
                line(format!("left. Run {id} goes on with: serin adopt {id}"));
                #[expect(clippy::exit, reason = "the person insists; the journal has everything")]
                std::process::exit(Code::Left.number().into());
            }
        }
    }
}

/// Says how it ended: what the state is, what Serin does now, and what the person can do.
async fn say_end(context: &Context, id: &RunId, run: &Run, ended: Ended) -> Code {
    let say = |text: String| {
        if !context.json() {
            line(text);
        }
    };
    match ended {
        Ended::Finished => {
            say(finished(id, run));
            Code::Done
        }
        Ended::Reached => {
            say(format!("\nrun {id} {}", super::look::next_job(id, run)));
            Code::Done
        }
        Ended::Halted(reason) => {
            Box::pin(halted::say(context, id, run, &reason)).await;
            Code::Halted
        }
        Ended::Cancelled => {
            say(format!("\nrun {id} was given up"));
            super::look::out_of_service(run).into_iter().for_each(say);
            if run.withdrawal.is_some() {
                say("  the share of traffic that its halt took away stays so until a person or run gives it".to_owned());
            }
            Code::Cancelled
        }
        Ended::LeaseLost(error) => {
            say(format!(
                "\nanother process has taken run {id} over: {error}. This one has stopped"
            ));
            Code::TakenOver
        }
        Ended::Journal(error) => {
            Failure::new(Code::Journal, chain(&error))
                .hint(format!(
                    "nothing is started without its record; when the journal can be written again: serin adopt {id}"
                ))
                .print();
            Code::Journal
        }
        Ended::Broken(illegal) => {
            Failure::new(Code::Error, format!("Serin contradicts itself: {illegal}"))
                .hint(format!(
                    "nothing more is done; please report this with `serin show {id} --events`"
                ))
                .print();
            Code::Error
        }
    }
}

fn finished(id: &RunId, run: &Run) -> String {
    let last = run.plan.stages.last().map_or("", |stage| stage.title.as_str());
    match (&run.plan.back, &run.plan.patching) {
        (None, Some(patching)) => {
            let (count, patch) = (patching.hosts.len(), patching.patch.short());
            match patching.direction {
                PatchDirection::Apply => {
                    format!("\nrun {id} is finished: {count} host(s) carry patch {patch}")
                }
                PatchDirection::Remove => {
                    format!("\nrun {id} is finished: patch {patch} is off {count} host(s)")
                }
            }
        }
        (Some(back), _) => format!(
            "\nrun {id} is finished: {} host(s) have what they had before {}",
            back.hosts.len(),
            back.undoes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        ),
        (None, None) => {
            format!("\nrun {id} is finished: {} has passed {last}", run.plan.build.version)
        }
    }
}
