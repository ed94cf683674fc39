//! Command lines: one hostile text, everywhere that Serin takes a text which a shell comes near.
//!
//! A name or version that is accepted is plain to any shell. What may be an argument, a variable, a path or a note goes
//! through the real wrapper, run by the real `sh`, and must come back unchanged; a command that people are shown means the
//! same when it is pasted. Nothing else may run: texts try to make a file `ran` where they are, and none may appear.

use super::{MIB, Target};
use crate::target::shell::{Wrapper, pasted};
use serin_adapters::host::fuzzing as host;
use serin_model::{
    Action, Argv, BackendName, DebVersion, EnvironmentName, HostName, PackageName, Profile, RunId,
    ServerName, ServiceName, StepId, Timestamp,
};
use serin_runtime::ports::{Command, Fence, HostQuery, HostRun, Job, Look, PortError, Work};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

pub(super) const COMMANDS: Target = Target {
    name: "commands",
    hold,
    memory: MIB,
    words: &[
        b"$(touch ran)",
        b"`touch ran`",
        b";touch ran;",
        b"|touch ran",
        b"&touch ran&",
        b"&&touch ran",
        b"||touch ran",
        b">ran",
        b"<(touch ran)",
        b"\ntouch ran\n",
        b"\r",
        b"'",
        b"\"",
        b"\\",
        b"' ; touch ran ; '",
        b"\" ; touch ran ; \"",
        b"-oProxyCommand=touch ran",
        b"--",
        b"-",
        b"A=b",
        b"web-01",
        b"1.0-1",
        b"~root",
        b"*",
        b"?",
        b"[a-z]",
        b"{a,b}",
        b"{1..9}",
        b"!!",
        b"$IFS",
        b"${PATH}",
        b"%s%n",
        b"#",
    ],
    mutations: 20,
};

/// A longer text takes nothing that a shorter one does not.
const MOST_BYTES: usize = 2000;

fn hold(input: &[u8]) {
    thread_local! {
        static WRAPPER: RefCell<Wrapper> = RefCell::new(Wrapper::start());
    }
    let input = String::from_utf8_lossy(input);
    let text: String = input.chars().take(MOST_BYTES).collect();
    names(&text);
    WRAPPER.with_borrow_mut(|wrapper| {
        argument(wrapper, &text);
        variable(wrapper, &text);
        note(wrapper, &text);
        path(wrapper, &text);
        socket(wrapper, &text);
        assert_eq!(wrapper.what_ran(), Vec::<String>::new(), "{text:?} was run");
    });
}

fn names(text: &str) {
    plain::<HostName>(text, "-_.");
    plain::<BackendName>(text, "-_.:");
    plain::<ServerName>(text, "-_.:");
    plain::<ServiceName>(text, "-_.@");
    plain::<EnvironmentName>(text, "-_");
    plain::<RunId>(text, "-");
    plain::<PackageName>(text, "-+.");
    plain::<DebVersion>(text, ".+~:-");
    if text.parse::<DebVersion>().is_ok() {
        assert!(!text.ends_with(['-', '+']), "apt takes the end of {text:?} for an instruction");
    }
}

/// No shell, and no program that takes it for an option or a pattern, can misread an accepted name.
fn plain<T: FromStr>(text: &str, signs: &str) {
    if text.parse::<T>().is_ok() {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || signs.contains(c);
        let starts_plain = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        assert!(starts_plain && text.chars().all(is_plain), "{text:?} was accepted");
    }
}

fn argument(wrapper: &mut Wrapper, text: &str) {
    let may_travel = !text.contains(['\n', '\r', '\0']);
    let argv = Argv::new(["printf", "%s\\0", text, "end"]);
    assert_eq!(argv.is_ok(), may_travel, "{text:?}");
    let Ok(argv) = argv else { return };
    let reply = wrapper.ask(&host::read(&command(&argv, &[])).expect("it may travel"));
    assert_eq!(reply.blocks, [format!("{text}\0end\0").into_bytes()], "{text:?} on the host");
    assert_eq!(pasted(&argv), [text, "end"], "{argv} as it is shown");
    // As a program it would be one; what `env` would misread is refused.
    let program = Argv::new([text]).map(|argv| host::read(&command(&argv, &[])).is_ok());
    if text.starts_with('-') || text.contains('=') {
        assert_ne!(program, Ok(true), "{text:?} is not a program");
    }
}

