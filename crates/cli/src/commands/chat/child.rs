//! `serin` as a child: started with arguments, never through a shell, and read while it goes on.
//!
//! What it prints goes to files without names, not to pipes: a child whose reader died would die at its next word, and a
//! run must not end because a chat's door did.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Stdio;
use tokio::process::{self, Command};

/// So much of what was printed is looked at in the end: a reply holds a fraction of it.
const MOST_BYTES: usize = 64 << 10;

/// A child, and what it prints.
pub(crate) struct Child {
    process: process::Child,
    out: Printed,
    err: Printed,
}

/// A file that a child writes, read from where the last reading ended.
struct Printed {
    file: File,
    read: u64,
    line: Vec<u8>,
}

impl Child {
    /// Starts this very program with arguments. Its files are in a folder, where they have no names.
    pub(crate) fn start(folder: &Path, arguments: Vec<String>) -> io::Result<Self> {
        let (out, err) = (Printed::new(folder)?, Printed::new(folder)?);
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(out.file.try_clone()?)
            .stderr(err.file.try_clone()?)
            .kill_on_drop(false);
        Ok(Self { process: command.spawn()?, out, err })
    }

    /// Waits for its end, and returns its code; `None`: it was killed. It may be asked again after it was given up.
    pub(crate) async fn ended(&mut self) -> Option<i32> {
        self.process.wait().await.ok().and_then(|status| status.code())
    }

    /// Returns the lines that were printed since the last time.
    pub(crate) fn lines(&mut self) -> Vec<String> {
        self.out.lines()
    }

    /// Returns all that was printed, errors last.
    pub(crate) fn printed(&self) -> String {
        [self.out.all(), self.err.all()].concat()
    }

    /// Returns the errors that were printed.
    pub(crate) fn errors(&self) -> String {
        self.err.all()
    }
}

impl Printed {
    fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile_in(folder)?, read: 0, line: Vec::new() })
    }

    fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut buffer = [0; 8192];
        while let Ok(count) = self.file.read_at(&mut buffer, self.read)
            && count > 0
        {
            self.read += u64::try_from(count).unwrap_or_default();
            for byte in buffer.iter().take(count) {
                if *byte == b'\n' {
                    let line = std::mem::take(&mut self.line);
                    lines.push(String::from_utf8_lossy(&line).into_owned());
                } else if self.line.len() < MOST_BYTES {
                    self.line.push(*byte);
                }
            }
        }
        lines
    }

    fn all(&self) -> String {
        let mut all = vec![0; MOST_BYTES];
        let count = self.file.read_at(&mut all, 0).unwrap_or_default();
        all.truncate(count);
        String::from_utf8_lossy(&all).into_owned()
    }
}
