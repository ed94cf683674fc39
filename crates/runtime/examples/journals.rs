//! Measures the journals beside each other: `journals FOLDER SOCKET`, with a folder for SQLite's file and the folder of a
//! PostgreSQL server's socket, both on the disk in question.
//!
//! Each append is what the event loop does: records of the usual size under two leases. They alternate between the
//! journals, so that whatever else the machine does meets both.

#![expect(clippy::print_stdout, reason = "it is a measurement for a person to read")]
#![expect(clippy::disallowed_methods, reason = "it measures real time")]

#[path = "../../planner/tests/installation/mod.rs"]
#[expect(dead_code, reason = "the planner's tests use the rest")]
#[expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_imports,
    clippy::wildcard_enum_match_arm,
    reason = "it is a helper of tests, which fails loudly as they do"
)]
mod installation;

use installation::Installation;
use serin_engine::{Event, Outcome};
use serin_journal::{
    Append, Holder, Journal, Lease, PostgresJournal, PostgresSettings, Scope, SqliteJournal, Tls,
};
use serin_model::{EnvironmentName, Plan, RunId, Timestamp};
use serin_runtime::records;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Appends of each kind.
const APPENDS: u64 = 2000;

/// Records of a batch: what a fleet's hosts report at once.
const BATCH: usize = 50;

/// The hosts of a very large run, each of which goes through all steps of a release.
const HOSTS: &str = "web-00001..10000";

/// How long such a run may take to load.
const MOST: Duration = Duration::from_secs(1);

/// Commands whose way to the holder is timed.
const COMMANDS: usize = 200;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(host)) = (arguments.next(), arguments.next()) else {
        return Err("usage: journals FOLDER SOCKET".into());
    };
    let folder = PathBuf::from(folder);
    let settings = PostgresSettings {
        host,
        port: 5432,
        database: "postgres".to_owned(),
        user: "serin".to_owned(),
        password: None,
        tls: Tls::Off,
        folder: folder.clone(),
    };
    let sqlite = SqliteJournal::open(&folder.join("journal.db"))?;
    let postgres = PostgresJournal::open(settings.clone()).await?;
    let other = PostgresJournal::open(settings).await?;
    println!("SQLite, and PostgreSQL {}", postgres.server().version);
    let mut both =
        [Measured::new("SQLite", &sqlite).await?, Measured::new("PostgreSQL", &postgres).await?];
    for size in [1, BATCH] {
        for _ in 0..APPENDS {
            for journal in &mut both {
                journal.append(size).await?;
            }
        }
        for journal in &mut both {
            journal.tell(size);
        }
    }
    let mut late = false;
    let (first, events) = release()?;
    for journal in &both {
        late |= journal.load(&first, &events).await? > MOST;
    }
    arrivals(&postgres, &other).await?;
    if late {
        Err("a run of 10,000 hosts takes longer than a second to load".into())
    } else {
        Ok(())
    }
}

/// A journal, and how long its appends took.
struct Measured<'a> {
    name: &'static str,
    journal: &'a dyn Journal,
    run: RunId,
    leases: Vec<Lease>,
    last: u64,
    took: Vec<Duration>,
}

impl<'a> Measured<'a> {
    async fn new(name: &'static str, journal: &'a dyn Journal) -> Result<Self, Box<dyn Error>> {
        let run = journal.create_run("first", Timestamp::from_millis(0)).await?;
        let me = Holder { user: "bench".into(), machine: "here".into(), pid: std::process::id() };
        let mut leases = Vec::new();
        for scope in [Scope::Run(run.clone()), Scope::Environment("staging".parse()?)] {
            leases.push(journal.take_lease(&scope, &me, Duration::from_secs(1)).await?);
        }
        Ok(Self { name, journal, run, leases, last: 1, took: Vec::new() })
    }

    async fn append(&mut self, size: usize) -> Result<(), Box<dyn Error>> {
        let records = vec!["x".repeat(200); size];
        let append = Append {
            run: &self.run,
            expected: self.last,
            records: &records,
            at: Timestamp::from_millis(0),
            leases: &self.leases,
            claims: &[],
        };
        let began = Instant::now();
        self.last = self.journal.append(&append).await?;
        self.took.push(began.elapsed());
        Ok(())
    }

