//! What the tests need: a signed repository of two builds over HTTP, and `serin` with a configuration of it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A repository with two builds, and a configuration of it.
pub(crate) struct Site {
    folder: tempfile::TempDir,
}

impl Drop for Site {
    fn drop(&mut self) {
        drop(
            Command::new("gpgconf")
                .args(["--kill", "all"])
                .env("GNUPGHOME", self.path("key"))
                .status(),
        );
    }
}

/// The file of build 1.0-1; in 2.0-1 the fifth line is changed.
pub(crate) const OLD: &str = "one\ntwo\nthree\nfour\nfive\nsix\nseven\neight\nnine\n";

impl Site {
    pub(crate) fn new() -> Self {
        let site = Self { folder: tempfile::tempdir().unwrap() };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        site.publish("1.0-1", "aaaa", OLD);
        site.publish("2.0-1", "bbbb", &OLD.replace("five", "FIVE"));
        site.sign();
        let root = site.path("repo");
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                answer(&root, stream);
            }
        });
        let config = format!(
            "[package]\nname = \"demo\"\nprofile = \"plain\"\n\
             [profile]\nmanifest = \"/opt/demo/version-manifest.json\"\npatch_roots = [\"/opt/demo/app\", \"/opt/demo/none\"]\n\
             [repository]\nurl = \"http://127.0.0.1:{port}\"\nsuite = \"lab\"\nkeyring = \"keyring.gpg\"\n\
             [journal]\npath = \"state/journal.db\"\n\
             [roles.web]\nservices = [{{ name = \"demo\", action = \"restart\" }}]\nquiet = \"none\"\n\
             [environments.staging]\nfleets.main.hosts = {{ web = [\"web-01\"] }}\n"
        );
        fs::create_dir(site.path("state")).unwrap();
        fs::write(site.path("serin.toml"), config).unwrap();
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn publish(&self, version: &str, revision: &str, source: &str) {
        let tree = self.path(&format!("tree-{version}"));
        fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        fs::create_dir_all(tree.join("opt/demo/app")).unwrap();
        let control = format!(
            "Package: demo\nVersion: {version}\nArchitecture: amd64\nMaintainer: T <t@example.com>\nDescription: t\n"
        );
        fs::write(tree.join("DEBIAN/control"), control).unwrap();
        let manifest = format!(
            "{{\"software\": {{\"app\": {{\"locked_version\": \"{revision}\", \"described_version\": \"v{version}\"}},\
             \"lib\": {{\"locked_version\": \"7\", \"described_version\": \"7\"}}}}}}"
        );
        fs::write(tree.join("opt/demo/version-manifest.json"), manifest).unwrap();
        fs::write(tree.join("opt/demo/app/a.rb"), source).unwrap();
        let pool = self.path("repo/pool");
        fs::create_dir_all(&pool).unwrap();
        run(Command::new("dpkg-deb").args(["--root-owner-group", "-b"]).args([&tree, &pool]));
    }

    fn sign(&self) {
        let (root, key) = (self.path("repo"), self.path("key"));
        let binary = root.join("dists/lab/main/binary-amd64");
        fs::create_dir_all(&binary).unwrap();
        fs::create_dir(&key).unwrap();
        run(Command::new("chmod").arg("700").arg(&key));
        let packages =
            run(Command::new("apt-ftparchive").args(["packages", "pool"]).current_dir(&root));
        fs::write(binary.join("Packages"), packages).unwrap();
        let dist = root.join("dists/lab");
        let release = run(Command::new("apt-ftparchive").arg("release").arg(&dist));
        fs::write(dist.join("Release"), release).unwrap();
        let gpg = |arguments: &[&str]| {
            let mut gpg = Command::new("gpg");
            run(gpg
                .args(["--batch", "--yes", "--quiet"])
                .args(arguments)
                .current_dir(&dist)
                .env("GNUPGHOME", &key));
        };
        gpg(&["--passphrase", "", "--quick-gen-key", "lab@example.com", "ed25519", "sign", "1y"]);
        gpg(&["--output", "InRelease", "--clearsign", "Release"]);
        let keyring = self.path("keyring.gpg");
        gpg(&["--output", keyring.to_str().unwrap(), "--export"]);
    }

    /// Runs `serin`; returns its exit code and what it printed.
    pub(crate) fn serin(&self, arguments: &[&str]) -> (i32, String) {
        let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_serin"))
            .arg("--config")
            .arg(self.path("serin.toml"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env("SUDO_USER", "alice")
            .output()
            .unwrap();
        let text = String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap();
        (status.code().unwrap(), text)
    }

    pub(crate) fn patch(&self, old: &str, new: &str) -> String {
        for (side, text) in [("a", old), ("b", new)] {
            fs::create_dir_all(self.path(side)).unwrap();
            fs::write(self.path(side).join("a.rb"), text).unwrap();
        }
        let arguments = ["diff", "--no-index", "--no-prefix", "a/a.rb", "b/a.rb"];
        let made =
            Command::new("git").args(arguments).current_dir(self.folder.path()).output().unwrap();
        fs::write(self.path("fix.patch"), made.stdout).unwrap();
        "fix.patch".to_owned()
    }
}

fn answer(root: &Path, mut stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut request = String::new();
    reader.read_line(&mut request).unwrap();
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|count| count > 2) {
        line.clear();
    }
    let path = request.split(' ').nth(1).unwrap().trim_start_matches('/');
    let (status, body) = match fs::read(root.join(path)) {
        Ok(body) => ("200 OK", body),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    drop(stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)));
}

pub(crate) fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
