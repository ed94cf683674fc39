//! What a package repository sends: its Release file, its index, packages, and the list of components in one.
//!
//! All but the Release file is decompressed, which must end within its limits. The format is told by the first bytes here,
//! and by the ending of a name in Serin.

use super::{MIB, Target};
use serin_adapters::deb::Deb;
use serin_adapters::manifest::Manifest;
use serin_adapters::repository::fuzzing as repository;
use std::io::Write;
use std::path::Path;

pub(super) const INDEX: Target = Target {
    name: "package-index",
    hold: index,
    memory: 16 * MIB,
    words: &[
        b"Package: demoapp\n",
        b"Architecture: amd64\n",
        b"Version: 1.0-1\n",
        b"Size: 12\n",
        b"\n\n",
        b" ",
        b" .\n",
        b"#",
        b"SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n",
        b"Filename: pool/d.deb\n",
    ],
    mutations: 200,
};

pub(super) const RELEASE: Target = Target {
    name: "release-file",
    hold: release,
    memory: MIB,
    words: &[
        b"SHA256:\n",
        b"Suite: ",
        b"Valid-Until: ",
        b" main/binary-amd64/Packages.xz\n",
        b"\n",
        b" e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 12",
    ],
    mutations: 1500,
};

pub(super) const PACKAGE: Target = Target {
    name: "package",
    hold: package,
    // zstd may look back over 128 MiB.
    memory: 160 * MIB,
    words: &[
        b"!<arch>\n",
        b"debian-binary   ",
        b"control.tar",
        b"data.tar",
        b"`\n",
        b"2.0\n",
        b"ustar",
        b"./../etc/x",
        b"././@LongLink",
    ],
    mutations: 600,
};

pub(super) const MANIFEST: Target = Target {
    name: "manifest",
    hold: manifest,
    memory: MIB,
    words: &[b"\"software\":", b"\"locked_version\":", b"null", b"{\"a\":", b"[[[[", b"\\u0000"],
    mutations: 1500,
};

fn index(input: &[u8]) {
    let name = match input {
        [0x1f, 0x8b, ..] => "Packages.gz",
        [0xfd, b'7', b'z', ..] => "Packages.xz",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "Packages.zst",
        _ => "Packages",
    };
    let read = || repository::index(name, input, "demoapp".parse().expect("it is a name"));
    let builds = read();
    assert_eq!(builds, read(), "the same index lists the same");
    for build in builds.unwrap_or_default() {
        assert_eq!(build.package.as_str(), "demoapp", "no other package is listed");
        assert_eq!(build.version.to_string().parse(), Ok(build.version));
    }
}

fn release(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    for name in repository::release(&text).unwrap_or_default() {
        assert!(name.starts_with("main/binary-amd64/Packages"), "{name:?} is no index");
    }
}

fn package(input: &[u8]) {
    let mut file = tempfile::tempfile().expect("a file of our own");
    file.write_all(input).expect("there is room for it");
    let Ok(mut deb) = Deb::new(file, Path::new("demoapp.deb")) else { return };
    drop(deb.control());
    let leads_down =
        |path: &str| path.starts_with('/') && !path.split('/').any(|part| part == "..");
    let mut size = 0;
    let read = deb.visit(&mut |item, content| {
        assert!(leads_down(&item.path), "{:?} leads elsewhere", item.path);
        size += std::io::copy(content, &mut std::io::sink())?;
        Ok(())
    });
    drop((read, size));
}

fn manifest(input: &[u8]) {
    if let Ok(manifest) = Manifest::parse(input) {
        assert!(!manifest.components.is_empty(), "a list of nothing is no list");
        assert!(manifest.differences(&manifest).is_empty(), "it is the same as itself");
    }
}
