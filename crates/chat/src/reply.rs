//! What is said in return, for any platform: who sees it, a text, what `serin` printed, and buttons.

use serin_model::Timestamp;
use std::time::Duration;

/// Slack cuts messages near 4 KB, and GitLab sends a link in place of a longer reply.
pub const MOST_BYTES: usize = 3584;

/// Both platforms take five messages at an address that they gave…
const MOST_USES: u8 = 5;
/// … within thirty minutes; a minute is left for clocks and the way.
const USABLE: Duration = Duration::from_mins(29);

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Who sees it.
    pub seen_by: SeenBy,
    /// What is said.
    pub text: String,
    /// What `serin` printed, as it is.
    pub output: Option<String>,
    /// What can be pressed.
    pub buttons: Vec<Button>,
}

/// Who sees a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeenBy {
    /// Whoever asked.
    Asker,
    /// Everybody in the channel.
    Channel,
}

/// A button. Pressing it says something, as if it was typed: the same grammar, the same rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Button {
    /// What it is called.
    pub label: &'static str,
    /// What it says.
    pub says: String,
    /// What will happen, for the question before; `None`: the message itself is the question.
    pub will: Option<String>,
}

impl Reply {
    /// A reply for whoever asked.
    pub fn to_asker(text: impl Into<String>) -> Self {
        Self { seen_by: SeenBy::Asker, text: text.into(), output: None, buttons: Vec::new() }
    }

    /// A reply for everybody in the channel: what changes something is everybody's business.
    pub fn to_channel(text: impl Into<String>) -> Self {
        Self { seen_by: SeenBy::Channel, ..Self::to_asker(text) }
    }

    /// The same, with what `serin` printed.
    #[must_use]
    pub fn with_output(self, output: impl Into<String>) -> Self {
        Self { output: Some(output.into()), ..self }
    }

    /// The same, with a button.
    #[must_use]
    pub fn with_button(mut self, button: Button) -> Self {
        self.buttons.push(button);
        self
    }
}

/// How a later word reaches the asker.
#[derive(Debug, Clone)]
pub struct Way {
    since: Timestamp,
    used: u8,
}

/// By which way the next word goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The address that came with the request.
    ResponseUrl,
    /// A message of the platform's bot, as the address takes no more.
    Bot,
}

impl Way {
    /// Counts from the request.
    pub fn new(since: Timestamp) -> Self {
        Self { since, used: 0 }
    }

    /// Returns the way for the next word, and counts it.
    pub fn next(&mut self, now: Timestamp) -> By {
        if self.used >= MOST_USES || now.since(self.since) > USABLE {
            return By::Bot;
        }
        self.used += 1;
        By::ResponseUrl
    }
}

/// Keeps the lines of a text from its beginning that fit into some bytes, as `escape` writes them.
pub(crate) fn head(text: &str, most: usize, escape: fn(&str) -> String) -> String {
    const CUT: &str = "… (cut: the command in a terminal shows all)";
    let whole = escape(text.trim_end());
    if whole.len() <= most {
        return whole;
    }
    let mut kept = String::new();
    for line in text.lines() {
        let line = escape(line);
        if kept.len() + line.len() + 1 + CUT.len() > most {
            break;
        }
        kept.push_str(&line);
        kept.push('\n');
    }
    kept + CUT
}

/// The same from its end: of a long story, how it ended.
pub(crate) fn tail(text: &str, most: usize) -> String {
    const CUT: &str = "… (the beginning is in the job's log)\n";
    let text = text.trim_end();
    if text.len() <= most {
        return text.to_owned();
    }
    let mut kept = Vec::new();
    let mut length = CUT.len();
    for line in text.lines().rev() {
        length += line.len() + 1;
        if length > most {
            break;
        }
        kept.push(line);
    }
    kept.reverse();
    CUT.to_owned() + &kept.join("\n")
}

/// Returns a text without what terminals obey and what is not seen, line ends apart.
pub(crate) fn seen(text: &str) -> String {
    let tabs = text.replace('\t', "    ");
    tabs.chars().filter(|c| *c == '\n' || !crate::words::is_unseen(*c)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_used_five_times_within_half_an_hour() {
        let at = |minutes: u64| Timestamp::from_millis(minutes * 60_000);
        let mut way = Way::new(at(0));
        for _ in 0..5 {
            assert_eq!(way.next(at(1)), By::ResponseUrl);
        }
        assert_eq!(way.next(at(1)), By::Bot);
        assert_eq!(Way::new(at(0)).next(at(29)), By::ResponseUrl);
        assert_eq!(Way::new(at(0)).next(at(30)), By::Bot);
    }

    #[test]
    fn what_is_too_long_is_cut_at_a_line_and_says_so() {
        let text = "line & line\n".repeat(400);
        let cut = head(&text, MOST_BYTES, |line| line.replace('&', "&amp;"));
        assert!(cut.len() <= MOST_BYTES && cut.ends_with("shows all)"), "{}", cut.len());
        assert!(cut.lines().rev().skip(1).all(|line| line == "line &amp; line"));
        let end = tail(&text, MOST_BYTES);
        assert!(end.len() <= MOST_BYTES && end.starts_with('…') && end.ends_with("line & line"));
        assert_eq!(head("short\n", 99, str::to_owned), "short");
    }
}
