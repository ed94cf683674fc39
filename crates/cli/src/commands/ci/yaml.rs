//! As much of YAML as a pipeline's file needs, written so that nobody can take a text for anything else: every text is in
//! double quotes, as JSON writes it, which YAML reads in the same way.
//!
//! It reads none.

/// A value.
pub(super) enum Yaml {
    /// A text, in quotes.
    Text(String),
    /// A number, or `true` or `false`.
    Bare(String),
    /// Values, one below the other.
    List(Vec<Yaml>),
    /// Keys and values, in this order.
    Map(Vec<(String, Yaml)>),
}

/// A text.
pub(super) fn text(text: impl Into<String>) -> Yaml {
    Yaml::Text(text.into())
}

/// Texts, one below the other.
pub(super) fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Yaml {
    Yaml::List(texts.into_iter().map(text).collect())
}

/// A number, or `true` or `false`.
pub(super) fn bare(value: &str) -> Yaml {
    Yaml::Bare(value.to_owned())
}

/// Keys and values.
pub(super) fn map<const N: usize>(entries: [(&str, Yaml); N]) -> Yaml {
    Yaml::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// A file: entries with what is said about each.
#[derive(Default)]
pub(super) struct Document {
    text: String,
}

impl Document {
    /// Says something, a comment on each line.
    pub(super) fn say(&mut self, comment: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        for line in comment.lines() {
            let comment = format!("# {line}");
            self.text.extend([comment.trim_end(), "\n"]);
        }
    }

    /// Adds an entry.
    pub(super) fn entry(&mut self, name: &str, value: &Yaml) {
        self.text.push_str(&key(name));
        value.render(0, &mut self.text);
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

impl Yaml {
    /// Renders what comes after a key or a dash, with the end of the line.
    fn render(&self, depth: usize, out: &mut String) {
        let indent = "  ".repeat(depth);
        match self {
            Self::Text(text) => out.extend([" ", &quoted(text), "\n"]),
            Self::Bare(text) => out.extend([" ", text, "\n"]),
            Self::List(values) if values.is_empty() => out.push_str(" []\n"),
            Self::List(values) => {
                out.push('\n');
                for value in values {
                    out.extend([&indent, "  -"]);
                    value.render_item(depth + 1, out);
                }
            }
            Self::Map(entries) if entries.is_empty() => out.push_str(" {}\n"),
            Self::Map(entries) => {
                out.push('\n');
                for (name, value) in entries {
                    out.extend([&indent, "  ", &key(name)]);
                    value.render(depth + 1, out);
                }
            }
        }
    }

    /// Renders an item of a list: of a map, the first key is on the line of the dash.
    fn render_item(&self, depth: usize, out: &mut String) {
        let Self::Map(entries) = self else { return self.render(depth, out) };
        for (index, (name, value)) in entries.iter().enumerate() {
            if index == 0 {
                out.push(' ');
            } else {
                out.push_str(&"  ".repeat(depth + 1));
            }
            out.push_str(&key(name));
            value.render(depth + 1, out);
        }
    }
}

fn key(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || "._".contains(c))
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        // What YAML 1.1 takes for a truth.
        && !["y", "n", "yes", "no", "on", "off", "true", "false", "null"]
            .contains(&name.to_ascii_lowercase().as_str());
    if plain { format!("{name}:") } else { format!("{}:", quoted(name)) }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nested_is_indented_and_what_is_text_is_quoted() {
        let mut document = Document::default();
        document.say("What it is.\n\nAnd why.");
        document.entry("stages", &texts(["1 a: \"b\"", "- no"]));
        let rules = Yaml::List(vec![
            map([("if", text("$A == \"b\"")), ("when", text("never"))]),
            map([("when", text("manual")), ("variables", map([("X", text("#"))]))]),
        ]);
        document.say("A job.");
        document.entry(
            "3 a",
            &map([("rules", rules), ("parallel", bare("2")), ("needs", texts::<&str>([]))]),
        );
        let wanted = r##"# What it is.
#
# And why.
stages:
  - "1 a: \"b\""
  - "- no"

# A job.
"3 a":
  rules:
    - if: "$A == \"b\""
      when: "never"
    - when: "manual"
      variables:
        X: "#"
  parallel: 2
  needs: []
"##;
        assert_eq!(document.into_text(), wanted);
        assert_eq!(key("on"), "\"on\":");
    }
}