fn variable(wrapper: &mut Wrapper, text: &str) {
    let argv = Argv::new(["printenv", "A"]).expect("they are words");
    match host::read(&command(&argv, &[("A", text)])) {
        Ok(request) => {
            let reply = wrapper.ask(&request);
            assert_eq!(reply.blocks, [format!("{text}\n").into_bytes()], "A={text:?}");
        }
        Err(error) => refused(&error, text, &['\n', '\0']),
    }
    let identifier = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_name = text.chars().all(identifier) && !text.starts_with(|c: char| c.is_ascii_digit());
    let named = host::read(&command(&argv, &[(text, "b")]));
    assert_eq!(named.is_ok(), is_name && !text.is_empty(), "{text:?} as the name of a variable");
}

fn note(wrapper: &mut Wrapper, text: &str) {
    let argv = Argv::new(["true"]).expect("it is a word");
    let job = Job {
        host: "web-01".parse().expect("it is a name"),
        run: HostRun { id: "r-7".parse().expect("it is an id"), made: Timestamp::from_millis(0) },
        step: StepId::new(wrapper.count(), "web-01", &Action::Guard, None),
        attempt: 1,
        fence: Fence(1),
        work: Work::Command { argv, environment: BTreeMap::new() },
        note: text.to_owned(),
        timeout: Duration::from_secs(10),
    };
    drop(wrapper.ask(&host::start(&job).expect("notes are any text")));
    let wait = host::wait(&job, Duration::from_secs(10)).expect("it is plain");
    let mut ended = wrapper.ask(&wait);
    // On a machine that is busy with other things, a job takes its time.
    while ended.end.starts_with("running") {
        ended = wrapper.ask(&wait);
    }
    assert_eq!(host::note(&ended), Ok(Some(text.to_owned())), "{ended:?}");
}

fn path(wrapper: &mut Wrapper, text: &str) {
    let words = |word: &str| Argv::new([word]).expect("it is a word");
    let profile = Profile {
        name: "any".to_owned(),
        required_files: vec![text.to_owned()],
        check_config: None,
        reconfigure: None,
        hup: words("true"),
        restart: words("true"),
        service_pid: words("true"),
        running_version: None,
        migrations: None,
        install_timeout: Duration::from_secs(1),
        command_timeout: Duration::from_secs(1),
    };
    let query = HostQuery {
        host: "web-01".parse().expect("it is a name"),
        package: "demoapp".parse().expect("it is a name"),
        profile,
        services: Vec::new(),
        config_management: None,
        look: Look::State,
    };
    match host::observe(&query) {
        Ok(request) => {
            let reply = wrapper.ask(&request);
            let lines = reply.blocks.first().map(|block| String::from_utf8_lossy(block));
            let seen = host::observed(&query.host, &lines.unwrap_or_default());
            let exists = wrapper.folder().join(Path::new(text)).exists() && !text.is_empty();
            let missing = if exists { Vec::new() } else { vec![text.to_owned()] };
            assert_eq!(seen.map(|seen| seen.missing_files), Ok(missing), "{reply:?}");
        }
        Err(error) => refused(&error, text, &['\n', '\r', '\0']),
    }
}

fn socket(wrapper: &mut Wrapper, text: &str) {
    match host::haproxy(text, &["show info".to_owned()]) {
        Ok(request) => {
            let reply = wrapper.ask(&request);
            assert!(reply.end.starts_with("socket "), "{text:?}: {reply:?}");
        }
        Err(error) => refused(&error, text, &['\n', '\0']),
    }
}

/// A text may be refused for what it holds, and for nothing else.
fn refused(error: &PortError, text: &str, forbidden: &[char]) {
    let rightly = text.contains(forbidden);
    assert!(rightly && matches!(error, PortError::Refused(_)), "{text:?}: {error}");
}

fn command(argv: &Argv, environment: &[(&str, &str)]) -> Command {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let environment = environment.iter().map(owned).collect();
    Command { argv: argv.clone(), environment, timeout: Duration::from_mins(2) }
}
