//! Who may do what, and the audit trail that says who did.

use crate::support::{Said, World};
use serin_journal::{Journal, SqliteJournal};
use serin_model::{Door, Identity, Proof, Timestamp};
use serin_runtime::audit::{Asker, Fact, Hand, Process, append};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::time::SystemTime;

const PEOPLE: &str = r#"
[people.ada]
unix = ["ada"]
gitlab = ["alovelace"]
roles = { "*" = "release-manager" }
[people.bob]
unix = ["bob"]
slack = ["U2"]
roles = { "*" = "viewer", production = "operator" }
[people.cy]
unix = ["cy"]
roles = { staging = "viewer" }
"#;

/// Runs `serin` as an account of the machine: the tests are root, who is believed to be whom sudo says.
fn by(world: &World, account: &str, words: &[&str]) -> Said {
    world.serin_with("SUDO_USER", account, words)
}

fn hold<'a>(place: &'a str, reason: &'a str) -> [&'a str; 5] {
    ["hold", "place", place, "--reason", reason]
}

#[test]
fn a_refusal_says_what_is_needed_and_who_has_it_and_is_in_the_trail() {
    let world = World::new(PEOPLE);
    let said = by(&world, "bob", &hold("staging", "patching"));
    said.is(4, &["bob may not: this needs the role operator in staging, which ada has", "ask one"]);
    let eve = by(&world, "eve", &hold("staging", "mine"));
    eve.is(4, &["terminal:eve is nobody whom serin.toml lists under [people]"]);
    // Nobody knows root either, unless somebody is root.
    world.serin(&["status"]).is(4, &["terminal:root is nobody"]);
    by(&world, "eve", &["halt", "r-1", "--reason", "x"]).is(4, &["terminal:eve is nobody"]);
    by(&world, "bob", &["hold", "list"]).is(0, &["nothing is held"]);
    by(&world, "cy", &["hold", "list"]).is(0, &["nothing is held"]);

    by(&world, "bob", &hold("production", "night shift")).is(0, &["accepted: h-1"]);
    by(&world, "bob", &["hold", "list"]).is(0, &["production/h-1", "bob", "night shift"]);

    let told = by(&world, "cy", &["audit"]);
    let lines: Vec<&str> = told.out.lines().collect();
    assert_eq!(lines.len(), 1 + 5, "{told:?}");
    for (line, words) in lines[1..].iter().zip([
        &["bob", "terminal", "REFUSED: bob may not", "hold place staging --reason patching"][..],
        &["-", "eve", "REFUSED: terminal:eve is nobody", "hold place staging --reason mine"],
        &["root", "REFUSED", "status"],
        &["eve", "REFUSED", "halt r-1 --reason x"],
        &["bob", "terminal", "done", "hold place production --reason 'night shift'"],
    ]) {
        for word in words {
            assert!(line.contains(word), "{word:?} is not in {line:?}");
        }
    }
    let few = by(&world, "cy", &["audit", "--person", "bob", "-n", "1"]);
    assert_eq!(few.out.lines().count(), 2, "{few:?}");
    by(&world, "cy", &["audit", "--door", "slack"]).is(0, &["nothing of that kind"]);
    by(&world, "cy", &["audit", "--door", "window"]).is(2, &["is no door"]);
    let json = by(&world, "cy", &["--json", "audit", "-n", "1"]);
    json.is(0, &["\"reason\":\"night shift\"", "\"outcome\":\"ended\"", "\"proof\":\"verified\""]);
}

#[tokio::test]
async fn whoever_may_operate_one_environment_of_a_run_may_halt_it_and_only_managers_give_it_up() {
    let world = World::new(PEOPLE);
    world.record(1, None).await;
    let halt = ["halt", "r-1", "--reason", "smoke"];
    let needs = "cy may not: this needs the role operator in production, which ada and bob have";
    by(&world, "cy", &halt).is(4, &[needs]);
    by(&world, "bob", &halt).is(5, &["run r-1 has halted: bob asked for it: smoke"]);
    let cancel = ["cancel", "r-1", "--reason", "no"];
    by(&world, "bob", &cancel).is(4, &["needs the role release-manager in production, which ada"]);
    by(&world, "ada", &cancel).is(6, &["run r-1 was given up"]);
    let run = ["run", "to-canary", "1.0"];
    by(&world, "bob", &run).is(4, &["the role release-manager in production and staging"]);
    // A place that the pipeline would not heed makes nobody a manager.
    let run = ["run", "to-canary", "1.0", "--fleet", "nowhere"];
    by(&world, "bob", &run).is(4, &["the role release-manager in production and staging"]);
    by(&world, "bob", &["drift", "--fix"]).is(4, &["the role operator in production and staging"]);
    let copy = ["journal", "copy", "--from", &world.path("journal.db")];
    by(&world, "ada", &copy).is(4, &["needs the role admin everywhere", "which nobody has"]);
    by(&world, "ada", &["audit"]).is(0, &["REFUSED: ada may not: this needs the role admin"]);
}

