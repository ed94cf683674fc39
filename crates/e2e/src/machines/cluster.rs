//! A PostgreSQL of this machine for one story, which syncs every commit, as Debian has it.

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Where Debian has the programs.
const BIN: &str = "/usr/lib/postgresql/15/bin";

/// A PostgreSQL that ends with the story.
pub(super) struct Cluster {
    server: Option<Child>,
    folder: TempDir,
}

impl Cluster {
    pub(super) fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        // It refuses to be root.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711))?;
        let own = folder.path().join("postgres");
        std::fs::create_dir(&own)?;
        done(Command::new("chown").arg("postgres:").arg(&own))?;
        let data = own.join("data");
        done(
            postgres("initdb")
                .args(["--auth=trust", "--username=serin", "--encoding=UTF8", "--locale=C", "-D"])
                .arg(&data),
        )?;
        let mut cluster = Self { server: None, folder };
        cluster.serve()?;
        Ok(cluster)
    }

    /// Starts the server, and waits until it can be asked.
    pub(super) fn serve(&mut self) -> Result<()> {
        let socket = self.socket();
        let mut server = postgres("postgres");
        server.arg("-D").arg(socket.join("data")).arg("-k").arg(&socket);
        server.args(["-c", "listen_addresses="]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut server = server.spawn()?;
        let mut ready = Command::new(Path::new(BIN).join("pg_isready"));
        ready.arg("-q").arg("-h").arg(&socket);
        while !ready.status()?.success() {
            if let Some(status) = server.try_wait()? {
                bail!("PostgreSQL ended with {status}");
            }
        }
        self.server = Some(server);
        Ok(())
    }

    /// Stops the server at once, as a crash of it would: every connection is lost, whatever is on its way.
    pub(super) fn stop(&mut self) -> Result<()> {
        if let Some(mut server) = self.server.take() {
            let pid = Pid::from_child(&server);
            kill_process(pid, Signal::QUIT)?;
            server.wait()?;
        }
        Ok(())
    }

    /// Returns the folder of its socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("postgres")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.stop());
    }
}

/// A program of PostgreSQL's, as its own user.
fn postgres(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"])
        .arg(Path::new(BIN).join(program))
        .current_dir("/");
    command
}

fn done(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("could not start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
