//! What is answered to what somebody says in a chat, whichever platform it came from.
//!
//! An answer is there within a second: platforms wait for three. What takes longer is acknowledged, and told later.

use super::child::Child;
use super::later::{Door, Later};
use crate::context::Context;
use crate::failure::{Code, Failure};
use crate::notify::Post;
use crate::people::trail;
use crate::show::embargo::{self, Veil};
use ring::rand::{SecureRandom, SystemRandom};
use serin_chat::confirm::Pending;
use serin_chat::follow::Follower;
use serin_chat::grammar::Said;
use serin_chat::{Asked, Button, Dialect, Ends, Refusal, Reply, SeenBy};
use serin_model::{Identity, Proof, Timestamp};
use serin_runtime::ports::Clock;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long an answer may be waited for before it is promised.
const AT_ONCE: Duration = Duration::from_millis(800);

/// How often to look what a child has said.
const LOOK: Duration = Duration::from_millis(200);

/// How long a look may take: hosts that do not answer have given up long before.
const LONGEST_LOOK: Duration = Duration::from_mins(10);

/// How many commands that look or act shortly go on at once.
const MOST_SHORT: usize = 16;

/// How many commands are followed that act for runs. Environments are fewer.
const MOST_RUNS: usize = 16;

/// Somebody who says something.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub(crate) door: Door,
    pub(crate) user: String,
    /// For people only: whoever has a name can change it.
    pub(crate) name: String,
}

/// What somebody says.
pub(crate) struct Spoken {
    pub(crate) who: Who,
    pub(crate) text: String,
    pub(crate) how: How,
    pub(crate) later: Later,
}

/// How it was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// It was typed.
    Typed,
    /// A button was pressed, and the platform has asked whether that was meant.
    Pressed,
    /// A button was pressed, and nobody has asked.
    PressedUnasked,
}

/// What all doors share.
pub(crate) struct Conversation {
    pub(crate) post: Post,
    pub(crate) clock: Arc<dyn Clock>,
    context: Arc<Context>,
    config: String,
    folder: PathBuf,
    veil: Veil,
    pending: Mutex<Pending>,
    short: Arc<Semaphore>,
    runs: Arc<Semaphore>,
}

impl Who {
    /// Returns who it is, for codes.
    fn key(&self) -> String {
        format!("{}:{}", self.door.name(), self.user)
    }
}

impl Conversation {
    pub(crate) fn new(context: Arc<Context>) -> Result<Self, Failure> {
        let config = std::path::absolute(&context.config.path);
        let config = config.ok().and_then(|path| path.into_os_string().into_string().ok());
        let config = config.ok_or_else(|| {
            Failure::new(Code::Refused, "the path of the configuration is no text")
        })?;
        Ok(Self {
            post: Post::new(&context.config)?,
            clock: Arc::clone(&context.clock),
            config,
            folder: context.config.state.clone(),
            veil: embargo::from_everybody(&context.config.repository.embargo),
            pending: Mutex::default(),
            short: Arc::new(Semaphore::new(MOST_SHORT)),
            runs: Arc::new(Semaphore::new(MOST_RUNS)),
            context,
        })
    }

    /// Answers.
    pub(crate) async fn hear(self: &Arc<Self>, spoken: Spoken) -> Reply {
        let reply = match self.understand(&spoken) {
            Err(refusal) => Reply::to_asker(format!("refused: {refusal}")),
            Ok(Understood::Help(text)) => Reply::to_asker("What can be said:").with_output(text),
            Ok(Understood::Unsure(question)) => question,
            Ok(Understood::Asked(asked)) => match self.begin(spoken, asked).await {
                Ok(reply) => reply,
                Err(failure) => failed(&failure),
            },
        };
        self.veiled(reply)
    }

    /// Answers at the address that came with what was said.
    pub(crate) async fn answer_later(self: &Arc<Self>, spoken: Spoken) {
        let mut later = spoken.later.clone();
        let reply = self.hear(spoken).await;
        later.say(&self.post, &reply, self.clock.now()).await;
    }

    fn understand(&self, spoken: &Spoken) -> Result<Understood, Refusal> {
        let dialect = match (spoken.who.door, spoken.how) {
            (Door::Slack, How::Typed) => Dialect::Slack,
            (Door::Mattermost, _) | (Door::Slack, How::Pressed | How::PressedUnasked) => {
                Dialect::Plain
            }
        };
        let now = self.clock.now();
        let asked = match serin_chat::parse(&spoken.text, dialect)? {
            Said::Help(about) => return Ok(Understood::Help(serin_chat::help(about.as_deref()))),
            Said::Confirm(code) => {
                let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
                return pending.confirm(&spoken.who.key(), &code, now).map(Understood::Asked);
            }
            Said::Asked(asked) => asked,
        };
        let changes = asked.ends() != Ends::Look;
        let will = match (asked.confirm(), spoken.how) {
            (Some(will), _) => will,
            (None, How::PressedUnasked) if changes => "It was a button, so it is asked first.",
            (None, How::Typed | How::Pressed | How::PressedUnasked) => {
                return Ok(Understood::Asked(asked));
            }
        };
        Ok(Understood::Unsure(self.question(&spoken.who, asked, (will, now))))
    }

    /// Names what will happen, and asks whether that is meant.
    fn question(&self, who: &Who, asked: Asked, (will, now): (&str, Timestamp)) -> Reply {
        let mut random = [0; 3];
        if SystemRandom::new().fill(&mut random).is_err() {
            return Reply::to_asker("refused: this machine has no random numbers");
        }
        let text = asked.text();
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let code = pending.ask(&who.key(), asked, (random, now));
        Reply::to_asker(format!(
            "{text}\n{will}\nNothing is done before you say: confirm {code} (within five minutes)"
        ))
        .with_button(Button {
            label: "Do it",
            says: format!("confirm {code}"),
            will: None,
        })
    }

