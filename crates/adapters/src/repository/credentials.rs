//! By whom a repository is read: a user and a password, from a file that nobody else can read.
//!
//! The password is in no argument, no message and no `Debug`; it leaves this file only as a header that is marked as
//! sensitive. apt's own file is read as apt_auth.conf(5) says.

use super::RepositoryError;
use reqwest::Url;
use reqwest::header::HeaderValue;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The largest file of passwords: a hundred hosts fit.
const MAX_FILE: u64 = 64 << 10;

/// A user and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    user: String,
    password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials of {:?}", self.user)
    }
}

impl Credentials {
    /// Reads the password of a user from a file that holds nothing else; one line end is not a part of it.
    ///
    /// # Errors
    /// When it cannot be read, is empty, or others can read it.
    pub fn from_password_file(user: &str, path: &Path) -> Result<Self, RepositoryError> {
        let text = private(path)?;
        let password = text.strip_suffix('\n').unwrap_or(&text);
        if password.is_empty() || password.contains(['\n', '\r', '\0']) {
            return refused(path, "it must hold the password in one line, and nothing else");
        }
        if user.contains(':') {
            return refused(path, "a user's name cannot hold a colon");
        }
        Ok(Self { user: user.to_owned(), password: password.to_owned() })
    }

    /// Reads the first entry of apt's own file that is about an address.
    ///
    /// # Errors
    /// When it cannot be read, others can read it, or it has no such entry.
    pub fn from_auth_conf(path: &Path, url: &str) -> Result<Self, RepositoryError> {
        let text = private(path)?;
        let Ok(url) = Url::parse(url) else {
            return refused(path, "the repository's address cannot be understood");
        };
        let found = entries(&text).into_iter().find(|entry| entry.is_about(&url));
        match found {
            Some(Entry { user: Some(user), password: Some(password), .. }) => {
                Ok(Self { user, password })
            }
            Some(_) => refused(path, "its entry for the repository's host lacks login or password"),
            None => refused(path, "it has no entry for the repository's host"),
        }
    }

    /// Returns the header by which HTTP knows them.
    pub(super) fn header(&self) -> HeaderValue {
        let text =
            format!("Basic {}", base64(format!("{}:{}", self.user, self.password).as_bytes()));
        let mut value =
            HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }
}

/// One `machine` of apt's file.
#[derive(Default)]
struct Entry {
    machine: String,
    user: Option<String>,
    password: Option<String>,
}

impl Entry {
    /// Compares as apt does: the scheme where it is written (else only https), host, port where written, and the
    /// beginning of the path.
    fn is_about(&self, url: &Url) -> bool {
        let (scheme, rest) = match self.machine.split_once("://") {
            Some((scheme, rest)) => (scheme, rest),
            None => ("https", self.machine.as_str()),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()),
            None => (authority, None),
        };
        let same_port = port.is_none_or(|port: u16| url.port_or_known_default() == Some(port));
        let folder = path.trim_end_matches('/');
        let under = url
            .path()
            .strip_prefix(folder)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        url.scheme() == scheme && url.host_str() == Some(host) && same_port && under
    }
}

fn entries(text: &str) -> Vec<Entry> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let mut words = lines.flat_map(str::split_whitespace);
    let mut entries: Vec<Entry> = Vec::new();
    while let Some(word) = words.next() {
        let value = words.next().map(str::to_owned);
        match (word, entries.last_mut()) {
            ("machine", _) => {
                let machine = value.unwrap_or_default();
                entries.push(Entry { machine, ..Entry::default() });
            }
            ("login", Some(entry)) => entry.user = value,
            ("password", Some(entry)) => entry.password = value,
            (_, _) => return Vec::new(),
        }
    }
    entries
}

/// Reads a file that only its owner, and perhaps a group, can read.
fn private(path: &Path) -> Result<String, RepositoryError> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return refused(path, &error.to_string()),
    };
    if metadata.permissions().mode() & 0o007 != 0 {
        return refused(path, "everybody on this machine can read it: `chmod o= FILE`");
    }
    if metadata.len() > MAX_FILE {
        return refused(path, "it is too large");
    }
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) => refused(path, &error.to_string()),
    }
}

