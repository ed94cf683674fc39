//! The wrapper's operations as requests: what exactly is sent for each.
//!
//! Nothing is decided here, and nothing sent. `base.sh` beside this file describes the frames.

use crate::ssh::Request;
use serin_model::{Argv, Build, FileChange, Patch, PatchId, Sha256, StepId};
use serin_runtime::ports::{Command, Fence, HostQuery, HostRun, Job, Look, PortError, Work};
use std::collections::BTreeMap;
use std::time::Duration;

/// The longest step id that can name a folder on a host, in bytes.
const MAX_STEP: usize = 250;

/// The largest file that a patch may make, in bytes, as the wrapper has it.
const MAX_BLOB: usize = 32 << 20;

/// The most files of a patch: all their words are arguments of one command.
const MAX_FILES: usize = 500;

/// The largest fence that a shell can compare.
const MAX_FENCE: u64 = i64::MAX.unsigned_abs();

pub(super) fn hello() -> Result<Request, PortError> {
    request("hello", Vec::new())
}

pub(super) fn raise_fence(fence: Fence) -> Result<Request, PortError> {
    request("fence", vec![number(fence)?])
}

pub(super) fn read(command: &Command) -> Result<Request, PortError> {
    let mut words = vec![seconds(command.timeout)];
    words.extend(program(&command.argv, &command.environment)?);
    request("read", words)
}

pub(super) fn start(job: &Job) -> Result<Request, PortError> {
    let mut words = vec![
        job.run.to_string(),
        folder(&job.step)?,
        job.attempt.to_string(),
        number(job.fence)?,
        escape(&job.note),
    ];
    match &job.work {
        Work::Command { argv, environment } => {
            words.push("command".to_owned());
            words.extend(program(argv, environment)?);
        }
        Work::Fetch(build) => words.extend(package("fetch", build)),
        Work::Keep { package, version } => {
            words.extend(["keep".to_owned(), package.to_string(), version.as_str().to_owned()]);
        }
        Work::Simulate(build) => words.extend(package("simulate", build)),
        Work::Install(build) => words.extend(package("install", build)),
        Work::Patch(patch) => {
            words.push("patch".to_owned());
            words.extend(table(patch)?);
        }
        Work::Unpatch(patch) => {
            words.push("unpatch".to_owned());
            words.extend(table(patch)?);
        }
    }
    request("start", words)
}

pub(super) fn wait(job: &Job, attempt: u32, slice: Duration) -> Result<Request, PortError> {
    let step = folder(&job.step)?;
    request("wait", vec![job.run.to_string(), step, attempt.to_string(), seconds(slice)])
}

pub(super) fn look(run: &HostRun, step: &StepId) -> Result<Request, PortError> {
    request("look", vec![run.to_string(), folder(step)?])
}

