//! A journal in PostgreSQL whose connection or server goes away.

use crate::cable::{Cable, Cut};
use crate::child::Child;
use crate::cluster::Cluster;
use crate::support::{at, environment, holder, run, scope, texts};
use serin_journal::{
    Append, AppendError, ClaimChange, EnvironmentAppend, Journal, JournalError, PostgresJournal,
};
use std::time::Duration;

const LONG: Duration = Duration::from_mins(10);

/// Opens the journal through a cable.
async fn through(cluster: &Cluster) -> (Cable, PostgresJournal) {
    let cable = Cable::lay(&cluster.path(""), 5433);
    let mut settings = cluster.settings();
    settings.port = 5433;
    (cable, PostgresJournal::open(settings).await.unwrap())
}

#[tokio::test]
async fn an_append_whose_commit_is_lost_is_written_once() {
    let cluster = Cluster::start().await;
    let (cable, journal) = through(&cluster).await;
    let id = journal.create_run("first", at(1)).await.unwrap();
    let lease = journal.take_lease(&scope("staging"), &holder(1), LONG).await.unwrap();
    let leases = [lease];
    let mut last = 1;
    for cut in [Cut::Before, Cut::After, Cut::After, Cut::Before] {
        let records = [format!("after {last}"), format!("{cut:?}")];
        let claims = [ClaimChange::Take(environment("staging"))];
        let append = Append {
            run: &id,
            expected: last,
            records: &records,
            at: at(2),
            leases: &leases,
            claims: &claims,
        };
        cable.cut_next(cut);
        last = journal.append(&append).await.unwrap();
        assert!(cable.is_cut());
        let read = journal.read(&id, last - 2).await.unwrap();
        let bodies: Vec<_> = read.into_iter().map(|record| record.body).collect();
        assert_eq!(bodies, records);
    }
    assert_eq!(last, 9);
    assert_eq!(journal.claims().await.unwrap(), [(environment("staging"), id)].into());
}

#[tokio::test]
async fn a_transaction_that_is_left_open_keeps_others_waiting_for_seconds_only() {
    let cluster = Cluster::start().await;
    let (cable, journal) = through(&cluster).await;
    let other = cluster.open().await;
    let id = journal.create_run("first", at(1)).await.unwrap();
    let (ours, theirs) = (texts(&["ours"]), texts(&["theirs"]));
    let append =
        Append { run: &id, expected: 1, records: &ours, at: at(1), leases: &[], claims: &[] };
    let in_the_way = Append { records: &theirs, ..append.clone() };
    cable.cut_next(Cut::Never);
    let waiting = async {
        while !cable.is_cut() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let started = tokio::time::Instant::now();
        (other.append(&in_the_way).await, started.elapsed())
    };
    let (ours, (theirs, waited)) = tokio::join!(journal.append(&append), waiting);
    assert!(ours.is_ok() != theirs.is_ok(), "{ours:?} {theirs:?}");
    assert!(waited >= Duration::from_secs(2), "the row was not locked: {waited:?}");
    assert_eq!(other.read(&id, 0).await.unwrap().len(), 2);
}

#[tokio::test]
async fn whoever_takes_a_lease_waits_for_an_append_under_the_one_before_it() {
    let cluster = Cluster::start().await;
    let (one, two) = (cluster.open().await, cluster.open().await);
    let id = one.create_run("first", at(1)).await.unwrap();
    let leases = [one.take_lease(&scope("staging"), &holder(1), LONG).await.unwrap()];
    let records = texts(&["in time"]);
    let append = Append {
        run: &id,
        expected: 1,
        records: &records,
        at: at(1),
        leases: &leases,
        claims: &[],
    };
    let mut client = cluster.connect().await.unwrap();
    let lock = client.transaction().await.unwrap();
    lock.execute("SELECT FROM serin.run FOR UPDATE", &[]).await.unwrap();
    let looking = cluster.connect().await.unwrap();
    let until_waiting = async |wanted: i64| {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        while looking.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) < wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let (staging, me) = (scope("staging"), holder(2));
    let taking = async {
        until_waiting(1).await;
        let taking = two.take_lease(&staging, &me, Duration::from_millis(50));
        tokio::pin!(taking);
        tokio::select! {
            taken = &mut taking => panic!("taken under an append: {taken:?}"),
            () = until_waiting(2) => lock.commit().await.unwrap(),
        }
        taking.await
    };
    let (appended, taken) = tokio::join!(one.append(&append), taking);
    assert_eq!((appended.unwrap(), taken.unwrap().epoch), (2, 2));
    let late = one.append(&Append { expected: 2, ..append }).await.unwrap_err();
    assert!(matches!(late, AppendError::LeaseLost { current: 2, .. }), "{late:?}");
}

