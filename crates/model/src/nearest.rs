//! The known word that is nearest to what a person wrote.

/// More edits than this, and a suggestion would be a guess.
const MOST_EDITS: usize = 3;

/// Returns the known word that was probably meant, if one is near enough.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let most = MOST_EDITS.min(word.chars().count().div_ceil(2));
    known
        .iter()
        .map(|candidate| (edits(word, candidate), *candidate))
        .min()
        .filter(|(edits, _)| *edits <= most)
        .map(|(_, candidate)| candidate)
}

/// An abbreviation is as near as a typing error.
fn edits(word: &str, candidate: &str) -> usize {
    if word.len() > 2 && candidate.starts_with(word) { 1 } else { distance(word, candidate) }
}

/// Counts insertions, deletions and replacements between two words; `-` and `_` are the same to a person.
fn distance(left: &str, right: &str) -> usize {
    let plain = |c: char| if c == '-' { '_' } else { c.to_ascii_lowercase() };
    let right: Vec<char> = right.chars().map(plain).collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().map(plain).enumerate() {
        let mut next = vec![i + 1];
        for ((r, above), diagonal) in right.iter().zip(row.iter().skip(1)).zip(&row) {
            let beside = next.last().copied().unwrap_or_default();
            let replaced = diagonal + usize::from(l != *r);
            next.push(replaced.min(above + 1).min(beside + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_is_met_by_the_word_that_was_meant() {
        let known = ["max_unavailable", "drain", "health", "healthy_for"];
        for (word, meant) in [
            ("max-unavailable", Some("max_unavailable")),
            ("drian", Some("drain")),
            ("helth", Some("health")),
            ("max", Some("max_unavailable")),
            ("healthyfor", Some("healthy_for")),
            ("colour", None),
        ] {
            assert_eq!(nearest(word, &known), meant, "{word}");
        }
    }
}
