//! The examples are the schema by example: they are read, and every key of the schema is in one of them.
//!
//! A line that starts with `#` and a key or a `[`, with no space between, is a setting that is switched off; the
//! examples are read as they are, and once more with all of these switched on.

use serde_json::Value;
use serin_config::{Config, parse, reference, schema};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).expect(path)
}

fn read(text: &str) -> Result<Config, String> {
    parse(text, Path::new("examples/serin.toml")).map_err(|refusal| refusal.to_string())
}

fn example_names() -> Vec<String> {
    let files = std::fs::read_dir(repository().join("examples")).expect("examples");
    let mut names: Vec<String> = files
        .map(|file| file.expect("a file").file_name().into_string().expect("a name"))
        .collect();
    names.sort();
    names
}

fn switched_on(text: &str) -> String {
    let on = |line: &str| match line.strip_prefix('#') {
        Some(rest) if rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()) => {
            rest.to_owned()
        }
        _ => line.to_owned(),
    };
    text.lines().map(|line| on(line) + "\n").collect()
}

#[test]
fn every_example_is_right_with_and_without_what_is_switched_off() {
    let names = example_names();
    assert_eq!(names, ["gitlab.toml", "plain.toml"]);
    for name in names {
        let text = text(&format!("examples/{name}"));
        for text in [text.clone(), switched_on(&text)] {
            read(&text).unwrap_or_else(|refusal| panic!("{refusal}"));
        }
    }
}

#[test]
fn every_key_of_the_schema_is_in_an_example() {
    let schema = schema::schema();
    let mut known = BTreeSet::new();
    keys_of_schema(schema, schema, "", &mut known);
    let mut used = BTreeSet::new();
    for name in example_names() {
        let text = switched_on(&text(&format!("examples/{name}")));
        let table: Value = toml::from_str(&text).expect("TOML");
        keys_of_file(schema, schema, (&table, ""), &mut used);
    }
    let missing: Vec<_> = known.difference(&used).collect();
    assert!(missing.is_empty(), "add these keys to an example: {missing:#?}");
}

/// Collects the paths of all keys: `roles.*.drain.deadline`.
fn keys_of_schema(root: &Value, schema: &Value, path: &str, keys: &mut BTreeSet<String>) {
    let schema = resolved(root, schema);
    for choice in ["anyOf", "oneOf"].iter().filter_map(|key| schema[key].as_array()).flatten() {
        keys_of_schema(root, choice, path, keys);
    }
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{key}");
        keys_of_schema(root, schema, &path, keys);
        keys.insert(path);
    }
    if schema["additionalProperties"].is_object() {
        keys_of_schema(root, &schema["additionalProperties"], &format!("{path}.*"), keys);
    }
    if schema["items"].is_object() {
        keys_of_schema(root, &schema["items"], path, keys);
    }
}

/// Collects the paths of the keys that a file uses, written as in the schema.
fn keys_of_file(
    root: &Value,
    schema: &Value,
    (value, path): (&Value, &str),
    keys: &mut BTreeSet<String>,
) {
    let schema = resolved(root, schema);
    for choice in ["anyOf", "oneOf"].iter().filter_map(|key| schema[key].as_array()).flatten() {
        keys_of_file(root, choice, (value, path), keys);
    }
    for item in value.as_array().into_iter().flatten() {
        keys_of_file(root, &schema["items"], (item, path), keys);
    }
    for (key, value) in value.as_object().into_iter().flatten() {
        if let Some(of_key) = schema["properties"].get(key) {
            let path = format!("{path}.{key}");
            keys_of_file(root, of_key, (value, &path), keys);
            keys.insert(path);
        } else if schema["additionalProperties"].is_object() {
            let path = format!("{path}.*");
            keys_of_file(root, &schema["additionalProperties"], (value, &path), keys);
        }
    }
}

fn resolved<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str() {
        Some(name) => root.pointer(name.trim_start_matches('#')).expect(name),
        None => schema,
    }
}

#[test]
fn the_published_schema_is_fresh() {
    let path = repository().join("docs/serin.schema.json");
    fresh(&path, &std::fs::read_to_string(&path).unwrap_or_default(), schema::schema_text());
}

#[test]
fn the_reference_of_keys_is_fresh() {
    let path = repository().join("docs/configuration.md");
    let page = std::fs::read_to_string(&path).expect("docs/configuration.md");
    let (before, rest) = page.split_once("<!-- keys -->\n").expect("a mark where keys begin");
    let (_, after) = rest.split_once("<!-- end of keys -->\n").expect("a mark where they end");
    let written = format!("{before}<!-- keys -->\n{}<!-- end of keys -->\n{after}", reference());
    fresh(&path, &page, written);
}

/// Compares a generated file with what it should be; `SERIN_UPDATE=1` writes it.
fn fresh(path: &Path, found: &str, wanted: String) {
    if std::env::var_os("SERIN_UPDATE").is_some() {
        std::fs::write(path, wanted).expect("a generated file can be written");
    } else {
        let name = path.file_name().expect("a name").display();
        let how = "SERIN_UPDATE=1 cargo test -p serin-config --test examples";
        assert!(found == wanted, "{name} is out of date; write it anew: {how}");
    }
}
