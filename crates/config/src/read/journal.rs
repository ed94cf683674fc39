//! Where the journal is.

use super::Reader;
use crate::raw::{RawJournal, RawPostgres};
use crate::{Journal, Postgres};
use std::path::{Path, PathBuf};

/// Where the journal is unless the file says otherwise.
const FILE: &str = "/var/lib/serin/journal.db";
/// Where a machine keeps what is its own, beside a journal that is elsewhere.
const STATE: &str = "/var/lib/serin";
/// PostgreSQL's own.
const PORT: u16 = 5432;

/// Returns where the journal is, and the folder of what only this machine keeps.
pub(super) fn journal(reader: &mut Reader, raw: Option<&RawJournal>) -> Option<(Journal, PathBuf)> {
    let file = RawJournal::default();
    let raw = raw.unwrap_or(&file);
    let Some(found) = &raw.postgres else {
        if let Some(state) = &raw.state {
            let help = "remove it: what belongs to a file is beside the file";
            reader.wrong(state.span(), "`state` is for a journal in a database", help);
        }
        let path = raw.path.as_ref().map_or(Some(PathBuf::from(FILE)), |text| reader.path(text));
        let path = path?;
        let beside = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let state = beside.unwrap_or(Path::new(".")).to_owned();
        return Some((Journal::File(path), state));
    };
    if let Some(path) = &raw.path {
        let help = "keep one of them; `serin journal copy --from FILE` moves a journal";
        let message = "the journal is in a file or in a database, not in both";
        reader.wrong_with(path.span(), message.to_owned(), help, (found.span(), "the database"));
    }
    let state = raw.state.as_ref().map_or(Some(PathBuf::from(STATE)), |text| reader.path(text));
    let postgres = postgres(reader, found.get());
    Some((Journal::Postgres(postgres?), state?))
}

fn postgres(reader: &mut Reader, raw: &RawPostgres) -> Option<Postgres> {
    let host = reader.not_empty(&raw.host, "a name, an address, or the folder of a socket");
    if raw.host.get().contains(['=', ' ', '@', ',']) || raw.host.get().contains("://") {
        let help = "write the server alone; port, database and user have keys of their own";
        reader.wrong(raw.host.span(), "this is more than a server", help);
    }
    let port = raw.port.as_ref().map_or(i64::from(PORT), |port| reader.whole(port, 1..=65535));
    let mut or_serin = |text: &Option<crate::at::Text>, wanted: &str| match text {
        Some(text) => reader.not_empty(text, wanted),
        None => Some("serin".to_owned()),
    };
    let database = or_serin(&raw.database, "the name of a database");
    let user = or_serin(&raw.user, "the name of a role");
    let mut path = |text: &Option<crate::at::Text>| text.as_ref().map(|text| reader.path(text));
    let (password_file, ca_file) = (path(&raw.password_file), path(&raw.ca_file));
    let unencrypted = raw.unencrypted == Some(true);
    if let Some(file) = raw.ca_file.as_ref().filter(|_| unencrypted) {
        let help = "remove one of `ca_file` and `unencrypted`";
        reader.wrong(file.span(), "there is no certificate to check without TLS", help);
    }
    Some(Postgres {
        host: host?,
        port: u16::try_from(port).unwrap_or(PORT),
        database: database?,
        user: user?,
        // A path that is wrong was reported, and there will be no configuration.
        password_file: password_file.flatten(),
        ca_file: ca_file.flatten(),
        unencrypted,
    })
}
