//! What can be said of a package without installing it.

use std::process::Command;

use tempfile::TempDir;

use crate::host::standin;
use crate::package::{Flaw, PackageSpec, build_deb};

fn spec(version: &str, flaw: Option<Flaw>) -> PackageSpec {
    PackageSpec { version: version.to_owned(), flaw, fix: None }
}

#[test]
fn the_same_package_is_the_same_bytes_and_small() {
    let (one, two) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let spec = spec("16.0.0-ee.0", Some(Flaw::Slow));
    let [one, two] = [one.path(), two.path()]
        .map(|out| std::fs::read(build_deb(&spec, &standin(), out).unwrap()).unwrap());
    assert!(one == two, "they differ");
    assert!(one.len() < 3_000_000, "{} bytes", one.len());
}

#[test]
fn a_flaw_changes_the_bytes_of_the_same_version() {
    let out = TempDir::new().unwrap();
    let build = |flaw| {
        std::fs::read(build_deb(&spec("16.0.0-ee.0", flaw), &standin(), out.path()).unwrap())
    };
    assert!(build(None).unwrap() != build(Some(Flaw::NeverReady)).unwrap(), "they do not");
}

#[test]
fn every_flaw_is_found_by_its_name() {
    for flaw in Flaw::ALL {
        assert_eq!(flaw.to_string().parse::<Flaw>().unwrap(), flaw);
    }
    let error = "slowly".parse::<Flaw>().unwrap_err().to_string();
    assert!(error.starts_with("`slowly` is no flaw; the flaws are fails-to-install, "), "{error}");
}

#[test]
fn everything_belongs_to_root_and_versions_may_have_an_epoch() {
    let out = TempDir::new().unwrap();
    let deb = build_deb(&spec("1:16.0.0+rnightly.1.abc-0", None), &standin(), out.path()).unwrap();
    assert!(deb.ends_with("gitlab-ee_16.0.0+rnightly.1.abc-0_amd64.deb"), "{}", deb.display());
    let listed = Command::new("dpkg-deb").arg("--contents").arg(&deb).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.lines().count() > 30 && listed.lines().all(|line| line.contains(" root/root ")));
}
