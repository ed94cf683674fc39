//! The secrets of a suite: passed on to it, and taken out of everything that it says.

use super::ansi;
use std::collections::BTreeMap;

/// How long a name of a test may be when it is shown.
const MAX_NAME: usize = 300;

/// How long the reason of a broken suite may be.
const MAX_REASON: usize = 2000;

/// A line of a secret of several lines that is shorter than this hides nothing on its own.
const MIN_LINE: usize = 6;

/// Secrets by the names of their variables. Its debug output names no value.
pub(super) struct Secrets {
    variables: BTreeMap<String, String>,
    /// What to look for, the longest first: one secret may hold another.
    needles: Vec<String>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

impl Secrets {
    /// Takes the named variables from an environment; all must be there.
    pub(super) fn new(
        environment: &BTreeMap<String, String>,
        names: &[String],
    ) -> Result<Self, String> {
        let mut variables = BTreeMap::new();
        for name in names {
            let value = environment.get(name).filter(|value| !value.trim().is_empty());
            let value = value.ok_or_else(|| {
                format!("the secret {name} is not set in Serin's own environment")
            })?;
            variables.insert(name.clone(), value.clone());
        }
        let lines = |value: &String| -> Vec<String> {
            let lines = value.lines().map(str::trim).filter(|line| line.len() >= MIN_LINE);
            lines.chain([value.trim()]).map(str::to_owned).collect()
        };
        let plain = variables.values().flat_map(lines);
        let mut needles: Vec<_> = plain.flat_map(|text| [percent_encoded(&text), text]).collect();
        needles.sort_by_key(|text| std::cmp::Reverse(text.len()));
        needles.dedup();
        Ok(Self { variables, needles })
    }

    pub(super) fn variables(&self) -> BTreeMap<String, String> {
        self.variables.clone()
    }

    /// Returns a text without secrets and control characters, for people.
    pub(super) fn hide(&self, text: &str) -> String {
        // Before cutting: half a secret would not be found.
        clip(&self.replace(&ansi::strip(text)), MAX_REASON)
    }

    /// Returns a text without secrets, whole and otherwise as it is.
    pub(super) fn hide_all(&self, text: &str) -> String {
        self.replace(text)
    }

    /// As [`Self::hide`], in one line.
    pub(super) fn hide_name(&self, name: &str) -> String {
        clip(&self.replace(&ansi::one_line(name)), MAX_NAME)
    }

    fn replace(&self, text: &str) -> String {
        self.needles
            .iter()
            .fold(text.to_owned(), |text, needle| text.replace(needle.as_str(), "[secret]"))
    }
}

fn clip(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length).chain(['…']).collect()
}

/// As a secret looks in an address.
fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded + &char::from(byte).to_string()
        } else {
            encoded + &format!("%{byte:02X}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(values: &[(&str, &str)]) -> Result<Secrets, String> {
        let environment = values.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Secrets::new(&environment, &["TOKEN".to_owned(), "KEY".to_owned()])
    }

    #[test]
    fn secrets_are_taken_out_in_every_form_they_are_likely_to_appear() {
        let secrets =
            secrets(&[("TOKEN", "abc/123\n"), ("KEY", "abc/123-long\nsecond line")]).unwrap();
        let cases = [
            ("token abc/123.", "token [secret]."),
            ("https://x/?t=abc%2F123&b", "https://x/?t=[secret]&b"),
            ("abc/123-long", "[secret]"),
            ("a second line", "a [secret]"),
            ("abc\u{1b}[1m/123", "[secret]"),
        ];
        for (text, shown) in cases {
            assert_eq!(secrets.hide(text), shown);
        }
        assert_eq!(format!("{secrets:?}"), r#"{"KEY", "TOKEN"}"#);
    }

    #[test]
    fn a_text_is_cut_after_secrets_are_out_not_before() {
        let secrets = secrets(&[("TOKEN", "abcdefghij"), ("KEY", "k")]).unwrap();
        let name = format!("{}abcdefghij", "x".repeat(MAX_NAME - 5));
        assert!(!secrets.hide_name(&name).contains("abc"), "{}", secrets.hide_name(&name));
    }

    #[test]
    fn a_secret_that_is_not_set_is_named() {
        assert!(secrets(&[("TOKEN", "abc")]).unwrap_err().contains("KEY"));
        assert!(secrets(&[("TOKEN", " "), ("KEY", "k")]).unwrap_err().contains("TOKEN"));
    }
}
