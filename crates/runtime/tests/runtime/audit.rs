//! The audit trail: its records as they are on disk, what shows that somebody changed them, and who may take a command.

use serin_journal::{Journal, MemoryJournal, Record, text_digest};
use serin_model::{Door, Identity, Proof, Timestamp};
use serin_runtime::audit::{
    Asker, Fact, Hand, Head, LONGEST, NotTaken, Outcome, Process, TrailError, append, read, story,
    take, verify,
};

const AT: Timestamp = Timestamp::from_millis(100_000);

fn process(pid: u32) -> Process {
    Process { machine: "deploy-01".to_owned(), pid }
}

fn ada() -> Asker {
    let identity = Identity { door: Door::Slack, subject: "U1".to_owned(), proof: Proof::Verified };
    Asker { identity, person: Some("ada".parse().unwrap()) }
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn asked(text: &str, hand: Hand) -> Fact {
    Fact::Asked { who: ada(), words: words(text), reason: Some("smoke".to_owned()), hand }
}

async fn add(journal: &MemoryJournal, what: Fact) -> u64 {
    append(journal, &process(7), &what, AT).await.unwrap()
}

/// Four records of two commands.
async fn filled() -> (MemoryJournal, Vec<Record>) {
    let journal = MemoryJournal::new();
    add(&journal, asked("halt r-1", Hand::Own)).await;
    add(&journal, asked("promote", Hand::Own)).await;
    add(&journal, Fact::Ended { asked: 1, code: 0 }).await;
    add(&journal, Fact::Refused { asked: 2, why: "ada may not".to_owned() }).await;
    let records = journal.read_trail(0).await.unwrap();
    (journal, records)
}

#[tokio::test]
async fn records_are_written_as_they_always_were() {
    let (_, records) = filled().await;
    let first = format!(
        "{{\"format\":1,\"number\":1,\"before\":\"{}\",\"at\":100000,\
         \"process\":{{\"machine\":\"deploy-01\",\"pid\":7}},\
         \"what\":{{\"fact\":\"asked\",\"who\":{{\"identity\":{{\"door\":\"slack\",\"subject\":\"U1\",\
         \"proof\":\"verified\"}},\"person\":\"ada\"}},\"words\":[\"halt\",\"r-1\"],\
         \"reason\":\"smoke\",\"hand\":\"own\"}}}}",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    assert_eq!(records[0].body, first);
    let third = &records[2].body;
    assert!(third.contains(text_digest(&records[1].body).as_str()), "{third}");
    assert!(third.ends_with("\"what\":{\"fact\":\"ended\",\"asked\":1,\"code\":0}}"), "{third}");
}

#[tokio::test]
async fn commands_are_told_with_how_they_ended() {
    let (journal, _) = filled().await;
    add(&journal, asked("resume r-1", Hand::Own)).await;
    let told = story(&read(&journal).await.unwrap());
    let told: Vec<_> =
        told.iter().map(|one| (one.number, &one.words[0][..], &one.outcome)).collect();
    let refused = Outcome::Refused("ada may not".to_owned());
    assert_eq!(
        told,
        [
            (1, "halt", &Outcome::Ended(0, AT)),
            (2, "promote", &refused),
            (5, "resume", &Outcome::Open)
        ]
    );
}

#[tokio::test]
async fn a_changed_removed_or_exchanged_record_shows() {
    let (_, records) = filled().await;
    let head = verify(&records, None).unwrap();
    assert_eq!(head.number, 4);
    assert_eq!(head.digest, text_digest(&records[3].body));
    assert_eq!(head.to_string().parse::<Head>().unwrap(), head);

    let with = |change: fn(&mut Vec<Record>)| {
        let mut changed = records.clone();
        change(&mut changed);
        verify(&changed, None).unwrap_err().to_string()
    };
    let unlinked = |seq| {
        format!(
            "record {seq} of the audit trail does not follow the one before it: one of them is not what was written"
        )
    };
    let said = with(|all| all[1].body = all[1].body.replace("promote", "cancel"));
    assert_eq!(said, unlinked(3));
    let said = with(|all| drop(all.remove(1)));
    assert_eq!(said, "where record 2 of the audit trail should be, there is 3");
    let said = with(|all| drop(all.remove(0)));
    assert_eq!(said, "where record 1 of the audit trail should be, there is 2");
    // Whoever takes one out may also number the others anew.
    let said = with(|all| {
        all.remove(0);
        for (record, seq) in all.iter_mut().zip(1..) {
            record.body = record
                .body
                .replace(&format!("\"number\":{}", seq + 1), &format!("\"number\":{seq}"));
            record.seq = seq;
        }
    });
    assert_eq!(said, unlinked(2));
    let said = with(|all| {
        let (one, two) = (all[1].body.clone(), all[2].body.clone());
        (all[1].body, all[2].body) = (two, one);
    });
    assert_eq!(said, unlinked(2));
    let said = with(|all| all[1].body = "{}".to_owned());
    assert!(said.starts_with("record 2 of the audit trail cannot be read"), "{said}");
}

#[tokio::test]
async fn a_trail_that_was_cut_off_or_written_anew_shows_against_a_head_that_was_noted() {
    let (journal, mut records) = filled().await;
    let seen = verify(&records, None).unwrap();
    assert_eq!(verify(&records, Some(&seen)).unwrap(), seen);
    add(&journal, asked("resume r-1", Hand::Own)).await;
    let grown = journal.read_trail(0).await.unwrap();
    assert_eq!(verify(&grown, Some(&seen)).unwrap().number, 5);

    records.pop();
    verify(&records, None).unwrap();
    let said = verify(&records, Some(&seen)).unwrap_err().to_string();
    assert_eq!(said, "the audit trail ends at record 3: its end is cut off, record 4 was there");

    let anew = MemoryJournal::new();
    for _ in 0..4 {
        add(&anew, asked("status", Hand::Own)).await;
    }
    let anew = anew.read_trail(0).await.unwrap();
    verify(&anew, None).unwrap();
    let said = verify(&anew, Some(&seen)).unwrap_err().to_string();
    assert_eq!(said, "record 4 of the audit trail is not the one that was seen");
    let nothing = verify(&[], None).unwrap();
    assert_eq!(verify(&grown, Some(&nothing)).unwrap().number, 5);
}

#[tokio::test]
async fn what_a_door_has_recorded_is_taken_once_at_once_and_word_by_word() {
    let journal = MemoryJournal::new();
    let number = add(&journal, asked("halt r-1", Hand::Door)).await;
    let own = add(&journal, asked("halt r-1", Hand::Own)).await;
    let at = |seconds: u64| Timestamp::from_millis(AT.as_millis() + seconds * 1000);
    let try_take = async |asked: u64, text: &str, now| {
        take(&journal, &process(8), (asked, &words(text)), now).await
    };
    let refused = async |asked, text, now| try_take(asked, text, now).await.unwrap_err();
    assert!(matches!(refused(number, "halt r-2", at(1)).await, NotTaken::OtherWords(1)));
    assert!(matches!(refused(number, "halt r-1 -v", at(1)).await, NotTaken::OtherWords(1)));
    assert!(matches!(refused(number, "halt r-1", at(61)).await, NotTaken::Stale(1)));
    let before = Timestamp::from_millis(AT.as_millis() - 61_000);
    assert!(matches!(refused(number, "halt r-1", before).await, NotTaken::Stale(1)));
    // Nobody may take the command of a process that asks for itself, and none that nobody asked for.
    assert!(matches!(refused(own, "halt r-1", at(1)).await, NotTaken::NoCommand(2)));
    for unknown in [0, 3, u64::MAX] {
        assert!(matches!(refused(unknown, "halt r-1", at(1)).await, NotTaken::NoCommand(_)));
    }
    assert_eq!(journal.read_trail(0).await.unwrap().len(), 2, "a refusal wrote something");

    assert_eq!(try_take(number, "halt r-1", at(60)).await.unwrap(), ada());
    assert!(matches!(refused(number, "halt r-1", at(2)).await, NotTaken::Spent(1)));
    let taken = &read(&journal).await.unwrap()[2];
    assert_eq!((&taken.what, &taken.process), (&Fact::Taken { asked: 1 }, &process(8)));
}

#[tokio::test]
async fn of_many_who_take_a_command_at_once_one_does_and_all_appends_find_their_place() {
    let journal = MemoryJournal::new();
    let number = add(&journal, asked("halt r-1", Hand::Door)).await;
    let words = words("halt r-1");
    let processes: Vec<MemoryJournal> = (0..4).map(|_| journal.another_process()).collect();
    let [one, two, three, four] = &processes[..] else { panic!("four") };
    let process = process(9);
    let try_take = |journal| take(journal, &process, (number, &words), AT);
    let taken = tokio::join!(try_take(one), try_take(two), try_take(three));
    let taken = [taken.0.is_ok(), taken.1.is_ok(), taken.2.is_ok()];
    assert_eq!(taken.iter().filter(|taken| **taken).count(), 1, "{taken:?}");
    let end = Fact::Ended { asked: number, code: 0 };
    let add = |journal| append(journal, &process, &end, AT);
    let added = tokio::join!(add(one), add(two), add(three), add(four));
    let mut numbers = [added.0.unwrap(), added.1.unwrap(), added.2.unwrap(), added.3.unwrap()];
    numbers.sort_unstable();
    assert_eq!(numbers, [3, 4, 5, 6]);
    verify(&journal.read_trail(0).await.unwrap(), None).unwrap();
}

#[tokio::test]
async fn a_command_without_end_is_not_recorded() {
    let journal = MemoryJournal::new();
    let long = asked(&"x".repeat(LONGEST + 1), Hand::Own);
    let refused = append(&journal, &process(7), &long, AT).await.unwrap_err();
    assert!(matches!(refused, TrailError::TooLong(_)), "{refused:?}");
    assert_eq!(journal.end_of_trail().await.unwrap(), None);
}