pub(super) fn store(fence: Fence, patch: &PatchId, bytes: &[u8]) -> Result<Request, PortError> {
    if bytes.len() > MAX_BLOB {
        return Err(PortError::Refused(format!(
            "{} bytes are more than a patch's file may have",
            bytes.len()
        )));
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    let hash =
        digest.as_ref().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    let request = request("store", vec![number(fence)?, patch.to_string(), hash])?;
    Ok(request.with_bytes(bytes.to_vec()))
}

/// Returns how long storing may take besides the wrapper's own time: a slow line has 100 kB/s.
pub(super) fn store_time(bytes: &[u8]) -> Duration {
    Duration::from_secs(u64::try_from(bytes.len()).unwrap_or(u64::MAX) / 100_000)
}

pub(super) fn fits(patch: &Patch) -> Result<Request, PortError> {
    request("fits", table(patch)?)
}

pub(super) fn haproxy(
    socket: &str,
    fence: Option<Fence>,
    each: Duration,
    commands: &[String],
) -> Result<Request, PortError> {
    let fence = fence.map_or_else(|| Ok("-".to_owned()), number)?;
    let mut words = vec![socket.to_owned(), fence, seconds(each)];
    words.extend_from_slice(commands);
    request("haproxy", words)
}

pub(super) fn observe(query: &HostQuery) -> Result<Request, PortError> {
    let profile = &query.profile;
    let mut words = vec!["package".to_owned(), query.package.to_string()];
    for file in &profile.required_files {
        words.extend(["require".to_owned(), file.clone()]);
    }
    for service in &query.services {
        let fill = |argv: &Argv| {
            argv.fill(&[("service", service.as_str()), ("package", query.package.as_str())])
                .map_err(|error| PortError::Refused(error.to_string()))
        };
        words.extend(["service".to_owned(), service.to_string()]);
        counted(&mut words, program(&fill(&profile.service_pid)?, &BTreeMap::new())?);
        let version = match &profile.running_version {
            Some(argv) => program(&fill(argv)?, &BTreeMap::new())?,
            None => Vec::new(),
        };
        counted(&mut words, version);
    }
    if let Some(argv) = &query.config_management {
        words.push("config-management".to_owned());
        counted(&mut words, program(argv, &BTreeMap::new())?);
    }
    if let (Look::Migrations, Some(migrations)) = (query.look, &profile.migrations) {
        words.push("migrations".to_owned());
        words.push(migrations.regular_folder.clone());
        words.push(migrations.post_deployment_folder.clone());
        counted(&mut words, program(&migrations.status, &migrations.environment)?);
    }
    request("observe", words)
}

/// Returns how long an observation may take in all: each of its commands has its own limit on the host.
pub(super) fn observe_time(query: &HostQuery) -> Duration {
    let commands = u32::try_from(query.services.len()).unwrap_or(u32::MAX).saturating_mul(2);
    let short = Duration::from_secs(15).saturating_mul(commands.saturating_add(2));
    short + if query.look == Look::Migrations { Duration::from_secs(125) } else { Duration::ZERO }
}

/// Undoes [`escape`].
pub(super) fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (c, c == '\\') {
            (_, true) => match characters.next() {
                Some('n') => plain.push('\n'),
                Some('0') => plain.push('\0'),
                Some(other) => plain.push(other),
                None => {}
            },
            (c, false) => plain.push(c),
        }
    }
    plain
}

/// Returns a note as one line that a person can still read on the host.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\0', "\\0")
}

fn request(operation: &'static str, words: Vec<String>) -> Result<Request, PortError> {
    Request::new(operation, words)
        .map_err(|word| PortError::Refused(format!("{word:?} holds a line end or a NUL")))
}

fn counted(words: &mut Vec<String>, program: Vec<String>) {
    words.push(program.len().to_string());
    words.extend(program);
}

/// Returns variables and command as `env` takes them.
fn program(argv: &Argv, environment: &BTreeMap<String, String>) -> Result<Vec<String>, PortError> {
    let mut words = Vec::new();
    for (name, value) in environment {
        let is_first = |c: char| c.is_ascii_alphabetic() || c == '_';
        if !name.starts_with(is_first) || !name.chars().all(|c| is_first(c) || c.is_ascii_digit()) {
            return Err(PortError::Refused(format!("{name:?} cannot be the name of a variable")));
        }
        words.push(format!("{name}={value}"));
    }
    match argv.arguments().next() {
        // `env` would take the one for a variable and the other for an option of its own.
        Some(first) if first.contains('=') || first.starts_with('-') => {
            return Err(PortError::Refused(format!("{first:?} cannot be a program")));
        }
        Some(_) | None => {}
    }
    words.extend(argv.arguments().map(str::to_owned));
    Ok(words)
}

fn package(kind: &str, build: &Build) -> [String; 4] {
    let Build { package, version, sha256, size: _, kind: _ } = build;
    [kind.to_owned(), package.to_string(), version.as_str().to_owned(), sha256.to_string()]
}

/// Returns a patch as the wrapper takes it: four words for each file.
fn table(patch: &Patch) -> Result<Vec<String>, PortError> {
    let Patch { id, package, version, files } = patch;
    if files.is_empty() || files.len() > MAX_FILES {
        return Err(PortError::Refused(format!("a patch of {} files is none", files.len())));
    }
    let mut words = vec![id.to_string(), package.to_string(), version.as_str().to_owned()];
    for file in files {
        let path = &file.path;
        let plain = path
            .strip_prefix('/')
            .is_some_and(|path| !path.split('/').any(|part| matches!(part, "" | "." | "..")));
        // The wrapper reads them as words of a line.
        if !plain || path.contains(char::is_control) || path.ends_with(' ') {
            return Err(PortError::Refused(format!(
                "{path:?} cannot be the path of a patched file"
            )));
        }
        let mode = match &file.change {
            FileChange::Create { mode, .. } => format!("{mode:o}"),
            FileChange::Modify { .. } | FileChange::Delete { .. } => "-".to_owned(),
        };
        let hash = |hash: Option<&Sha256>| hash.map_or("none", Sha256::as_str).to_owned();
        words.extend([mode, hash(file.before()), hash(file.after()), path.clone()]);
    }
    Ok(words)
}