#[test]
fn less_traffic_wants_an_operator_and_more_traffic_wants_more() {
    let world = World::with_haproxy_and("roundrobin", PEOPLE);
    let share = |percent| ["share", "production/canary", percent, "--reason", "r"];
    by(&world, "ada", &share("20%")).is(0, &["is meant to get 20% now"]);
    by(&world, "bob", &share("21%")).is(4, &["needs the role release-manager in production"]);
    by(&world, "bob", &share("10%")).is(0, &["is meant to get 10% now"]);
    by(&world, "bob", &share("20%")).is(4, &["needs the role release-manager in production"]);
    by(&world, "bob", &share("0%")).is(0, &["is meant to get 0% now"]);
}

#[test]
fn without_people_everybody_may_and_it_is_recorded_all_the_same() {
    let world = World::new("");
    by(&world, "eve", &hold("staging", "mine")).is(0, &["accepted"]);
    world.serin(&["hold", "list"]).is(0, &["eve"]);
    world.serin(&["audit"]).is(0, &["eve", "done", "hold place staging --reason mine"]);
    world.serin(&["hold", "place", "prod", "--reason", "x"]).is(4, &["no environment prod"]);
    world.serin(&["audit", "-n", "1"]).is(0, &["exit code 4", "hold place prod"]);
    world.serin(&["doctor"]).is(9, &["nobody is listed under [people]"]);
}

#[test]
fn a_tail_that_is_cut_off_shows_against_a_head_that_was_noted() {
    let world = World::new("");
    world
        .serin(&["audit", "verify"])
        .is(0, &["all 0 record(s) hang together", "note it elsewhere"]);
    world.serin(&hold("staging", "one")).is(0, &[]);
    let kept = std::fs::read(world.path("journal.db")).unwrap();
    let head = |said: &Said| {
        said.out
            .lines()
            .find_map(|line| line.strip_prefix("the head is ").map(str::to_owned))
            .unwrap()
    };
    let first = world.serin(&["audit", "verify"]);
    first.is(0, &["all 2 record(s) hang together"]);
    world.serin(&hold("staging", "two")).is(0, &[]);
    let noted = head(&world.serin(&["audit", "verify", "--head", &head(&first)]));
    assert!(noted.starts_with("4:"), "{noted}");

    // A copy of before, in place of the journal.
    for name in ["journal.db-wal", "journal.db-shm"] {
        std::fs::remove_file(world.path(name)).unwrap_or_default();
    }
    std::fs::write(world.path("journal.db"), kept).unwrap();
    world.serin(&["audit", "verify"]).is(0, &["all 2 record(s)"]);
    let said = world.serin(&["audit", "verify", "--head", &noted]);
    said.is(8, &["ends at record 2: its end is cut off, record 4 was there"]);
    world.serin(&["audit", "verify", "--head", "4:x"]).is(2, &["is not a head"]);
}

/// What a door does before it starts `serin`.
async fn ask(world: &World, words: &[&str], at: Timestamp, subject: &str) -> String {
    let journal = SqliteJournal::open(Path::new(&world.path("journal.db"))).unwrap();
    let process = Process { machine: "chat-01".to_owned(), pid: 1 };
    let (door, subject) = (Door::Slack, subject.to_owned());
    let identity = Identity { door, subject, proof: Proof::Verified };
    let who = Asker { identity, person: None };
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    let asked = Fact::Asked { who, words, reason: None, hand: Hand::Door };
    append(&journal, &process, &asked, at).await.unwrap().to_string()
}

#[expect(clippy::disallowed_methods, reason = "what `serin` itself reads")]
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap())
}

