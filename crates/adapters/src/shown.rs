//! What others write, as a part of a message for people: one line, without what terminals obey, and not too long.

/// How many characters of somebody's text a message holds. HAProxy's longest complaint has 300.
const LENGTH: usize = 1000;

/// Returns a text as it may stand in a message.
pub(crate) fn shown(text: &str) -> String {
    let mut plain = text.chars().map(|c| if c == '\n' { ' ' } else { c });
    let mut line: String = plain.by_ref().filter(|c| !c.is_control()).take(LENGTH).collect();
    if plain.next().is_some() {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_without_control_characters_and_bounded() {
        assert_eq!(shown("a\nb\u{1b}[31m\u{9b}\u{7f}\0é"), "a b[31mé");
        assert_eq!(shown(&"x".repeat(2000)), "x".repeat(1000) + "…");
    }
}
