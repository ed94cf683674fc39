//! A notice about a run, as each place is told it. Who is told what is in the configuration.

use crate::reply::{Button, Reply};
use serde_json::{Value, json};
use serin_model::{EnvironmentName, NoticeKind, RunId, Timestamp};

/// A notice about a run: one of its ends, and for a halt what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The moment.
    pub kind: NoticeKind,
    /// The run.
    pub run: RunId,
    /// Where it was.
    pub environment: EnvironmentName,
    /// When, as the journal has it.
    pub at: Timestamp,
    /// What happened, in a sentence.
    pub text: String,
    /// What a person can do; empty where nothing has to be done.
    pub todo: Vec<String>,
}

impl Notice {
    /// Returns what tells it from all others. It is made of what is recorded: whoever tells it again uses the same.
    pub fn key(&self) -> String {
        format!("{}/{}/{}", self.run, self.kind, self.at.as_millis())
    }

    /// Returns it as a message of a chat.
    pub fn reply(&self) -> Reply {
        let mut text = self.text.clone();
        for line in &self.todo {
            text.push('\n');
            text.push_str(line);
        }
        Reply::to_channel(text)
    }

    /// Returns it for a program.
    pub fn json(&self) -> Value {
        json!({
            "event": self.kind.to_string(),
            "run": self.run.as_str(),
            "environment": self.environment.as_str(),
            "at": self.at.as_millis(),
            "key": self.key(),
            "text": self.text,
            "todo": self.todo,
        })
    }
}

/// The button that halts a run.
pub fn halt(run: &RunId) -> Button {
    Button {
        label: "Halt",
        says: format!("halt {run} --reason \"a button in chat\""),
        will: Some(format!(
            "Run {run} starts nothing new, and brings hosts in the middle to safety. It then waits for a person."
        )),
    }
}

/// The button that goes on with a halted run.
pub fn resume(run: &RunId) -> Button {
    Button {
        label: "Resume",
        says: format!("resume {run} --reason \"a button in chat\""),
        will: Some(format!("Run {run} tries again what failed, and goes on.")),
    }
}

/// The button that takes a run back. What it says is confirmed once more.
pub fn rollback(run: &RunId) -> Button {
    Button {
        label: "Roll back",
        says: format!("rollback {run} --reason \"a button in chat\""),
        will: Some(format!("You are asked once more before the hosts of run {run} go back.")),
    }
}

/// The button that promotes. What it says is confirmed once more.
pub fn promote() -> Button {
    Button {
        label: "Promote",
        says: "promote".to_owned(),
        will: Some(
            "You are asked once more before the build on the canary goes to main.".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_buttons_say_is_in_the_grammar() {
        let run: RunId = "r-7".parse().unwrap();
        for button in [halt(&run), resume(&run), rollback(&run), promote()] {
            let said = crate::parse(&button.says, crate::Dialect::Plain);
            assert!(matches!(said, Ok(crate::grammar::Said::Asked(_))), "{button:?}: {said:?}");
        }
    }

    #[test]
    fn a_notice_that_is_told_again_has_the_same_key() {
        let notice = Notice {
            kind: NoticeKind::Halted,
            run: "r-7".parse().unwrap(),
            environment: "production".parse().unwrap(),
            at: Timestamp::from_millis(5),
            text: "run r-7 has halted".to_owned(),
            todo: vec!["serin why".to_owned()],
        };
        assert_eq!(notice.key(), "r-7/halted/5");
        assert_eq!(notice.json()["key"], "r-7/halted/5");
        assert_eq!(notice.reply().text, "run r-7 has halted\nserin why");
    }
}