fn refused<T>(path: &Path, why: &str) -> Result<T, RepositoryError> {
    Err(RepositoryError::Password { path: path.to_owned(), why: why.to_owned() })
}

/// Encodes as HTTP's basic authentication wants it.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let all = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (index, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = usize::try_from(all >> shift & 63).ok().and_then(|at| DIGITS.get(at));
            let digit = digit.copied().map_or('=', char::from);
            text.push(if index > chunk.len() { '=' } else { digit });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::test_server::{Reply, TestServer};
    use crate::repository::tests::Lab;

    fn file(text: &str, mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    fn password(text: &str) -> Result<Credentials, RepositoryError> {
        Credentials::from_password_file("me", file(text, 0o640).path())
    }

    fn conf(text: &str, url: &str) -> Option<String> {
        let found = Credentials::from_auth_conf(file(text, 0o600).path(), url).ok()?;
        Some(format!("{}:{}", found.user, found.password))
    }

    #[test]
    fn a_password_is_one_line_of_a_file_that_others_cannot_read() {
        let found = password("hunter 2\n").unwrap();
        assert_eq!(found.header().to_str().unwrap(), "Basic bWU6aHVudGVyIDI=");
        assert!(found.header().is_sensitive());
        assert!(!format!("{found:?}{:?}", found.header()).contains("hunter"));
        for bad in ["", "\n", "a\nb\n"] {
            let why = password(bad).unwrap_err().to_string();
            assert!(why.contains("in one line"), "{why}");
        }
        let open = file("hunter2", 0o644);
        let why = Credentials::from_password_file("me", open.path()).unwrap_err().to_string();
        assert!(why.contains("everybody on this machine") && !why.contains("hunter2"), "{why}");
        assert!(Credentials::from_password_file("a:b", file("c", 0o600).path()).is_err());
        assert!(Credentials::from_password_file("a", Path::new("/nowhere")).is_err());
    }

    #[test]
    fn base64_is_as_rfc_4648_has_it() {
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (plain, encoded) in cases {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn an_entry_of_apts_file_is_chosen_as_apt_does() {
        let text = "# machine a.example login no password no\nmachine a.example/private login me password x\n\
                    machine a.example:8443\n login port\n password y\nmachine http://b.example login plain password z\n";
        let cases = [
            ("https://a.example/private/debian", Some("me:x")),
            ("https://a.example/private", Some("me:x")),
            ("https://a.example/privately", None),
            ("https://a.example/", None),
            ("https://a.example:8443/x", Some("port:y")),
            ("http://a.example/private", None),
            ("http://b.example/", Some("plain:z")),
            ("https://b.example/", None),
            ("https://evil.example/a.example/private", None),
        ];
        for (url, expected) in cases {
            assert_eq!(conf(text, url).as_deref(), expected, "{url}");
        }
        assert_eq!(conf("machine a.example login me", "https://a.example/"), None);
        assert_eq!(conf("default login me password x", "https://a.example/"), None);
    }

    #[tokio::test]
    async fn a_password_reaches_the_repository_and_nobody_else() {
        let lab = Lab::start().await;
        let repository = || lab.repository_by(lab.server.url.clone(), password("hunter2").ok());
        assert_eq!(repository().builds().await.unwrap().len(), 4);
        let sent = Some(format!(
            "authorization: {}",
            password("hunter2").unwrap().header().to_str().unwrap()
        ));
        assert!(lab.server.credentials.lock().unwrap().iter().all(|found| *found == sent));
        let other = TestServer::start().await;
        let to = format!("Location: {}/x\r\n", other.url);
        lab.server.reply("/dists/lab/InRelease", Reply::Full(302, to, Vec::new()));
        let error = repository().builds().await.unwrap_err();
        assert_eq!(other.credentials.lock().unwrap().as_slice(), [None], "it asked, without them");
        assert!(!format!("{error} {error:?} {:?}", repository()).contains("hunter2"));
        lab.server.reply("/dists/lab/InRelease", Reply::full(401, "", b"no".to_vec()));
        let error = repository().builds().await.unwrap_err();
        assert!(error.to_string().contains("HTTP status 401"), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}
