//! One PostgreSQL connection per process, opened when it is first needed and again after it was lost.
//!
//! There is no pool and no retry: a query that meets a dead connection fails, and the request that asked for it is
//! answered 503, so that trouble with the database is visible from outside.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::sync::Mutex;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, NoTls, Row};

const CONNECT_LIMIT: Duration = Duration::from_secs(2);
const QUERY_LIMIT: Duration = Duration::from_secs(10);

/// A lazily opened connection.
pub(crate) struct Database {
    url: Option<String>,
    client: Mutex<Option<Arc<Client>>>,
    application_name: &'static str,
}

impl Database {
    /// A database that is not asked for anything yet.
    pub(crate) fn new(url: Option<String>, application_name: &'static str) -> Self {
        Self { url, client: Mutex::new(None), application_name }
    }

    /// Runs one statement.
    pub(crate) async fn query(
        &self,
        statement: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> anyhow::Result<Vec<Row>> {
        let client = self.connected().await?;
        let rows = tokio::time::timeout(QUERY_LIMIT, client.query(statement, parameters));
        Ok(rows.await.context("the database does not answer")??)
    }

    async fn connected(&self) -> anyhow::Result<Arc<Client>> {
        let mut client = self.client.lock().await;
        if let Some(open) = client.as_ref().filter(|client| !client.is_closed()) {
            return Ok(Arc::clone(open));
        }
        let url = self.url.as_deref().context("DATABASE_URL is not set")?;
        let opened = Arc::new(connect(url, self.application_name).await?);
        *client = Some(Arc::clone(&opened));
        Ok(opened)
    }
}

/// Opens a connection of its own; the caller's session, with its locks, lives as long as the client.
pub(crate) async fn connect(url: &str, application_name: &str) -> anyhow::Result<Client> {
    let mut config: tokio_postgres::Config = url.parse().context("DATABASE_URL")?;
    config.application_name(application_name);
    let connecting = tokio::time::timeout(CONNECT_LIMIT, config.connect(NoTls));
    let (client, connection) = connecting
        .await
        .map_err(|_elapsed| anyhow!("the database does not answer"))?
        .context("cannot connect to the database")?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            crate::say(&format!("lost the database: {error}"));
        }
    });
    Ok(client)
}
