//! The real shell, and the real wrapper in it, with its state in a folder of its own. It needs no root.

use serin_adapters::host::fuzzing as host;
use serin_adapters::ssh::{Reply, Request, fuzzing::WRAPPER};
use serin_model::Argv;
use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The wrapper as it serves one session.
pub(super) struct Wrapper {
    /// Where it keeps its state, and the empty folder that it was started in.
    home: tempfile::TempDir,
    child: Child,
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
    asked: u32,
}

impl Wrapper {
    /// Starts it.
    pub(super) fn start() -> Self {
        // Each job is synced to disk some times: in memory, that costs nothing.
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let home = tempfile::tempdir_in(parent).expect("a folder of our own");
        let state = home.path().join("state");
        let text = WRAPPER.replace("state=/var/lib/serin", &format!("state={}", state.display()));
        assert_ne!(text, WRAPPER, "the wrapper keeps its state elsewhere now");
        let file = home.path().join("wrapper");
        std::fs::write(&file, text).expect("there is room for it");
        std::fs::set_permissions(&file, Permissions::from_mode(0o755)).expect("it is ours");
        let folder = home.path().join("here");
        std::fs::create_dir(&folder).expect("there is room for it");
        let mut child = Command::new("sh")
            .arg(&file)
            .arg("serve")
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is a shell");
        let requests = child.stdin.take().expect("it is a pipe");
        let mut replies = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let mut line = String::new();
        while !line.ends_with("SERIN-1 ready\n") {
            let read = replies.read_line(&mut line).expect("it speaks");
            assert_ne!(read, 0, "the wrapper has ended: {line:?}");
        }
        Self { home, child, requests, replies, asked: 0 }
    }

    /// Asks it something.
    pub(super) fn ask(&mut self, request: &Request) -> Reply {
        self.requests.write_all(request.render().as_bytes()).expect("it lives");
        let mut bytes = Vec::new();
        loop {
            let begin = bytes.len();
            let read = self.replies.read_until(b'\n', &mut bytes).expect("it speaks");
            assert_ne!(read, 0, "the wrapper has ended after {request:?}");
            let line = String::from_utf8_lossy(bytes.get(begin..).unwrap_or_default()).into_owned();
            match line.strip_prefix("data ").map(|length| length.trim().parse::<u64>()) {
                Some(Ok(length)) => {
                    let block = (&mut self.replies).take(length).read_to_end(&mut bytes);
                    block.expect("it speaks");
                }
                Some(Err(_)) | None => break,
            }
        }
        super::at_once(host::reply(&bytes)).expect("it speaks as it should")
    }

    /// Returns a number that was not there before.
    pub(super) fn count(&mut self) -> u32 {
        self.asked += 1;
        self.asked
    }

    /// Returns the folder that it was started in.
    pub(super) fn folder(&self) -> PathBuf {
        self.home.path().join("here")
    }

    /// Returns what is in that folder by now.
    pub(super) fn what_ran(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder()).expect("it is there");
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Wrapper {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Pastes a `printf` as it is shown into a shell, and returns what it printed between NULs.
pub(super) fn pasted(argv: &Argv) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder of our own");
    // bash, because it expands more than other shells do.
    let output = Command::new("bash")
        .args(["-c", &argv.to_string()])
        .current_dir(folder.path())
        .output()
        .expect("there is a bash");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut words: Vec<String> = text.split('\0').map(str::to_owned).collect();
    assert_eq!(words.pop().as_deref(), Some(""), "{argv} printed {text:?}");
    words
}
