//! Secrets in files of their own: read where they are needed, each time anew, and refused where everybody may read them.

use crate::failure::{Code, Failure};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A longer file holds something else.
const MOST_BYTES: u64 = 4096;

/// Reads a secret: one line, and nothing else.
pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    let refused = |why: &str| {
        Failure::new(
            Code::Refused,
            format!("the secret in {} cannot be used: {why}", path.display()),
        )
    };
    let metadata = std::fs::metadata(path).map_err(|error| refused(&error.to_string()))?;
    if metadata.permissions().mode() & 0o007 != 0 {
        return Err(refused("everybody on this machine may read it")
            .hint(format!("chmod o= {}", path.display())));
    }
    if metadata.len() > MOST_BYTES {
        return Err(refused("it is too large"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| refused(&error.to_string()))?;
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    if secret.is_empty() || secret.contains(|c: char| c.is_control() || c == ' ') {
        return Err(refused("it must hold the secret in one line, and nothing else"));
    }
    Ok(secret.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, set_permissions, write};

    #[test]
    fn a_secret_is_one_line_that_not_everybody_reads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let kept = |text: &str, mode: u32| {
            write(&path, text).unwrap();
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            read(&path).map_err(|failure| failure.what)
        };
        assert_eq!(kept("abc\n", 0o640), Ok("abc".to_owned()));
        assert!(kept("abc", 0o644).unwrap_err().contains("everybody"));
        for bad in ["", "\n", "a\nb", "a b", "abc\r\n"] {
            assert!(kept(bad, 0o600).is_err(), "{bad:?}");
        }
        assert!(read(&folder.path().join("none")).is_err());
    }
}