#[tokio::test]
async fn a_command_of_a_door_is_of_whom_the_record_says_once_and_word_by_word() {
    let world = World::new(PEOPLE);
    let words = hold("production", "from slack");
    let asked = ask(&world, &words, now(), "U2").await;
    // Whoever starts it, and whatever the environment says.
    let handed =
        |asked: &str, words: &[&str]| by(&world, "ada", &[&["--asked", asked][..], words].concat());
    let other = hold("production", "another");
    handed(&asked, &other).is(4, &["is about another command", "nothing was done"]);
    handed(&asked, &[&["--json"][..], &words].concat()).is(4, &["is about another command"]);
    by(&world, "ada", &[&["--json", "--asked", &asked][..], &words].concat())
        .is(4, &["--asked does not come first"]);
    handed("99", &words).is(4, &["record 99 of the audit trail is no command that a door"]);
    handed(&asked, &words).is(0, &["production: accepted: h-1"]);
    handed(&asked, &words).is(4, &["was taken already"]);
    by(&world, "ada", &["hold", "list"]).is(0, &["bob", "from slack"]);

    // The person is asked what they may when the command is taken, and not what its process may.
    let run = ["run", "to-canary", "1.0"];
    let asked = ask(&world, &run, now(), "U2").await;
    handed(&asked, &run).is(4, &["bob may not: this needs the role release-manager"]);
    let asked = ask(&world, &run, now(), "U9").await;
    handed(&asked, &run).is(4, &["slack:U9 is nobody"]);

    let old = Timestamp::from_millis(now().as_millis() - 61_000);
    let asked = ask(&world, &words, old, "U2").await;
    handed(&asked, &words).is(4, &["is not of this minute"]);
    // What somebody has asked for themselves is nobody else's to take.
    let own = by(&world, "ada", &hold("staging", "own"));
    own.is(0, &[]);
    let journal = SqliteJournal::open(Path::new(&world.path("journal.db"))).unwrap();
    let last = journal.end_of_trail().await.unwrap().unwrap().seq - 1;
    handed(&last.to_string(), &hold("staging", "own")).is(4, &["is no command that a door"]);
    by(&world, "ada", &["audit"]).is(0, &["slack", "U2", "no end recorded"]);
    by(&world, "ada", &["audit", "verify"]).is(0, &["hang together"]);
}

/// A GitLab that knows one job by its token, for as many questions as are asked.
fn gitlab(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let (mut known, mut line) = (false, String::from("x"));
            while !line.is_empty() {
                line = lines.next().unwrap().unwrap();
                known |= line.eq_ignore_ascii_case("job-token: token-of-ada");
            }
            let (status, body) = if known { ("200 OK", answer) } else { ("401 No", "{}") };
            let length = body.len();
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n");
            write!(
                stream,
                "{head}Content-Type: application/json\r\nConnection: close\r\n\r\n{body}"
            )
            .unwrap();
        }
    });
    format!("http://{address}/api/v4")
}

fn in_job(world: &World, token: &str, login: &str, words: &[&str]) -> Said {
    let mut command = world.command(words);
    command.env("GITLAB_CI", "true").env("CI_JOB_TOKEN", token).env("GITLAB_USER_LOGIN", login);
    // What a job says of its GitLab is not asked.
    Said::of(command.env("CI_API_V4_URL", "http://127.0.0.1:1/api/v4"))
}

const JOB: &str = r#"{"status":"running","user":{"username":"alovelace"},
    "pipeline":{"project_id":42,"source":"push"}}"#;

#[test]
fn a_job_is_of_whom_gitlab_names_and_not_of_whom_its_variables_name() {
    let api = gitlab(JOB);
    let jobs = format!("[gitlab]\napi = \"{api}\"\nverify_jobs = true\nprojects = [42]\n");
    let world = World::new(&format!("{PEOPLE}{jobs}"));
    in_job(&world, "token-of-ada", "eve", &hold("staging", "ci")).is(0, &["accepted"]);
    by(&world, "ada", &["audit"]).is(0, &["ada", "ci", "alovelace"]);
    let forged = in_job(&world, "another", "alovelace", &hold("staging", "ci"));
    forged.is(4, &["nothing proves that ci:alovelace asks", "HTTP status 401"]);
    assert!(!format!("{forged:?}").contains("another"), "{forged:?}");
    // Looking needs no proof.
    in_job(&world, "another", "alovelace", &["hold", "list"]).is(0, &["staging/h-1"]);
    by(&world, "ada", &["audit"]).is(0, &["alovelace (unverified)"]);
}

