//! The migrations that a build brings: a base set, and three of its own whose ids derive from the version.
//!
//! Of its own three the first is transactional, the second builds an index concurrently, the third is a post-deployment
//! one that old code could not live with. Each takes about 200 ms, or four seconds where the build is flawed so. Earlier versions' own migrations are not in a build;
//! the database knows them as `NO FILE`, as it does after a real downgrade.

use super::names::Names;
use super::{Flaw, PackageSpec};

/// A migration's file: its folder below `db`, its name and its content.
pub(super) struct MigrationFile {
    /// `migrate` or `post_migrate`.
    pub folder: &'static str,
    /// `<id>_<name>.rb`.
    pub file: String,
    /// What Rails would run, and the binary reads.
    pub content: String,
}

struct Migration {
    folder: &'static str,
    id: String,
    name: String,
    in_transaction: Transaction,
    statements: Vec<String>,
}

enum Transaction {
    Yes,
    No,
}

/// All migrations of the build.
pub(super) fn files(spec: &PackageSpec, names: &Names) -> Vec<MigrationFile> {
    // A real migration takes its time; without it no test could meet one in the middle.
    let seconds = if spec.flaw == Some(Flaw::SlowMigrations) { "4" } else { "0.2" };
    let all = base().into_iter().chain(own(spec, names));
    all.map(|migration| render(migration, seconds)).collect()
}

fn base() -> Vec<Migration> {
    let regular = |number: u8, name: &str, statements: &[&str]| Migration {
        folder: "migrate",
        id: format!("202301010000{number:02}"),
        name: name.to_owned(),
        in_transaction: Transaction::Yes,
        statements: statements.iter().map(|&statement| statement.to_owned()).collect(),
    };
    let projects =
        "CREATE TABLE projects (id bigserial PRIMARY KEY, name text NOT NULL, legacy text)";
    let jobs = "CREATE TABLE jobs (id bigserial PRIMARY KEY, milliseconds bigint NOT NULL DEFAULT 0, \
                enqueued_at timestamptz NOT NULL DEFAULT now(), started_at timestamptz, \
                finished_at timestamptz, host text)";
    let seed = "INSERT INTO projects (name) VALUES ($$project$$), ($$handbook$$), ($$website$$)";
    let index = "CREATE INDEX CONCURRENTLY index_projects_on_name ON projects (name)";
    vec![
        regular(1, "create_projects", &[projects]),
        regular(2, "create_jobs", &[jobs]),
        regular(3, "add_first_projects", &[seed]),
        Migration {
            in_transaction: Transaction::No,
            ..regular(4, "index_projects_on_name", &[index])
        },
        Migration {
            folder: "post_migrate",
            ..regular(
                5,
                "remove_legacy_from_projects",
                &["ALTER TABLE projects DROP COLUMN legacy"],
            )
        },
    ]
}

fn own(spec: &PackageSpec, names: &Names) -> [Migration; 3] {
    let prefix = &names.migration_prefix;
    let id = |number: u8| format!("{prefix}{number:04}");
    let table = format!("feature_{prefix}");
    let index = format!("index_projects_for_{table}");
    let second = if spec.flaw == Some(Flaw::MigrationFailsHalfWay) {
        vec!["ALTER TABLE projects ADD CONSTRAINT impossible CHECK (length(name) < 0)".to_owned()]
    } else {
        vec![
            // A run that was cut in the middle leaves an invalid index behind.
            format!("DROP INDEX CONCURRENTLY IF EXISTS {index}"),
            format!("CREATE INDEX CONCURRENTLY {index} ON projects (name, id)"),
        ]
    };
    [
        Migration {
            folder: "migrate",
            id: id(1),
            name: format!("create_{table}"),
            in_transaction: Transaction::Yes,
            statements: vec![format!(
                "CREATE TABLE {table} (id bigserial PRIMARY KEY, legacy text)"
            )],
        },
        Migration {
            folder: "migrate",
            id: id(2),
            name: format!("index_projects_for_{table}"),
            in_transaction: Transaction::No,
            statements: second,
        },
        Migration {
            folder: "post_migrate",
            id: id(3),
            name: format!("remove_legacy_from_{table}"),
            in_transaction: Transaction::Yes,
            statements: vec![format!("ALTER TABLE {table} DROP COLUMN legacy")],
        },
    ]
}

fn render(migration: Migration, seconds: &str) -> MigrationFile {
    let Migration { folder, id, name, in_transaction, statements } = migration;
    let class: String = name
        .split('_')
        .flat_map(|word| {
            let mut letters = word.chars();
            letters.next().into_iter().flat_map(char::to_uppercase).chain(letters)
        })
        .collect();
    let option = match in_transaction {
        Transaction::Yes => "",
        Transaction::No => "  disable_ddl_transaction!\n\n",
    };
    let mut lines = vec![format!("    execute 'SELECT pg_sleep({seconds})'")];
    lines.extend(statements.iter().map(|statement| format!("    execute '{statement}'")));
    let lines = lines.join("\n");
    let content = format!(
        "# frozen_string_literal: true\n\nclass {class} < ActiveRecord::Migration[7.0]\n{option}  \
         def up\n{lines}\n  end\n\n  def down\n    raise ActiveRecord::IrreversibleMigration\n  \
         end\nend\n"
    );
    MigrationFile { folder, file: format!("{id}_{name}.rb"), content }
}
