//! The journal that the configuration names.

use crate::failure::{Code, Failure, chain};
use serin_config::{Config, Postgres};
use serin_journal::{
    Journal, JournalError, Password, PostgresJournal, PostgresSettings, Server, SqliteJournal, Tls,
};
use std::sync::Arc;

/// Opens it, and returns its server as well, if it has one.
pub(crate) async fn open(config: &Config) -> Result<(Arc<dyn Journal>, Option<Server>), Failure> {
    let refused = |error: JournalError| {
        let place = place(config);
        Failure::new(Code::Journal, format!("could not open {place}: {}", chain(&error)))
    };
    match &config.journal {
        serin_config::Journal::File(path) => {
            let journal = SqliteJournal::open(path).map_err(refused)?;
            Ok((Arc::new(journal), None))
        }
        serin_config::Journal::Postgres(postgres) => {
            let journal = PostgresJournal::open(settings(config, postgres)).await;
            let journal = journal.map_err(refused)?;
            let server = journal.server().clone();
            Ok((Arc::new(journal), Some(server)))
        }
    }
}

/// Returns where the journal is, for people.
pub(crate) fn place(config: &Config) -> String {
    match &config.journal {
        serin_config::Journal::File(path) => format!("the journal {}", path.display()),
        serin_config::Journal::Postgres(postgres) => {
            format!("the journal in PostgreSQL ({})", settings(config, postgres))
        }
    }
}

/// Returns how a database is reached. A password in a file goes before one in the environment.
#[expect(clippy::disallowed_methods, reason = "the environment is read at the edge")]
pub(crate) fn settings(config: &Config, postgres: &Postgres) -> PostgresSettings {
    let file = postgres.password_file.clone().map(Password::File);
    let given = || std::env::var("PGPASSWORD").ok().filter(|word| !word.is_empty());
    let verified = || Tls::Verified(postgres.ca_file.clone());
    let tls = if postgres.unencrypted { Tls::Off } else { verified() };
    PostgresSettings {
        host: postgres.host.clone(),
        port: postgres.port,
        database: postgres.database.clone(),
        user: postgres.user.clone(),
        password: file.or_else(|| given().map(Password::Given)),
        tls,
        folder: config.state.clone(),
    }
}
