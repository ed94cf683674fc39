//! How a command ends: exit codes, and errors as people see them.

use crate::show::embargo::veiled;
use std::process::ExitCode;

/// The documented exit codes (`docs/exit-codes.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// What was asked is done.
    Done = 0,
    /// Something went wrong that has no code of its own.
    Error = 1,
    /// The configuration is refused. (2 is clap's: the command line was not understood.)
    Config = 3,
    /// What was asked cannot be done now. Nothing was changed.
    Refused = 4,
    /// The run has halted, and waits for a person.
    Halted = 5,
    /// The run was given up.
    Cancelled = 6,
    /// Another process has taken the run over.
    TakenOver = 7,
    /// The journal cannot be used.
    Journal = 8,
    /// Something would stop a run (`doctor`, `why`), or a build does not contain a patch (`patch check`).
    Blocked = 9,
    /// The person left without waiting for the halt.
    Left = 130,
}

impl Code {
    /// Returns the number.
    pub(crate) fn number(self) -> u8 {
        #[expect(clippy::as_conversions, reason = "the enum's values are the codes")]
        {
            self as u8
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code.number())
    }
}

/// Why a command failed, with what the person can do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) code: Code,
    /// What happened, and to what.
    pub(crate) what: String,
    /// What Serin does now, and what the person can do.
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: Code, what: impl Into<String>) -> Self {
        Self { code, what: what.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[expect(clippy::print_stderr, reason = "the edge")]
    pub(crate) fn print(&self) {
        eprintln!("error: {}", veiled(&self.what));
        if let Some(hint) = &self.hint {
            eprintln!("hint: {}", veiled(hint));
        }
    }
}

/// Shows an error with its causes, once.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

impl From<serin_journal::JournalError> for Failure {
    fn from(error: serin_journal::JournalError) -> Self {
        let missing = matches!(error, serin_journal::JournalError::NoSuchRun(_));
        let code = if missing { Code::Refused } else { Code::Journal };
        let failure = Self::new(code, chain(&error));
        if missing { failure.hint("`serin runs` lists the runs") } else { failure }
    }
}

impl From<serin_runtime::records::ReadError> for Failure {
    fn from(error: serin_runtime::records::ReadError) -> Self {
        match error {
            serin_runtime::records::ReadError::Journal(error) => error.into(),
            error @ (serin_runtime::records::ReadError::Record { .. }
            | serin_runtime::records::ReadError::Illegal { .. }
            | serin_runtime::records::ReadError::EnvironmentRecord { .. }
            | serin_runtime::records::ReadError::EnvironmentIllegal { .. }) => {
                Self::new(Code::Journal, chain(&error))
            }
        }
    }
}
