//! The shape of a file against its schema: unknown and missing keys, wrong types, words that are not known.
//!
//! Serde would stop at the first; this finds all of them, and knows what may be written instead. What a text of the
//! right shape means is not looked at here.

use crate::diagnostic::Diagnostic;
use crate::schema::{choices, words};
use crate::suggest::instead_of;
use serde_json::Value;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Returns everything that is wrong with the shape of a file.
pub(crate) fn check(table: &Spanned<DeTable<'_>>, schema: &Value) -> Vec<Diagnostic> {
    let mut shape = Shape { root: schema, found: Vec::new() };
    shape.table(table.get_ref(), schema, &Place { span: table.span(), name: String::new() });
    shape.found
}

/// Returns what the TOML parser says.
pub(crate) fn of_toml(error: &toml::de::Error) -> Diagnostic {
    Diagnostic {
        span: error.span().unwrap_or_default(),
        message: format!("this is not TOML that Serin can read: {}", error.message()),
        help: "see https://toml.io for how TOML is written, and docs/configuration.md for the keys"
            .to_owned(),
        also: None,
    }
}

struct Shape<'a> {
    root: &'a Value,
    found: Vec<Diagnostic>,
}

/// Where a value is: how to say it and what to point at.
struct Place {
    span: Range<usize>,
    name: String,
}

impl Place {
    fn key(&self, key: &Spanned<std::borrow::Cow<'_, str>>) -> Self {
        let name = if self.name.is_empty() {
            key.get_ref().to_string()
        } else {
            format!("{}.{}", self.name, key.get_ref())
        };
        Self { span: key.span(), name }
    }

    fn described(&self) -> String {
        if self.name.is_empty() {
            "at the top of the file".to_owned()
        } else {
            format!("in `{}`", self.name)
        }
    }
}

impl Shape<'_> {
    fn value(&mut self, value: &Spanned<DeValue<'_>>, schema: &Value, place: &Place) {
        let choices = choices(self.root, schema);
        let found = type_of(value.get_ref());
        let fitting: Vec<&Value> = choices.iter().copied().filter(|s| admits(s, found)).collect();
        let Some(first) = fitting.first() else {
            return self.wrong_type(value, &choices, place);
        };
        match value.get_ref() {
            DeValue::String(text) => {
                self.can_be_shown(text, &value.span());
                self.word(text, value.span(), &fitting, place);
            }
            DeValue::Array(list) => {
                if let Some(items) = first.get("items") {
                    for item in list {
                        let place = Place { span: item.span(), name: place.name.clone() };
                        self.value(item, items, &place);
                    }
                }
            }
            DeValue::Table(table) => self.table(table, first, place),
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => {}
        }
    }

    fn table(&mut self, table: &DeTable<'_>, schema: &Value, place: &Place) {
        let no_keys = serde_json::Map::new();
        let known = schema.get("properties").and_then(Value::as_object).unwrap_or(&no_keys);
        for (key, value) in table {
            self.can_be_shown(key.get_ref(), &key.span());
            let of_any_name = schema.get("additionalProperties").filter(|s| s.is_object());
            match known.get(key.get_ref().as_ref()).or(of_any_name) {
                Some(schema) => self.value(value, schema, &place.key(key)),
                None => self.add(
                    key.span(),
                    format!("unknown key `{}` {}", key.get_ref(), place.described()),
                    instead_of(key.get_ref(), known.keys().map(String::as_str)),
                ),
            }
        }
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        for key in required.filter_map(Value::as_str).filter(|key| !table.contains_key(*key)) {
            let of = known.get(key).and_then(|schema| schema.get("description"));
            let what = of.and_then(Value::as_str).unwrap_or_default();
            self.add(
                place.span.clone(),
                format!("the key `{key}` is missing {}", place.described()),
                format!("add `{key}`: {}", in_a_sentence(what)),
            );
        }
    }

    /// Most texts are printed sooner or later, and some are sent to hosts line by line.
    fn can_be_shown(&mut self, text: &str, span: &Range<usize>) {
        if let Some(control) = text.chars().find(|c| c.is_control()) {
            let message = format!("this text holds the control character {control:?}");
            let help = "write it in one line, without tabs and escapes: texts are shown and sent";
            self.add(span.clone(), message, help.to_owned());
        }
    }

    fn word(&mut self, text: &str, span: Range<usize>, fitting: &[&Value], place: &Place) {
        let words = words(fitting);
        let only_some = fitting.iter().all(|s| s.get("const").or(s.get("enum")).is_some());
        if only_some && !words.contains(&text) {
            let message = format!("`{text}` is not known {}", place.described());
            self.add(span, message, instead_of(text, words));
        }
    }

    fn wrong_type(&mut self, value: &Spanned<DeValue<'_>>, choices: &[&Value], place: &Place) {
        let mut wanted: Vec<&str> =
            choices.iter().filter_map(|s| s.get("type")?.as_str()).collect();
        wanted.dedup();
        let wanted: Vec<&str> = wanted.into_iter().map(in_words).collect();
        let found = in_words(type_of(value.get_ref()));
        let mut help = format!("write {}", wanted.join(" or "));
        let words = words(choices);
        if !words.is_empty() {
            help.push_str(": ");
            help.push_str(&words.join(", "));
        }
        self.add(value.span(), format!("{found} cannot be written {}", place.described()), help);
    }

    fn add(&mut self, span: Range<usize>, message: String, help: String) {
        self.found.push(Diagnostic { span, message, help, also: None });
    }
}

fn in_a_sentence(text: &str) -> String {
    let mut letters = text.trim_end_matches('.').chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

fn admits(schema: &Value, found: &str) -> bool {
    schema.get("type").is_none_or(|wanted| wanted == found)
}

fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "string",
        DeValue::Integer(_) => "integer",
        DeValue::Float(_) => "number",
        DeValue::Boolean(_) => "boolean",
        DeValue::Datetime(_) => "date",
        DeValue::Array(_) => "array",
        DeValue::Table(_) => "object",
    }
}

fn in_words(name: &str) -> &'static str {
    match name {
        "string" => "a text in quotes",
        "integer" => "a whole number",
        "number" => "a number with a fraction",
        "boolean" => "true or false",
        "date" => "a date",
        "array" => "a list in `[ ]`",
        _ => "a table",
    }
}
