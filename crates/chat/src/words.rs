//! A text from a chat as words: what chat programs make of quotes, dashes and signs is undone, and what cannot be seen
//! is refused.
//!
//! It is no shell's grammar, on purpose: nothing is expanded, and a backslash means nothing.

use crate::refusal::{Refusal, Shown};

/// Longer texts are refused: a reason of three sentences fits four times.
const MOST_BYTES: usize = 2000;

/// How a chat program writes what a person typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// As Slack does: `&amp;`, `&lt;`, `&gt;`, and `<@U1|name>` for a mention.
    Slack,
    /// As it was typed.
    Plain,
}

/// A word, and how it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Word {
    /// As it stands.
    Plain(String),
    /// In quotes, which are gone.
    Quoted(String),
    /// `--name`, or `--name=value`.
    Flag(String, Option<String>),
}

impl Word {
    pub(crate) fn shown(&self) -> Shown {
        match self {
            Self::Plain(text) | Self::Quoted(text) => Shown::new(text),
            Self::Flag(name, _) => Shown::new(&format!("--{name}")),
        }
    }
}

/// Tells whether a character is not seen, or changes how others are seen: controls, line ends, directions, joiners.
pub(crate) fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Splits a text into words.
pub(crate) fn split(text: &str, dialect: Dialect) -> Result<Vec<Word>, Refusal> {
    if text.len() > MOST_BYTES {
        return Err(Refusal::TooLong(text.len()));
    }
    let undone = match dialect {
        Dialect::Slack => undo(text)?,
        Dialect::Plain => text.to_owned(),
    };
    // A last line end is the chat program's own.
    let undone = undone.trim_end_matches(['\n', '\r']);
    if let Some(unseen) = undone.chars().find(|c| is_unseen(*c)) {
        return Err(Refusal::Unseen(u32::from(unseen)));
    }
    let mut words = Vec::new();
    let mut rest = undone.trim_start();
    while !rest.is_empty() {
        let (word, after) = first(rest)?;
        words.push(word);
        rest = after.trim_start();
    }
    Ok(words)
}

/// Takes the first word off a text that does not begin with a space.
fn first(text: &str) -> Result<(Word, &str), Refusal> {
    if let Some((inner, rest)) = quoted(text)? {
        return Ok((Word::Quoted(inner), rest));
    }
    let Some(flag) = flag(text) else {
        let (word, rest) = until_space(text);
        return Ok((Word::Plain(word.to_owned()), rest));
    };
    let end = flag.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(flag.len());
    let (name, rest) = flag.split_at_checked(end).unwrap_or((flag, ""));
    let Some(value) = rest.strip_prefix('=') else {
        return Ok((Word::Flag(name.to_owned(), None), rest));
    };
    let (value, rest) = quoted(value)?.unwrap_or_else(|| {
        let (value, rest) = until_space(value);
        (value.to_owned(), rest)
    });
    Ok((Word::Flag(name.to_owned(), Some(value)), rest))
}

/// Returns what follows `--`, also where a chat program has made a dash of it.
fn flag(text: &str) -> Option<&str> {
    text.strip_prefix("--").or_else(|| text.strip_prefix(['—', '–']))
}

fn until_space(text: &str) -> (&str, &str) {
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// Takes a quoted text off the beginning. A quote within a word is an apostrophe, or a sign like any other.
fn quoted(text: &str) -> Result<Option<(String, &str)>, Refusal> {
    let Some(open) = text.chars().next() else { return Ok(None) };
    let ends: &[char] = match open {
        '"' | '“' | '”' | '„' => &['"', '“', '”'],
        '\'' | '‘' | '’' => &['\'', '‘', '’'],
        _ => return Ok(None),
    };
    let inner = text.get(open.len_utf8()..).unwrap_or_default();
    // `'it isn't up'`: the quote that ends is the one that a space or the end follows.
    let close = inner.char_indices().find(|(at, c)| {
        let after = inner.get(at + c.len_utf8()..).unwrap_or_default();
        ends.contains(c) && (after.is_empty() || after.starts_with(char::is_whitespace))
    });
    let Some((at, close)) = close else { return Err(Refusal::Quote(open)) };
    let (inside, rest) = inner.split_at_checked(at).unwrap_or((inner, ""));
    Ok(Some((inside.to_owned(), rest.get(close.len_utf8()..).unwrap_or_default())))
}

/// Undoes what Slack makes of signs, mentions and addresses.
fn undo(text: &str) -> Result<String, Refusal> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
        plain.push_str(&unescaped(before));
        let inside = from.get(1..).unwrap_or_default();
        let Some((inside, after)) = inside.split_once('>') else {
            plain.push('<');
            rest = inside;
            continue;
        };
        plain.push_str(&unescaped(&mentioned(inside)?));
        rest = after;
    }
    plain.push_str(&unescaped(rest));
    Ok(plain)
}

