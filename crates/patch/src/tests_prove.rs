//! Whether a build contains a patch: the near misses, and the property that holds for every patch.

use crate::apply::{Applied, Direction, apply};
use crate::{Contains, FileProof, PatchFile, Present, Proof, prove, sha256};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Write as _;

const ROOT: &str = "/opt/demo";

/// A file of lines with unlike names, some of them replaced.
fn lines(changes: &[(usize, &str)]) -> String {
    (1..=40)
        .map(|number| match changes.iter().find(|(changed, _)| *changed == number) {
            Some((_, text)) => (*text).to_owned(),
            None => format!("line {number}\n"),
        })
        .collect()
}

/// A patch of a file with two hunks, a new file and a deleted one.
fn patch() -> PatchFile {
    let old = lines(&[]);
    let new = lines(&[(10, ""), (30, "line 30\nline 30b\n")]);
    let text = diff("lib/a.rb", &old, &new)
        + "diff --git a/lib/new.rb b/lib/new.rb\nnew file mode 100644\nindex 0000000..789abcd\n\
           --- /dev/null\n+++ b/lib/new.rb\n@@ -0,0 +1,2 @@\n+first\n+second\n\
           diff --git a/old.rb b/old.rb\ndeleted file mode 100644\nindex 0123456..0000000\n\
           --- a/old.rb\n+++ /dev/null\n@@ -1 +0,0 @@\n-gone\n";
    PatchFile::parse(text.as_bytes()).unwrap()
}

fn before() -> BTreeMap<String, Present> {
    build(&[("lib/a.rb", &lines(&[])), ("old.rb", "gone\n")])
}

fn after() -> BTreeMap<String, Present> {
    let new = lines(&[(10, ""), (30, "line 30\nline 30b\n")]);
    build(&[("lib/a.rb", &new), ("lib/new.rb", "first\nsecond\n")])
}

fn build(files: &[(&str, &str)]) -> BTreeMap<String, Present> {
    let file = |(path, text): &(&str, &str)| {
        (format!("{ROOT}/{path}"), Present::File(text.as_bytes().to_vec()))
    };
    files.iter().map(file).collect()
}

fn with(
    mut build: BTreeMap<String, Present>,
    path: &str,
    present: Present,
) -> BTreeMap<String, Present> {
    build.insert(format!("{ROOT}/{path}"), present);
    build
}

fn file(text: &str) -> Present {
    Present::File(text.as_bytes().to_vec())
}

/// Shows a proof in one line.
fn shown(proof: &Proof) -> String {
    let file = |file: &FileProof| {
        let why = file.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
        format!("{}{why}", file.contains)
    };
    let files: Vec<_> = proof.files.iter().map(file).collect();
    format!("{}: {}", proof.contains, files.join(" | "))
}

fn check(build: &BTreeMap<String, Present>, expected: &str) {
    assert_eq!(shown(&prove(&patch(), ROOT, build)), expected);
}

#[test]
fn a_build_without_and_with_a_patch_are_told_apart_and_pinned() {
    let (without, with) = (prove(&patch(), ROOT, &before()), prove(&patch(), ROOT, &after()));
    assert_eq!(shown(&without), "not contained: not contained | not contained | not contained");
    assert_eq!(shown(&with), "contained: contained | contained | contained");
    for (a, b) in without.files.iter().zip(&with.files) {
        assert_eq!((&a.before, &a.after), (&b.before, &b.after), "{}", a.path);
    }
    let (package, version) = ("demo".parse().unwrap(), "1-1".parse().unwrap());
    let (made, contents) = without.patch(&patch(), (&package, &version)).unwrap();
    assert_eq!(made.files.len(), 3);
    for file in &made.files {
        assert_eq!(file.after().map(|after| sha256(&contents[after])), file.after().cloned());
    }
    assert_eq!(with.patch(&patch(), (&package, &version)), None, "nothing is to be done");
}

#[test]
fn a_file_that_changed_elsewhere_is_still_told() {
    let shift = |text: &str| format!("new head\nof two lines\n{text}");
    for (base, expected) in [(before(), "not contained"), (after(), "contained")] {
        let Some(Present::File(bytes)) = base.get("/opt/demo/lib/a.rb") else { panic!("a file") };
        let moved = shift(std::str::from_utf8(bytes).unwrap());
        let proof = prove(&patch(), ROOT, &with(base.clone(), "lib/a.rb", file(&moved)));
        assert_eq!(shown(&proof), format!("{expected}: {expected} | {expected} | {expected}"));
        let hash = |text: &str| Some(sha256(shift(text).as_bytes()));
        let new = lines(&[(10, ""), (30, "line 30\nline 30b\n")]);
        assert_eq!(proof.files[0].before, hash(&lines(&[])));
        assert_eq!(proof.files[0].after, hash(&new));
    }
}

