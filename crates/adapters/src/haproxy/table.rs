//! HAProxy's two tables: words with spaces between them, and CSV. Cells are found by the names of their columns.
//!
//! Columns come and go between versions, so their order means nothing. A cell that is asked for and is not there makes
//! the whole table unreadable; nothing is ever assumed in its place.

use serin_runtime::ports::PortError;
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// A table as it was read.
#[derive(Debug)]
pub(super) struct Table {
    columns: BTreeMap<String, usize>,
    rows: Vec<Vec<String>>,
}

/// A row of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    columns: &'a BTreeMap<String, usize>,
    cells: &'a [String],
}

impl Table {
    /// Reads words with spaces between them. The first line is `# ` and the names of the columns.
    pub(super) fn of_words(text: &str) -> Self {
        Self::of(text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()))
    }

    /// Reads CSV. The first line is `# ` and the names of the columns; a quoted cell may hold commas, line ends, and
    /// quotes that are doubled.
    pub(super) fn of_csv(text: &str) -> Self {
        let mut chars = text.chars().peekable();
        Self::of(std::iter::from_fn(|| chars.peek().is_some().then(|| csv_row(&mut chars))))
    }

    fn of(mut rows: impl Iterator<Item = Vec<String>>) -> Self {
        let header = rows.next().unwrap_or_default().into_iter();
        let columns = header
            .map(|name| name.trim_start_matches(['#', ' ']).to_owned())
            // In the table of words, the `#` is a word of its own; in CSV, it is part of the first name.
            .filter(|name| !name.is_empty())
            .enumerate()
            .map(|(index, name)| (name, index))
            .collect();
        let rows = rows.filter(|row| row.iter().any(|cell| !cell.is_empty())).collect();
        Self { columns, rows }
    }

    /// Returns the rows.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|cells| Row { columns: &self.columns, cells })
    }
}

impl<'a> Row<'a> {
    /// Returns a cell.
    pub(super) fn text(self, column: &str) -> Result<&'a str, PortError> {
        self.columns
            .get(column)
            .and_then(|index| self.cells.get(*index))
            .map(String::as_str)
            .ok_or_else(|| PortError::Garbled(format!("a row has no column {column}")))
    }

    /// Returns a cell that is a number.
    pub(super) fn number<N: std::str::FromStr>(self, column: &str) -> Result<N, PortError> {
        let text = self.text(column)?;
        // What the parser says ("invalid digit") adds nothing to the text itself.
        text.parse().map_err(|_invalid| {
            PortError::Garbled(format!("{column} is {text:?}, which is not such a number"))
        })
    }

    /// Returns a cell that is a number; `None` if it is empty or its column does not exist.
    pub(super) fn number_if_any(self, column: &str) -> Option<u64> {
        self.text(column).ok()?.parse().ok()
    }
}

fn csv_row(chars: &mut Peekable<Chars<'_>>) -> Vec<String> {
    let mut row = Vec::new();
    let mut cell = String::new();
    while let Some(char) = chars.next() {
        match char {
            '"' => csv_quoted(chars, &mut cell),
            ',' => row.push(std::mem::take(&mut cell)),
            '\n' => break,
            '\r' => {}
            _ => cell.push(char),
        }
    }
    row.push(cell);
    row
}

fn csv_quoted(chars: &mut Peekable<Chars<'_>>, cell: &mut String) {
    while let Some(char) = chars.next() {
        if char != '"' {
            cell.push(char);
        } else if chars.next_if_eq(&'"').is_some() {
            cell.push('"');
        } else {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cells_are_found_by_name_in_any_order() {
        for text in ["# a,b,\n1,2,\n", "# b,a,\n2,1,\n", "# new,b,a\n9,2,1"] {
            let table = Table::of_csv(text);
            let row = table.rows().next().unwrap();
            assert_eq!(
                (row.text("a").unwrap(), row.number::<u32>("b").unwrap()),
                ("1", 2),
                "{text}"
            );
        }
        let words = Table::of_words("# a b\n1 2\n");
        assert_eq!(words.rows().next().unwrap().text("b").unwrap(), "2");
    }

    #[test]
    fn a_quoted_cell_may_hold_commas_quotes_and_line_ends() {
        let table = Table::of_csv("# a,b\n\"x, \"\"y\"\"\nz\",2\n3,4\n");
        let rows: Vec<_> = table.rows().map(|row| row.text("a").unwrap()).collect();
        assert_eq!(rows, ["x, \"y\"\nz", "3"]);
        assert_eq!(table.rows().next().unwrap().text("b").unwrap(), "2");
    }

    #[test]
    fn a_cell_that_is_missing_or_no_number_is_an_error() {
        let table = Table::of_csv("# a,b\n1\n,x\n");
        assert!(table.rows().all(|row| row.number::<u32>("b").is_err()));
        assert!(table.rows().all(|row| row.text("c").is_err()));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(\\PC|\n|,|\"|# a){0,60}") {
            for table in [Table::of_csv(&text), Table::of_words(&text)] {
                for row in table.rows() {
                    drop(row.number::<u32>("a"));
                }
            }
        }
    }
}
