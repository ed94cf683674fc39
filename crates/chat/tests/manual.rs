//! The manual shows the grammar as it is.

use std::path::Path;

#[test]
fn the_manual_lists_every_command() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/chat.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once("```text\n").unwrap();
    let (_, after) = rest.split_once("\n```").unwrap();
    let wanted = format!("{before}```text\n{}\n```{after}", serin_chat::help(None));
    if std::env::var_os("SERIN_UPDATE").is_some() {
        std::fs::write(&path, wanted).unwrap();
    } else {
        let how = "SERIN_UPDATE=1 cargo test -p serin-chat --test manual";
        assert!(page == wanted, "docs/chat.md is out of date; write it anew: {how}");
    }
}
