//! Values of the file that remember where they were written.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::ops::Range;
use toml::Spanned;

/// A value and the bytes of the file that it was read from.
///
/// The same as `toml::Spanned`, except that the JSON schema sees only the value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At<T>(Spanned<T>);

/// A text of the file.
pub(crate) type Text = At<String>;

/// A list of texts of the file: a command, patterns, matchers.
pub(crate) type Texts = At<Vec<Text>>;

impl<T> At<T> {
    /// Returns the value.
    pub(crate) fn get(&self) -> &T {
        self.0.get_ref()
    }

    /// Returns where it was written.
    pub(crate) fn span(&self) -> Range<usize> {
        self.0.span()
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::deserialize(deserializer).map(Self)
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}
