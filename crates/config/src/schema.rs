//! The JSON schema of `serin.toml`, for editors and for the check of a file's shape.

use crate::raw::RawConfig;
use serde_json::Value;
use std::sync::LazyLock;

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    let mut schema = schemars::schema_for!(RawConfig).to_value();
    without_null(&mut schema);
    without_raw(&mut schema);
    schema
});

/// Returns the schema. TOML has no null: an optional key is one that is not required.
pub fn schema() -> &'static Value {
    &SCHEMA
}

/// Returns the schema as the text of `docs/serin.schema.json`.
pub fn schema_text() -> String {
    format!("{:#}\n", schema())
}

/// Takes the nulls out of every type and every choice.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            map.remove("default");
            if let Some(Value::Array(types)) = map.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    map.insert("type".to_owned(), only);
                }
            }
            if let Some(Value::Array(choices)) = map.get_mut("anyOf") {
                choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
                if let [Value::Object(only)] = choices.as_slice() {
                    let only = only.clone();
                    map.remove("anyOf");
                    only.into_iter().for_each(|(key, value)| {
                        map.entry(key).or_insert(value);
                    });
                }
            }
            map.values_mut().for_each(without_null);
        }
        Value::Array(list) => list.iter_mut().for_each(without_null),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Gives the types the names that people see, without `Raw`, and joins the lines of their descriptions.
fn without_raw(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(types)) = map.get_mut("$defs") {
                *types = std::mem::take(types)
                    .into_iter()
                    .map(|(name, value)| (name.trim_start_matches("Raw").to_owned(), value))
                    .collect();
            }
            for (key, value) in map.iter_mut() {
                match (key.as_str(), &mut *value) {
                    ("$ref", Value::String(text)) => *text = text.replace("/Raw", "/"),
                    ("description", Value::String(text)) => *text = text.replace('\n', " "),
                    _ => without_raw(value),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(without_raw),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Follows a reference to a named type, if the schema is one.
pub(crate) fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    schema
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|name| root.pointer(name.trim_start_matches('#')))
        .unwrap_or(schema)
}

/// Returns the schemas one of which a value must fit: those of a choice, or the schema itself.
pub(crate) fn choices<'a>(root: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let schema = resolve(root, schema);
    match schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array) {
        Some(list) => list.iter().flat_map(|choice| choices(root, choice)).collect(),
        None => vec![schema],
    }
}

/// Returns the texts that a schema allows, if it allows only some.
pub(crate) fn words<'a>(choices: &[&'a Value]) -> Vec<&'a str> {
    choices
        .iter()
        .flat_map(|choice| {
            let one = choice.get("const").into_iter();
            one.chain(choice.get("enum").and_then(Value::as_array).into_iter().flatten())
        })
        .filter_map(Value::as_str)
        .collect()
}