#[test]
fn half_of_a_patch_is_never_all_of_it() {
    let half = file(&lines(&[(10, "")]));
    check(
        &with(after(), "lib/a.rb", half),
        "partly contained: partly contained (1 of 2 hunks are there) | contained | contained",
    );
    let only_one = with(before(), "lib/new.rb", file("first\nsecond\n"));
    check(&only_one, "partly contained: not contained | contained | not contained");
    let only_two = with(after(), "old.rb", file("gone\n"));
    check(&only_two, "partly contained: contained | contained | not contained");
}

#[test]
fn a_line_beside_a_change_that_differs_is_a_conflict() {
    // With its default fuzz, patch(1) takes both for good.
    let near = |base, changes: &[(usize, &str)]| with(base, "lib/a.rb", file(&lines(changes)));
    let expected = |rest| {
        format!("conflict: conflict (hunk 1: its lines are nowhere in the file) | {rest} | {rest}")
    };
    check(&near(before(), &[(8, "other\n")]), &expected("not contained"));
    check(
        &near(after(), &[(8, "other\n"), (10, ""), (30, "line 30\nline 30b\n")]),
        &expected("contained"),
    );
}

#[test]
fn lines_that_moved_are_a_conflict_or_ambiguous_and_never_contained() {
    let out_of_order: String = [&lines(&[])[..]].concat();
    let (top, bottom) = out_of_order.split_at(out_of_order.find("line 20\n").unwrap());
    check(
        &with(before(), "lib/a.rb", file(&format!("{bottom}{top}"))),
        "conflict: conflict (hunk 2: its lines are there, but not below those of the hunk above) | not contained | not contained",
    );
    let twice = format!("head\n{}{}", lines(&[]), lines(&[]));
    check(
        &with(before(), "lib/a.rb", file(&twice)),
        "ambiguous: ambiguous (hunk 1 fits at lines 8, 48) | not contained | not contained",
    );
    let both = format!("{}{}", lines(&[]), lines(&[(10, ""), (30, "line 30\nline 30b\n")]));
    check(
        &with(before(), "lib/a.rb", file(&both)),
        "ambiguous: ambiguous (the lines of before and of after are both there) | not contained | not contained",
    );
}

#[test]
fn a_new_file_is_contained_only_with_its_own_bytes() {
    let conflict = "conflict (the build has such a file already, with other bytes)";
    for other in ["first\n", "first\nsecond", "first\nsecond\nfirst\nsecond\n", ""] {
        let expected = format!("conflict: contained | {conflict} | contained");
        check(&with(after(), "lib/new.rb", file(other)), &expected);
    }
    check(
        &with(before(), "old.rb", file("gone\nelse\n")),
        "conflict: not contained | not contained | conflict (the build's file has other bytes than the one to be deleted)",
    );
    check(
        &with(before(), "lib/a.rb", Present::Absent),
        "conflict: conflict (the build does not have the file) | not contained | not contained",
    );
    check(
        &with(after(), "lib/new.rb", Present::Other("a symbolic link")),
        "conflict: contained | conflict (it is a symbolic link, which is never patched) | contained",
    );
}

#[test]
fn other_line_ends_are_named() {
    let windows = lines(&[]).replace('\n', "\r\n");
    check(
        &with(before(), "lib/a.rb", file(&windows)),
        "conflict: conflict (hunk 1: the lines end differently: LF in one, CR LF in the other) | not contained | not contained",
    );
}

#[test]
fn what_is_about_the_beginning_or_the_end_fits_only_there() {
    let old = lines(&[]);
    for (new, expected) in [
        (format!("{old}last\n"), "about the file's beginning or end"),
        (format!("first\n{old}"), "about the file's beginning or end"),
    ] {
        let patch = PatchFile::parse(diff("a.rb", &old, &new).as_bytes()).unwrap();
        let proof = |text: &str| shown(&prove(&patch, ROOT, &build(&[("a.rb", text)])));
        assert_eq!(proof(&old), "not contained: not contained");
        assert_eq!(proof(&new), "contained: contained");
        let moved = proof(&format!("head\n{old}tail\n"));
        assert!(moved.contains(expected), "{moved}");
    }
    let no_end = old.trim_end();
    let patch = PatchFile::parse(diff("a.rb", no_end, &old).as_bytes()).unwrap();
    let proof = |text: &str| shown(&prove(&patch, ROOT, &build(&[("a.rb", text)])));
    assert_eq!(proof(no_end), "not contained: not contained");
    assert_eq!(proof(&old), "contained: contained");
}

