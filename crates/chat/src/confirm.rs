//! Confirmations: a code that counts once, for a short time, for whoever asked, and for what they asked.
//!
//! Codes are no secrets: they keep people from doing what they did not mean, not strangers from doing anything. Who may
//! do what is decided where the command is carried out.

use crate::grammar::Asked;
use crate::refusal::Refusal;
use ring::digest::{SHA256, digest};
use serin_model::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a code counts: long enough to read what will happen, too short to be found by somebody after lunch.
pub const COUNTS_FOR: Duration = Duration::from_mins(5);

/// How many questions may wait at once; with more, the oldest is forgotten.
const MOST: usize = 256;

/// Questions that wait for their confirmation, in memory: after a restart people ask again.
#[derive(Debug, Default)]
pub struct Pending {
    waiting: BTreeMap<String, Waits>,
}

#[derive(Debug)]
struct Waits {
    by: String,
    asked: Asked,
    until: Timestamp,
}

impl Pending {
    /// Keeps a command until it is confirmed, and returns its code. `by` names door and user; `random` is fresh.
    pub fn ask(&mut self, by: &str, asked: Asked, (random, now): ([u8; 3], Timestamp)) -> String {
        self.waiting.retain(|_, waits| now < waits.until);
        if self.waiting.len() >= MOST {
            let oldest = self.waiting.iter().min_by_key(|(_, waits)| waits.until);
            let oldest = oldest.map(|(code, _)| code.clone());
            oldest.and_then(|code| self.waiting.remove(&code));
        }
        let code = hex(&random);
        let until = now.plus(COUNTS_FOR);
        self.waiting.insert(code.clone(), Waits { by: by.to_owned(), asked, until });
        code
    }

    /// Returns the command that somebody confirms. Nobody else's attempt spends a code.
    pub fn confirm(&mut self, by: &str, code: &str, now: Timestamp) -> Result<Asked, Refusal> {
        let code = code.to_ascii_lowercase();
        match self.waiting.get(&code) {
            Some(waits) if waits.by == by && now < waits.until => {}
            Some(_) | None => return Err(Refusal::Code),
        }
        self.waiting.remove(&code).map(|waits| waits.asked).ok_or(Refusal::Code)
    }
}

/// Returns the code of a command where nothing can be kept between two messages: it counts for the five minutes that it
/// is asked in, and for the five before.
pub fn derived(by: &str, asked: &Asked, now: Timestamp) -> String {
    of_window(by, asked, window(now))
}

/// Tells whether a code was derived from the same command by the same person, now or a moment ago.
pub fn is_derived(by: &str, asked: &Asked, (code, now): (&str, Timestamp)) -> bool {
    let code = code.to_ascii_lowercase();
    let window = window(now);
    [window, window.saturating_sub(1)].into_iter().any(|at| of_window(by, asked, at) == code)
}

fn window(now: Timestamp) -> u128 {
    u128::from(now.as_millis()) / COUNTS_FOR.as_millis()
}

fn of_window(by: &str, asked: &Asked, window: u128) -> String {
    let text = format!("{window}\n{by}\n{}", asked.argv().join("\n"));
    let digest = digest(&SHA256, text.as_bytes());
    hex(digest.as_ref().get(..3).unwrap_or_default())
}

pub(crate) fn is_code(text: &str) -> bool {
    text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grammar::{Said, parse};
    use crate::words::Dialect;

    fn asked(text: &str) -> Asked {
        match parse(text, Dialect::Plain) {
            Ok(Said::Asked(asked)) => asked,
            other => panic!("{other:?}"),
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    #[test]
    fn a_code_counts_once_for_whoever_asked_and_not_for_long() {
        let mut pending = Pending::default();
        let promote = asked("promote");
        let code = pending.ask("slack:U1", promote.clone(), ([0x7f, 0x3a, 1], at(0)));
        assert_eq!(code, "7f3a01");
        assert_eq!(pending.confirm("slack:U2", &code, at(1)), Err(Refusal::Code));
        assert_eq!(pending.confirm("slack:U1", "7f3a02", at(1)), Err(Refusal::Code));
        assert_eq!(pending.confirm("slack:U1", "7F3A01", at(1)), Ok(promote.clone()));
        assert_eq!(pending.confirm("slack:U1", &code, at(1)), Err(Refusal::Code));
        pending.ask("slack:U1", promote, ([0x7f, 0x3a, 1], at(0)));
        assert_eq!(pending.confirm("slack:U1", &code, at(300)), Err(Refusal::Code));
    }

    #[test]
    fn questions_without_an_answer_do_not_fill_the_memory() {
        let mut pending = Pending::default();
        for at_ms in 0..2000_u64 {
            let bytes = at_ms.to_be_bytes();
            let random = [bytes[5], bytes[6], bytes[7]];
            pending.ask("slack:U1", asked("promote"), (random, Timestamp::from_millis(at_ms)));
        }
        assert_eq!(pending.waiting.len(), MOST);
        assert!(pending.confirm("slack:U1", "0007cf", at(3)).is_ok(), "the newest is still there");
    }

    #[test]
    fn a_derived_code_is_for_one_command_of_one_person_and_not_for_long() {
        let promote = asked("promote");
        let code = derived("mira", &promote, at(299));
        assert!(is_derived("mira", &promote, (&code, at(301))));
        assert!(!is_derived("mira", &promote, (&code, at(601))));
        assert!(!is_derived("joe", &promote, (&code, at(299))));
        assert!(!is_derived("mira", &asked("run to-canary"), (&code, at(299))));
    }
}
