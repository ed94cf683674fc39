//! Processes of two machines on one PostgreSQL, killed, stopped and cut off at random while they act in one world.
//!
//! The world keeps a log of its own, and refuses older fences, as hosts do. What it was told is checked in the end: each
//! effect once, in order, and never by an owner that was replaced.

use crate::child::{Child, say};
use crate::cluster::{Cluster, settings};
use crate::support::{at, environment, holder, scope};
use rustix::process::Signal;
use serin_journal::{
    AppendError, EnvironmentAppend, Journal, Lease, LeaseRefused, PostgresJournal, Record,
};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

/// How long a silent owner is waited for: several beats on a busy machine.
const TTL: Duration = Duration::from_millis(1500);

/// Commands, kills, stops and lost connections, by numbers that are the same each time.
const ORDERS: u32 = 200;

/// Acts for an environment whenever nobody else does, until it is killed.
///
/// It goes by the book: the beginning of an effect is recorded, then it is done, then its end is recorded. One that an
/// earlier owner began is looked up in the world first.
pub(crate) async fn act(cluster: &Path, machine: &Path, world: &Path) {
    let journal = loop {
        // Its connection may be ended before it is open.
        if let Ok(journal) = PostgresJournal::open(settings(cluster, machine)).await {
            break journal;
        }
    };
    let me = holder(std::process::id());
    loop {
        let lease = match journal.take_lease(&scope("staging"), &me, TTL).await {
            Ok(lease) => lease,
            // Somebody else acts, or the database is away: for the next look.
            Err(LeaseRefused::Held { .. } | LeaseRefused::Journal(_)) => continue,
        };
        say(&format!("owner {}", lease.epoch));
        // Everything that ends it is a reason to stop acting, and to try to become the owner again.
        drop(act_as_owner(&journal, &lease, world).await);
    }
}

async fn act_as_owner(
    journal: &PostgresJournal,
    lease: &Lease,
    world: &Path,
) -> Result<(), AppendError> {
    // The fence first: whoever was replaced is refused from here on.
    if !World::open(world).raise(lease.epoch) {
        return Ok(());
    }
    let staging = environment("staging");
    let mut last = journal.read_environment(&staging, 0).await.map_err(AppendError::from)?;
    loop {
        journal.beat(lease).await?;
        for command in journal.inbox(&staging).await? {
            journal.answer(lease, command.id, &format!("seen, {}", command.body)).await?;
        }
        let begun = last.iter().filter(|record| record.body.starts_with("begin")).count();
        let in_doubt = last.last().is_some_and(|record| record.body.starts_with("begin"));
        let effect = if in_doubt { begun } else { begun + 1 };
        if !in_doubt {
            record(journal, lease, &mut last, format!("begin {effect}")).await?;
        }
        if !World::open(world).perform(effect, lease.epoch) {
            return Ok(());
        }
        record(journal, lease, &mut last, format!("end {effect}")).await?;
    }
}

async fn record(
    journal: &PostgresJournal,
    lease: &Lease,
    last: &mut Vec<Record>,
    body: String,
) -> Result<(), AppendError> {
    let staging = environment("staging");
    let expected = last.last().map_or(0, |record| record.seq);
    let records = [body];
    let append = EnvironmentAppend {
        environment: &staging,
        expected,
        records: &records,
        at: at(expected),
        epoch: lease.epoch,
    };
    let seq = journal.append_environment(&append).await?;
    let [body] = records;
    last.push(Record { seq, at: at(expected), body });
    Ok(())
}

/// A host: a file with a line for everything that was done to it, and its fence.
struct World(File);

impl World {
    fn open(path: &Path) -> Self {
        let file = OpenOptions::new().create(true).read(true).append(true).open(path).unwrap();
        // The kernel frees it, however the process ends. A stopped process keeps it: so does the lock on a host.
        file.lock().unwrap();
        Self(file)
    }

    fn lines(&mut self) -> Vec<String> {
        let mut text = String::new();
        self.0.rewind().unwrap();
        self.0.read_to_string(&mut text).unwrap();
        // A line that a kill has cut off was never there.
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        complete.lines().map(str::to_owned).collect()
    }

    fn fence(&mut self) -> u64 {
        let fences = self.lines();
        fences
            .iter()
            .filter_map(|line| line.split(' ').next_back()?.parse().ok())
            .max()
            .unwrap_or(0)
    }

