//! What people and programs get to see of packages and patches.

use crate::site::{OLD, Site, run};
use std::fs;
use std::process::Command;

#[test]
fn changes_names_the_components_that_differ() {
    let site = Site::new();
    let (code, text) = site.serin(&["changes", "1.0-1..2.0-1"]);
    assert_eq!(code, 0, "{text}");
    let text: Vec<String> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        text,
        [
            "COMPONENT FROM TO",
            "app changed v1.0-1 (aaaa) v2.0-1 (bbbb)",
            "1 changed, 0 added, 0 removed, 1 the same",
        ]
    );
    assert!(site.path("state/packages").read_dir().unwrap().count() == 2, "they are kept");
    let (code, json) = site.serin(&["--json", "changes", "2.0-1..1.0-1"]);
    assert_eq!(
        (code, json.trim()),
        (
            0,
            "{\"components\":[{\"change\":\"changed\",\"component\":\"app\",\
             \"from\":{\"revision\":\"bbbb\",\"source\":\"\",\"version\":\"v2.0-1\"},\
             \"to\":{\"revision\":\"aaaa\",\"source\":\"\",\"version\":\"v1.0-1\"}}],\
             \"from\":\"2.0-1\",\"to\":\"1.0-1\"}"
        )
    );
}

#[test]
fn changes_refuses_what_it_cannot_compare() {
    let site = Site::new();
    let refused = |arguments: &[&str], code: i32, why: &str| {
        let (found, text) = site.serin(arguments);
        assert!(found == code && text.contains(why), "{arguments:?} {found}: {text}");
    };
    refused(&["changes", "1.0-1..1.0-1"], 4, "the same build twice");
    refused(&["changes", "1.0-1..3.0-1"], 4, "demo 3.0-1 is not in");
    refused(&["changes", "1.0-1"], 2, "write two complete versions");
    let config = fs::read_to_string(site.path("serin.toml")).unwrap();
    let with = |manifest: &str| {
        let changed = config.replace("/opt/demo/version-manifest.json", manifest);
        fs::write(site.path("serin.toml"), changed).unwrap();
    };
    with("none");
    refused(&["changes", "1.0-1..2.0-1"], 4, "the profile plain names no list of components");
    with("/opt/demo/other.json");
    refused(&["changes", "1.0-1..2.0-1"], 4, "build 1.0-1 has no /opt/demo/other.json");
    with("/opt/demo/app/a.rb");
    refused(&["changes", "1.0-1..2.0-1"], 4, "it is not the JSON that omnibus writes");
    with("/opt/demo/app");
    refused(&["changes", "1.0-1..2.0-1"], 4, "is not a file");
}

#[test]
fn a_patch_is_checked_against_a_build() {
    let site = Site::new();
    let fix = site.patch(OLD, &OLD.replace("five", "FIVE"));
    let check = |build: &str| site.serin(&["patch", "check", &fix, "--build", build]);
    let (code, text) = check("2.0-1");
    assert!(code == 0 && text.ends_with("contained: the build has all of the patch\n"), "{text}");
    let (code, text) = check("1.0-1");
    assert!(code == 9 && text.contains("not contained: the build has nothing"), "{text}");
    assert!(text.contains("/opt/demo/app/a.rb"), "{text}");
    let (code, json) = site.serin(&["--json", "patch", "check", &fix, "--build", "1.0-1"]);
    let sum = |text: &str| {
        fs::write(site.path("text"), text).unwrap();
        run(Command::new("sha256sum").arg(site.path("text")))[..64].to_owned()
    };
    let (before, after) = (sum(OLD), sum(&OLD.replace("five", "FIVE")));
    assert!(code == 9 && json.contains(&before) && json.contains(&after), "{json}");
    let other = site.patch(&OLD.replace("six", "6"), &OLD.replace("six", "6").replace("five", "5"));
    let (code, text) = site.serin(&["patch", "check", &other, "--build", "1.0-1"]);
    assert!(code == 9 && text.contains("conflict: it neither applies"), "{text}");
}

#[test]
fn a_patch_that_cannot_be_believed_is_refused() {
    let site = Site::new();
    let fix = site.patch(OLD, &OLD.replace("five", "FIVE"));
    let refused = |arguments: &[&str], why: &str| {
        let (code, text) =
            site.serin(&[&["patch", "check", &fix, "--build", "1.0-1"], arguments].concat());
        assert!(code == 4 && text.contains(why), "{arguments:?} {code}: {text}");
    };
    refused(&["--sha256", &"0".repeat(64)], "changed or cut off on its way");
    refused(&["--root", "/etc"], "none of the configured patch_roots");
    // Where the folder is not there, everything would be deleted already.
    refused(&["--root", "/opt/demo/none"], "has no folder /opt/demo/none");
    let whole = fs::read(site.path(&fix)).unwrap();
    fs::write(site.path(&fix), &whole[..whole.len() - 8]).unwrap();
    refused(&[], "the patch was cut off");
    fs::write(site.path(&fix), "").unwrap();
    refused(&[], "the patch is empty");
}

#[test]
fn an_embargoed_build_is_named_to_its_readers_only() {
    let site = Site::new();
    let config = fs::read_to_string(site.path("serin.toml")).unwrap();
    let under_embargo = |readers: &str| {
        let keys = format!("embargo = [\"2.0*\"]\nembargo_readers = [{readers}]\nsuite =");
        fs::write(site.path("serin.toml"), config.replacen("suite =", &keys, 1)).unwrap();
    };
    under_embargo("\"bob\"");
    for arguments in [&["builds"][..], &["--json", "builds"], &["--verbose", "builds"]] {
        let (code, text) = site.serin(arguments);
        assert!(code == 0 && text.contains("embargoed-") && text.contains("1.0-1"), "{text}");
        assert!(!text.contains("2.0-1"), "{text}");
        assert!(!text.contains("embargoed-unknown"), "{text}");
    }
    let fix = site.patch(OLD, &OLD.replace("five", "FIVE"));
    for arguments in [
        &["changes", "1.0-1..2.0-1"][..],
        &["changes", "2.0-1..1.0-1"],
        &["patch", "check", &fix, "--build", "2.0-1"],
    ] {
        let (code, text) = site.serin(arguments);
        assert!(code == 4 && text.contains("under embargo") && !text.contains("2.0-1"), "{text}");
    }
    let (code, text) = site.serin(&["changes", "1.0-1..3.0-1"]);
    assert!(code == 4 && text.contains("nearest") && !text.contains("2.0-1"), "{text}");
    // Whoever is root is believed to be the person behind sudo; anybody else is who they are.
    let me = run(Command::new("id").arg("-un"));
    under_embargo(&format!("\"alice\", {:?}", me.trim()));
    let (code, text) = site.serin(&["changes", "1.0-1..2.0-1"]);
    assert!(code == 0 && text.contains("v2.0-1 (bbbb)"), "{text}");
    assert!(site.serin(&["builds"]).1.contains("2.0-1"));
}
