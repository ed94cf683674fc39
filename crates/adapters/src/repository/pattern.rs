//! Patterns in which `*` fits any text, and nothing else is special.

use std::fmt;

/// A pattern, for example `*+rnightly*`. It fits whole texts only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern(String);

impl Pattern {
    /// Makes a pattern; every text is one.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Says whether the whole text fits.
    pub fn fits(&self, text: &str) -> bool {
        let Some((start, rest)) = self.0.split_once('*') else {
            return self.0 == text;
        };
        let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
        let Some(text) = text.strip_prefix(start).and_then(|text| text.strip_suffix(end)) else {
            return false;
        };
        // Taking each piece at its first place leaves the most for the next: no going back is needed.
        let mut left = Some(text);
        for piece in middle.split('*') {
            left = left.and_then(|text| text.split_once(piece)).map(|(_, after)| after);
        }
        left.is_some()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_star_fits_anything_and_nothing_else_is_special() {
        let cases = [
            ("*+rnightly*", "13.1.1+rnightly.159756-0", true),
            ("*+rnightly*", "13.1.1-ee.0", false),
            ("*-rc*", "11.3.0-rc4.ee.0", true),
            ("*-ee.*", "16.2.0-ee.0", true),
            ("*-ee.*", "16.2.0-eex0", false),
            ("1.0", "1.0", true),
            ("1.0", "1.00", false),
            ("1?0", "1.0", false),
            ("*", "", true),
            ("", "", true),
            ("", "x", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("**b*", "abc", true),
            ("*ab*ab*", "abab", true),
            ("*ab*ab*", "ab", false),
        ];
        for (pattern, text, fits) in cases {
            assert_eq!(Pattern::new(pattern).fits(text), fits, "{pattern} on {text}");
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_regular_expression(pattern in "[ab*é]{0,8}", text in "[abé]{0,8}") {
            let parts: Vec<_> = pattern.split('*').map(regex::escape).collect();
            let oracle = regex::Regex::new(&format!("^{}$", parts.join(".*"))).unwrap();
            prop_assert_eq!(Pattern::new(pattern.clone()).fits(&text), oracle.is_match(&text));
        }
    }
}
