//! A second process: this test binary, started again, doing what it is told on its standard input.
//!
//! The first line is `append PLACE`, `lease PLACE MILLISECONDS` or `act CLUSTER MACHINE WORLD`; each answer is one line. A
//! place is the path of a file, or `postgres:CLUSTER:MACHINE` with the folders of a server and of a machine's lock files.

use crate::support::{at, holder, run, scope};
use crate::{cluster, two_machines};
use serin_journal::{
    Append, AppendError, Journal, JournalError, LeaseRefused, PostgresJournal, SqliteJournal,
};
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// What each line from a child starts with; the test harness writes lines too.
const MARK: &str = "child: ";

/// A process that was started.
pub(crate) struct Child {
    pub(crate) process: std::process::Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Child {
    /// Starts a process and gives it its first line.
    pub(crate) fn start(order: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child::does_what_it_is_told", "--ignored", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut child = Self { process, input, output };
        child.tell(order);
        child
    }

    /// Gives it another line.
    pub(crate) fn tell(&mut self, order: &str) {
        writeln!(self.input, "{order}").unwrap();
    }

    /// Waits for its next answer; none when it has ended.
    pub(crate) fn answer(&mut self) -> Option<String> {
        let answers = self.output.by_ref().map(Result::unwrap);
        // The harness ends its own line `test … ...` only when the test is over.
        let mut answers = answers.filter_map(|line| Some(line.split_once(MARK)?.1.to_owned()));
        answers.next()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[tokio::test]
#[ignore = "other tests start it"]
async fn does_what_it_is_told() {
    let mut orders = std::io::stdin().lines().map(Result::unwrap);
    let Some(first) = orders.next() else { return };
    match *first.split(' ').collect::<Vec<_>>() {
        ["append", place] => append_for_ever(place).await,
        ["lease", place, ttl] => {
            lease(place, Duration::from_millis(ttl.parse().unwrap()), orders).await;
        }
        ["act", cluster, machine, world] => {
            let (cluster, machine) = (Path::new(cluster), Path::new(machine));
            two_machines::act(cluster, machine, Path::new(world)).await;
        }
        _ => panic!("no such order: {first}"),
    }
}

/// Opens the journal of a place.
async fn open(place: &str) -> Box<dyn Journal> {
    match *place.split(':').collect::<Vec<_>>() {
        ["postgres", cluster, machine] => {
            let settings = cluster::settings(Path::new(cluster), Path::new(machine));
            Box::new(PostgresJournal::open(settings).await.unwrap())
        }
        _ => Box::new(SqliteJournal::open(Path::new(place)).unwrap()),
    }
}

async fn append_for_ever(place: &str) {
    let journal = open(place).await;
    let (run, is_shared) = (run("r-1"), place.starts_with("postgres:"));
    let mut last = u64::try_from(journal.read(&run, 0).await.unwrap().len()).unwrap();
    loop {
        // Of different lengths, so that the log's pages fill up at different moments.
        let next = last + 1;
        let records = [format!("{next} {}", "x".repeat(usize::try_from(next % 7 * 500).unwrap()))];
        let append = Append {
            run: &run,
            expected: last,
            records: &records,
            at: at(next),
            leases: &[],
            claims: &[],
        };
        match journal.append(&append).await {
            Ok(appended) => {
                last = appended;
                say(&last.to_string());
            }
            // Nobody can say whether it was written: what is there says it. A server may be away for long.
            Err(AppendError::Journal(JournalError::Storage { .. })) if is_shared => {
                while let Err(JournalError::Storage { .. }) = journal.read(&run, 0).await {}
                last = u64::try_from(journal.read(&run, 0).await.unwrap().len()).unwrap();
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

async fn lease(place: &str, ttl: Duration, orders: impl Iterator<Item = String>) {
    let journal = open(place).await;
    let me = holder(std::process::id());
    let lease = match journal.take_lease(&scope("staging"), &me, ttl).await {
        Ok(lease) => lease,
        Err(LeaseRefused::Held { holder, .. }) => return say(&format!("held by {}", holder.pid)),
        Err(LeaseRefused::Journal(error)) => return say(&format!("failed: {error}")),
    };
    say(&format!("taken {}", lease.epoch));
    for order in orders {
        let outcome = match order.as_str() {
            "beat" => journal.beat(&lease).await,
            "append" => append_under(journal.as_ref(), &lease).await,
            _ => panic!("no such order: {order}"),
        };
        match outcome {
            Ok(()) => say("done"),
            Err(AppendError::LeaseLost { current, .. }) => say(&format!("lost to {current}")),
            Err(error) => say(&format!("failed: {error}")),
        }
    }
}

async fn append_under(
    journal: &dyn Journal,
    lease: &serin_journal::Lease,
) -> Result<(), AppendError> {
    let append = Append {
        run: &run("r-1"),
        expected: 1,
        records: &["late".to_owned()],
        at: at(9),
        leases: std::slice::from_ref(lease),
        claims: &[],
    };
    journal.append(&append).await.map(drop)
}

/// Writes an answer.
pub(crate) fn say(answer: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{MARK}{answer}").unwrap();
    out.flush().unwrap();
}
