//! The migrations of a build: files named `<id>_<name>.rb` that hold one SQL statement per `execute '…'` line.
//!
//! They look like Rails' so that "the build's list" can be read on the host with `ls`; they are not Ruby.

use std::path::Path;

use anyhow::{Context as _, ensure};

/// One migration of the build that is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Migration {
    /// The 14 digits before the name.
    pub id: String,
    /// The name as in the file, such as `create_projects`.
    pub name: String,
    /// Whether all its statements and the note that it ran are one transaction.
    pub transactional: bool,
    /// Its statements, in order.
    pub statements: Vec<String>,
}

impl Migration {
    /// The name as `db:migrate:status` shows it: `Create projects`.
    pub(super) fn human_name(&self) -> String {
        let words = self.name.replace('_', " ");
        let mut letters = words.chars();
        letters
            .next()
            .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    }

    /// The class name as `db:migrate` shows it: `CreateProjects`.
    pub(super) fn class_name(&self) -> String {
        self.name
            .split('_')
            .flat_map(|word| {
                let mut letters = word.chars();
                letters.next().into_iter().flat_map(char::to_uppercase).chain(letters)
            })
            .collect()
    }
}

/// All migrations in these folders of `db`, by id.
pub(super) fn read_all(db: &Path, folders: &[&str]) -> anyhow::Result<Vec<Migration>> {
    let mut migrations = Vec::new();
    for folder in folders {
        let folder = db.join(folder);
        let entries = std::fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        for entry in entries {
            let path = entry?.path();
            let file = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
            let text =
                std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            migrations.push(parse(file, &text).with_context(|| path.display().to_string())?);
        }
    }
    migrations.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(migrations)
}

fn parse(file: &str, text: &str) -> anyhow::Result<Migration> {
    let (id, name) = file.split_once('_').context("not named <id>_<name>.rb")?;
    ensure!(id.len() == 14 && id.bytes().all(|byte| byte.is_ascii_digit()), "id is not 14 digits");
    let statements: Vec<String> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("execute '")?.strip_suffix('\''))
        .map(str::to_owned)
        .collect();
    ensure!(!statements.is_empty(), "holds no execute '…' line");
    Ok(Migration {
        id: id.to_owned(),
        name: name.to_owned(),
        transactional: !text.contains("disable_ddl_transaction!"),
        statements,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_becomes_statements_and_names() {
        let text =
            "class X\n  disable_ddl_transaction!\n  def up\n    execute 'SELECT 1'\n  end\nend\n";
        let migration = parse("20230101000001_create_projects", text).unwrap();
        assert_eq!(migration.statements, ["SELECT 1"]);
        assert!(!migration.transactional);
        assert_eq!(migration.human_name(), "Create projects");
        assert_eq!(migration.class_name(), "CreateProjects");
    }

    #[test]
    fn files_that_are_no_migrations_are_refused() {
        for (file, text) in
            [("readme", "execute 'x'"), ("2023_x", "execute 'x'"), ("20230101000001_x", "")]
        {
            assert!(parse(file, text).is_err(), "{file}");
        }
    }
}