/// What becomes of a line.
#[derive(Debug, Clone)]
enum Edit {
    Keep,
    Remove,
    Replace(String),
    Add(String),
}

fn edits(words: &'static str) -> impl Strategy<Value = Vec<(String, Edit)>> {
    let edit = prop_oneof![
        9 => Just(Edit::Keep),
        1 => Just(Edit::Remove),
        1 => words.prop_map(Edit::Replace),
        1 => words.prop_map(Edit::Add),
    ];
    prop::collection::vec((words, edit), 1..60)
}

/// Returns the texts before and after.
fn texts(edits: &[(String, Edit)]) -> (String, String) {
    let (mut old, mut new) = (String::new(), String::new());
    for (line, edit) in edits {
        writeln!(old, "{line}").unwrap();
        match edit {
            Edit::Keep => writeln!(new, "{line}").unwrap(),
            Edit::Remove => {}
            Edit::Replace(other) => writeln!(new, "{other}").unwrap(),
            Edit::Add(other) => writeln!(new, "{line}\n{other}").unwrap(),
        }
    }
    (old, new)
}

proptest! {
    #[test]
    fn what_was_applied_is_contained_and_comes_back_byte_for_byte(edits in edits("[a-z]{12}")) {
        let (old, new) = texts(&edits);
        prop_assume!(old != new && !new.is_empty());
        let patch = PatchFile::parse(diff("a.rb", &old, &new).as_bytes()).unwrap();
        let without = prove(&patch, ROOT, &build(&[("a.rb", &old)]));
        prop_assert_eq!(without.contains, Contains::NotContained);
        prop_assert_eq!(without.files[0].content.as_deref(), Some(new.as_bytes()));
        let with = prove(&patch, ROOT, &build(&[("a.rb", &new)]));
        prop_assert_eq!(with.contains, Contains::Contained);
        let hunks = &patch.files[0].hunks;
        let back = apply(new.as_bytes(), hunks, Direction::Reverse);
        prop_assert_eq!(back, Applied::Fits(old.into_bytes()));
    }

    #[test]
    fn where_lines_repeat_it_is_ambiguous_rather_than_wrong(edits in edits("[ab]")) {
        let (old, new) = texts(&edits);
        prop_assume!(old != new && !new.is_empty());
        let patch = PatchFile::parse(diff("a.rb", &old, &new).as_bytes()).unwrap();
        let without = prove(&patch, ROOT, &build(&[("a.rb", &old)]));
        prop_assert!(matches!(without.contains, Contains::NotContained | Contains::Ambiguous));
        if let Some(content) = &without.files[0].content {
            prop_assert_eq!(content.as_slice(), new.as_bytes());
        }
        let with = prove(&patch, ROOT, &build(&[("a.rb", &new)]));
        prop_assert!(matches!(with.contains, Contains::Contained | Contains::Ambiguous));
        if with.contains == Contains::Contained {
            prop_assert_eq!(with.files[0].before.as_ref(), Some(&sha256(old.as_bytes())));
        }
    }

    #[test]
    fn a_change_within_a_hunk_is_never_taken_for_the_patch(edits in edits("[a-z]{12}"), at in any::<prop::sample::Index>()) {
        let (old, new) = texts(&edits);
        prop_assume!(old != new && !new.is_empty());
        let patch = PatchFile::parse(diff("a.rb", &old, &new).as_bytes()).unwrap();
        let hunk = at.get(&patch.files[0].hunks);
        let side = hunk.side(Direction::Reverse);
        prop_assume!(!side.is_empty());
        let line = String::from_utf8(at.get(&side).to_vec()).unwrap();
        let damaged = new.replacen(&line, "OTHER\n", 1);
        let proof = prove(&patch, ROOT, &build(&[("a.rb", &damaged)]));
        prop_assert_ne!(proof.contains, Contains::Contained);
    }
}

/// Returns what git says of two texts.
fn diff(path: &str, old: &str, new: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    for (side, text) in [("a", old), ("b", new)] {
        let file = folder.path().join(side).join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    let output = std::process::Command::new("git")
        .args(["diff", "--no-index", "--no-prefix", "--no-renames"])
        .args([format!("a/{path}"), format!("b/{path}")])
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
