//! "Did you mean": the known word that is nearest to what was written.

use serin_model::nearest;

/// Returns what to write instead of a word that is not known: the nearest one first, then all of them.
pub(crate) fn instead_of<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let all = list(&known);
    match nearest(word, &known) {
        Some(near) => format!("did you mean `{near}`? known here: {all}"),
        None if known.is_empty() => "remove it: nothing may be written here".to_owned(),
        None => format!("write one of: {all}"),
    }
}

fn list(known: &[&str]) -> String {
    known.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