fn mentioned(inside: &str) -> Result<String, Refusal> {
    let (what, label) = inside.split_once('|').unwrap_or((inside, ""));
    let named = |sign: char, id: &str| {
        let name = if label.is_empty() { id } else { label };
        format!("{sign}{}", name.trim_start_matches(sign))
    };
    if let Some(id) = what.strip_prefix('@') {
        return Ok(named('@', id));
    }
    if let Some(id) = what.strip_prefix('#') {
        return Ok(named('#', id));
    }
    if what.starts_with('!') {
        return Err(Refusal::Everybody);
    }
    // An address that was typed has itself as its label, or none: what was typed is wanted, not what is linked to.
    Ok(if label.is_empty() { what.to_owned() } else { label.to_owned() })
}

/// `&amp;` comes last: `&amp;lt;` was typed as `&lt;`.
fn unescaped(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Word {
        Word::Plain(text.to_owned())
    }

    fn quoted(text: &str) -> Word {
        Word::Quoted(text.to_owned())
    }

    fn flag(name: &str, value: Option<&str>) -> Word {
        Word::Flag(name.to_owned(), value.map(str::to_owned))
    }

    #[test]
    fn words_are_split_as_a_person_means_them() {
        for (text, expected) in [
            ("  halt\u{a0}r-7  ", vec![plain("halt"), plain("r-7")]),
            ("x 'a b' \"c\"", vec![plain("x"), quoted("a b"), quoted("c")]),
            ("“it isn’t up”", vec![quoted("it isn’t up")]),
            ("'it isn't up'", vec![quoted("it isn't up")]),
            ("don't", vec![plain("don't")]),
            ("--reason=\"a b\" c", vec![flag("reason", Some("a b")), plain("c")]),
            ("—reason “a”", vec![flag("reason", None), quoted("a")]),
            ("--reason=a=b", vec![flag("reason", Some("a=b"))]),
            ("-c /etc/x", vec![plain("-c"), plain("/etc/x")]),
            ("status\n", vec![plain("status")]),
        ] {
            assert_eq!(split(text, Dialect::Plain), Ok(expected), "{text}");
        }
        for text in ["\"a", "'a b", "\"a\"b"] {
            assert!(matches!(split(text, Dialect::Plain), Err(Refusal::Quote(_))), "{text}");
        }
    }

    #[test]
    fn what_slack_makes_of_a_text_is_undone() {
        for (text, expected) in [
            ("a&amp;b &lt;c&gt; &amp;lt;", "a&b <c> &lt;"),
            ("<@U1|mira> <@U2> <#C1|dev>", "@mira @U2 #dev"),
            ("<http://x.y|x.y> <https://z/?a&amp;b>", "x.y https://z/?a&b"),
            ("a < b", "a < b"),
        ] {
            assert_eq!(undo(text), Ok(expected.to_owned()), "{text}");
        }
        assert_eq!(undo("x <!channel>"), Err(Refusal::Everybody));
        assert_eq!(split("a&amp;b", Dialect::Plain), Ok(vec![plain("a&amp;b")]));
    }

    #[test]
    fn what_is_not_seen_is_refused() {
        for unseen in ["\0", "\n", "\t", "\u{1b}", "\u{202e}", "\u{200b}", "\u{2066}", "\u{feff}"] {
            let text = format!("status {unseen}x");
            assert!(matches!(split(&text, Dialect::Slack), Err(Refusal::Unseen(_))), "{unseen:?}");
        }
        assert_eq!(split(&"x".repeat(2001), Dialect::Plain), Err(Refusal::TooLong(2001)));
    }
}
