//! The reference of keys in `docs/configuration.md`, written from the schema.

use crate::schema::{choices, schema, words};
use serde_json::Value;
use std::fmt::Write as _;

/// Returns the reference: a table of keys for every table of the file, in Markdown.
pub fn reference() -> String {
    let root = schema();
    let mut text = String::new();
    table(&mut text, root, ("", root));
    text
}

fn table(text: &mut String, root: &Value, (path, schema): (&str, &Value)) {
    let Some(keys) = schema.get("properties").and_then(Value::as_object) else { return };
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .map(|keys| keys.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let title = if path.is_empty() { "The file".to_owned() } else { format!("`{path}`") };
    let about = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    line(text, &format!("### {title}\n\n{about}\n\n| key | required | meaning |\n|---|---|---|"));
    let mut below = Vec::new();
    for (key, schema) in keys {
        let about = schema.get("description").and_then(Value::as_str).unwrap_or_default();
        let must = if required.contains(&key.as_str()) { "yes" } else { "" };
        let choices = choices(root, schema);
        let words = words(&choices);
        let words = if words.is_empty() {
            String::new()
        } else {
            format!(" One of `{}`.", words.join("`, `"))
        };
        line(text, &format!("| `{key}` | {must} | {about}{words} |"));
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        below.extend(choices.iter().filter_map(|choice| table_in(root, &path, choice)));
    }
    line(text, "");
    for (path, schema) in &below {
        table(text, root, (path, schema));
    }
}

/// Returns the table that a value is, or that its items or values are, with how its path is written.
fn table_in<'a>(root: &'a Value, path: &str, schema: &'a Value) -> Option<(String, &'a Value)> {
    if schema.get("properties").is_some() {
        return Some((path.to_owned(), schema));
    }
    let named = schema.get("additionalProperties").map(|of| (format!("{path}.NAME"), of));
    let listed = schema.get("items").map(|of| (format!("{path}[]"), of));
    let (path, of) = named.or(listed)?;
    choices(root, of).into_iter().find_map(|choice| table_in(root, &path, choice))
}

fn line(text: &mut String, line: &str) {
    // Writing to a string cannot fail.
    writeln!(text, "{line}").unwrap_or_default();
}
