//! Moving an installation's journal from a file to a database.
//!
//! The file is locked against writers from the first row that is read until it says where its journal went. All rows are
//! written in one transaction, and read back and compared before it is committed: the rows one by one, and the records by
//! their seals, which are the same in every journal. What is interrupted is begun again with the same call.

use super::PostgresJournal;
use super::link::Tx;
use super::rows::{self, Records};
use super::transactions;
use super::trouble::{Failed, Trouble};
use crate::port::{Holder, JournalError, Record};
use crate::rows::{Contents, EnvironmentRow, RunRow, Stream, TrailRow};
use crate::seal::Seal;
use crate::sqlite::Source;
use serin_model::Timestamp;
use std::path::{Path, PathBuf};

/// How many records are written in one statement: a few megabytes at most.
const AT_ONCE: usize = 1000;

/// What was moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// Runs.
    pub runs: usize,
    /// Records of runs and of environments.
    pub records: u64,
    /// Records of the audit trail.
    pub audit: u64,
    /// Commands, answered or not.
    pub commands: usize,
    /// Whether an earlier call had written everything, and was interrupted before the file said so.
    pub was_there: bool,
}

/// Why nothing was moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    /// There is no such file.
    #[error("there is no journal {}", .0.display())]
    NoFile(PathBuf),
    /// A process acts, or may act: it would go on writing to the file.
    #[error("{holder} holds the lease {scope} and is not known to be dead")]
    Held {
        /// Which lease, as the journal names it.
        scope: String,
        /// Who holds it.
        holder: Holder,
    },
    /// There is something in the database, and it is no copy of what is in the file.
    #[error("the database holds another journal already")]
    NotEmpty,
    /// What was written is not what was read: nothing was committed.
    #[error("the copy differs from the file in {0}; nothing was written")]
    Differs(String),
    /// One of the journals could not be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl From<Trouble> for MoveError {
    fn from(trouble: Trouble) -> Self {
        trouble.error.into()
    }
}

impl From<Failed<JournalError>> for MoveError {
    fn from(failed: Failed<JournalError>) -> Self {
        match failed {
            Failed::Refused(error) => error.into(),
            Failed::Trouble(trouble) => trouble.into(),
        }
    }
}

impl PostgresJournal {
    /// Moves the journal of a file into this one, which must be empty. Afterwards every Serin refuses the file.
    ///
    /// # Errors
    /// When anybody may act, this journal is not empty, or either cannot be used. The file is as it was then.
    pub async fn move_here(&self, from: &Path) -> Result<Moved, MoveError> {
        if !from.exists() {
            return Err(MoveError::NoFile(from.to_owned()));
        }
        let mut source = Source::open(from)?;
        let contents = source.contents()?;
        if let Some((scope, holder)) = source.holder(&contents)? {
            return Err(MoveError::Held { scope, holder });
        }
        let mut link = self.link().await?;
        let mut tx = link.begin().await?;
        tx.batch("prepare to copy", "SET LOCAL idle_in_transaction_session_timeout = '1min'")
            .await?;
        transactions::lock_numbers(&mut tx).await?;
        let was_there = !transactions::contents(&mut tx).await?.is_empty();
        if !was_there {
            write(&mut tx, &mut source, &contents).await?;
        }
        match compare(&mut tx, &contents).await? {
            None => tx.commit(()).await?,
            Some(_) if was_there => return Err(MoveError::NotEmpty),
            Some(what) => return Err(MoveError::Differs(what)),
        }
        source.say_moved(&self.settings.to_string())?;
        let of_runs = contents.runs.iter().map(|run| run.last);
        let of_environments = contents.environments.iter().map(|environment| environment.last);
        Ok(Moved {
            runs: contents.runs.len(),
            records: of_runs.chain(of_environments).sum(),
            audit: contents.trails.iter().map(|trail| trail.last).sum(),
            commands: contents.commands.len(),
            was_there,
        })
    }
}

async fn write(tx: &mut Tx<'_>, source: &mut Source, contents: &Contents) -> Result<(), MoveError> {
    for run in &contents.runs {
        rows::store_run(tx, run).await?;
        let empty = RunRow::new(run.number, Timestamp::from_millis(run.created));
        write_records(tx, empty, source.records(run)?).await?;
    }
    for environment in &contents.environments {
        rows::store_environment(tx, environment).await?;
        let name = environment.name.clone();
        let empty = EnvironmentRow { name, last: 0, head: Seal::new() };
        write_records(tx, empty, source.environment_records(environment)?).await?;
    }
    for trail in &contents.trails {
        rows::insert_trail(tx, trail).await?;
        write_records(tx, TrailRow::empty(), source.trail_records(trail)?).await?;
    }
    for lease in &contents.leases {
        rows::insert_lease(tx, lease).await?;
    }
    for claim in &contents.claims {
        rows::insert_claim(tx, claim).await?;
    }
    for command in &contents.commands {
        rows::insert_command(tx, command).await?;
    }
    Ok(())
}

/// Writes the records of a stream, whose seals follow from one another.
async fn write_records<S: Records>(
    tx: &mut Tx<'_>,
    mut stream: S,
    records: Vec<Record>,
) -> Result<(), MoveError> {
    let sealed: Vec<(Record, Seal)> =
        records.iter().map(|record| stream.next(&record.body, record.at)).collect();
    for some in sealed.chunks(AT_ONCE) {
        rows::insert(&stream, tx, some).await?;
    }
    Ok(())
}

/// Returns what is not the same here as in a file, if anything is.
async fn compare(tx: &mut Tx<'_>, contents: &Contents) -> Result<Option<String>, MoveError> {
    if transactions::contents(tx).await? != *contents {
        return Ok(Some("its runs, leases, claims or commands".to_owned()));
    }
    // Its last seal is the same as in the file, and is that of records that hang together: so all of them are the same.
    for run in &contents.runs {
        if count(&rows::records(run, tx, 0).await?) != run.last() {
            return Ok(Some(format!("run r-{}", run.number)));
        }
    }
    for environment in &contents.environments {
        if count(&rows::records(environment, tx, 0).await?) != environment.last() {
            return Ok(Some(environment.name.clone()));
        }
    }
    for trail in &contents.trails {
        if count(&rows::records(trail, tx, 0).await?) != trail.last() {
            return Ok(Some("the audit trail".to_owned()));
        }
    }
    Ok(None)
}

fn count(records: &[Record]) -> u64 {
    u64::try_from(records.len()).unwrap_or(u64::MAX)
}
