//! Checks a clear-signed text with `gpgv`, and returns only what `gpgv` says was signed.
//!
//! `gpgv`'s exit status is not the answer: it is also non-zero when one of several signatures is by an unknown key,
//! which is normal while a repository changes keys. The status lines are.

use super::RepositoryError;
use jiff::Timestamp;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// `gpgv` checks a text of a few megabytes in milliseconds; this only bounds a machine that hangs.
const DEADLINE: Duration = Duration::from_secs(20);

/// Returns the signed part of a text, if a key of the keyring has signed it and nothing speaks against it.
pub(super) async fn verify(
    keyring: &Path,
    signed: &[u8],
    url: &str,
) -> Result<String, RepositoryError> {
    let keyring = usable_keyring(keyring).await?;
    let refuse = |why: String| RepositoryError::NotChecked { url: url.to_owned(), why };
    let io = |error: std::io::Error| refuse(error.to_string());
    // An own home: no key and no option of the user's can play a part.
    let home = tempfile::tempdir().map_err(io)?;
    let mut file = tempfile::NamedTempFile::new_in(home.path()).map_err(io)?;
    file.write_all(signed).and_then(|()| file.flush()).map_err(io)?;
    let mut command = Command::new("gpgv");
    command
        .args(["--status-fd", "2", "--weak-digest", "SHA1", "--weak-digest", "RIPEMD160"])
        .arg("--homedir")
        .arg(home.path())
        .arg("--keyring")
        .arg(&keyring)
        .args(["--output", "-"])
        .arg(file.path())
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = match tokio::time::timeout(DEADLINE, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(refuse("gpgv is not installed: apt-get install gpgv".to_owned()));
        }
        Ok(Err(error)) => return Err(io(error)),
        Err(_) => return Err(refuse("gpgv did not end".to_owned())),
    };
    let status = Status::parse(&String::from_utf8_lossy(&output.stderr));
    status.judge(url, crate::http::now())?;
    String::from_utf8(output.stdout).map_err(|error| RepositoryError::BadRelease {
        url: url.to_owned(),
        why: error.to_string(),
    })
}

/// `gpgv` reads binary keyrings only, and looks for a name without a slash in its home.
async fn usable_keyring(keyring: &Path) -> Result<std::path::PathBuf, RepositoryError> {
    let refuse = |why: String| RepositoryError::Keyring { path: keyring.to_owned(), why };
    let path = std::path::absolute(keyring).map_err(|error| refuse(error.to_string()))?;
    let bytes = tokio::fs::read(&path).await.map_err(|error| refuse(error.to_string()))?;
    if bytes.starts_with(b"-----BEGIN") {
        let file = path.display();
        return Err(refuse(format!(
            "it is text; make it binary: gpg --dearmor < {file} > {file}.gpg"
        )));
    }
    if bytes.is_empty() {
        return Err(refuse("it is empty".to_owned()));
    }
    Ok(path)
}

/// What `gpgv` said, from the lines that are meant for programs.
#[derive(Debug, Default)]
struct Status {
    good: usize,
    valid: usize,
    bad: usize,
    plain_texts: usize,
    expired: Vec<String>,
    unknown_keys: Vec<String>,
    errors: usize,
    /// When the newest signature that could not be checked was made, in seconds since 1970.
    made: Option<i64>,
    damaged: bool,
}

impl Status {
    fn parse(stderr: &str) -> Self {
        let mut status = Self::default();
        for line in stderr.lines() {
            let Some(line) = line.strip_prefix("[GNUPG:] ") else { continue };
            let mut words = line.split(' ');
            let (name, key) = (words.next().unwrap_or(""), words.next().unwrap_or("").to_owned());
            match name {
                "GOODSIG" => status.good += 1,
                "VALIDSIG" => status.valid += 1,
                "BADSIG" => status.bad += 1,
                "PLAINTEXT" => status.plain_texts += 1,
                "EXPKEYSIG" => status.expired.push(format!("the key {key} has expired")),
                "REVKEYSIG" => status.expired.push(format!("the key {key} was revoked")),
                "EXPSIG" => status.expired.push(format!("the signature by {key} has expired")),
                "NO_PUBKEY" => status.unknown_keys.push(key),
                "ERRSIG" => {
                    status.errors += 1;
                    // After the key come two algorithms and a class.
                    let made = words.nth(3).and_then(|time| time.parse().ok());
                    status.made = status.made.max(made);
                }
                "ERROR" | "FAILURE" | "UNEXPECTED" => status.damaged = true,
                _ => {}
            }
        }
        status
    }

    /// One good signature is enough, and one bad one is too much. Two texts in one file are refused: which of them
    /// was signed would be a guess.
    fn judge(&self, url: &str, now: Timestamp) -> Result<(), RepositoryError> {
        let url = url.to_owned();
        if self.bad > 0 {
            return Err(RepositoryError::BadSignature { url });
        }
        if self.good > 0 && self.valid > 0 {
            if self.plain_texts == 1 && !self.damaged {
                return Ok(());
            }
            let why = "it does not hold exactly one signed text".to_owned();
            return Err(RepositoryError::BadRelease { url, why });
        }
        if !self.expired.is_empty() {
            return Err(RepositoryError::ExpiredKey { url, what: self.expired.join(", ") });
        }
        if !self.unknown_keys.is_empty() {
            let keys = format!("key {}", self.unknown_keys.join(", "));
            return Err(RepositoryError::WrongKey { url, keys });
        }
        if self.errors > 0 {
            let ahead = self.made.map_or(0, |made| made.saturating_sub(now.as_second()));
            let why = if ahead > 0 {
                format!("it was signed {ahead} s from now: this machine's clock is behind")
            } else {
                "gpgv cannot check a signature of this kind (SHA-1 is not accepted)".to_owned()
            };
            return Err(RepositoryError::NotChecked { url, why });
        }
        Err(RepositoryError::Unsigned { url })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "A92720DE07B7A5D4";

    fn judged(line: &str, now: i64) -> String {
        let status = Status::parse(&format!("[GNUPG:] NEWSIG\n[GNUPG:] {line}\n"));
        status.judge("u", Timestamp::from_second(now).unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn a_signature_from_the_future_tells_of_a_clock_that_is_behind() {
        let line = format!("ERRSIG {KEY} 22 8 01 1795598979 6 {KEY}");
        let told = judged(&line, 1_795_598_979 - 3600);
        assert!(told.contains("signed 3600 s from now: this machine's clock is behind"), "{told}");
        let told = judged(&line, 1_795_598_979);
        assert!(told.contains("SHA-1 is not accepted"), "{told}");
    }
}