    fn tell(&mut self, size: usize) {
        let (p50, p95, p99) = percentiles(&mut self.took);
        let all: Duration = self.took.iter().sum();
        let appends = u32::try_from(self.took.len()).unwrap_or(u32::MAX);
        let records = f64::from(appends) * f64::from(u32::try_from(size).unwrap_or(u32::MAX));
        let rate = records / all.as_secs_f64();
        let name = self.name;
        println!(
            "{name:<11} append of {size:>2}: p50 {p50:?}, p95 {p95:?}, p99 {p99:?}; {rate:.0} events/s"
        );
        self.took.clear();
    }

    /// Reads a run of very many hosts, proves every record of it, and makes the run's state of them.
    async fn load(&self, first: &str, events: &[String]) -> Result<Duration, Box<dyn Error>> {
        let at = Timestamp::from_millis(0);
        let run = self.journal.create_run(first, at).await?;
        let mut expected = 1;
        for records in events.chunks(1000) {
            let run = &run;
            let append = Append { run, expected, records, at, leases: &[], claims: &[] };
            expected = self.journal.append(&append).await?;
        }
        let (mut read, mut whole) = (Vec::new(), Vec::new());
        for _ in 0..5 {
            let began = Instant::now();
            let records = self.journal.read(&run, 0).await?;
            read.push(began.elapsed());
            if records.len() != events.len() + 1 {
                return Err("records are missing".into());
            }
            let began = Instant::now();
            let (run, _) = records::load(self.journal, &run).await?;
            whole.push(began.elapsed());
            if run.current().is_some() {
                return Err("the run is not through".into());
            }
        }
        let (read, _, _) = percentiles(&mut read);
        let (p50, _, p99) = percentiles(&mut whole);
        println!(
            "{:<11} load of 10,000 hosts, {} events and a plan of {} MB: {p50:?}, at most {p99:?}; reading alone {read:?}",
            self.name,
            events.len(),
            first.len() / 1_000_000,
        );
        Ok(p50)
    }
}

/// Returns the records of a run that has brought a release to very many hosts: its first one, and the others.
fn release() -> Result<(String, Vec<String>), Box<dyn Error>> {
    let truth = Installation::new(&format!("staging lb-01\n  main deploy-01 {HOSTS}"));
    let (plan, _) = serin_planner::plan(truth.request())?;
    let (by, term) = ("ada".to_owned(), 1);
    let environment: EnvironmentName = "staging".parse()?;
    let mut events = vec![
        Event::Adopted { term, by: by.clone() },
        Event::EnvironmentEntered { environment: environment.clone(), fence: 1 },
        Event::FenceRaised { environment, fence: 1, unavailable: BTreeMap::new() },
    ];
    events.extend(passed(&plan, term));
    let first = records::write(&Event::Started { plan: Box::new(plan), by })?;
    let events = events.iter().map(records::write).collect::<Result<_, _>>()?;
    Ok((first, events))
}

/// Each step of a plan begins and is done.
fn passed(plan: &Plan, term: u64) -> impl Iterator<Item = Event> {
    plan.steps().flat_map(move |(_, _, step)| {
        let (step, attempt) = (step.id.clone(), 1);
        let outcome = Outcome::Done("16.2.0-ee.0 is installed and configured".to_owned());
        let at = Timestamp::from_millis(1_795_582_808_295);
        [
            Event::AttemptStarted { step: step.clone(), attempt, term },
            Event::AttemptEnded { step, attempt, outcome, at },
        ]
    })
}

/// Times commands from another process's `send` to the holder's reading of them.
async fn arrivals(holder: &PostgresJournal, other: &PostgresJournal) -> Result<(), Box<dyn Error>> {
    let staging = "staging".parse()?;
    let mut took = Vec::new();
    for count in 1..=COMMANDS {
        let began = Instant::now();
        let read = async {
            // For nothing, now and then: it says that there may be something.
            while holder.inbox(&staging).await?.len() < count {
                holder.arrival().await;
            }
            Ok::<_, Box<dyn Error>>(began.elapsed())
        };
        let (sent, read) =
            tokio::join!(other.send(&staging, "halt", Timestamp::from_millis(0)), read);
        sent?;
        took.push(read?);
    }
    let (p50, p95, p99) = percentiles(&mut took);
    println!("PostgreSQL  a command is sent and read: p50 {p50:?}, p95 {p95:?}, p99 {p99:?}");
    Ok(())
}

fn percentiles(took: &mut [Duration]) -> (Duration, Duration, Duration) {
    took.sort_unstable();
    let at = |percent: usize| {
        let last = took.len().saturating_sub(1);
        took.get(last * percent / 100).copied().unwrap_or_default()
    };
    (at(50), at(95), at(99))
}
