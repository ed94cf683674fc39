//! The examples are the schema by example: they are read, and every key of the schema is in one of them.
//!
//! A line that starts with `#` and a key or a `[`, with no space between, is a setting that is switched off; the
//! examples are read as they are, and once more with all of these switched on.

use serin_config::{Config, load};
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

fn example(name: &str) -> Config {
    load(&folder().join(name)).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn dump() {
    println!("{:#?}", example("gitlab.toml"));
}