#[test]
fn a_job_of_another_project_or_of_a_gitlab_that_is_away_may_only_look() {
    let api = gitlab(JOB);
    for (jobs, said) in [
        (
            format!("api = \"{api}\"\nverify_jobs = true\nprojects = [7]\n"),
            "project 42 is not among",
        ),
        (
            "api = \"http://127.0.0.1:1/api/v4\"\nverify_jobs = true\n".to_owned(),
            "does not say whose job this is",
        ),
        (String::new(), "`verify_jobs` lets GitLab say whose job this is"),
    ] {
        let world = World::new(&format!("{PEOPLE}[gitlab]\n{jobs}"));
        let held = in_job(&world, "token-of-ada", "alovelace", &hold("staging", "ci"));
        held.is(4, &["nothing proves that ci:alovelace asks", said]);
        in_job(&world, "token-of-ada", "alovelace", &["hold", "list"]).is(0, &["nothing is held"]);
        in_job(&world, "token-of-ada", "eve", &["hold", "list"]).is(4, &["ci:eve is nobody"]);
    }
}

#[test]
fn variables_are_believed_where_the_configuration_says_so() {
    let world = World::new(&format!("{PEOPLE}[gitlab]\ntrust_variables = true\n"));
    in_job(&world, "x", "alovelace", &hold("staging", "ci")).is(0, &["accepted"]);
    by(&world, "ada", &["audit"]).is(0, &["alovelace (trusted)"]);
    by(&world, "ada", &["doctor"]).is(9, &["trust_variables", "3 people are listed"]);
}

#[tokio::test]
async fn a_trail_that_cannot_be_written_refuses_changes_and_lets_a_halt_through() {
    let world = World::new("");
    world.record(1, None).await;
    world.serin(&hold("staging", "first")).is(0, &[]);
    let journal = rusqlite::Connection::open(world.path("journal.db")).unwrap();
    journal.execute_batch("UPDATE trail_record SET body = 'x' WHERE seq = 2").unwrap();
    drop(journal);
    let hold = world.serin(&hold("staging", "second"));
    hold.is(8, &["the audit trail could not be written", "nothing was done"]);
    world.serin(&["hold", "list"]).is(0, &["first"]);
    let halt = world.serin(&["halt", "r-1", "--reason", "smoke"]);
    halt.is(
        5,
        &[
            "warning: this halt is not in the audit trail",
            "r-1 has halted: mira asked for it: smoke",
        ],
    );
    world
        .serin(&["audit", "verify"])
        .is(8, &["record 2 of the audit trail is not what was written"]);
}

#[tokio::test]
async fn a_second_person_is_one_who_is_listed_and_may_do_the_same() {
    let dee = "[people.dee]\ngitlab = [\"dee\"]\nroles = { production = \"release-manager\" }\n";
    let policy = "[environments.production.policy]\nsecond_person = true\n";
    let world = World::new(&format!("{PEOPLE}{dee}{policy}"));
    world.record(1, None).await;
    by(&world, "bob", &hold("production", "patching")).is(0, &["h-1"]);
    by(&world, "bob", &["adopt", "r-1"]).is(5, &["run r-1 has halted"]);
    let over = ["resume", "r-1", "--reason", "it must go out", "--override", "--second"];
    let over = |second| by(&world, "ada", &[&over[..], &[second]].concat());
    let bob = by(&world, "bob", &["resume", "r-1", "--reason", "x", "--override"]);
    bob.is(4, &["needs the role release-manager in production, which ada and dee have"]);
    over("bob").is(4, &["bob is nobody who could agree: that needs the role release-manager"]);
    over("eve").is(4, &["eve is nobody who could agree"]);
    over("ada").is(4, &["must be another than ada"]);
    over("dee").is(0, &["run r-1 is finished"]);
    by(&world, "ada", &["history", "production"]).is(0, &["let through by ada and dee"]);
}

const TWO: &str = r#"
[environments.production.policy]
two_people = true
[people.ada]
unix = ["ada"]
roles = { "*" = "release-manager" }
[people.bob]
unix = ["bob"]
roles = { "*" = "release-manager" }
[people.cy]
unix = ["cy"]
roles = { "*" = "operator" }
"#;

#[test]
fn a_word_to_a_run_is_taken_from_who_may_say_it() {
    let world = World::new(TWO);
    let agree = ["agree", "to-canary", "16.2.0-ee.0", "--note", "looked at it"];
    by(&world, "bob", &agree).is(0, &["somebody else may start to-canary of 16.2.0-ee.0"]);
    by(&world, "cy", &agree).is(4, &["cy may not: this needs the role release-manager"]);
    by(&world, "bob", &["agree", "to-mars", "1", "--note", "x"])
        .is(4, &["there is no pipeline to-mars"]);
    by(&world, "bob", &["audit", "-n", "9"])
        .is(0, &["agree to-canary 16.2.0-ee.0 --note 'looked at it'"]);
    let alone = World::new("").serin(&agree);
    alone.is(4, &["without [people] nobody is a second person"]);
}
