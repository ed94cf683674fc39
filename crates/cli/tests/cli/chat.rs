//! The chat's doors as platforms meet them: the real `serin chat serve` on loopback, with children that are real.

use crate::platform::{Answered, Platform, encoded, post, send};
use crate::support::World;
use ring::hmac;
use serin_model::Action;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
static TRIGGERS: AtomicU64 = AtomicU64::new(0);

/// How an answer is promised that takes longer.
const PROMISE: &str = "The answer comes here.";
const TOKEN: &str = "not-the-token-of-anything";

/// A door that is open until it is dropped.
struct Served {
    world: World,
    platform: Platform,
    door: Child,
    address: String,
}

/// Returns the configuration of both doors, whose platform is at an address.
fn doors(platform: &Platform) -> String {
    let url = &platform.url;
    format!(
        "[chat.slack]\nsigning_secret_file = \"slack\"\nbot_token_file = \"token\"\nurl = \"{url}\"\n\
         [chat.mattermost]\nurl = \"{url}\"\ntoken_files = [\"token\"]\nactions_url = \"{url}/action\"\n\
         [chat.webhooks.pager]\nurl = \"{url}/pager\"\ntoken_file = \"token\"\n"
    )
}

/// Who is known by the two doors. Others are nobody.
const PEOPLE: &str = "[people.mira]\nunix = [\"root\", \"mira\"]\nslack = [\"U1\"]\nmattermost = [\"u1\"]\nroles = { \"*\" = \"admin\" }\n\
                      [people.joe]\nslack = [\"U2\"]\nroles = { \"*\" = \"operator\" }\n\
                      [people.vera]\nslack = [\"U3\"]\nroles = { \"*\" = \"viewer\" }\n";

