//! Real packages by dpkg-deb in every compression, and packages that nobody should believe.

use super::*;
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

/// A package of some files, as dpkg-deb makes it.
fn package(folder: &Path, options: &[&str]) -> PathBuf {
    let tree = folder.join("tree");
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    fs::create_dir_all(tree.join("opt/demo/lib")).unwrap();
    let control = "Package: demo\nVersion: 2.0-1\nArchitecture: all\nMaintainer: T <t@example.com>\n\
                   Description: test\n";
    fs::write(tree.join("DEBIAN/control"), control).unwrap();
    fs::write(tree.join("opt/demo/lib/a.rb"), "puts 1\n").unwrap();
    fs::write(tree.join("opt/demo/run"), vec![7; 100_000]).unwrap();
    fs::set_permissions(tree.join("opt/demo/run"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::write(tree.join(format!("opt/demo/{}", "long".repeat(50))), "x").unwrap();
    fs::hard_link(tree.join("opt/demo/run"), tree.join("opt/demo/walk")).unwrap();
    symlink("/var/opt/demo", tree.join("opt/demo/etc")).unwrap();
    let deb = folder.join("demo.deb");
    let output = Command::new("dpkg-deb")
        .args(options)
        .args(["--root-owner-group", "-b"])
        .args([&tree, &deb])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    deb
}

fn wanted(paths: &[&str]) -> BTreeSet<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

#[test]
fn a_package_is_read_whatever_it_is_compressed_with() {
    for options in [
        &["-Znone"][..],
        &["-Zgzip"],
        &["-Zxz"],
        &["-Zzstd"],
        &["--no-uniform-compression", "-Zxz"],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut deb = Deb::open(&package(folder.path(), options)).unwrap();
        let control = deb.control().unwrap();
        assert_eq!((control.package.as_str(), control.version.as_str()), ("demo", "2.0-1"));
        let long = format!("/opt/demo/{}", "long".repeat(50));
        let paths = ["/opt/demo/lib/a.rb", "/opt/demo/run", &long, "/opt/demo/none", "/opt/demo"];
        let found = deb.find(&wanted(&paths)).unwrap();
        assert_eq!(found.len(), 4, "{options:?}");
        assert_eq!(found["/opt/demo/lib/a.rb"].content, b"puts 1\n");
        assert_eq!(found["/opt/demo/run"].content, vec![7; 100_000]);
        assert_eq!(found["/opt/demo/run"].item.mode, 0o750);
        assert_eq!(found[&long].content, b"x");
        assert_eq!(found["/opt/demo"].item.kind, ItemKind::Folder);
    }
}

#[test]
fn links_are_told_and_never_followed() {
    let folder = tempfile::tempdir().unwrap();
    let mut deb = Deb::open(&package(folder.path(), &[])).unwrap();
    let found = deb.find(&wanted(&["/opt/demo/walk", "/opt/demo/run", "/opt/demo/etc"])).unwrap();
    let target = "/var/opt/demo".to_owned();
    assert_eq!(found["/opt/demo/etc"].item.kind, ItemKind::Symlink { target });
    let kinds = ["/opt/demo/run", "/opt/demo/walk"].map(|path| found[path].item.kind.clone());
    assert!(kinds.contains(&ItemKind::File), "{kinds:?}");
    assert!(kinds.iter().any(|kind| matches!(kind, ItemKind::HardLink { .. })), "{kinds:?}");
    let first = found.values().find(|found| found.item.kind == ItemKind::File).unwrap();
    assert_eq!(first.other_names.len(), 1, "the other name is told: {first:?}");
    let refused = deb.find(&wanted(&["/opt/demo/etc/gitlab.rb"])).unwrap_err().to_string();
    assert!(refused.contains("has the link /opt/demo/etc in the way"), "{refused}");
}

#[test]
fn a_package_that_was_cut_off_anywhere_is_refused() {
    for options in ["-Znone", "-Zgzip", "-Zxz", "-Zzstd"] {
        let folder = tempfile::tempdir().unwrap();
        let path = package(folder.path(), &[options]);
        let whole = fs::read(&path).unwrap();
        for length in [0, 7, 8, 60, 67, 70, 150, whole.len() / 2, whole.len() - 2] {
            let cut = folder.path().join("cut.deb");
            fs::write(&cut, &whole[..length]).unwrap();
            assert!(matches!(Deb::open(&cut), Err(DebError::NotADeb { .. })), "{options} {length}");
        }
        // The frame is whole, and what it holds was cut.
        let parts: Vec<(String, Vec<u8>)> = parts(&whole);
        let [version, control, (name, data)] = parts.as_slice() else { panic!("three members") };
        let half = (name.clone(), data[..data.len() / 2].to_vec());
        let path = made(folder.path(), &[version.clone(), control.clone(), half]);
        let error = Deb::open(&path).unwrap().find(&wanted(&["/opt/demo/run"])).unwrap_err();
        assert!(matches!(error, DebError::Damaged { .. }), "{options} {error}");
    }
}

#[test]
fn what_expands_without_end_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let bomb = tar(&[entry("./opt/zeros", b'0', "", &vec![0; 40 << 20])]);
    let path = made(folder.path(), &members("data.tar.gz", gz(&bomb)));
    assert!(fs::metadata(&path).unwrap().len() < 1_000_000);
    let mut deb = Deb::open(&path).unwrap();
    let error = deb.find(&wanted(&["/opt/zeros"])).unwrap_err().to_string();
    assert!(error.contains("/opt/zeros is too large to be looked into"), "{error}");
    assert!(deb.find(&wanted(&["/opt/other"])).unwrap().is_empty(), "it is only passed over");
    let bomb = tar(&[entry("./control", b'0', "", &vec![0; 65 << 20])]);
    let members = [
        part("debian-binary", b"2.0\n"),
        part("control.tar.gz", &gz(&bomb)),
        part("data.tar", &tar(&[])),
    ];
    let error = Deb::open(&made(folder.path(), &members)).unwrap().control().unwrap_err();
    assert!(error.to_string().contains("too large when decompressed"), "{error}");
    let name = entry("././@LongLink", b'L', "", &vec![b'a'; 1 << 20]);
    let error = hostile(folder.path(), &[name, entry("x", b'0', "", b"")]);
    assert!(error.contains("has a name of 1048576 bytes"), "{error}");
}

#[test]
fn paths_that_lead_elsewhere_or_come_twice_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for path in ["./opt/../etc/shadow", "../x", "/etc/shadow", ".//x", "./opt/./x", "./.."] {
        let error = hostile(folder.path(), &[entry(path, b'0', "", b"x")]);
        assert!(error.contains("has the path"), "{path}: {error}");
    }
    let error = hostile(folder.path(), &[entry("./a", b'1', "./../etc/shadow", b"")]);
    assert!(error.contains("has the path"), "{error}");
    let error = hostile(folder.path(), &[entry("", b'0', "", b"x")]);
    assert!(error.contains("without a name"), "{error}");
    let twice = [entry("./opt/a", b'0', "", b"1"), entry("opt/a", b'0', "", b"2")];
    let error = hostile(folder.path(), &twice);
    assert!(error.contains("has /opt/a twice"), "{error}");
    let under = [entry("./opt", b'2', "/srv", b""), entry("./opt/a", b'0', "", b"2")];
    let error = hostile(folder.path(), &under);
    assert!(error.contains("has the link /opt in the way"), "{error}");
}

