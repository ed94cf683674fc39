//! `db:migrate:status`: the build's migrations and the database's, side by side, in Rails' layout.

use anyhow::bail;
use tokio_postgres::Client;

use super::migrate::read_applied;
use super::migration::Migration;
use super::print_line;

/// Prints one line per migration that the build or the database knows, by id.
pub(super) async fn print(client: &Client, migrations: &[Migration]) -> anyhow::Result<()> {
    let row = client
        .query_one("SELECT current_database()::text, to_regclass('schema_migrations')::text", &[])
        .await?;
    let database: String = row.try_get(0)?;
    if row.try_get::<_, Option<String>>(1)?.is_none() {
        bail!("Schema migrations table does not exist yet.");
    }
    let applied = read_applied(client).await?;
    print_line(&format!("\ndatabase: {database}\n"))?;
    print_line(&format!("{:^8}  {:<14}  Migration Name", "Status", "Migration ID"))?;
    print_line(&"-".repeat(50))?;
    let mut lines: Vec<(&str, &str, String)> = migrations
        .iter()
        .map(|migration| {
            let status = if applied.contains(&migration.id) { "up" } else { "down" };
            (migration.id.as_str(), status, migration.human_name())
        })
        .collect();
    for id in &applied {
        if !migrations.iter().any(|migration| migration.id == *id) {
            lines.push((id, "up", "********** NO FILE **********".to_owned()));
        }
    }
    lines.sort();
    for (id, status, name) in lines {
        print_line(&format!("{status:^8}  {id:<14}  {name}"))?;
    }
    print_line("")
}
