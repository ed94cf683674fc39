//! The lab's signed apt repository: packages in, an index that apt and Serin accept out.
//!
//! The index is published by-hash, and old ones stay, so that a host in the middle of `apt-get update` never sees half
//! of two. The signing key is made with the lab and is worth nothing outside it.

use crate::package::{PackageSpec, build_deb};
use crate::run::{cmd, read, run};
use crate::state::LabFolder;
use anyhow::{Context, Result, bail};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What is being built is on the same disk as the repository, so that it is published by renaming.
const PARTIAL: &str = "repo-partial";
const SUITE_PATH: &str = "dists/bookworm";
const INDEX_PATH: &str = "dists/bookworm/main/binary-amd64";
const POOL_PATH: &str = "pool/main/g/gitlab-ee";

/// The key ring that hosts and Serin check the index with.
pub(crate) fn keyring(folder: &LabFolder) -> PathBuf {
    folder.path("keys/repo.gpg")
}

/// Makes the signing key and an empty repository.
pub(crate) fn create(folder: &LabFolder) -> Result<()> {
    std::fs::create_dir_all(folder.path("repo").join(POOL_PATH))?;
    std::fs::create_dir_all(folder.path("repo").join(INDEX_PATH))?;
    std::fs::create_dir_all(folder.path("keys"))?;
    std::fs::create_dir_all(folder.path(PARTIAL))?;
    // The web server in the lab runs as another user.
    std::fs::set_permissions(folder.path("repo"), std::fs::Permissions::from_mode(0o755))?;
    with_gpg_home(|home| {
        run(gpg(home).args(["--passphrase", "", "--quick-generate-key"]).args([
            "Serin lab repository <lab@serin.invalid>",
            "ed25519",
            "sign",
            "never",
        ]))?;
        run(gpg(home).args(["--export", "--output"]).arg(keyring(folder)))?;
        run(gpg(home).args(["--export-secret-keys", "--output"]).arg(secret_key(folder)))?;
        Ok(())
    })
}

/// Builds a version of the package, adds it to the repository and publishes the new index.
pub(crate) fn publish(folder: &LabFolder, standin: &Path, spec: &PackageSpec) -> Result<PathBuf> {
    let version = spec.version.as_str();
    if !is_debian_version(version) {
        bail!("{version} is no Debian version: it starts with a digit and has only A-Za-z0-9.+~-");
    }
    let staging = tempfile::tempdir_in(folder.path(PARTIAL))?;
    let built = build_deb(spec, standin, staging.path())
        .with_context(|| format!("could not build gitlab-ee {version}"))?;
    let pooled = folder.path("repo").join(POOL_PATH).join(pool_name(version));
    std::fs::set_permissions(&built, std::fs::Permissions::from_mode(0o644))?;
    std::fs::rename(&built, &pooled)?;
    publish_index(folder)?;
    Ok(pooled)
}

/// Takes a version out of the repository; hosts that have it keep it.
pub(crate) fn unpublish(folder: &LabFolder, version: &str) -> Result<()> {
    let pooled = folder.path("repo").join(POOL_PATH).join(pool_name(version));
    if !pooled.exists() {
        bail!(
            "the repository has no gitlab-ee {version}; it has: {}",
            versions(folder)?.join(", ")
        );
    }
    std::fs::remove_file(&pooled)?;
    publish_index(folder)
}

/// Returns the versions in the repository, by file name.
pub(crate) fn versions(folder: &LabFolder) -> Result<Vec<String>> {
    let mut versions = Vec::new();
    for entry in std::fs::read_dir(folder.path("repo").join(POOL_PATH))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let version =
            name.strip_prefix("gitlab-ee_").and_then(|rest| rest.strip_suffix("_amd64.deb"));
        versions.extend(version.map(str::to_owned));
    }
    versions.sort();
    Ok(versions)
}

