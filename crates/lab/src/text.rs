//! Puts rendered text together.

/// Appends a formatted piece; unlike `write!` it has no error that would have to be handled.
pub(crate) fn append(text: &mut String, piece: std::fmt::Arguments<'_>) {
    text.push_str(&piece.to_string());
}
