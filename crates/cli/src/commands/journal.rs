//! `serin journal`: moving it.

use crate::failure::{Code, Failure, chain};
use crate::journal::{place, settings};
use crate::people::{self, Words};
use crate::show::{Format, line};
use serin_config::Config;
use serin_journal::{JournalError, MoveError, PostgresJournal};
use std::path::Path;

/// Moves the journal of a file into the database of the configuration.
pub(crate) async fn copy(
    config: &Config,
    from: &Path,
    (format, words): (Format, Words),
) -> Result<Code, Failure> {
    let who = people::admit_copy(config, from, &words).await?;
    let serin_config::Journal::Postgres(postgres) = &config.journal else {
        let what = format!("{} names no database for the journal", config.path.display());
        return Err(Failure::new(Code::Refused, what)
            .hint("write [journal.postgres] in place of [journal] path, then copy"));
    };
    let place = place(config);
    let journal = PostgresJournal::open(settings(config, postgres)).await.map_err(|error| {
        Failure::new(Code::Journal, format!("could not open {place}: {}", chain(&error)))
    })?;
    let moved = journal.move_here(from).await.map_err(|error| refused(from, &error))?;
    people::copied(&journal, who, words).await?;
    if format == Format::Json {
        let object = serde_json::json!({
            "runs": moved.runs, "records": moved.records, "audit": moved.audit,
            "commands": moved.commands,
        });
        line(object.to_string());
        return Ok(Code::Done);
    }
    if moved.was_there {
        line("an earlier copy had been interrupted at its end; it is complete");
    }
    line(format!(
        "{} run(s), {} record(s), {} of the audit trail and {} command(s) are in {place}, compared with the file",
        moved.runs, moved.records, moved.audit, moved.commands
    ));
    line(format!(
        "{} is kept, and refused from now on: it says where its journal is",
        from.display()
    ));
    Ok(Code::Done)
}

fn refused(from: &Path, error: &MoveError) -> Failure {
    let what = format!("{} was not copied: {}", from.display(), chain(error));
    match error {
        MoveError::NoFile(_) | MoveError::Journal(JournalError::Moved(_)) => {
            Failure::new(Code::Refused, what)
        }
        MoveError::Held { .. } => Failure::new(Code::Refused, what)
            .hint("halt its run, or end the process, and copy again"),
        MoveError::NotEmpty => Failure::new(Code::Refused, what)
            .hint("name a database in which no Serin has worked yet"),
        MoveError::Differs(_) | MoveError::Journal(_) => {
            Failure::new(Code::Journal, what).hint("the file is as it was")
        }
    }
}
