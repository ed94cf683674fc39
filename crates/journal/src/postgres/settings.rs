//! Where the database is, and how it is reached.

use crate::failed::{file_failed, storage};
use crate::port::JournalError;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Where a journal in PostgreSQL is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresSettings {
    /// The server's name or address, or the folder of its Unix socket.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The database.
    pub database: String,
    /// The role.
    pub user: String,
    /// Its password, if the server wants one.
    pub password: Option<Password>,
    /// How the connection is protected. A Unix socket is not.
    pub tls: Tls,
    /// The folder of this machine's lock files.
    pub folder: PathBuf,
}

/// Where a password comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// A file that holds nothing else, read at every connection: it may have been changed.
    File(PathBuf),
    /// It was given, for example in the environment.
    Given(String),
}

/// How a connection is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// Not at all.
    Off,
    /// The server's certificate must be valid for its name, by the certificates of a file or those of the system.
    Verified(Option<PathBuf>),
}

impl PostgresSettings {
    /// Tells whether the server is reached through a socket of this machine.
    pub fn is_local(&self) -> bool {
        self.host.starts_with('/')
    }

    /// Tells whether what is sent can be read on the way.
    pub fn is_readable_on_the_way(&self) -> bool {
        !self.is_local() && self.tls == Tls::Off
    }

    /// Reads the password.
    pub(super) fn password(&self) -> Result<Option<String>, JournalError> {
        match &self.password {
            None => Ok(None),
            Some(Password::Given(password)) => Ok(Some(password.clone())),
            Some(Password::File(path)) => read_password(path).map(Some),
        }
    }
}

fn read_password(path: &Path) -> Result<String, JournalError> {
    let what = format!("read the password in {}", path.display());
    let mode = path.metadata().map_err(|error| file_failed(&what, error))?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(storage(&what, "everybody on this machine may read it (chmod o-rwx)"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| file_failed(&what, error))?;
    let password = text.strip_suffix('\n').unwrap_or(&text);
    if password.is_empty() || password.contains(['\n', '\r', '\0']) {
        return Err(storage(&what, "it must hold the password in one line, and nothing else"));
    }
    Ok(password.to_owned())
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Given(_) => f.write_str("Given(…)"),
        }
    }
}

/// As people are told where it is: without the password.
impl fmt::Display for PostgresSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, database, user, .. } = self;
        write!(f, "{database} of {user}@{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(password: Password) -> PostgresSettings {
        PostgresSettings {
            host: "db-01".to_owned(),
            port: 5432,
            database: "serin".to_owned(),
            user: "deployer".to_owned(),
            password: Some(password),
            tls: Tls::Off,
            folder: PathBuf::from("/var/lib/serin"),
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let given = settings(Password::Given("hunter2".to_owned()));
        assert_eq!(given.password().unwrap().as_deref(), Some("hunter2"));
        let shown = format!("{given} {given:?}");
        assert!(shown.contains("serin of deployer@db-01:5432") && !shown.contains("hunter2"));
    }

    #[test]
    fn a_password_is_one_line_of_a_file_that_others_cannot_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        for (text, mode, refusal) in [
            ("hunter 2\n", 0o640, None),
            ("", 0o600, Some("in one line")),
            ("a\nb\n", 0o600, Some("in one line")),
            ("hunter 2", 0o644, Some("everybody")),
        ] {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let read = settings(Password::File(path.clone())).password();
            match refusal {
                None => assert_eq!(read.unwrap().as_deref(), Some("hunter 2")),
                Some(words) => {
                    let why = format!("{:?}", read.unwrap_err());
                    assert!(why.contains(words) && !why.contains("hunter"), "{why}");
                }
            }
        }
        settings(Password::File(PathBuf::from("/nowhere"))).password().unwrap_err();
    }
}
