//! A cable between a process and its server that can be cut at a chosen word.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What the next commit meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The server does not get it.
    Before,
    /// The server gets it, and nobody hears the answer.
    After,
    /// It is on its way for ever, and the connection is as good as before.
    Never,
}

/// A cable. Connections to it go to the server.
pub(crate) struct Cable {
    next: Arc<Mutex<Option<Cut>>>,
}

/// How a commit looks on the wire: a simple query.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

impl Cable {
    /// Lays a cable in a folder with the server's socket.
    pub(crate) fn lay(folder: &Path, port: u16) -> Self {
        let next = Arc::new(Mutex::new(None));
        let listener = UnixListener::bind(socket(folder, port)).unwrap();
        let (server, cutting) = (socket(folder, 5432), Arc::clone(&next));
        // They end with the test's process.
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let near = near.unwrap();
                let Ok(far) = UnixStream::connect(&server) else { continue };
                let back = (far.try_clone().unwrap(), near.try_clone().unwrap());
                std::thread::spawn(move || carry(back.0, back.1, &Mutex::new(None)));
                let cutting = Arc::clone(&cutting);
                std::thread::spawn(move || carry(near, far, &cutting));
            }
        });
        Self { next }
    }

    /// Cuts the next commit.
    pub(crate) fn cut_next(&self, cut: Cut) {
        *self.next.lock().unwrap() = Some(cut);
    }

    /// Tells whether it was cut.
    pub(crate) fn is_cut(&self) -> bool {
        self.next.lock().unwrap().is_none()
    }
}

fn socket(folder: &Path, port: u16) -> PathBuf {
    folder.join(format!(".s.PGSQL.{port}"))
}

fn carry(mut from: UnixStream, mut to: UnixStream, cut: &Mutex<Option<Cut>>) {
    let mut buffer = [0; 16384];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        let bytes = &buffer[..read];
        // A commit is sent alone, when everything before it was answered.
        let cut = if bytes == COMMIT { cut.lock().unwrap().take() } else { None };
        if cut == Some(Cut::After) {
            // Its answer finds nobody; but that it was given is certain before the connection is gone.
            from.shutdown(std::net::Shutdown::Both).unwrap();
            to.write_all(bytes).unwrap();
            return;
        }
        if cut == Some(Cut::Never) {
            continue;
        }
        if cut == Some(Cut::Before) || to.write_all(bytes).is_err() {
            break;
        }
    }
    // The other end may be gone already.
    drop(from.shutdown(std::net::Shutdown::Both));
    drop(to.shutdown(std::net::Shutdown::Both));
}
