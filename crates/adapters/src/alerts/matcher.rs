//! Matchers of labels, as Alertmanager writes them: `severity="critical"`, `instance=~"web-.*"`.
//!
//! Alertmanager is asked with them, and its answer is checked with them again: a server that misreads a filter answers
//! with nothing, and nothing looks like all is well. So a text that Alertmanager would take for something else than it
//! seems to say (`severity==critical` means the value `=critical`) is refused here.

use regex::Regex;
use std::collections::BTreeMap;
use std::fmt;

/// Labels of an alert.
pub type Labels = BTreeMap<String, String>;

/// One condition on one label. A label that is absent has the empty value.
#[derive(Debug, Clone)]
pub struct Matcher {
    name: String,
    operator: Operator,
    value: String,
    /// Compiled and anchored, for the two operators that need it.
    regex: Option<Regex>,
}

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Fits,
    FitsNot,
}

impl Operator {
    const fn text(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Fits => "=~",
            Self::FitsNot => "!~",
        }
    }
}

/// Says that a text is no matcher.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a matcher: {why}")]
pub struct InvalidMatcher {
    /// The text that was given.
    pub text: String,
    /// What is wrong with it, and what to write instead.
    pub why: String,
}

impl Matcher {
    /// Parses one matcher.
    ///
    /// # Errors
    /// When the text is no matcher, or is one that does not mean what it seems to.
    pub fn parse(text: &str) -> Result<Self, InvalidMatcher> {
        parse(text).map_err(|why| InvalidMatcher { text: text.to_owned(), why })
    }

    /// Says whether the labels meet it.
    pub fn fits(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.name).map_or("", String::as_str);
        let regex_fits = || self.regex.as_ref().is_some_and(|regex| regex.is_match(value));
        match self.operator {
            Operator::Equal => value == self.value,
            Operator::NotEqual => value != self.value,
            Operator::Fits => regex_fits(),
            Operator::FitsNot => !regex_fits(),
        }
    }
}

/// Shows the matcher as Alertmanager reads it.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
        write!(f, "{}{}\"{value}\"", self.name, self.operator.text())
    }
}

/// Says whether labels meet every matcher.
pub(super) fn fits_all(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|matcher| matcher.fits(labels))
}

fn parse(text: &str) -> Result<Matcher, String> {
    let text = text.trim();
    if text.starts_with('{') {
        return Err("leave out the braces, and write each matcher as a text of its own".to_owned());
    }
    let split = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    let (name, rest) = text.split_at(split.unwrap_or(text.len()));
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("it must start with the name of a label: letters, digits and _".to_owned());
    }
    let operators = [Operator::Fits, Operator::FitsNot, Operator::NotEqual, Operator::Equal];
    let found = operators.into_iter().find_map(|operator| {
        Some((operator, rest.trim_start().strip_prefix(operator.text())?.trim()))
    });
    let Some((operator, value)) = found else {
        return Err(format!("after the label {name:?} comes one of = != =~ !~, then the value"));
    };
    let value = parse_value(value)?;
    let regex = match operator {
        Operator::Equal | Operator::NotEqual => None,
        Operator::Fits | Operator::FitsNot => Some(anchored(&value)?),
    };
    Ok(Matcher { name: name.to_owned(), operator, value, regex })
}

fn parse_value(text: &str) -> Result<String, String> {
    let Some(quoted) = text.strip_prefix('"') else {
        if text.starts_with(['=', '~']) {
            return Err("the operators are = != =~ !~; put quotes around the value".to_owned());
        }
        if text.contains(['"', ',', '}', '{', '\\']) {
            return Err(
                "put double quotes around the value, and write one matcher a text".to_owned()
            );
        }
        return Ok(text.to_owned());
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next() {
            Some('"') => break,
            Some('\\') => match characters.next() {
                Some('n') => value.push('\n'),
                Some(c @ ('"' | '\\')) => value.push(c),
                // As Alertmanager does: other escapes belong to the regular expression.
                Some(c) => value.extend(['\\', c]),
                None => return Err("the closing quote is missing".to_owned()),
            },
            Some(c) => value.push(c),
            None => return Err("the closing quote is missing".to_owned()),
        }
    }
    if characters.as_str().is_empty() {
        Ok(value)
    } else {
        Err("there is more after the value: write each matcher as a text of its own".to_owned())
    }
}

/// Alertmanager anchors every expression, so a part never fits.
fn anchored(expression: &str) -> Result<Regex, String> {
    let compile = |text: &str| Regex::new(text).map_err(|error| last_line(&error.to_string()));
    // On its own first: `a)|(b` is no expression, though it becomes one between the brackets.
    compile(expression)?;
    compile(&format!("^(?:{expression})$"))
}

fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels() -> Labels {
        [("severity", "critical"), ("env", "gstg"), ("path", "a\"b\\c")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn matchers_mean_what_they_mean_to_alertmanager() {
        let cases = [
            (r#"severity="critical""#, true),
            ("severity=critical", true),
            ("  severity  =  critical  ", true),
            (r#"severity!="critical""#, false),
            (r#"env=~"gst.*""#, true),
            (r#"env=~"st""#, false),
            (r#"env!~"st""#, true),
            ("severity=~critical|warning", true),
            (r#"absent="""#, true),
            (r#"absent!="x""#, true),
            (r#"absent=~"x?""#, true),
            (r#"absent=~".+""#, false),
            (r#"path="a\"b\\c""#, true),
            (r#"env=~"\w+""#, true),
        ];
        for (text, fits) in cases {
            let matcher = Matcher::parse(text).unwrap();
            assert_eq!(matcher.fits(&labels()), fits, "{text}");
            let again = Matcher::parse(&matcher.to_string()).unwrap();
            assert_eq!(again.to_string(), matcher.to_string(), "{text}");
            assert_eq!(again.fits(&labels()), fits, "{text} as {again}");
        }
    }

    #[test]
    fn a_text_that_would_silently_match_nothing_is_refused_with_advice() {
        let cases = [
            ("", "must start with the name of a label"),
            ("severity", "comes one of = != =~ !~"),
            ("severity==critical", "the operators are"),
            ("severity~=critical", "comes one of"),
            ("bad-label=\"x\"", "comes one of"),
            ("{severity=\"critical\"}", "leave out the braces"),
            ("severity=\"critical\",env=\"x\"", "a text of its own"),
            ("severity=critical,env=x", "one matcher a text"),
            ("severity=\"critical", "closing quote"),
            ("severity=\"critical\\", "closing quote"),
            ("env=~\"(\"", "unclosed group"),
            ("env=~\"a)|(b\"", "unopened group"),
            ("0env=\"x\"", "must start with"),
        ];
        for (text, advice) in cases {
            let error = Matcher::parse(text).unwrap_err().to_string();
            assert!(error.contains(advice), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_what_is_shown_means_the_same(
            text in "(env|severity|=|!=|=~|!~|\"|\\\\|[ -~é\n]){0,12}", value in "[a-c\"\\\\\n]{0,4}"
        ) {
            if let Ok(matcher) = Matcher::parse(&text) {
                let again = Matcher::parse(&matcher.to_string()).unwrap();
                let labels = [("env".to_owned(), value.clone()), ("severity".to_owned(), value)].into();
                prop_assert_eq!(matcher.fits(&labels), again.fits(&labels));
            }
        }
    }
}