#[tokio::test]
async fn a_record_of_an_environment_whose_commit_is_lost_is_written_once() {
    let cluster = Cluster::start().await;
    let (cable, journal) = through(&cluster).await;
    let staging = environment("staging");
    let epoch = journal.take_lease(&scope("staging"), &holder(1), LONG).await.unwrap().epoch;
    for (cut, expected) in [(Cut::After, 0), (Cut::Before, 1), (Cut::After, 2)] {
        let records = [format!("{cut:?}")];
        let append = EnvironmentAppend {
            environment: &staging,
            expected,
            records: &records,
            at: at(1),
            epoch,
        };
        cable.cut_next(cut);
        assert_eq!(journal.append_environment(&append).await.unwrap(), expected + 1);
        assert!(cable.is_cut());
    }
    assert_eq!(journal.read_environment(&staging, 0).await.unwrap().len(), 3);
}

#[tokio::test]
async fn what_cannot_be_told_from_another_is_left_in_doubt() {
    let cluster = Cluster::start().await;
    let (cable, journal) = through(&cluster).await;
    for (cut, runs) in [(Cut::Before, 0), (Cut::After, 1)] {
        cable.cut_next(cut);
        let error = journal.create_run("first", at(1)).await.unwrap_err();
        assert!(matches!(error, JournalError::Storage { .. }), "{error:?}");
        // The transaction that was cut holds the lock that the next one waits for.
        journal.create_run("next", at(1)).await.unwrap();
        assert_eq!(journal.runs().await.unwrap().len(), runs + 1 + usize::from(cut == Cut::After));
    }
    cable.cut_next(Cut::After);
    journal.send(&environment("staging"), "halt", at(1)).await.unwrap_err();
}

#[tokio::test]
async fn a_lease_whose_taking_is_in_doubt_is_free_for_the_next_taker() {
    let cluster = Cluster::start().await;
    let (cable, journal) = through(&cluster).await;
    for cut in [Cut::Before, Cut::After] {
        cable.cut_next(cut);
        journal.take_lease(&scope("staging"), &holder(1), LONG).await.unwrap_err();
        // Taken at once, however long it may live.
        let lease = journal.take_lease(&scope("staging"), &holder(2), LONG).await.unwrap();
        journal.beat(&lease).await.unwrap();
        journal.release_lease(&lease).await.unwrap();
    }
}

#[tokio::test]
async fn an_append_that_another_process_has_overtaken_meanwhile_stays_in_doubt() {
    let cluster = Cluster::start().await;
    let (cable, journal) = through(&cluster).await;
    let id = journal.create_run("first", at(1)).await.unwrap();
    let lease = journal.take_lease(&scope("staging"), &holder(1), LONG).await.unwrap();
    let records = texts(&["a"]);
    let append = Append {
        run: &id,
        expected: 1,
        records: &records,
        at: at(1),
        leases: &[lease],
        claims: &[],
    };
    cable.cut_next(Cut::After);
    let other = cluster.open().await;
    let taking = async {
        while !cable.is_cut() {
            tokio::task::yield_now().await;
        }
        let more = texts(&["theirs"]);
        let append = Append { expected: 2, records: &more, leases: &[], ..append.clone() };
        while other.append(&append).await.is_err() {}
    };
    let (appended, ()) = tokio::join!(journal.append(&append), taking);
    // It may have been looked up before the other's record came; but it is never refused as if nothing were written.
    match appended {
        Ok(last) => assert_eq!(last, 2),
        Err(error) => assert!(
            matches!(error, AppendError::Journal(JournalError::Storage { .. })),
            "{error:?}"
        ),
    }
    let read = journal.read(&id, 0).await.unwrap();
    let bodies: Vec<_> = read.iter().map(|record| record.body.as_str()).collect();
    assert_eq!(bodies, ["first", "a", "theirs"]);
}

#[tokio::test]
async fn sessions_that_are_ended_while_two_processes_append_lose_and_double_nothing() {
    let cluster = Cluster::start().await;
    let (one, two) = (cluster.open().await, cluster.open().await);
    let client = cluster.connect().await.unwrap();
    let (first, second) =
        (one.create_run("1", at(1)).await.unwrap(), two.create_run("1", at(1)).await.unwrap());
    let appending = async |journal: &PostgresJournal, id: &serin_model::RunId| {
        for expected in 1..=100 {
            let records = [(expected + 1).to_string()];
            let append = Append {
                run: id,
                expected,
                records: &records,
                at: at(1),
                leases: &[],
                claims: &[],
            };
            assert_eq!(journal.append(&append).await.unwrap(), expected + 1);
        }
    };
    let ending = async {
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
            WHERE application_name = 'serin'";
        let mut ended: i64 = 0;
        loop {
            ended += client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
            tokio::time::sleep(Duration::from_millis(ended.unsigned_abs() % 17 * 10)).await;
        }
    };
    let both = async { tokio::join!(appending(&one, &first), appending(&two, &second)) };
    tokio::select! {
        _ = both => {}
        () = ending => unreachable!(),
    }
    for id in [first, second] {
        let read = one.read(&id, 0).await.unwrap();
        let wanted: Vec<String> = (1..=101).map(|number| number.to_string()).collect();
        assert_eq!(read.into_iter().map(|record| record.body).collect::<Vec<_>>(), wanted);
    }
}

