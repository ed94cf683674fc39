//! Hostile texts as a person or a script may give them: every one of the fuzz target's corpus, in every place for a text.

use crate::support::{Said, World};
use std::fs;
use std::path::Path;

fn texts() -> Vec<String> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/commands");
    let files = fs::read_dir(corpus).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    // No command line holds a NUL.
    let texts =
        files.filter_map(|bytes| String::from_utf8(bytes).ok()).filter(|t| !t.contains('\0'));
    texts.collect()
}

fn moves_no_cursor(said: &Said) {
    for text in [&said.out, &said.err] {
        let control = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t'));
        assert_eq!(control, None, "{said:?}");
    }
}

#[test]
fn a_hostile_text_is_no_name_and_runs_nothing() {
    let world = World::new("");
    let texts = texts();
    assert!(texts.len() > 40, "the corpus has moved");
    for text in &texts {
        let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        for words in [
            &["history", text.as_str()] as &[&str],
            &["plan", "to-canary", text],
            &["patch", "check", "/none", "--build", text],
            &["show", text],
            &["hold", "lift", text, "--reason", "x"],
        ] {
            let said = world.serin(words);
            moves_no_cursor(&said);
            assert!(said.code != 0 || plain || text.starts_with('-'), "{words:?}: {said:?}");
        }
    }
    let left =
        fs::read_dir("/").unwrap().filter(|entry| entry.as_ref().unwrap().file_name() == "ran");
    assert_eq!(left.count(), 0, "it was run");
}

#[test]
fn a_hostile_reason_is_kept_and_shown_without_what_terminals_obey() {
    let world = World::new("");
    for text in texts().iter().filter(|text| !text.trim().is_empty()) {
        let reason = format!("--reason={text}");
        let placed = world.serin(&["hold", "place", "production", &reason]);
        placed.is(0, &["accepted"]);
        moves_no_cursor(&placed);
    }
    for words in [&["hold", "list"] as &[&str], &["history", "production"], &["why"], &["status"]] {
        let said = world.serin(words);
        moves_no_cursor(&said);
        assert!(said.out.contains("$(touch ran)") || words == ["status"], "{words:?}: {said:?}");
    }
}
