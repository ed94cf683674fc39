//! Measures how many appends a second a journal takes: `appends FOLDER [COUNT]`, for a folder on the disk in question.
//!
//! Each append is what the event loop does: one record of 400 bytes under two leases.

#![expect(clippy::print_stdout, reason = "it is a measurement for a person to read")]
#![expect(clippy::disallowed_methods, reason = "it measures real time")]

use serin_journal::{Append, Holder, Journal, Scope, SqliteJournal};
use serin_model::Timestamp;
use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("usage: appends FOLDER [COUNT]")?);
    let count = arguments.next().map_or(Ok(5000), |count| count.parse::<u64>())?;
    let path = folder.join("appends-journal");
    let journal = SqliteJournal::open(&path)?;
    let at = Timestamp::from_millis(0);
    let run = journal.create_run("first", at).await?;
    let me = Holder { user: "bench".into(), machine: "here".into(), pid: std::process::id() };
    let mut leases = Vec::new();
    for scope in [Scope::Run(run.clone()), Scope::Environment("staging".parse()?)] {
        leases.push(journal.take_lease(&scope, &me, Duration::from_secs(1)).await?);
    }
    let records = ["x".repeat(400)];
    let mut took = Vec::new();
    let started = Instant::now();
    for expected in 1..=count {
        let began = Instant::now();
        let (run, records, leases) = (&run, &records[..], &leases[..]);
        journal.append(&Append { run, expected, records, at, leases, claims: &[] }).await?;
        took.push(began.elapsed());
    }
    let all = started.elapsed();
    took.sort_unstable();
    let middle = took.get(took.len() / 2).ok_or("nothing was measured")?;
    let slow = took.get(took.len() * 99 / 100).ok_or("nothing was measured")?;
    let rate = u128::from(count) * 1000 / all.as_millis().max(1);
    println!("{count} appends: {rate}/s, median {middle:?}, 99% under {slow:?}");
    let began = Instant::now();
    let read = journal.read(&run, 0).await?.len();
    println!("read and checked {read} records in {:?}", began.elapsed());
    drop(journal);
    let began = Instant::now();
    drop(SqliteJournal::open(&path)?);
    println!("opened {} bytes in {:?}", path.metadata()?.len(), began.elapsed());
    Ok(())
}
