//! What is taken for a patch, and everything that `patch(1)` lets pass and Serin does not.

use crate::{Change, PatchError, PatchFile};
use proptest::prelude::*;
use std::fs;
use std::path::Path;
use std::process::Command;

/// A patch of three files as git makes it: one changed twice, one new, one deleted.
const PATCH: &str = "diff --git a/lib/a.rb b/lib/a.rb
index 0123456..789abcd 100644
--- a/lib/a.rb
+++ b/lib/a.rb
@@ -1,4 +1,4 @@
-one
+ONE
 two
 three
 four
@@ -10,6 +10,7 @@ def x
 ten
 eleven
 twelve
+new
 thirteen
 fourteen
 fifteen
diff --git a/lib/new.rb b/lib/new.rb
new file mode 100644
index 0000000..789abcd
--- /dev/null
+++ b/lib/new.rb
@@ -0,0 +1,2 @@
+first
+second
diff --git a/old.rb b/old.rb
deleted file mode 100755
index 0123456..0000000
--- a/old.rb
+++ /dev/null
@@ -1 +0,0 @@
-gone
";

fn parsed(text: &str) -> Result<PatchFile, PatchError> {
    PatchFile::parse(text.as_bytes())
}

/// Says why the patch is refused when something of it is replaced.
fn refused(from: &str, to: &str) -> String {
    assert!(PATCH.contains(from), "{from:?}");
    let text = PATCH.replacen(from, to, 1);
    match parsed(&text) {
        Ok(patch) => panic!("{from:?} for {to:?} was accepted: {patch:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_patch_of_git_is_read() {
    let patch = parsed(PATCH).unwrap();
    assert_eq!(patch.id.as_str(), crate::sha256(PATCH.as_bytes()).as_str());
    let files: Vec<_> = patch
        .files
        .iter()
        .map(|file| (file.path.as_str(), file.change, file.hunks.len()))
        .collect();
    assert_eq!(
        files,
        [
            ("lib/a.rb", Change::Modify, 2),
            ("lib/new.rb", Change::Create { mode: 0o644 }, 1),
            ("old.rb", Change::Delete, 1),
        ]
    );
    assert!(parsed(&format!("commit x\n\n    words\n\n---\n{PATCH}")).is_ok(), "words before it");
    let spaces = PATCH.replace("lib/a.rb", "lib/a b.rb");
    let spaces = spaces.replace("a/lib/a b.rb\n", "a/lib/a b.rb\t\n");
    let spaces = spaces.replace("+++ b/lib/a b.rb\n", "+++ b/lib/a b.rb\t\n");
    assert_eq!(parsed(&spaces).unwrap().files[0].path, "lib/a b.rb");
}

#[test]
fn what_is_no_patch_is_refused() {
    for empty in ["", "\n", " \n\n"] {
        assert_eq!(parsed(empty), Err(PatchError::Empty));
    }
    assert_eq!(parsed("hello\n"), Err(PatchError::NotAPatch));
    let plain = &PATCH[PATCH.find("--- a/lib/a.rb").unwrap()..];
    assert_eq!(parsed(plain), Err(PatchError::NotGit { line: 1 }));
    let large = vec![b'\n'; 5 << 20];
    assert!(matches!(PatchFile::parse(&large), Err(PatchError::TooLarge { .. })));
}

#[test]
fn a_patch_that_was_cut_off_is_refused() {
    let begins: Vec<usize> = PATCH.match_indices("diff --git").map(|(at, _)| at).collect();
    // From the text alone, one that was cut off between two files or two hunks is a patch: its hash tells.
    let between = PATCH.find("@@ -10,6").unwrap();
    for length in 0..PATCH.len() {
        let whole = begins.contains(&length) && length > 0 || length == between;
        assert_eq!(parsed(&PATCH[..length]).is_ok(), whole, "{:?}", &PATCH[..length]);
    }
}

#[test]
fn a_mail_of_git_that_was_cut_off_anywhere_is_refused() {
    let mail = real_mail();
    let text = String::from_utf8(mail).unwrap();
    let patch = parsed(&text).unwrap();
    assert_eq!(patch.files.len(), 3);
    let whole = text.trim_end_matches('\n').len() + 1;
    for length in 0..whole {
        assert!(parsed(&text[..length]).is_err(), "{:?}", &text[..length]);
    }
    let twice = parsed(&format!("{text}{text}")).unwrap_err();
    assert!(matches!(twice, PatchError::SeveralCommits { .. }), "{twice}");
    let begin = text.find("diff --git").unwrap();
    let second = text[begin + 1..].find("diff --git").unwrap() + begin + 1;
    let without = parsed(&format!("{}{}", &text[..begin], &text[second..])).unwrap_err();
    assert!(matches!(without, PatchError::Summary { .. }), "a file was taken out: {without}");
    let edited = parsed(&text.replacen("+ONE\n", "+ONE\n+more\n", 1));
    assert!(edited.is_err(), "a line was put in");
}

#[test]
fn paths_lead_down_from_their_beginning_and_are_there_once() {
    for path in
        ["../x", "lib/../../x", "/etc/passwd", "lib//a.rb", "./a.rb", "lib/.git/hooks", "a\\b"]
    {
        let why = refused_path(path);
        assert!(why.contains("is refused"), "{path}: {why}");
    }
    let why = refused("a/lib/a.rb b/lib/a.rb", "a/lib/a.rb b/lib/b.rb");
    assert!(why.contains("of one path"), "{why}");
    assert!(
        refused("diff --git a/lib/a.rb b/lib/a.rb", "diff --git lib/a.rb lib/a.rb")
            .contains("of one path")
    );
    assert!(refused("--- a/lib/a.rb", "--- a/lib/b.rb").contains("stands where"));
    assert!(refused("+++ b/lib/a.rb", "+++ lib/a.rb").contains("stands where"));
    assert!(refused("+++ b/lib/a.rb", "+++ /dev/null").contains("stands where"));
    assert!(refused("a/lib/a.rb b/lib/a.rb", "\"a/\\303.rb\" \"b/\\303.rb\"").contains("quoted"));
    let twice = PATCH.replace("lib/new.rb", "lib/a.rb");
    assert_eq!(parsed(&twice), Err(PatchError::Twice { path: "lib/a.rb".to_owned() }));
    let under = PATCH.replace("lib/new.rb", "old.rb/new.rb");
    assert_eq!(parsed(&under), Err(PatchError::Twice { path: "old.rb".to_owned() }));
}

fn refused_path(path: &str) -> String {
    parsed(&PATCH.replace("lib/a.rb", path)).unwrap_err().to_string()
}

#[test]
fn only_dev_null_and_git_s_own_header_make_a_file_new_or_deleted() {
    // What `diff -uN` writes: patch(1) would put the lines in a second time.
    assert!(refused("--- /dev/null", "--- a/lib/new.rb").contains("stands where"));
    assert!(refused("new file mode 100644\n", "").contains("stands where"));
    let as_change = PATCH.replacen("new file mode 100644\n", "", 1);
    let as_change = as_change.replacen("--- /dev/null", "--- a/lib/new.rb", 1);
    let why = parsed(&as_change).unwrap_err().to_string();
    assert!(why.contains("has no line that stays"), "{why}");
    assert!(refused("deleted file mode 100755\n", "").contains("stands where"));
    assert!(refused("-1 +0,0 @@\n-gone", "-1,2 +1 @@\n-gone\n stays").contains("leaves lines"));
    assert!(refused("-0,0 +1,2 @@\n", "-1 +1,3 @@\n there\n").contains("has old lines"));
}

#[test]
fn what_hosts_are_not_patched_with_is_refused() {
    let index = "index 0123456..789abcd 100644\n";
    for (line, why) in [
        ("old mode 100644\nnew mode 100755\n", "file's mode"),
        ("similarity index 90%\nrename from lib/a.rb\nrename to lib/b.rb\n", "renames"),
        ("GIT binary patch\nliteral 3\n", "binary"),
        ("Binary files a/lib/a.rb and b/lib/a.rb differ\n", "binary"),
        ("index 0123456..789abcd 120000\n", "symbolic link"),
        ("index 0123456..789abcd 160000\n", "regular file"),
    ] {
        assert!(refused(index, line).contains(why), "{line}");
    }
    assert!(refused("new file mode 100644", "new file mode 120000").contains("symbolic link"));
    assert!(refused("+ONE", "+O\0NE").contains("binary"));
}

#[test]
fn hunks_are_whole_and_agree_with_each_other() {
    for (from, to, why) in [
        ("-1,4 +1,4", "-1,5 +1,5", "is incomplete"),
        ("-1,4 +1,4", "-1,3 +1,3", "is not understood"),
        ("-1,4 +1,4", "-1,2 +1,4", "more lines than its header says"),
        ("+ONE\n", "+ONE\n+more\n", "more lines than"),
        (" two\n", "", "is incomplete"),
        (" two\n", "two\n", "is incomplete"),
        (" two\n", "\n", "is incomplete"),
        ("-10,6 +10,7", "-10,6 +11,7", "something is missing before it"),
        ("-10,6 +10,7", "-3,6 +3,7", "begins before the one above it ends"),
        ("-1,4 +1,4", "-2,4 +2,4", "too few lines that stay"),
        ("@@ -10", "@ -10", "is not understood"),
        ("-10,6 +10,7", "-x,6 +10,7", "a header that is not understood"),
        (" ten\n eleven\n", "", "is incomplete"),
        ("+new\n", "", "is incomplete"),
        ("-one\n+ONE\n", " one\n", "changes nothing"),
        (" four\n", " four\nrubbish\n", "is not understood"),
    ] {
        let found = refused(from, to);
        assert!(found.contains(why), "{from:?} {to:?}: {found}");
    }
}

#[test]
fn a_missing_line_end_is_the_last_thing_of_a_file() {
    let mark = "\\ No newline at end of file\n";
    let good = PATCH.replacen("+second\n", &format!("+second\n{mark}"), 1);
    let patch = parsed(&good).unwrap();
    assert_eq!(patch.files[1].hunks[0].lines[1].text, b"second");
    assert!(refused("+first\n", &format!("+first\n{mark}")).contains("before its own last line"));
    assert!(refused(" four\n", &format!(" four\n{mark}")).contains("after the end of the file"));
    assert!(refused("-one\n", &format!("-one\n{mark}")).contains("before its own last line"));
    assert!(refused("+second\n", &format!("+second\n{mark}{mark}")).contains("not understood"));
}

#[test]
fn a_patch_whose_own_lines_end_as_on_windows_is_named() {
    let windows = PATCH.replace('\n', "\r\n");
    assert_eq!(parsed(&windows), Err(PatchError::LineEnds { line: 1 }));
    // That of a file whose lines end so is as good as any.
    let content = PATCH.replace("two\n", "two\r\n");
    assert!(parsed(&content).is_ok());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(at in 0usize..2000, byte in any::<u8>(), text in "(@@ -1 [+]1 @@\n|--- a/x\n|[+]{3} b/x\n|diff --git a/x b/x\n|[ -][+]?[a-z]\n|\\\\ No\n|-- \n){0,12}") {
        let mut bytes = PATCH.as_bytes().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        drop(PatchFile::parse(&bytes));
        drop(PatchFile::parse(text.as_bytes()));
    }
}

/// A patch of the same three files that the real git makes.
fn real_mail() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    git(folder.path(), &["init", "-q"]);
    let lines: Vec<String> = (1..30).map(|line| format!("line {line}\n")).collect();
    let lines = lines.concat();
    write("a.rb", &lines);
    write("old.rb", "gone\n");
    git(folder.path(), &["add", "."]);
    git(folder.path(), &["commit", "-q", "-m", "before"]);
    write("a.rb", &lines.replacen("line 1\n", "ONE\n", 1).replace("line 20\n", ""));
    write("new.rb", "first\nsecond");
    fs::remove_file(folder.path().join("old.rb")).unwrap();
    git(folder.path(), &["add", "-A"]);
    git(folder.path(), &["commit", "-q", "-m", "after\n\n 9 files changed, so it says"]);
    git(folder.path(), &["format-patch", "--stdout", "-1"])
}

fn git(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=T",
            "-c",
            "user.email=t@example.com",
            "-c",
            "core.hooksPath=/dev/null",
        ])
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null")
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