#[tokio::test]
async fn a_server_that_fails_and_comes_back_in_the_middle_of_appends_loses_and_doubles_nothing() {
    let mut cluster = Cluster::start().await;
    cluster.open().await.create_run("1 ", at(1)).await.unwrap();
    let folder = cluster.path("");
    let place = format!("postgres:{}:{}", folder.display(), folder.display());
    let mut child = Child::start(&format!("append {place}"));
    let mut acknowledged = 0_u64;
    for round in 1..=3 {
        for _ in 0..round * 7 {
            acknowledged = child.answer().unwrap().parse().unwrap();
        }
        cluster.stop();
        cluster.resume(&[]).await;
    }
    for _ in 0..20 {
        acknowledged = child.answer().unwrap().parse().unwrap();
    }
    child.signal(rustix::process::Signal::KILL);
    while let Some(answer) = child.answer() {
        acknowledged = answer.parse().unwrap();
    }
    let records = cluster.open().await.read(&run("r-1"), 0).await.unwrap();
    let last = u64::try_from(records.len()).unwrap();
    assert!(last == acknowledged || last == acknowledged + 1, "{last} of {acknowledged}");
    for (record, number) in records.iter().zip(1..) {
        assert!(record.body.starts_with(&format!("{number} ")), "{number}: {}", record.body);
    }
}

#[tokio::test]
async fn a_server_that_stays_away_longer_than_a_lease_may_be_kept_is_an_error() {
    let mut cluster = Cluster::start().await;
    let journal = cluster.open().await;
    let lease = journal.take_lease(&scope("staging"), &holder(1), LONG).await.unwrap();
    cluster.stop();
    let started = tokio::time::Instant::now();
    let error = journal.beat(&lease).await.unwrap_err();
    assert!(matches!(error, AppendError::Journal(JournalError::Storage { .. })), "{error:?}");
    let waited = started.elapsed();
    assert!(waited >= Duration::from_secs(8), "{waited:?}");
    cluster.resume(&[]).await;
    journal.beat(&lease).await.unwrap();
}

#[tokio::test]
async fn a_journal_that_was_replaced_meanwhile_is_not_taken_for_the_same() {
    let cluster = Cluster::start().await;
    let journal = cluster.open().await;
    let client = cluster.connect().await.unwrap();
    client.batch_execute("DROP SCHEMA serin CASCADE").await.unwrap();
    drop(cluster.open().await);
    let ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE application_name = 'serin'";
    client.batch_execute(ending).await.unwrap();
    let error = journal.create_run("a", at(1)).await.unwrap_err();
    let JournalError::Storage { source, .. } = error else { panic!("{error:?}") };
    assert!(source.to_string().contains("another journal"), "{source}");
}

#[tokio::test]
async fn a_command_arrives_at_once_also_after_a_lost_connection() {
    let cluster = Cluster::start().await;
    let (holding, sending) = (cluster.open().await, cluster.open().await);
    let staging = environment("staging");
    let mut took = Vec::new();
    for round in 0..20 {
        if round == 10 {
            let client = cluster.connect().await.unwrap();
            let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                WHERE application_name = 'serin'";
            client.batch_execute(sql).await.unwrap();
            // The end of the connection wakes too: whoever looks then connects again.
            holding.arrival().await;
            holding.inbox(&staging).await.unwrap();
            holding.arrival().await;
        }
        let waiting = async {
            holding.arrival().await;
            tokio::time::Instant::now()
        };
        let sent = async {
            sending.send(&staging, "halt", at(1)).await.unwrap();
            tokio::time::Instant::now()
        };
        let (arrived, sent) = tokio::join!(waiting, sent);
        took.push(arrived.saturating_duration_since(sent));
        assert_eq!(holding.inbox(&staging).await.unwrap().len(), round + 1);
    }
    took.sort_unstable();
    // Half of the time that a controller lets pass between two looks; a millisecond where nothing else runs.
    assert!(took[took.len() / 2] < Duration::from_millis(150), "{took:?}");
}