    fn raise(&mut self, fence: u64) -> bool {
        let raised = self.fence() <= fence;
        if raised {
            self.write(&format!("fence {fence}"));
        }
        raised
    }

    /// Sees to it that an effect has taken place, or refuses an owner that was replaced.
    fn perform(&mut self, effect: usize, fence: u64) -> bool {
        if self.fence() != fence {
            return false;
        }
        if !self.lines().iter().any(|line| line.starts_with(&format!("effect {effect} "))) {
            self.write(&format!("effect {effect} by {fence}"));
        }
        true
    }

    /// One write of one line: all of it, or nothing, when the process is killed.
    fn write(&mut self, line: &str) {
        self.0.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

#[tokio::test]
async fn of_two_machines_processes_one_acts_and_nothing_is_done_twice() {
    let cluster = Cluster::start().await;
    let folder = tempfile::tempdir().unwrap();
    let world = folder.path().join("world");
    let machines = ["a", "b"].map(|name| folder.path().join(name));
    for machine in &machines {
        std::fs::create_dir(machine).unwrap();
    }
    let start = |number: usize| {
        let (cluster, machine) = (cluster.path(""), &machines[number % 2]);
        let (cluster, machine, world) = (cluster.display(), machine.display(), world.display());
        Child::start(&format!("act {cluster} {machine} {world}"))
    };
    let journal = cluster.open().await;
    let client = cluster.connect().await.unwrap();
    let mut processes: Vec<Child> = (0..4).map(start).collect();
    let mut numbers = Numbers(7);
    let (mut sent, mut kills) = (Vec::new(), 0);
    let enough = || progress(&world).is_some_and(|(effects, owners)| effects > 50 && owners > 10);
    let mut orders = 0..;
    while let Some(order) = orders.next().filter(|order| *order < ORDERS || !enough()) {
        let number = usize::try_from(numbers.below(4)).unwrap();
        match numbers.below(8) {
            0..5 => {
                sent.push(
                    journal.send(&environment("staging"), &order.to_string(), at(1)).await.unwrap(),
                );
            }
            5 => {
                processes[number].signal(Signal::KILL);
                processes[number] = start(number);
                kills += 1;
            }
            6 => processes[number].signal(Signal::STOP),
            _ => {
                let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                    WHERE application_name = 'serin' OFFSET $1 LIMIT 1";
                client.query(sql, &[&i64::try_from(number).unwrap()]).await.unwrap();
            }
        }
        let woken = usize::try_from(numbers.below(4)).unwrap();
        processes[woken].signal(Signal::CONT);
        tokio::time::sleep(Duration::from_millis(numbers.below(100))).await;
    }
    for process in &processes {
        process.signal(Signal::CONT);
    }
    for command in &sent {
        while journal.answered(*command).await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    drop(processes);
    check(&journal, &world, kills).await;
}

async fn check(journal: &PostgresJournal, world: &Path, kills: u32) {
    let (effects, owners) = progress(world).unwrap();
    let records = journal.read_environment(&environment("staging"), 0).await.unwrap();
    let begun = records.iter().filter(|record| record.body.starts_with("begin")).count();
    assert!(begun == effects || begun == effects + 1, "{begun} of {effects}");
    println!("{effects} effects by {owners} owners in turn, {kills} kills");
}

/// Checks the world's log, and returns how many effects took place and how many owners there were; none while a process
/// is stopped that writes to it.
fn progress(world: &Path) -> Option<(usize, usize)> {
    let file = OpenOptions::new().create(true).read(true).append(true).open(world).unwrap();
    file.try_lock().ok()?;
    let (mut effects, mut fence, mut owners) = (0, 0, 0);
    for line in World(file).lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let number = words[words.len() - 1].parse::<u64>().unwrap();
        match words[..] {
            ["fence", _] => {
                assert!(number > fence, "{line}: not newer than {fence}");
                fence = number;
                owners += 1;
            }
            ["effect", effect, "by", _] => {
                assert_eq!(number, fence, "{line}: by an owner that was replaced");
                effects += 1;
                assert_eq!(effect, effects.to_string(), "an effect is missing, or was done twice");
            }
            _ => panic!("{line}"),
        }
    }
    Some((effects, owners))
}
