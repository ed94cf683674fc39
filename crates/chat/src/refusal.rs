//! Why a text is no command, in words for the person who typed it.

use std::fmt;

/// So much of a word is shown: enough to know it again.
const SHOWN: usize = 40;

/// Why a text is no command. Nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is nothing in it.
    #[error("there is no command: `help` lists them")]
    Empty,
    /// It is longer than any command.
    #[error("this is {0} bytes long: a command has 2000 at most")]
    TooLong(usize),
    /// It holds what is not seen, or is seen differently from how it is read.
    #[error(
        "this holds a line end or a character that cannot be seen (U+{0:04X}): type it anew, in one line"
    )]
    Unseen(u32),
    /// A quote is not closed, or does not end a word.
    #[error("a quote {0} is not closed, or something follows it without a space")]
    Quote(char),
    /// Nobody is to be called by a command.
    #[error("this mentions everybody: leave that out")]
    Everybody,
    /// The first word is none of the grammar.
    #[error("there is no command {word}{}", Meant(*.near))]
    Unknown {
        /// The word.
        word: Shown,
        /// The one that was probably meant.
        near: Option<&'static str>,
    },
    /// The first word wants another one.
    #[error("{word} wants one of: {next}")]
    Unfinished {
        /// The first word.
        word: &'static str,
        /// What may follow.
        next: String,
    },
    /// The command has no such flag.
    #[error("{command} has no {word}{}; {usage}", Meant(*.near))]
    Flag {
        /// The command.
        command: String,
        /// The flag.
        word: Shown,
        /// The one that was probably meant.
        near: Option<&'static str>,
        /// How the command is written.
        usage: String,
    },
    /// `serin` has the flag; chats have not.
    #[error("--{flag} is for a terminal: nothing is overridden from a chat")]
    NotFromHere {
        /// The flag.
        flag: &'static str,
    },
    /// A flag is there twice.
    #[error("--{0} is there twice")]
    Twice(&'static str),
    /// Something follows for which there is no place.
    #[error("{word} is too much; {usage}")]
    TooMuch {
        /// The word.
        word: Shown,
        /// How the command is written.
        usage: String,
    },
    /// Something is missing.
    #[error("{what} is missing; {usage}")]
    Missing {
        /// What.
        what: String,
        /// How the command is written.
        usage: String,
    },
    /// A value is not what belongs there.
    #[error("{word} is no {what}: {why}")]
    Value {
        /// The word.
        word: Shown,
        /// What belongs there.
        what: &'static str,
        /// What is wrong with it, or how it is written.
        why: &'static str,
    },
    /// A text of several words begins without quotes, and a flag comes after it.
    #[error("put the text after --{0} into quotes: something that looks like a flag follows it")]
    Unquoted(&'static str),
    /// There is nothing to be confirmed by this code.
    #[error(
        "nothing waits to be confirmed by you with this code: codes count once, within five minutes, for whoever asked; ask again"
    )]
    Code,
}

/// A word of a stranger as it can be shown: short, and without what is not seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown(String);

impl Shown {
    pub(crate) fn new(word: &str) -> Self {
        let plain = |c: char| if crate::words::is_unseen(c) || c == '`' { '?' } else { c };
        let mut text: String = word.chars().take(SHOWN).map(plain).collect();
        if word.chars().count() > SHOWN {
            text.push('…');
        }
        Self(text)
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

struct Meant(Option<&'static str>);

impl fmt::Display for Meant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(near) => write!(f, "; did you mean `{near}`?"),
            None => Ok(()),
        }
    }
}
