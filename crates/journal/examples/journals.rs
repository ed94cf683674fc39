//! Measures the journals beside each other: `journals FOLDER SOCKET`, with a folder for SQLite's file and the folder of a
//! PostgreSQL server's socket, both on the disk in question.
//!
//! Each append is what the event loop does: records of the usual size under two leases. They alternate between the
//! journals, so that whatever else the machine does meets both.

#![expect(clippy::print_stdout, reason = "it is a measurement for a person to read")]
#![expect(clippy::disallowed_methods, reason = "it measures real time")]

use serin_journal::{
    Append, Holder, Journal, Lease, PostgresJournal, PostgresSettings, Scope, SqliteJournal, Tls,
};
use serin_model::{RunId, Timestamp};
use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Appends of each kind.
const APPENDS: u64 = 2000;

/// Records of a batch: what a fleet's hosts report at once.
const BATCH: usize = 50;

/// A run of 10,000 hosts: seven steps on each, each of which begins and ends.
const EVENTS: usize = 10_000 * 7 * 2;

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
    for journal in &both {
        late |= journal.load().await? > MOST;
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

    /// Reads a run of very many hosts, and proves every record of it.
    async fn load(&self) -> Result<Duration, Box<dyn Error>> {
        let at = Timestamp::from_millis(0);
        let run = self.journal.create_run("plan", at).await?;
        let event = r#"{"format":1,"event":"attempt-ended","step":"3/web-0001.gprd/install","attempt":1,"outcome":{"done":"installed"},"at":1795582808295}"#;
        let records = vec![event.to_owned(); 1000];
        let mut expected = 1;
        for _ in 0..EVENTS / records.len() {
            let (run, records) = (&run, &records[..]);
            let append = Append { run, expected, records, at, leases: &[], claims: &[] };
            expected = self.journal.append(&append).await?;
        }
        let mut took = Vec::new();
        for _ in 0..5 {
            let began = Instant::now();
            let read = self.journal.read(&run, 0).await?;
            took.push(began.elapsed());
            if read.len() != EVENTS + 1 {
                return Err("records are missing".into());
            }
        }
        let (p50, _, p99) = percentiles(&mut took);
        println!(
            "{:<11} load of {EVENTS} events of 10,000 hosts: {p50:?}, at most {p99:?}",
            self.name
        );
        Ok(p50)
    }
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