fn keep_secrets(world: &World) {
    for (name, secret) in [("slack", SECRET), ("token", TOKEN)] {
        fs::write(world.path(name), format!("{secret}\n")).unwrap();
        fs::set_permissions(world.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
}

impl Served {
    fn open(more: &str) -> Self {
        let platform = Platform::start();
        let world = World::with_haproxy_and("roundrobin", &(doors(&platform) + PEOPLE + more));
        Self::with(world, platform)
    }

    fn with(world: World, platform: Platform) -> Self {
        keep_secrets(&world);
        let words = ["chat", "serve", "--listen", "127.0.0.1:0"];
        let mut door = world.start_told_with(&words, &[]);
        let mut line = String::new();
        BufReader::new(door.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("chats are heard on ").expect(&line).to_owned();
        Self { world, platform, door, address }
    }

    /// Says something in Slack, as a user.
    fn slack(&self, user: &str, text: &str) -> Answered {
        let url = encoded(&format!("{}/commands/T1/x", self.platform.url));
        // Slack makes an id of its own for each: the same words twice are two requests.
        let trigger = TRIGGERS.fetch_add(1, Ordering::Relaxed);
        let body = format!(
            "trigger_id={trigger}&user_id={user}&user_name=mira&channel_id=C1&command=%2Fserin&text={}&response_url={url}",
            encoded(text)
        );
        post(&self.address, "/slack/command", (&signed(now(), &body), &body))
    }

    /// Says something in Slack, and returns the answer: the one to the request, or on a slow machine the one after.
    fn answer(&self, user: &str, text: &str) -> String {
        self.or_later(self.slack(user, text).text())
    }

    fn or_later(&self, text: String) -> String {
        if text.ends_with(PROMISE) { self.platform.next().text().to_owned() } else { text }
    }

    /// Says something in Mattermost.
    fn mattermost(&self, token: &str, text: &str) -> Answered {
        let url = encoded(&format!("{}/hooks/commands/x", self.platform.url));
        let text = encoded(text);
        let body =
            format!("token={token}&user_id=u1&user_name=mira&text={text}&response_url={url}");
        post(&self.address, "/mattermost/command", ("", &body))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.door.kill().unwrap_or_default();
        self.door.wait().map(drop).unwrap_or_default();
    }
}

#[expect(clippy::disallowed_methods, reason = "what is signed now is genuine now")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Returns the two headers by which Slack signs.
fn signed(at: u64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = hmac::sign(&key, format!("v0:{at}:{body}").as_bytes());
    let tag = tag.as_ref().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    format!("X-Slack-Request-Timestamp: {at}\r\nX-Slack-Signature: v0={tag}\r\n")
}

#[test]
fn what_is_asked_in_slack_is_answered_by_a_real_serin() {
    let served = Served::open("");
    let status = served.answer("U1", "status");
    assert!(status.starts_with("status\n```\n") && status.contains("production: free"), "{status}");
    let help = served.slack("U1", "help halt").text();
    assert!(help.contains("halt [RUN] --reason TEXT") && !help.contains("rollback"), "{help}");
    let placed = served.slack("U1", "hold place production --reason “it isn’t up”");
    assert_eq!(placed.json()["response_type"], "in_channel");
    assert!(served.or_later(placed.text()).contains("accepted"), "{placed:?}");
    served.world.serin(&["hold", "list"]).is(0, &["it isn’t up"]);
    let refused = served.answer("U1", "approve --note seen");
    assert!(refused.contains("there is no run that is not over"), "{refused:?}");
}

#[test]
fn who_somebody_is_comes_from_the_platform_and_is_in_the_audit_trail() {
    let served = Served::open("");
    let placed = served.answer("U2", "hold place production --reason exams");
    assert!(placed.contains("accepted"), "{placed}");
    served.world.serin(&["hold", "list"]).is(0, &["joe", "exams"]);
    let viewer = served.answer("U3", "hold place staging --reason exams");
    assert!(viewer.contains("refused:") && viewer.contains("operator"), "{viewer}");
    assert!(served.answer("U3", "status").contains("production"));
    let stranger = served.answer("U4", "status");
    assert!(stranger.contains("refused:") && !stranger.contains("free"), "{stranger}");
    let told = ["joe", "vera", "U4", "slack", "hold place production --reason=exams"];
    served.world.serin(&["audit"]).is(0, &told);
    served.world.serin(&["audit", "verify"]).is(0, &[]);
}

#[test]
fn where_nobody_is_listed_a_chat_only_looks() {
    let platform = Platform::start();
    let world = World::with_haproxy_and("roundrobin", &doors(&platform));
    let served = Served::with(world, platform);
    assert!(served.answer("U1", "status").contains("production: free"));
    let refused = served.answer("U1", "hold place production --reason x");
    assert!(refused.contains("refused: nobody is listed under [people]"), "{refused}");
    served.world.serin(&["hold", "list"]).is(0, &["nothing"]);
}

#[test]
fn what_slack_did_not_sign_is_not_looked_at() {
    let served = Served::open("");
    let body = "user_id=U1&text=hold+place+production+--reason+x";
    let good = signed(now(), body);
    let altered = body.replace("production", "staging");
    let secret_of_another = good.replace("v0=", "v0=00");
    for (headers, body) in [
        ("", body),
        (good.as_str(), altered.as_str()),
        (&secret_of_another, body),
        (&signed(now() - 301, body), body),
        (&signed(now() + 400, body), body),
        (good.lines().next().unwrap(), body),
        ("X-Slack-Request-Timestamp: soon\r\nX-Slack-Signature: v0=00\r\n", body),
        // No other proof stands in for a signature.
        (&format!("Authorization: Token {TOKEN}\r\n"), &format!("{body}&token={TOKEN}")),
    ] {
        let headers = if headers.is_empty() || headers.ends_with('\n') {
            headers.to_owned()
        } else {
            format!("{headers}\r\n")
        };
        let answered = post(&served.address, "/slack/command", (&headers, body));
        assert_eq!((answered.status, answered.body.as_str()), (401, "refused\n"), "{headers}");
    }
    served.world.serin(&["hold", "list"]).is(0, &["nothing"]);
    assert_eq!(post(&served.address, "/slack/command", (&good, body)).status, 200);
    assert_eq!(post(&served.address, "/slack/command", (&good, body)).status, 401, "a second time");
    let away = "user_id=U1&text=status&response_url=http%3A%2F%2F127.0.0.1%3A1%2Fx";
    assert_eq!(post(&served.address, "/slack/command", (&signed(now(), away), away)).status, 401);
    let check = "ssl_check=1";
    assert_eq!(post(&served.address, "/slack/command", (&signed(now(), check), check)).status, 200);
}

#[test]
fn what_is_injected_is_refused_in_words_and_starts_nothing() {
    let served = Served::open("");
    for text in [
        "status; touch ran",
        "status $(touch ran)",
        "hold place `touch ran` --reason x",
        "hold place production --reason `touch ran`",
        "hold place production --reason \"x; touch ran\"",
        "hold place production --reason x --config /etc/x",
        "hold place production --reason x -c /etc/x",
        "hold place production\n--reason x",
        "hold place production --reason x\0",
        "hold place production\u{202e} --reason x",
        "run to-canary --override x",
        "--json status",
        "journal copy --from /etc/passwd",
        "patch apply /etc/passwd",
    ] {
        let said = served.slack("U1", text);
        assert!(said.text().starts_with("refused: "), "{text:?}: {said:?}");
    }
    assert!(
        served.slack("U1", &"x".repeat(3000)).text().starts_with("refused: this is 3000 bytes")
    );
    served.world.serin(&["hold", "list"]).is(0, &["nothing"]);
    assert!(served.platform.heard_nothing());
}

#[tokio::test]
async fn of_a_run_its_beginning_and_its_end_are_told() {
    let served = Served::open("");
    served.world.record(1, None).await;
    let said = served.slack("U1", "adopt r-1");
    assert!(said.text().starts_with("mira says: adopt r-1\n"), "{said:?}");
    let begun = served.platform.next();
    assert_eq!(
        (begun.path.as_str(), begun.text()),
        ("/commands/T1/x", "run r-1 has begun: adopt r-1")
    );
    let halt = &begun.body["blocks"][1]["elements"][0];
    assert!(
        halt["confirm"]["text"]["text"].as_str().unwrap().starts_with("Run r-1 starts nothing new")
    );
    let ended = served.platform.next();
    assert_eq!(ended.text(), "run r-1 is finished: adopt r-1");
    let again = served.slack("U1", "adopt r-1");
    assert_eq!(again.status, 200);
    let refused = served.platform.next();
    assert!(refused.text().starts_with("adopt r-1: refused"), "{refused:?}");
    assert!(refused.text().contains("run r-1 is over"), "{refused:?}");
}

/// A run goes on while its suite waits for a file.
async fn a_run_that_waits() -> (Served, tempfile::TempDir) {
    let gate = tempfile::tempdir().unwrap();
    let path = gate.path().display();
    let script = format!(
        "touch {path}/began; until [ -e {path}/go ] || [ ! -d {path} ]; do sleep 0.05; done; echo 1 example, 0 failures"
    );
    let suite = format!(
        "[environments.production.qa.waits]\ncommand = [\"sh\", \"-c\", {script:?}]\nreport = \"rspec\"\n"
    );
    let served = Served::open(&suite);
    served.world.record_step(1, None, Action::Qa("waits".parse().unwrap())).await;
    assert_eq!(served.slack("U1", "adopt r-1").status, 200);
    while !gate.path().join("began").exists() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (served, gate)
}

#[tokio::test]
async fn a_run_goes_on_when_the_door_by_which_it_came_is_gone() {
    let (mut served, gate) = a_run_that_waits().await;
    served.door.kill().unwrap();
    served.door.wait().unwrap();
    fs::write(gate.path().join("go"), "").unwrap();
    served.world.serin(&["watch", "r-1"]).is(0, &["every stage has passed"]);
}

#[tokio::test]
async fn a_button_halts_a_run() {
    let (served, gate) = a_run_that_waits().await;
    let begun = served.platform.next();
    let says = begun.body["blocks"][1]["elements"][0]["value"].as_str().unwrap().to_owned();
    let payload = serde_json::json!({
        "type": "block_actions", "user": { "id": "U2", "username": "joe" }, "channel": { "id": "C1" },
        "response_url": format!("{}/actions/x", served.platform.url), "actions": [{ "value": says }],
    });
    let body = format!("payload={}", encoded(&payload.to_string()));
    let pressed = post(&served.address, "/slack/action", (&signed(now(), &body), &body));
    assert_eq!((pressed.status, pressed.body.as_str()), (200, ""));
    let accepted = served.platform.next().text().to_owned();
    assert!(accepted.starts_with("joe says: halt r-1 --reason"), "{accepted}");
    assert!(served.or_later(accepted).contains("accepted"));
    fs::write(gate.path().join("go"), "").unwrap();
    let halted = served.platform.next();
    assert!(halted.text().starts_with("run r-1 has halted: "), "{halted:?}");
    assert!(halted.text().contains("a button in chat"), "{halted:?}");
}

#[test]
fn what_changes_much_is_asked_first_and_confirmed_once_by_whoever_asked() {
    let served = Served::open("");
    let question = served.slack("U1", "rollback production --reason bad");
    let text = question.text();
    assert!(text.contains("go back to what they had before"), "{text}");
    let code = text.split("confirm ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    let confirm = format!("confirm {code}");
    assert_eq!(question.json()["blocks"][1]["elements"][0]["value"], confirm.as_str());
    assert!(served.slack("U2", &confirm).text().starts_with("refused: nothing waits"));
    assert!(served.slack("U1", &confirm).text().contains("rollback production"));
    let refused = served.platform.next();
    assert!(
        refused.text().starts_with("rollback production --reason \"bad\": refused"),
        "{refused:?}"
    );
    assert!(served.slack("U1", &confirm).text().starts_with("refused: nothing waits"));
}

#[tokio::test]
async fn mattermost_is_heard_by_its_token_and_its_buttons_ask_first() {
    let served = Served::open("");
    assert_eq!(served.mattermost("wrong", "status").status, 401);
    let status = served.mattermost(TOKEN, "status").text();
    assert!(served.or_later(status).contains("production: free"));
    assert!(served.mattermost(TOKEN, "status; x").text().starts_with("refused: "));
    served.world.record(1, None).await;
    assert_eq!(served.mattermost(TOKEN, "adopt r-1").status, 200);
    let begun = served.platform.next();
    assert_eq!(begun.path, "/hooks/commands/x");
    let action = &begun.body["attachments"][0]["actions"][0]["integration"];
    assert_eq!(action["url"], format!("{}/action", served.platform.url));
    let press = |context: &serde_json::Value| {
        let body = serde_json::json!({ "user_id": "u1", "user_name": "mira", "context": context });
        post(&served.address, "/mattermost/action", ("", &body.to_string()))
    };
    let pressed = press(&action["context"]).json();
    let asked = pressed["ephemeral_text"].as_str().unwrap();
    assert!(asked.starts_with("halt r-1 ") && asked.contains("confirm "), "{asked}");
    let mut altered = action["context"].clone();
    altered["says"] = "promote".into();
    assert_eq!(press(&altered).status, 401);
    assert!(served.platform.next().text().contains("is finished"));
}

#[test]
fn strangers_cost_little_and_keep_nobody_waiting() {
    let served = Served::open("");
    // They say a little, and then nothing more.
    let stalled: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut stream = TcpStream::connect(&served.address).unwrap();
            let begun =
                "POST /slack/command HTTP/1.1\r\nHost: serin\r\nContent-Length: 100\r\n\r\nx";
            stream.write_all(begun.as_bytes()).unwrap();
            stream
        })
        .collect();
    let get = send(&served.address, b"GET /slack/command HTTP/1.1\r\nHost: serin\r\n\r\n");
    assert_eq!(get.status, 405);
    let elsewhere =
        send(&served.address, b"POST /admin HTTP/1.1\r\nHost: serin\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(elsewhere.status, 404);
    let huge = "x".repeat(65 << 10);
    assert_eq!(post(&served.address, "/slack/command", ("", &huge)).status, 413);
    let line = format!("X-Much: {}\r\n", "x".repeat(20 << 10));
    assert_eq!(post(&served.address, "/slack/command", (&line, "")).status, 431);
    assert_eq!(post(&served.address, "/slack/command", (&"X: y\r\n".repeat(100), "")).status, 431);
    assert_eq!(send(&served.address, b"\x16\x03\x01\x02\x00\x01\r\n\r\n").status, 400);
    assert!(served.answer("U1", "status").contains("production: free"));
    drop(stalled);
}

#[test]
fn a_door_is_not_opened_to_everybody_or_with_secrets_that_everybody_reads() {
    let platform = Platform::start();
    let world = World::new(&doors(&platform));
    keep_secrets(&world);
    let everywhere = ["chat", "serve", "--listen", "0.0.0.0:0"];
    world.serin(&everywhere).is(4, &["0.0.0.0:0 can be reached from elsewhere"]);
    fs::set_permissions(world.path("slack"), fs::Permissions::from_mode(0o644)).unwrap();
    let told = world.serin(&["chat", "serve", "--listen", "127.0.0.1:0"]);
    told.is(4, &["everybody on this machine may read it"]);
    assert!(!format!("{told:?}").contains(SECRET));
    World::new("").serin(&["chat", "serve"]).is(3, &["there is no chat in the configuration"]);
}

fn gitlab(world: &World, input: &str) -> String {
    let mut command: Command = world.command(&["chat", "gitlab"]);
    let output =
        command.env("CHAT_INPUT", input).env("GITLAB_USER_LOGIN", "mira").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    let section = said.split(":chat_reply\r\u{1b}[0K\n").nth(1).expect(&said);
    section.split("\u{1b}[0Ksection_end:").next().unwrap().to_owned()
}

#[tokio::test]
async fn gitlab_is_sent_the_section_also_of_a_refusal() {
    let world = World::with_haproxy("roundrobin");
    assert!(gitlab(&world, "status").contains("production: free"));
    assert!(
        gitlab(&world, "stauts")
            .starts_with("refused: there is no command `stauts`; did you mean `status`?")
    );
    assert!(gitlab(&world, "status; rm -rf /").starts_with("refused: "));
    let refused = gitlab(&world, "halt --reason x");
    assert!(refused.contains("there is no run that is not over\n"), "{refused}");
    assert!(refused.contains("(ended with code 4)"), "{refused}");
    world.record(1, None).await;
    assert!(gitlab(&world, "adopt r-1").contains("run r-1 is finished"));
    let question = gitlab(&world, "rollback production --reason bad");
    let code = question.split("confirm ").nth(1).unwrap().trim().to_owned();
    let other = gitlab(&world, &format!("rollback staging --reason bad confirm {code}"));
    assert!(other.contains("Nothing is done"), "{other}");
    let done = gitlab(&world, &format!("rollback production --reason \"bad\" confirm {code}"));
    assert!(done.contains("(ended with code 4)"), "{done}");
    world.serin(&["chat", "gitlab"]).is(4, &["this is not a job that was started from a chat"]);
}

#[tokio::test]
async fn people_are_told_how_a_run_goes_by_whoever_acts_for_it() {
    let platform = Platform::start();
    let rules = "[[chat.notify]]\nto = \"webhook:pager\"\nevents = [\"started\", \"finished\"]\n\
                 [[chat.notify]]\nto = \"slack:#releases\"\nenvironments = [\"production\"]\n\
                 [[chat.notify]]\nto = \"slack:#staging\"\nenvironments = [\"staging\"]\n";
    let world = World::with_haproxy_and("roundrobin", &(doors(&platform) + rules));
    keep_secrets(&world);
    world.record(1, None).await;
    world.serin(&["adopt", "r-1"]).is(0, &["run r-1 is finished"]);
    let started = platform.next();
    assert_eq!((started.path.as_str(), &started.body["event"]), ("/pager", &"started".into()));
    assert!(
        started.head.contains(&format!("Bearer {TOKEN}"))
            || started.head.contains(&format!("bearer {TOKEN}"))
    );
    let told = [platform.next(), platform.next()];
    let slack = told.iter().find(|word| word.path == "/api/chat.postMessage").unwrap();
    assert_eq!(slack.body["channel"], "#releases");
    assert!(slack.text().starts_with("run r-1 is finished: to-canary 16.2.0"), "{slack:?}");
    let pager = told.iter().find(|word| word.path == "/pager").unwrap();
    assert!(pager.body["key"].as_str().unwrap().starts_with("r-1/finished/"));
    assert!(platform.heard_nothing());
}

#[tokio::test]
async fn a_place_that_cannot_be_told_changes_nothing_and_is_named_once() {
    let rules = "[chat.webhooks.pager]\nurl = \"http://127.0.0.1:1/secret-path\"\n\
                 [[chat.notify]]\nto = \"webhook:pager\"\nevents = [\"started\", \"finished\"]\n";
    let world = World::with_haproxy_and("roundrobin", rules);
    world.record(1, None).await;
    let said = world.serin(&["adopt", "r-1"]);
    said.is(0, &["run r-1 is finished", "webhook:pager could not be told that run r-1 is started"]);
    assert_eq!(said.err.matches("could not be told").count(), 1, "{said:?}");
    assert!(!said.err.contains("secret-path"), "{said:?}");
}

#[tokio::test]
async fn a_version_under_embargo_is_named_to_nobody_in_a_chat() {
    let platform = Platform::start();
    let rules = "[[chat.notify]]\nto = \"webhook:pager\"\n";
    let world = World::with_haproxy_and("roundrobin", &(doors(&platform) + PEOPLE + rules));
    let path = world.path("serin.toml");
    let text = fs::read_to_string(&path).unwrap();
    // Whoever runs the door may see it, but the channel may not.
    let embargo = "[repository]\nembargo = [\"16.2.0*\"]\nembargo_readers = [\"root\", \"mira\"]";
    fs::write(&path, text.replace("[repository]", embargo)).unwrap();
    let served = Served::with(world, platform);
    let question = served.slack("U1", "run to-canary 16.2.0-ee.0").text();
    assert!(question.starts_with("run to-canary embargoed-unknown\n"), "{question}");
    served.world.record(1, None).await;
    served.world.serin(&["adopt", "r-1"]).is(0, &["finished"]);
    let told = served.platform.next().body["text"].as_str().unwrap().to_owned();
    assert!(told.contains("embargoed-abababababab") && !told.contains("16.2.0"), "{told}");
}

#[tokio::test]
async fn a_halt_is_told_once_with_what_to_do() {
    let platform = Platform::start();
    let suite = "[environments.production.qa.fails]\ncommand = [\"sh\", \"-c\", \"echo 1 example, 1 failure; exit 1\"]\nreport = \"rspec\"\n";
    let rules = "[[chat.notify]]\nto = \"webhook:pager\"\n";
    let world = World::with_haproxy_and("roundrobin", &(doors(&platform) + rules + suite));
    keep_secrets(&world);
    world.record_step(1, None, Action::Qa("fails".parse().unwrap())).await;
    assert_eq!(world.serin(&["adopt", "r-1"]).code, 5);
    let halted = platform.next();
    assert_eq!(halted.body["event"], "halted");
    assert!(
        halted.body["text"].as_str().unwrap().starts_with("run r-1 has halted: "),
        "{halted:?}"
    );
    let todo = halted.body["todo"].to_string();
    assert!(todo.contains("serin resume r-1") && todo.contains("serin cancel r-1"), "{todo}");
    assert_eq!(world.serin(&["adopt", "r-1"]).code, 5, "the same halt");
    world.serin(&["cancel", "r-1", "--reason", "x"]).is(6, &["given up"]);
    assert!(
        platform.heard_nothing(),
        "cancelling is not among the events, and the halt is the same"
    );
}
