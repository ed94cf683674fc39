//! Takes terminal escapes and control characters out of what programs print.

/// Returns the text without escape sequences and without control characters other than tabs and line ends.
pub(super) fn strip(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' => skip_escape(&mut rest),
            '\t' | '\n' => plain.push(c),
            _ if c.is_control() || c == '\u{fffe}' || c == '\u{ffff}' => {}
            _ => plain.push(c),
        }
    }
    plain
}

/// As [`strip`], in one line.
pub(super) fn one_line(text: &str) -> String {
    strip(text).replace(['\n', '\t'], " ")
}

/// Skips the rest of a sequence such as `ESC [ 31 m`. An escape of any other kind loses only its first character.
fn skip_escape(rest: &mut std::str::Chars<'_>) {
    let mut ahead = rest.clone();
    if ahead.next() != Some('[') {
        return;
    }
    for c in ahead.by_ref() {
        match c {
            ' '..='?' => {}
            '@'..='~' => {
                *rest = ahead;
                return;
            }
            // Not a sequence after all: keep what looked like one.
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::strip;
    use proptest::prelude::*;

    #[test]
    fn colours_and_control_characters_go_and_words_stay() {
        let cases = [
            ("\u{1b}[31m3 examples, 1 failure\u{1b}[0m\r", "3 examples, 1 failure"),
            ("a\u{1b}[38;5;1mb", "ab"),
            ("a\u{1b}b", "ab"),
            ("a\u{1b}[31", "a[31"),
            ("a\u{1b}[é", "a[é"),
            ("\u{0}a\u{8}\tb\nc\u{85}", "a\tb\nc"),
            ("<failure>\u{1b}[31mé</failure>", "<failure>é</failure>"),
        ];
        for (text, plain) in cases {
            assert_eq!(strip(text), plain, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let escapes = strip(&text).matches('\u{1b}').count();
            prop_assert_eq!(escapes, 0);
        }
    }
}