#[test]
fn what_dpkg_does_not_unpack_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for kind in [b'x', b'g', b'S', b'M', b'V'] {
        let error = hostile(folder.path(), &[entry("./opt/b", kind, "", b"x")]);
        assert!(error.contains("which dpkg does not unpack"), "{error}");
    }
    let mut wrong = entry("./opt/a", b'0', "", b"x");
    wrong[0] = b'x';
    assert!(hostile(folder.path(), &[wrong]).contains("another sum"));
    let refused = |members: &[(String, Vec<u8>)], why: &str| {
        let error = Deb::open(&made(folder.path(), members)).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    };
    let (version, data) = (part("debian-binary", b"2.0\n"), part("data.tar", &tar(&[])));
    let control = part("control.tar", &tar(&[]));
    refused(&[control.clone(), data.clone()], "first member is not debian-binary");
    refused(&[part("debian-binary", b"3.0\n"), control.clone(), data.clone()], "not 2.0");
    refused(&[version.clone(), data.clone(), control.clone()], "stands where control.tar must be");
    refused(&[version.clone(), control.clone()], "it has no data.tar");
    refused(
        &[version.clone(), control.clone(), part("data.tar.lzma", b"")],
        "\".lzma\", which is not known",
    );
    refused(&[version, control, data.clone(), data], "members after data.tar");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(at in 0usize..4000, byte in any::<u8>()) {
        let folder = tempfile::tempdir().unwrap();
        let plain = tar(&[entry("./opt/a", b'0', "", b"puts 1\n"), entry("./b", b'2', "a", b"")]);
        let path = made(folder.path(), &members("data.tar", plain));
        let mut bytes = fs::read(&path).unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        fs::write(&path, bytes).unwrap();
        if let Ok(mut deb) = Deb::open(&path) {
            drop(deb.control());
            drop(deb.find(&wanted(&["/opt/a"])));
        }
    }
}

/// Says why a package with such contents is refused.
fn hostile(folder: &Path, entries: &[Vec<u8>]) -> String {
    let path = made(folder, &members("data.tar", tar(entries)));
    Deb::open(&path).unwrap().find(&wanted(&["/opt/a"])).unwrap_err().to_string()
}

fn members(name: &str, data: Vec<u8>) -> [(String, Vec<u8>); 3] {
    [part("debian-binary", b"2.0\n"), part("control.tar", &tar(&[])), (name.to_owned(), data)]
}

fn part(name: &str, bytes: &[u8]) -> (String, Vec<u8>) {
    (name.to_owned(), bytes.to_vec())
}

/// Writes an `ar` archive.
fn made(folder: &Path, members: &[(String, Vec<u8>)]) -> PathBuf {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in members {
        let head =
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", content.len());
        bytes.extend(head.into_bytes());
        bytes.extend(content);
        bytes.extend(vec![b'\n'; content.len() % 2]);
    }
    let path = folder.join("made.deb");
    fs::write(&path, bytes).unwrap();
    path
}

/// Takes an `ar` archive apart.
fn parts(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut rest = &bytes[8..];
    let mut parts = Vec::new();
    while rest.len() > 60 {
        let head = String::from_utf8(rest[..60].to_vec()).unwrap();
        let size: usize = head[48..58].trim().parse().unwrap();
        parts.push((head[..16].trim().to_owned(), rest[60..60 + size].to_vec()));
        rest = &rest[(60 + size + size % 2).min(rest.len())..];
    }
    parts
}

fn tar(entries: &[Vec<u8>]) -> Vec<u8> {
    [entries.concat(), vec![0; 1024]].concat()
}

/// One entry of an archive, as GNU tar writes it.
fn entry(name: &str, kind: u8, target: &str, content: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 512];
    let mut put =
        |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{:011o}", content.len()));
    put(136, "00000000000");
    put(148, "        ");
    put(157, target);
    put(257, "ustar  ");
    block[156] = kind;
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.extend(content);
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

fn gz(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
