//! What people see: lines for every event, tables, times. One renderer for the terminal, pipes and `show`.

pub(crate) mod embargo;
pub(crate) mod environment;
pub(crate) mod json;
pub(crate) mod lines;
pub(crate) mod progress;
pub(crate) mod sections;
pub(crate) mod times;
pub(crate) mod way_back;

use serin_model::Timestamp;

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Text for people.
    Text,
    /// JSON for programs.
    Json,
}

/// Prints a line to standard output; a reader that went away ends the program quietly.
pub(crate) fn line(text: impl AsRef<str>) {
    use std::io::Write;
    if writeln!(std::io::stdout(), "{}", embargo::veiled(text.as_ref())).is_err() {
        #[expect(clippy::exit, reason = "nobody reads any more: `serin runs | head`")]
        std::process::exit(0);
    }
}

/// Shows a time of day, in the machine's time zone.
pub(crate) fn time(at: Timestamp) -> String {
    zoned(at).map_or_else(String::new, |at| at.strftime("%H:%M:%S").to_string())
}

/// Shows a date and time, in the machine's time zone.
pub(crate) fn date(at: Timestamp) -> String {
    zoned(at).map_or_else(String::new, |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

fn zoned(at: Timestamp) -> Option<jiff::Zoned> {
    let millis = i64::try_from(at.as_millis()).ok()?;
    let at = jiff::Timestamp::from_millisecond(millis).ok()?;
    Some(at.to_zoned(jiff::tz::TimeZone::system()))
}

/// Makes an empty table with a heading.
pub(crate) fn table(heading: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING).set_header(heading);
    table
}

/// Prints a table without the spaces that fill its last column.
pub(crate) fn print(table: &comfy_table::Table) {
    for row in table.lines() {
        line(row.trim_end());
    }
}
