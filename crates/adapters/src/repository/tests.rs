//! A real repository: packages by `dpkg-deb`, index by `apt-ftparchive`, signature by `gpg` with a throw-away key.

use super::*;
use crate::http::test_server::{Reply, TestServer};
use std::fs;
use std::path::Path;
use std::process::Command;

const VERSIONS: [&str; 4] = ["1.0-1", "2.0+nightly.20261122-1", "2.0~rc1-1", "10.0-1"];

/// A key in a home of its own. Its agent ends with it.
struct Key {
    home: tempfile::TempDir,
}

impl Drop for Key {
    fn drop(&mut self) {
        let home = self.home.path();
        drop(Command::new("gpgconf").args(["--kill", "all"]).env("GNUPGHOME", home).status());
    }
}

impl Key {
    fn new() -> Self {
        Self::made(&[], "1y")
    }

    /// A key that was made, and has expired, years ago.
    fn expired() -> Self {
        Self::made(&["--faked-system-time", "20200101T000000"], "1d")
    }

    fn made(options: &[&str], expires: &str) -> Self {
        let key = Self { home: tempfile::tempdir().unwrap() };
        let make = ["--passphrase", "", "--quick-gen-key", "lab@example.com", "ed25519", "sign"];
        key.gpg(&[options, &make, &[expires]].concat());
        key
    }

