//! Patches: what is read is what was written, and what was put into a file is found in it.

use super::{MIB, Target};
use serin_patch::{Change, Contains, FilePatch, LineKind, PatchFile, Present, prove};
use std::collections::BTreeMap;

pub(super) const PATCH: Target = Target {
    name: "patch",
    hold,
    memory: 4 * MIB,
    words: &[
        b"diff --git a/x b/x\n",
        b"index 1..2 100644\n",
        b"new file mode 100644\n",
        b"deleted file mode 100644\n",
        b"--- a/x\n",
        b"+++ b/x\n",
        b"--- /dev/null\n",
        b"+++ /dev/null\n",
        b"@@ -1,2 +1,3 @@\n",
        b"@@ -0,0 +1 @@\n",
        b"+",
        b"-",
        b" ",
        b"\\ No newline at end of file\n",
        b"-- \n2.39.0\n",
        b"From 0123456789012345678901234567890123456789 Mon\n",
        b" 1 file changed, 1 insertion(+)\n",
        b"a/../b",
        b"99999999999999999999",
    ],
    mutations: 1500,
};

const ROOT: &str = "/opt/app";

fn hold(input: &[u8]) {
    let Ok(patch) = PatchFile::parse(input) else { return };
    assert!(!patch.files.is_empty(), "a patch of no file is none");
    for file in &patch.files {
        let leads_down = !file.path.split('/').any(|part| matches!(part, "" | "." | ".."));
        assert!(leads_down && !file.path.contains(char::is_control), "{:?}", file.path);
    }
    let written = written(&patch.files);
    let again = PatchFile::parse(&written).map(|patch| patch.files);
    let text = String::from_utf8_lossy(&written);
    assert_eq!(again.as_ref(), Ok(&patch.files), "written as {text}");
    is_contained_once_applied(&patch);
}

/// Applies the patch to files that are nothing but its own old lines.
fn is_contained_once_applied(patch: &PatchFile) {
    let mut present: BTreeMap<String, Present> = BTreeMap::new();
    for file in &patch.files {
        let before = match file.change {
            Change::Create { .. } => Present::Absent,
            Change::Modify | Change::Delete => Present::File(old_lines(file)),
        };
        present.insert(format!("{ROOT}/{}", file.path), before);
    }
    let proof = prove(patch, ROOT, &present);
    if proof.contains != Contains::NotContained {
        return;
    }
    for file in proof.files {
        let after = match file.change {
            Change::Delete => Present::Absent,
            Change::Create { .. } | Change::Modify => {
                Present::File(file.content.expect("what applies has bytes"))
            }
        };
        present.insert(file.path, after);
    }
    let after = prove(patch, ROOT, &present).contains;
    assert!(matches!(after, Contains::Contained | Contains::Ambiguous), "{after:?}");
}

fn old_lines(file: &FilePatch) -> Vec<u8> {
    let lines = file.hunks.iter().flat_map(|hunk| &hunk.lines);
    let old = lines.filter(|line| line.kind != LineKind::Add);
    old.flat_map(|line| line.text.clone()).collect()
}

/// Writes files as git does.
fn written(files: &[FilePatch]) -> Vec<u8> {
    let mut text = Vec::new();
    for file in files {
        let path = &file.path;
        let tab = if path.contains(' ') { "\t" } else { "" };
        let (a, b) = (format!("a/{path}{tab}"), format!("b/{path}{tab}"));
        let none = "/dev/null".to_owned();
        let (mode, old, new) = match file.change {
            Change::Modify => (String::new(), a, b),
            Change::Create { mode } => (format!("new file mode 100{mode:o}\n"), none, b),
            Change::Delete => ("deleted file mode 100644\n".to_owned(), a, none),
        };
        text.extend(format!("diff --git a/{path} b/{path}\n{mode}--- {old}\n+++ {new}\n").bytes());
        for hunk in &file.hunks {
            let count = |not| hunk.lines.iter().filter(|line| line.kind != not).count();
            let (olds, news) = (count(LineKind::Add), count(LineKind::Remove));
            // Where a side has no lines, git names the line before.
            let first = |line: usize, count| if count == 0 { line - 1 } else { line };
            let (old, new) = (first(hunk.old, olds), first(hunk.new, news));
            text.extend(format!("@@ -{old},{olds} +{new},{news} @@\n").bytes());
            for line in &hunk.lines {
                text.push(match line.kind {
                    LineKind::Keep => b' ',
                    LineKind::Remove => b'-',
                    LineKind::Add => b'+',
                });
                text.extend(&line.text);
                if !line.text.ends_with(b"\n") {
                    text.extend(b"\n\\ No newline at end of file\n");
                }
            }
        }
    }
    text
}