fn folder(step: &StepId) -> Result<String, PortError> {
    let name = step.as_str().replace('/', "__");
    if name.is_empty() || name.starts_with('.') || name.len() > MAX_STEP {
        return Err(PortError::Refused(format!("{:?} cannot name a folder", step.as_str())));
    }
    Ok(name)
}

fn number(fence: Fence) -> Result<String, PortError> {
    if fence.0 > MAX_FENCE {
        return Err(PortError::Refused(format!("fence {} is too large", fence.0)));
    }
    Ok(fence.0.to_string())
}

/// Whole seconds, rounded up: `timeout 0` would mean no limit.
fn seconds(duration: Duration) -> String {
    duration.as_millis().div_ceil(1000).max(1).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serin_model::plan::Action;
    use serin_model::{BuildKind, PatchedFile, Profile, Timestamp};

    fn argv(words: &[&str]) -> Argv {
        Argv::new(words.iter().copied()).unwrap()
    }

    /// Shows what is sent on one line, line ends as `|`.
    fn sent(request: Result<Request, PortError>) -> String {
        request.unwrap().render().trim_end().replace('\n', "|")
    }

    fn job(work: Work) -> Job {
        Job {
            host: "web-01".parse().unwrap(),
            run: HostRun { id: "r-7".parse().unwrap(), made: Timestamp::from_millis(5_999) },
            step: StepId::new(6, "web-01", &Action::Fetch, None),
            attempt: 2,
            fence: Fence(9),
            work,
            note: "of\ntwo lines \\".to_owned(),
            timeout: Duration::from_mins(1),
        }
    }

    fn build() -> Build {
        Build {
            package: "gitlab-ee".parse().unwrap(),
            version: "16.2.0-ee.0".parse().unwrap(),
            sha256: "ab".repeat(32).parse().unwrap(),
            size: 1,
            kind: BuildKind::Official,
        }
    }

    fn patch() -> Patch {
        let hash = |pair: &str| pair.repeat(32).parse::<Sha256>().unwrap();
        let (before, after) = (hash("cd"), hash("ef"));
        let file = |path: &str, change| PatchedFile { path: path.to_owned(), change };
        Patch {
            id: hash("ab").into(),
            package: "gitlab-ee".parse().unwrap(),
            version: "16.2.0-ee.0".parse().unwrap(),
            files: vec![
                file(
                    "/opt/a b.rb",
                    FileChange::Modify { before: before.clone(), after: after.clone() },
                ),
                file("/opt/new", FileChange::Create { after, mode: 0o755 }),
                file("/opt/old", FileChange::Delete { before }),
            ],
        }
    }

    #[test]
    fn these_are_the_lines_that_are_sent() {
        let environment = BTreeMap::from([("A".to_owned(), "1 2".to_owned())]);
        let argv = argv(&["echo", "a b", "", "$(x)"]);
        let command = Command { argv, environment, timeout: Duration::from_millis(1500) };
        let Command { argv, environment, .. } = command.clone();
        let work = job(Work::Command { argv, environment });
        let digest = "ab".repeat(32);
        assert_eq!(sent(hello()), "hello|0");
        assert_eq!(sent(raise_fence(Fence(7))), "fence|1|7");
        assert_eq!(sent(read(&command)), "read|6|2|A=1 2|echo|a b||$(x)");
        assert_eq!(
            sent(start(&work)),
            r"start|11|r-7-5|6__web-01__fetch|2|9|of\ntwo lines \\|command|A=1 2|echo|a b||$(x)"
        );
        assert_eq!(
            sent(start(&job(Work::Fetch(build())))),
            format!(
                r"start|9|r-7-5|6__web-01__fetch|2|9|of\ntwo lines \\|fetch|gitlab-ee|16.2.0-ee.0|{digest}"
            )
        );
        assert_eq!(
            sent(start(&job(Work::Install(build())))),
            format!(
                r"start|9|r-7-5|6__web-01__fetch|2|9|of\ntwo lines \\|install|gitlab-ee|16.2.0-ee.0|{digest}"
            )
        );
        assert_eq!(
            sent(wait(&work, 1, Duration::from_secs(5))),
            "wait|4|r-7-5|6__web-01__fetch|1|5"
        );
        let digests = ["cd", "ef"].map(|pair| pair.repeat(32));
        assert_eq!(
            sent(start(&job(Work::Patch(patch())))),
            format!(
                r"start|21|r-7-5|6__web-01__fetch|2|9|of\ntwo lines \\|patch|{digest}|gitlab-ee|16.2.0-ee.0|\
                -|{0}|{1}|/opt/a b.rb|755|none|{1}|/opt/new|-|{0}|none|/opt/old",
                digests[0], digests[1]
            )
            .replace("\\\n                ", "")
        );
        let bytes = store(Fence(3), &patch().id, b"ab\nc").unwrap();
        let hash = "d9de6db1b6b33b25eb0deb4f75fe9bc5d2cfdea71a08b5f5ff59e34e1b0c0d3c";
        assert_eq!(bytes.render().len(), format!("store\n4\n3\n{digest}\n{hash}\n4\n").len());
        assert_eq!(bytes.bytes(), b"ab\nc");
        assert_eq!(sent(look(&work.run, &work.step)), "look|2|r-7-5|6__web-01__fetch");
        let commands = ["show info".to_owned(), "show stat".to_owned()];
        let each = Duration::from_secs(5);
        assert_eq!(
            sent(haproxy("/s", None, each, &commands)),
            "haproxy|5|/s|-|5|show info|show stat"
        );
        assert_eq!(sent(haproxy("/s", Some(Fence(3)), each, &[])), "haproxy|3|/s|3|5");
    }

    #[test]
    fn an_observation_asks_for_everything_at_once() {
        let mut query = HostQuery {
            host: "web-01".parse().unwrap(),
            package: "gitlab-ee".parse().unwrap(),
            profile: Profile {
                name: "test".to_owned(),
                required_files: vec!["/etc/skip".to_owned()],
                check_config: None,
                reconfigure: None,
                hup: argv(&["hup"]),
                restart: argv(&["restart"]),
                service_pid: argv(&["pid", "{service}"]),
                running_version: None,
                migrations: None,
                install_timeout: Duration::from_secs(1),
                command_timeout: Duration::from_secs(1),
            },
            services: vec!["puma".parse().unwrap(), "web".parse().unwrap()],
            config_management: Some(argv(&["pgrep", "-f", "chef"])),
            look: Look::Migrations,
        };
        assert_eq!(
            sent(observe(&query)),
            "observe|21|package|gitlab-ee|require|/etc/skip|service|puma|2|pid|puma|0|service|web|2|pid|web|0\
             |config-management|3|pgrep|-f|chef"
        );
        query.services.truncate(1);
        query.profile.running_version = Some(argv(&["version", "{service}"]));
        query.config_management = None;
        assert_eq!(
            sent(observe(&query)),
            "observe|12|package|gitlab-ee|require|/etc/skip|service|puma|2|pid|puma|2|version|puma"
        );
    }

    #[test]
    fn what_a_host_could_misread_is_never_sent() {
        let refused = |request: Result<Request, PortError>| {
            assert!(matches!(request, Err(PortError::Refused(_))), "{request:?}");
        };
        let with = |argv: &[&str], name: &str, value: &str| Command {
            argv: Argv::new(argv.iter().copied()).unwrap(),
            environment: [(name.to_owned(), value.to_owned())].into(),
            timeout: Duration::ZERO,
        };
        refused(read(&with(&["A=b", "c"], "A", "b")));
        refused(read(&with(&["-u", "c"], "A", "b")));
        refused(read(&with(&["c"], "A B", "b")));
        refused(read(&with(&["c"], "A", "b\nc")));
        refused(raise_fence(Fence(u64::MAX)));
        for path in
            ["opt/a", "/opt/../etc/shadow", "/opt//a", "/opt/a\nb", "/opt/a ", "/", "/opt/."]
        {
            let mut patch = patch();
            path.clone_into(&mut patch.files[1].path);
            refused(start(&job(Work::Unpatch(patch))));
        }
        refused(start(&job(Work::Patch(Patch { files: Vec::new(), ..patch() }))));
        refused(store(Fence(1), &patch().id, &vec![0; MAX_BLOB + 1]));
        assert_eq!(sent(read(&with(&["c"], "A", "=b"))), "read|3|1|A==b|c", "no time is a second");
    }

    #[test]
    fn a_note_comes_back_as_it_was() {
        for note in ["", "plain", "two\nlines\\n", "\\", "\0\\0"] {
            assert!(!escape(note).contains(['\n', '\0']));
            assert_eq!(unescape(&escape(note)), note);
        }
    }
}