fn publish_index(folder: &LabFolder) -> Result<()> {
    let repo = folder.path("repo");
    let staging = tempfile::tempdir_in(folder.path(PARTIAL))?;
    let suite = staging.path().join(SUITE_PATH);
    let index = staging.path().join(INDEX_PATH);
    std::fs::create_dir_all(&index)?;

    let packages = run(cmd(ARCHIVE).args(["packages", "pool"]).current_dir(&repo))?.stdout;
    std::fs::write(index.join("Packages"), &packages)?;
    run(cmd(["gzip", "-9n", "--keep"]).arg(index.join("Packages")))?;
    let release = run(cmd(ARCHIVE).args(RELEASE_FIELDS).arg("release").arg(&suite))?.stdout;
    std::fs::write(suite.join("Release"), release)?;
    sign(folder, &suite)?;

    // What the new index names must be there before the index is.
    let by_hash = repo.join(INDEX_PATH).join("by-hash/SHA256");
    std::fs::create_dir_all(&by_hash)?;
    for name in ["Packages", "Packages.gz"] {
        let hash = read(cmd(["sha256sum"]).arg(index.join(name)))?;
        let hash = hash.split_whitespace().next().context("sha256sum printed nothing")?;
        std::fs::copy(index.join(name), by_hash.join(hash))?;
        move_into_place(&index.join(name), &repo.join(INDEX_PATH).join(name))?;
    }
    for name in ["Release", "Release.gpg", "InRelease"] {
        move_into_place(&suite.join(name), &repo.join(SUITE_PATH).join(name))?;
    }
    Ok(())
}

/// Only one hash algorithm is listed, so that only one by-hash folder is needed.
const ARCHIVE: [&str; 7] = [
    "apt-ftparchive",
    "-o",
    "APT::FTPArchive::MD5=false",
    "-o",
    "APT::FTPArchive::SHA1=false",
    "-o",
    "APT::FTPArchive::SHA512=false",
];
const RELEASE_FIELDS: [&str; 12] = [
    "-o",
    "APT::FTPArchive::Release::Origin=Serin lab",
    "-o",
    "APT::FTPArchive::Release::Suite=bookworm",
    "-o",
    "APT::FTPArchive::Release::Codename=bookworm",
    "-o",
    "APT::FTPArchive::Release::Architectures=amd64",
    "-o",
    "APT::FTPArchive::Release::Components=main",
    "-o",
    "APT::FTPArchive::Release::Acquire-By-Hash=yes",
];

fn sign(folder: &LabFolder, suite: &Path) -> Result<()> {
    with_gpg_home(|home| {
        run(gpg(home).arg("--import").arg(secret_key(folder)))?;
        run(gpg(home)
            .args(["--clearsign", "--output"])
            .arg(suite.join("InRelease"))
            .arg(suite.join("Release")))?;
        run(gpg(home)
            .args(["--detach-sign", "--armor", "--output"])
            .arg(suite.join("Release.gpg"))
            .arg(suite.join("Release")))?;
        Ok(())
    })
}

/// gpg starts an agent per home folder; it is ended with the folder, so that nothing stays on the machine.
fn with_gpg_home(work: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    // A short path: the agent's socket is in it, and a socket's path has at most 107 bytes.
    let home = tempfile::Builder::new().prefix("serin-lab-gpg").tempdir_in("/tmp")?;
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700))?;
    let outcome = work(home.path());
    let agent = run(cmd(["gpgconf", "--kill", "all"]).env("GNUPGHOME", home.path()));
    outcome.and(agent.map(drop))
}

fn gpg(home: &Path) -> std::process::Command {
    let mut command = cmd(["gpg", "--homedir"]);
    command.arg(home).args(["--batch", "--quiet", "--yes", "--pinentry-mode", "loopback"]);
    command
}

fn secret_key(folder: &LabFolder) -> PathBuf {
    folder.path("keys/repo-secret.gpg")
}

fn pool_name(version: &str) -> String {
    format!("gitlab-ee_{version}_amd64.deb")
}

fn move_into_place(from: &Path, to: &Path) -> Result<()> {
    std::fs::set_permissions(from, std::fs::Permissions::from_mode(0o644))?;
    std::fs::rename(from, to).with_context(|| to.display().to_string())
}

fn is_debian_version(version: &str) -> bool {
    version.starts_with(|first: char| first.is_ascii_digit())
        && version.chars().all(|letter| letter.is_ascii_alphanumeric() || ".+~-".contains(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_apt_would_read_as_patterns_are_refused() {
        assert!(is_debian_version("16.1.0-rc1.ee.0"));
        assert!(is_debian_version("16.1.1+rnightly.159756.b2b5f05e-0"));
        for version in ["", "16.*", "v16", "16.0 0", "16.0/../1"] {
            assert!(!is_debian_version(version), "{version}");
        }
    }
}