    fn gpg(&self, arguments: &[&str]) {
        let output = Command::new("gpg")
            .args(["--batch", "--yes", "--quiet"])
            .args(arguments)
            .env("GNUPGHOME", self.home.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn keyring(&self) -> PathBuf {
        let path = self.home.path().join("public.gpg");
        self.gpg(&["--output", path.to_str().unwrap(), "--export"]);
        path
    }

    fn sign(&self, release: &Path, signed: &Path, options: &[&str]) {
        let (release, signed) = (release.to_str().unwrap(), signed.to_str().unwrap());
        self.gpg(&[options, &["--output", signed, "--clearsign", release]].concat());
    }
}

/// A repository on disk and over HTTP.
pub(super) struct Lab {
    pub(super) root: tempfile::TempDir,
    key: Key,
    pub(super) server: TestServer,
    /// Lines before those that apt-ftparchive writes.
    fields: String,
}

impl Lab {
    pub(super) async fn start() -> Self {
        let lab = Self {
            root: tempfile::tempdir().unwrap(),
            key: Key::new(),
            server: TestServer::start().await,
            fields: "Suite: lab\nAcquire-By-Hash: yes\n".to_owned(),
        };
        for version in VERSIONS {
            lab.add_package(version, "pool");
        }
        lab.index();
        lab.sign(&lab.key, &[]);
        lab
    }

    fn add_package(&self, version: &str, pool: &str) {
        let tree = tempfile::tempdir().unwrap();
        let control = format!(
            "Package: demoapp\nVersion: {version}\nArchitecture: amd64\nMaintainer: Lab <lab@example.com>\nDescription: {pool}\n"
        );
        fs::create_dir(tree.path().join("DEBIAN")).unwrap();
        fs::write(tree.path().join("DEBIAN/control"), control).unwrap();
        let pool = self.root.path().join(pool);
        fs::create_dir_all(&pool).unwrap();
        let file = pool.join(format!("demoapp_{version}_amd64.deb"));
        run(Command::new("dpkg-deb").args(["--root-owner-group", "-b"]).arg(tree.path()).arg(file));
    }

    fn binary(&self) -> PathBuf {
        self.root.path().join("dists/lab/main/binary-amd64")
    }

    fn index(&self) {
        fs::create_dir_all(self.binary().join("by-hash/SHA256")).unwrap();
        let mut command = Command::new("apt-ftparchive");
        let packages = run(command.args(["packages", "."]).current_dir(self.root.path()));
        fs::write(self.binary().join("Packages"), packages).unwrap();
        run(Command::new("gzip").arg("-kf").arg(self.binary().join("Packages")));
        run(Command::new("xz").arg("-kf").arg(self.binary().join("Packages")));
    }

    fn sign(&self, key: &Key, options: &[&str]) {
        let dist = self.root.path().join("dists/lab");
        for name in ["InRelease", "Release"] {
            drop(fs::remove_file(dist.join(name)));
        }
        let release = run(Command::new("apt-ftparchive").arg("release").arg(&dist));
        fs::write(dist.join("Release"), format!("{}{release}", self.fields)).unwrap();
        key.sign(&dist.join("Release"), &dist.join("InRelease"), options);
        for name in ["Packages", "Packages.gz", "Packages.xz"] {
            let bytes = fs::read(self.binary().join(name)).unwrap();
            fs::write(self.binary().join("by-hash/SHA256").join(sha256(&bytes)), bytes).unwrap();
        }
        self.serve();
    }

    /// Serves what is on disk now.
    fn serve(&self) {
        let dists = self.root.path().join("dists");
        let pool = self.root.path().join("pool");
        let list = run(Command::new("find").args([&dists, &pool]).args(["-type", "f"]));
        for file in list.lines() {
            let path = file.strip_prefix(self.root.path().to_str().unwrap()).unwrap();
            let reply = Reply::full(200, "application/octet-stream", fs::read(file).unwrap());
            self.server.reply(path, reply);
        }
    }

    pub(super) fn repository(&self) -> Repository {
        self.repository_at(self.server.url.clone())
    }

    pub(super) fn repository_at(&self, url: String) -> Repository {
        self.repository_by(url, None)
    }

    pub(super) fn repository_by(
        &self,
        url: String,
        credentials: Option<Credentials>,
    ) -> Repository {
        Repository::new(RepositoryConfig {
            package: "demoapp".parse().unwrap(),
            url,
            suite: "lab".to_owned(),
            component: "main".to_owned(),
            architecture: "amd64".to_owned(),
            keyring: self.key.keyring(),
            credentials,
            kinds: vec![
                (BuildKind::Nightly, Pattern::new("*+nightly*")),
                (BuildKind::Candidate, Pattern::new("*~rc*")),
                (BuildKind::Official, Pattern::new("*")),
            ],
        })
        .unwrap()
    }

    /// What the repository says, in one line.
    async fn outcome(&self) -> String {
        match self.repository().builds().await {
            Ok(builds) => format!("{} builds", builds.len()),
            Err(error) => error.to_string().replace(&self.server.url, "URL"),
        }
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn builds_are_listed_newest_first_with_kind_size_and_hash() {
    let lab = Lab::start().await;
    let builds = lab.repository().builds().await.unwrap();
    let found: Vec<_> = builds.iter().map(|b| (b.version.as_str(), b.kind)).collect();
    assert_eq!(
        found,
        [
            ("10.0-1", BuildKind::Official),
            ("2.0+nightly.20261122-1", BuildKind::Nightly),
            ("2.0~rc1-1", BuildKind::Candidate),
            ("1.0-1", BuildKind::Official),
        ]
    );
    let file = lab.root.path().join("pool/demoapp_10.0-1_amd64.deb");
    let hash = run(Command::new("sha256sum").arg(&file));
    assert_eq!(builds[0].sha256.as_str(), hash.split(' ').next().unwrap());
    assert_eq!(builds[0].size, fs::metadata(&file).unwrap().len());
    let asked = lab.server.asked.lock().unwrap().join(" ");
    assert!(asked.contains("/by-hash/SHA256/"), "{asked}");
    assert!(!asked.contains("Packages"), "{asked}");

    let from_disk = lab.repository_at(format!("file://{}", lab.root.path().display()));
    assert_eq!(from_disk.builds().await.unwrap(), builds);
}

#[tokio::test]
async fn an_unknown_version_names_the_nearest_ones() {
    let lab = Lab::start().await;
    let repository = lab.repository();
    let found = repository.find(&"10.0-1".parse().unwrap()).await.unwrap();
    assert_eq!(found.version.as_str(), "10.0-1");
    let error = repository.find(&"2.0-1".parse().unwrap()).await.unwrap_err().to_string();
    let tail = error.replace(&lab.server.url, "URL");
    assert_eq!(
        tail,
        "demoapp 2.0-1 is not in URL; the nearest there: 2.0+nightly.20261122-1, 2.0~rc1-1, 10.0-1, 1.0-1"
    );
}

#[tokio::test]
async fn without_by_hash_the_plain_names_are_used_and_missing_kinds_are_skipped() {
    let mut lab = Lab::start().await;
    lab.fields = "Codename: lab\n".to_owned();
    lab.sign(&lab.key, &[]);
    lab.server.reply("/dists/lab/main/binary-amd64/Packages.xz", Reply::full(404, "", vec![]));
    assert_eq!(lab.outcome().await, "4 builds");
    let asked = lab.server.asked.lock().unwrap().join(" ");
    assert!(asked.contains("Packages.gz") && !asked.contains("by-hash"), "{asked}");
}

#[tokio::test]
async fn an_index_that_was_changed_is_refused_before_it_is_decompressed() {
    let mut lab = Lab::start().await;
    lab.fields = "Suite: lab\n".to_owned();
    lab.sign(&lab.key, &[]);
    let mut bytes = fs::read(lab.binary().join("Packages.xz")).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    let path = "/dists/lab/main/binary-amd64/Packages.xz";
    lab.server.reply(path, Reply::full(200, "", bytes));
    let outcome = lab.outcome().await;
    assert!(outcome.contains("is not what was signed"), "{outcome}");
}

#[tokio::test]
async fn only_an_intact_signature_by_the_configured_key_is_accepted() {
    let lab = Lab::start().await;
    let release = "/dists/lab/InRelease";
    let intact = fs::read_to_string(lab.root.path().join("dists/lab/InRelease")).unwrap();
    let serve = |text: String| lab.server.reply(release, Reply::full(200, "", text.into_bytes()));

    serve(intact.replacen("Suite: lab", "Suite: laB", 1));
    assert!(lab.outcome().await.contains("was changed after it was signed"));

    // Words around the signed part are not signed: they must change nothing.
    serve(format!("SHA256:\n 00 1 main/binary-amd64/Packages.xz\n\n{intact}\nSuite: other\n"));
    let outcome = lab.outcome().await;
    assert_eq!(outcome, "4 builds");

    serve(format!("{intact}\n{intact}"));
    let outcome = lab.outcome().await;
    assert!(outcome.contains("exactly one signed text"), "{outcome}");

    serve(fs::read_to_string(lab.root.path().join("dists/lab/Release")).unwrap());
    assert!(lab.outcome().await.contains("is not signed"));

    lab.sign(&Key::new(), &[]);
    let outcome = lab.outcome().await;
    assert!(outcome.contains("not in the configured keyring"), "{outcome}");

    lab.sign(&lab.key, &["--digest-algo", "SHA1"]);
    let outcome = lab.outcome().await;
    assert_ne!(outcome, "4 builds", "a SHA-1 signature");
}

#[tokio::test]
async fn what_has_expired_is_refused() {
    let mut lab = Lab::start().await;
    lab.fields = "Suite: lab\nValid-Until: Sat, 21 Nov 2020 00:00:00 UTC\n".to_owned();
    lab.sign(&lab.key, &[]);
    assert!(lab.outcome().await.contains("was valid until Sat, 21 Nov 2020"));

    lab.fields = "Suite: lab\n".to_owned();
    lab.key = Key::expired();
    lab.sign(&lab.key, &["--faked-system-time", "20200101T010000"]);
    let outcome = lab.outcome().await;
    assert!(outcome.contains("has expired"), "{outcome}");
}

#[tokio::test]
async fn one_version_with_two_contents_is_refused_and_with_one_is_listed_once() {
    let lab = Lab::start().await;
    fs::create_dir(lab.root.path().join("copy")).unwrap();
    let name = "demoapp_1.0-1_amd64.deb";
    fs::copy(lab.root.path().join("pool").join(name), lab.root.path().join("copy").join(name))
        .unwrap();
    lab.index();
    lab.sign(&lab.key, &[]);
    assert_eq!(lab.outcome().await, "4 builds");

    lab.add_package("1.0-1", "other");
    lab.index();
    lab.sign(&lab.key, &[]);
    let outcome = lab.outcome().await;
    assert!(outcome.starts_with("version 1.0-1 is listed twice"), "{outcome}");
}

#[tokio::test]
async fn what_is_not_there_is_named_and_credentials_are_not() {
    let lab = Lab::start().await;
    let ask = |change: fn(&mut RepositoryConfig)| {
        let mut config = lab.repository().config;
        change(&mut config);
        async move { Repository::new(config)?.builds().await.map(|builds| builds.len()) }
    };
    assert_eq!(ask(|config| config.package = "other".parse().unwrap()).await, Ok(0));
    let error = ask(|config| config.suite = "bookworm".to_owned()).await.unwrap_err();
    assert!(matches!(error, RepositoryError::NoSuite { .. }), "{error}");
    let error = ask(|config| config.architecture = "arm64".to_owned()).await.unwrap_err();
    assert!(matches!(error, RepositoryError::NotListed { .. }), "{error}");
    let error = ask(|config| config.keyring = "/nonexistent".into()).await.unwrap_err();
    assert!(matches!(error, RepositoryError::Keyring { .. }), "{error}");
    let error = ask(|config| config.url = "gopher://me:hunter2@x".to_owned()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"gopher://x\" is not a repository's address: write http://…, https://… or file:///…"
    );
    let error = ask(|config| config.url = "http://me:hunter2@127.0.0.1:1/".to_owned()).await;
    let error = format!("{0} {0:?}", error.unwrap_err());
    assert!(error.contains("127.0.0.1:1") && !error.contains("hunter2"), "{error}");

    lab.server.reply("/dists/lab/InRelease", Reply::Endless);
    assert!(lab.outcome().await.contains("larger than"));
    lab.server.reply("/dists/lab/InRelease", Reply::Cut(b"-----BEGIN PGP".to_vec()));
    assert!(lab.outcome().await.contains("cannot be read"));
}