    /// Starts what was asked, and answers with its outcome or with a promise.
    async fn begin(self: &Arc<Self>, spoken: Spoken, asked: Asked) -> Result<Reply, Failure> {
        let Spoken { who, later, .. } = spoken;
        let slots = match asked.ends() {
            Ends::Look | Ends::Act => &self.short,
            Ends::Run => &self.runs,
        };
        let Ok(slot) = Arc::clone(slots).try_acquire_owned() else {
            return Ok(Reply::to_asker(
                "refused: too much goes on at once; say it again in a minute",
            ));
        };
        let mut child = self.start(&who, &asked).await?;
        let text = asked.text();
        if asked.ends() == Ends::Run {
            tokio::spawn(Arc::clone(self).follow((child, slot), asked, later));
            return Ok(Reply::to_channel(format!(
                "{} says: {text}\nIts beginning and its end are told here, and nothing between.",
                who.name
            )));
        }
        let seen_by = if asked.ends() == Ends::Look { SeenBy::Asker } else { SeenBy::Channel };
        let at_once = self.clock.now().plus(AT_ONCE);
        let code = tokio::select! {
            code = child.ended() => Some(code),
            () = self.clock.sleep_until(at_once) => None,
        };
        let heading =
            if seen_by == SeenBy::Asker { text } else { format!("{} says: {text}", who.name) };
        if let Some(code) = code {
            return Ok(outcome(&child, code, (heading, seen_by)));
        }
        tokio::spawn(Arc::clone(self).tell((child, slot), (heading.clone(), seen_by), later));
        Ok(Reply { seen_by, ..Reply::to_asker(format!("{heading}\nThe answer comes here.")) })
    }

    /// Records who asks for what, and then starts `serin` with it. Who it is, it takes from the record; whether they may, it
    /// decides itself.
    async fn start(&self, who: &Who, asked: &Asked) -> Result<Child, Failure> {
        if self.context.config.people.0.is_empty() && asked.ends() != Ends::Look {
            return Err(Failure::new(Code::Refused, "nobody is listed under [people]")
                .hint("without it everybody in a chat could do everything, so a chat only looks"));
        }
        let mut words = vec!["--config".to_owned(), self.config.clone()];
        if asked.ends() == Ends::Run {
            words.push("--json".to_owned());
        }
        words.extend(asked.argv());
        let door = match who.door {
            Door::Slack => serin_model::Door::Slack,
            Door::Mattermost => serin_model::Door::Mattermost,
        };
        let identity = Identity { door, subject: who.user.clone(), proof: Proof::Verified };
        let record = trail::ask(&self.context, identity, &words).await?;
        Child::start(&self.folder, trail::handed(record, &words)).map_err(|error| {
            Failure::new(Code::Error, format!("serin itself could not be started: {error}"))
        })
    }

    /// Tells the outcome of a command that took longer than an answer may.
    async fn tell(
        self: Arc<Self>,
        (mut child, _slot): (Child, OwnedSemaphorePermit),
        how: (String, SeenBy),
        mut later: Later,
    ) {
        let late = self.clock.now().plus(LONGEST_LOOK);
        let reply = tokio::select! {
            code = child.ended() => outcome(&child, code, how),
            () = self.clock.sleep_until(late) => {
                Reply::to_asker(format!("{}\nIt goes on for more than ten minutes: nobody waits for it here any more.", how.0))
            }
        };
        self.say(&mut later, reply).await;
    }

    /// Tells how a command goes that acts for a run.
    async fn follow(
        self: Arc<Self>,
        (mut child, _slot): (Child, OwnedSemaphorePermit),
        asked: Asked,
        mut later: Later,
    ) {
        let mut follower = Follower::new(asked);
        loop {
            let look = self.clock.now().plus(LOOK);
            let ended = tokio::select! {
                code = child.ended() => Some(code),
                () = self.clock.sleep_until(look) => None,
            };
            for line in child.lines() {
                for reply in follower.line(&line) {
                    self.say(&mut later, reply).await;
                }
            }
            let Some(code) = ended else { continue };
            if let Some(reply) = follower.ended(code, &child.errors()) {
                self.say(&mut later, reply).await;
            }
            return;
        }
    }

    async fn say(&self, later: &mut Later, reply: Reply) {
        let reply = self.veiled(reply);
        later.say(&self.post, &reply, self.clock.now()).await;
    }

    /// Channels are read by many, and replies are kept by platforms of others.
    fn veiled(&self, reply: Reply) -> Reply {
        Reply {
            text: self.veil.over(&reply.text),
            output: reply.output.map(|output| self.veil.over(&output)),
            ..reply
        }
    }
}

/// What was understood.
enum Understood {
    Help(String),
    Unsure(Reply),
    Asked(Asked),
}

fn outcome(child: &Child, code: Option<i32>, (heading, seen_by): (String, SeenBy)) -> Reply {
    let printed = child.printed();
    let heading = match code {
        // `why` and its like end so where something is in the way, and list it.
        Some(0 | 9) => heading,
        Some(4) => format!("{heading}\nrefused:"),
        Some(code) => format!("{heading}\nended with code {code}:"),
        None => format!("{heading}\nits process was killed:"),
    };
    let reply = Reply { seen_by, ..Reply::to_asker(heading) };
    if printed.trim().is_empty() { reply } else { reply.with_output(printed) }
}

fn failed(failure: &Failure) -> Reply {
    let hint = failure.hint.as_ref().map(|hint| format!("\n{hint}")).unwrap_or_default();
    Reply::to_asker(format!("refused: {}{hint}", failure.what))
}
