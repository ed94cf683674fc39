//! GitLab's door: a job that was started from a chat, and the part of its log that is sent back.
//!
//! Only a job that succeeds sends anything but "Sorry, the build failed!", so a refusal is told by a job that succeeds.

use crate::confirm;
use crate::reply::{MOST_BYTES, seen, tail};
use serin_model::Timestamp;

/// What came in `CHAT_INPUT`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input<'a> {
    /// The command.
    pub text: &'a str,
    /// The code by which it is confirmed, if it is.
    pub code: Option<&'a str>,
}

/// Takes a confirmation off the end: a job knows nothing of the one before it, so the command is there again.
pub fn input(text: &str) -> Input<'_> {
    let trimmed = text.trim();
    let last = trimmed.rsplit_once(char::is_whitespace).filter(|(_, code)| confirm::is_code(code));
    if let Some((before, code)) = last
        && let Some(command) = before.trim_end().strip_suffix("confirm")
        && command.ends_with(char::is_whitespace)
    {
        return Input { text: command.trim_end(), code: Some(code) };
    }
    Input { text: trimmed, code: None }
}

/// Returns a text as the section of the log that GitLab sends back. It drops the section's first line, which it takes for
/// the command's echo, and passes on what terminals obey: so there is none.
pub fn section(text: &str, now: Timestamp) -> String {
    let seconds = now.as_millis() / 1000;
    let text = seen(text);
    let text = tail(&text, MOST_BYTES - 64);
    format!(
        "\u{1b}[0Ksection_start:{seconds}:chat_reply\r\u{1b}[0K\n{text}\n\u{1b}[0Ksection_end:{seconds}:chat_reply\r\u{1b}[0K"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_confirmation_is_the_end_of_the_command_that_it_confirms() {
        let read = |text| {
            let Input { text, code } = input(text);
            (text, code)
        };
        assert_eq!(read(" promote confirm 7f3a01 "), ("promote", Some("7f3a01")));
        assert_eq!(read("promote"), ("promote", None));
        assert_eq!(read("halt --reason confirm soon"), ("halt --reason confirm soon", None));
        assert_eq!(read("confirm 7f3a01"), ("confirm 7f3a01", None));
    }

    #[test]
    fn the_section_is_what_gitlab_cuts_out_of_a_log() {
        let section =
            section("\u{1b}[31mrefused\u{1b}[0m\r\nwhy", Timestamp::from_millis(1_531_420_618_000));
        // As GitLab does it: what is between the markers, without its first line.
        let inner = section.split("section_start:1531420618:chat_reply\r\u{1b}[0K").nth(1).unwrap();
        let inner = inner.split("\u{1b}[0Ksection_end:1531420618:chat_reply").next().unwrap();
        let (_, shown) = inner.split_once('\n').unwrap();
        assert_eq!(shown.trim(), "[31mrefused[0m\nwhy");
        let long = super::section(&"line\n".repeat(2000), Timestamp::from_millis(0));
        assert!(
            long.len() <= MOST_BYTES + 100 && long.contains("the beginning is in the job's log")
        );
    }
}
