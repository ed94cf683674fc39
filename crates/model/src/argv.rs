//! Command lines as argument vectors that can travel one argument a line.
//!
//! Serin never builds shell text. Arguments go to the wrapper on a host line by line, so the only thing an argument
//! must not hold is a line end or a NUL.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One argument of a command: any text without line ends and NULs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Argument(String);

/// Says that a text cannot be an argument.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot be an argument: it holds a line end or a NUL")]
pub struct InvalidArgument(pub String);

impl Argument {
    /// Returns the argument as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Argument {
    type Error = InvalidArgument;
    fn try_from(text: String) -> Result<Self, InvalidArgument> {
        if text.contains(['\n', '\r', '\0']) { Err(InvalidArgument(text)) } else { Ok(Self(text)) }
    }
}

impl From<Argument> for String {
    fn from(argument: Argument) -> String {
        argument.0
    }
}

impl fmt::Debug for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// A command: a program and its arguments, never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Argument>", into = "Vec<Argument>")]
pub struct Argv(Vec<Argument>);

impl Argv {
    /// Makes a command of texts.
    ///
    /// # Errors
    /// When there is no program, or a text cannot be an argument.
    pub fn new<T: Into<String>>(
        texts: impl IntoIterator<Item = T>,
    ) -> Result<Self, InvalidArgument> {
        let arguments = texts
            .into_iter()
            .map(|t| Argument::try_from(t.into()))
            .collect::<Result<Vec<_>, _>>()?;
        Self::try_from(arguments)
    }

    /// Returns the program and its arguments.
    pub fn arguments(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Argument::as_str)
    }

    /// Returns the same command with every `{key}` replaced by its value.
    ///
    /// # Errors
    /// When a value holds a line end or a NUL.
    pub fn fill(&self, values: &[(&str, &str)]) -> Result<Self, InvalidArgument> {
        Self::new(self.arguments().map(|argument| {
            values.iter().fold(argument.to_owned(), |text, (key, value)| {
                text.replace(&format!("{{{key}}}"), value)
            })
        }))
    }
}

impl TryFrom<Vec<Argument>> for Argv {
    type Error = InvalidArgument;
    fn try_from(arguments: Vec<Argument>) -> Result<Self, InvalidArgument> {
        match arguments.first() {
            Some(program) if !program.as_str().is_empty() => Ok(Self(arguments)),
            Some(_) | None => Err(InvalidArgument(String::new())),
        }
    }
}

impl From<Argv> for Vec<Argument> {
    fn from(argv: Argv) -> Vec<Argument> {
        argv.0
    }
}

/// Shows the command as a person would type it; for reading, never for running.
impl fmt::Display for Argv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for argument in self.arguments() {
            f.write_str(separator)?;
            separator = " ";
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:+@,%{}".contains(c);
            // `{service}` is only itself; `{a,b}` and `{1..9}` are several words to some shells.
            let several =
                argument.contains('{') && (argument.contains(',') || argument.contains(".."));
            if !argument.is_empty() && argument.chars().all(plain) && !several {
                f.write_str(argument)?;
            } else {
                write!(f, "'{}'", argument.replace('\'', r"'\''"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_end_never_becomes_an_argument() {
        assert!(Argv::new(["echo", "a\nb"]).is_err());
        assert!(Argv::new(Vec::<String>::new()).is_err());
        let argv = Argv::new(["set", "{version}", "it's"]).unwrap();
        assert!(argv.fill(&[("version", "1\n2")]).is_err());
        assert_eq!(argv.fill(&[("version", "1.2")]).unwrap().to_string(), r"set 1.2 'it'\''s'");
        let braces = Argv::new(["echo", "{service}", "{a,b}", "{1..9}", "a,b"]).unwrap();
        assert_eq!(braces.to_string(), "echo {service} '{a,b}' '{1..9}' a,b");
    }
}
