//! Patches on a host: all of the files or none, through kills, full disks and foreign hands.

use crate::machine::{Machine, done, run, until, web};
use serin_model::plan::Action;
use serin_model::{CarriedState, FileChange, Patch, PatchId, PatchedFile, Sha256, StepId};
use serin_runtime::ports::{Fence, HostPort, HostQuery, Job, JobEnd, PortError, Work};
use std::fs;
use std::process::Command;
use std::time::Duration;

pub(crate) const CODE: &str = "/opt/demo/lib";

/// A machine with the package `demo` 1.0-1, which has three files of code.
pub(crate) struct Patched {
    pub(crate) machine: Machine,
    jobs: std::cell::Cell<u32>,
}

pub(crate) fn sha256(text: &str) -> Sha256 {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    digest
        .as_ref()
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
        .parse()
        .unwrap()
}

pub(crate) fn id() -> PatchId {
    sha256("the patch's file").into()
}

fn modify(name: &str, before: &str, after: &str) -> PatchedFile {
    let change = FileChange::Modify { before: sha256(before), after: sha256(after) };
    PatchedFile { path: format!("{CODE}/{name}"), change }
}

/// Changes two files, makes one in a new folder, and deletes one.
pub(crate) fn patch() -> Patch {
    let new = FileChange::Create { after: sha256("new\n"), mode: 0o755 };
    let gone = FileChange::Delete { before: sha256("three 1.0-1\n") };
    Patch {
        id: id(),
        package: "demo".parse().unwrap(),
        version: "1.0-1".parse().unwrap(),
        files: vec![
            modify("one.rb", "one 1.0-1\n", "ONE\n"),
            modify("two words.rb", "two 1.0-1\n", "TWO\n"),
            PatchedFile { path: format!("{CODE}/deep/er/new.rb"), change: new },
            PatchedFile { path: format!("{CODE}/three.rb"), change: gone },
        ],
    }
}

pub(crate) const BEFORE: &str =
    "one.rb 640 33:33 one 1.0-1|three.rb 644 0:0 three 1.0-1|two words.rb 644 0:0 two 1.0-1|";
pub(crate) const AFTER: &str =
    "deep/er/new.rb 755 0:0 new|one.rb 640 33:33 ONE|two words.rb 644 0:0 TWO|";

impl Patched {
    pub(crate) async fn new() -> Self {
        let machine = Machine::start();
        let this = Self { machine, jobs: 1.into() };
        this.install("1.0-1");
        for bytes in ["ONE\n", "TWO\n", "new\n"] {
            this.store(bytes).await.unwrap();
        }
        this
    }

    /// Installs a version of the package with dpkg itself.
    pub(crate) fn install(&self, version: &str) {
        let tree = self.machine.root("/srv/tree");
        drop(fs::remove_dir_all(&tree));
        fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        let code = tree.join(&CODE[1..]);
        fs::create_dir_all(&code).unwrap();
        let control = format!(
            "Package: demo\nVersion: {version}\nArchitecture: all\nMaintainer: T <t@example.com>\nDescription: t\n"
        );
        fs::write(tree.join("DEBIAN/control"), control).unwrap();
        for (name, word) in [("one.rb", "one"), ("two words.rb", "two"), ("three.rb", "three")] {
            fs::write(code.join(name), format!("{word} {version}\n")).unwrap();
        }
        done(
            Command::new("dpkg-deb")
                .args(["--root-owner-group", "-b"])
                .arg(&tree)
                .arg(self.machine.root("/srv")),
        );
        self.machine.ok(&format!(
            "dpkg -i /srv/demo_{version}_all.deb && chown 33:33 {CODE}/one.rb && chmod 640 {CODE}/one.rb"
        ));
    }

    pub(crate) async fn store(&self, bytes: &str) -> Result<(), PortError> {
        self.machine.hosts("root").store(&web(), Fence(1), &id(), bytes.as_bytes()).await
    }

    fn job(&self, work: Work) -> Job {
        let number = self.jobs.replace(self.jobs.get() + 1);
        Job {
            host: web(),
            run: run("r-1"),
            step: StepId::new(number, "web-01", &Action::Fetch, None),
            attempt: 1,
            fence: Fence(1),
            work,
            note: String::new(),
            timeout: Duration::from_secs(90),
        }
    }

    /// Runs work to its end; returns its status and the last line of its log.
    async fn perform(&self, work: Work) -> (i32, String) {
        let end = self.machine.hosts("root").run(&self.job(work)).await.unwrap();
        let JobEnd::Exited(end) = end else { panic!("{end:?}") };
        if std::env::var_os("SERIN_TEST_LOGS").is_some() {
            println!("{}", end.output);
        }
        (end.status, end.output.lines().last().unwrap_or_default().to_owned())
    }

    pub(crate) async fn patch(&self) -> (i32, String) {
        self.perform(Work::Patch(patch())).await
    }

    async fn unpatch(&self) -> (i32, String) {
        self.perform(Work::Unpatch(patch())).await
    }

    /// Shows every file of the code, hidden ones too, with mode, owner and text.
    pub(crate) fn code(&self) -> String {
        let script = format!(
            "cd {CODE} && find . -type f | sort | while read -r f; do \
             printf '%s %s %s|' \"${{f#./}}\" \"$(stat -c '%a %u:%g' \"$f\")\" \"$(cat \"$f\")\"; done"
        );
        self.machine.ok(&script)
    }

    pub(crate) async fn carried(&self) -> String {
        let query = HostQuery { package: "demo".parse().unwrap(), ..crate::observe::query() };
        let seen = self.machine.hosts("root").observe(&query).await.unwrap();
        let shown = seen.patches.into_iter().map(|patch| {
            assert_eq!((patch.id, patch.package.as_str()), (id(), "demo"));
            let state = match patch.state {
                CarriedState::Applied => "applied".to_owned(),
                CarriedState::Half => "half".to_owned(),
                CarriedState::Lost { files } => format!("lost {}", files.join(" ")),
            };
            format!("{} {state}", patch.version)
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    /// Makes the nth rename of a file of code do something else.
    fn at_rename(&self, number: u32, script: &str) {
        self.machine.ok(&format!(
            "echo 0 >/root/renames; cat >/usr/local/bin/mv <<'END'\n#!/bin/sh\n\
             if [ \"$1\" = -fT ]; then n=$(($(cat /root/renames) + 1)); echo $n >/root/renames; \
             if [ $n = {number} ]; then {script}; fi; fi; exec /usr/bin/mv \"$@\"\nEND\nchmod 755 /usr/local/bin/mv"
        ));
    }
}

#[tokio::test]
async fn a_patch_goes_on_and_comes_off_whole() {
    let host = Patched::new().await;
    assert_eq!((host.code().as_str(), host.carried().await.as_str()), (BEFORE, ""));
    let said = |what: &str| (0, format!("serin: patch {} was {what}", id()));
    assert_eq!(host.patch().await, said("applied"));
    assert_eq!((host.code().as_str(), host.carried().await.as_str()), (AFTER, "1.0-1 applied"));
    assert_eq!(host.patch().await, said("applied already"));
    assert_eq!(host.unpatch().await, said("backed out"));
    assert_eq!((host.code().as_str(), host.carried().await.as_str()), (BEFORE, ""));
    assert!(!host.machine.root(&format!("{CODE}/deep")).exists(), "folders that it made are gone");
    assert_eq!(host.unpatch().await, said("backed out already"));
    let kept = format!("/var/lib/serin/patches/{}", id());
    assert!(!host.machine.root(&kept).join("files").exists(), "nothing is left of it");
}

#[tokio::test]
async fn a_changed_file_is_a_new_one_to_whoever_caches_by_time() {
    let host = Patched::new().await;
    host.machine.ok(&format!("touch -d '2001-01-01' {CODE}/*.rb"));
    let year = || host.machine.ok(&format!("date -r {CODE}/one.rb +%Y"));
    host.patch().await;
    assert_ne!(year(), "2001\n");
    host.machine.ok(&format!("touch -d '2001-01-01' {CODE}/*.rb"));
    host.unpatch().await;
    assert_ne!(year(), "2001\n");
}

#[tokio::test]
async fn what_is_not_as_expected_is_refused_and_nothing_changes() {
    let host = Patched::new().await;
    let last = format!("{CODE}/three.rb");
    let new = format!("{CODE}/deep/er/new.rb");
    for (setup, undo, status, why) in [
        (
            format!("echo mine >>'{last}'"),
            "printf 'three 1.0-1\\n' >'$last'",
            22,
            "has other bytes",
        ),
        (
            "mv '$last' '$last.x' && ln -s three.rb.x '$last'".into(),
            "mv '$last.x' '$last'",
            21,
            "it is a symbolic link",
        ),
        ("ln '$last' /srv/other".into(), "rm /srv/other", 21, "it has more than one name"),
        (
            "rm '$last' && mkdir '$last'".into(),
            "rmdir '$last' && printf 'three 1.0-1\\n' >'$last'",
            21,
            "it is not a regular file",
        ),
        (
            "mkdir -p /srv/deep && ln -s /srv/deep $CODE/deep".into(),
            "rm $CODE/deep",
            21,
            "lies under, a symbolic link",
        ),
        (
            "mkdir -p $CODE/deep/er && echo other >'$new'".into(),
            "rm -r $CODE/deep",
            22,
            "has other bytes",
        ),
        (
            "rm /var/lib/serin/patches/*/blobs/$two".into(),
            "true",
            23,
            "were not stored on this host",
        ),
    ] {
        let two = sha256("TWO\n").to_string();
        let filled = |script: &str| {
            let script = script.replace("$last", &last).replace("$new", &new);
            script.replace("$CODE", CODE).replace("$two", &two)
        };
        host.machine.ok(&filled(&setup));
        let before = host.machine.ok(&format!("ls -laR {CODE}; cat {CODE}/*.rb 2>&1 || true"));
        let (found, said) = host.patch().await;
        assert!(found == status && said.contains(why), "{setup}: {found} {said}");
        assert!(said.contains("Nothing was changed"), "{said}");
        assert_eq!(
            host.machine.ok(&format!("ls -laR {CODE}; cat {CODE}/*.rb 2>&1 || true")),
            before
        );
        assert_eq!(host.carried().await, "", "{setup}");
        host.machine.ok(&filled(undo));
        host.store("TWO\n").await.unwrap();
    }
    host.install("2.0-1");
    let (status, said) = host.patch().await;
    assert_eq!(
        (status, said),
        (20, "serin: demo 1.0-1 is not what is installed: installed 2.0-1 installed".into())
    );
    host.machine.hosts("root").raise_fence(&web(), Fence(2)).await.unwrap();
    assert_eq!(host.store("more\n").await, Err(PortError::Fenced { by: 2 }));
    let refused = host.machine.hosts("root").run(&host.job(Work::Patch(patch()))).await;
    assert_eq!(refused, Err(PortError::Fenced { by: 2 }));
}

#[tokio::test]
async fn a_failure_in_the_middle_puts_every_file_back() {
    let host = Patched::new().await;
    for number in 1..=3 {
        host.at_rename(number, "exit 1");
        let (status, said) = host.patch().await;
        assert_eq!(status, 26, "{number}: {said}");
        assert!(said.ends_with("every file is as it was before"), "{said}");
        assert_eq!((host.code().as_str(), host.carried().await.as_str()), (BEFORE, ""), "{number}");
        assert!(!host.machine.root(&format!("{CODE}/deep")).exists());
    }
    host.machine.ok("rm /usr/local/bin/mv");
    assert_eq!(host.patch().await.0, 0);
    for number in 1..=3 {
        host.at_rename(number, "exit 1");
        assert_eq!(host.unpatch().await.0, 26);
        assert_eq!(
            (host.code().as_str(), host.carried().await.as_str()),
            (AFTER, "1.0-1 applied"),
            "{number}"
        );
    }
    // Somebody writes between the look and the rename of the next file.
    host.machine.ok("rm /usr/local/bin/mv");
    assert_eq!(host.unpatch().await.0, 0);
    for bytes in ["ONE\n", "TWO\n", "new\n"] {
        host.store(bytes).await.unwrap();
    }
    host.at_rename(1, &format!("echo mine >'{CODE}/two words.rb'"));
    let (status, said) = host.patch().await;
    assert!(
        status == 27 && said.contains("could not be put back") && said.contains("two words.rb"),
        "{said}"
    );
    assert_eq!(host.carried().await, "1.0-1 half");
}

#[tokio::test]
async fn a_job_that_was_killed_in_the_middle_is_put_right_by_the_next() {
    for (number, takes_off) in [(1, false), (2, true), (3, false), (3, true)] {
        let host = Patched::new().await;
        let mut work = Work::Patch(patch());
        if number == 1 {
            // The way back is killed as well.
            assert_eq!(host.patch().await.0, 0);
            work = Work::Unpatch(patch());
        }
        host.at_rename(number, "kill -9 0");
        let job = host.job(work);
        let end = host.machine.hosts("root").run(&job).await.unwrap();
        let JobEnd::Exited(end) = end else { panic!("{end:?}") };
        assert_eq!(end.status, 137);
        host.machine.ok("rm /usr/local/bin/mv");
        assert_eq!(host.carried().await, "1.0-1 half", "it is named");
        let code = host.code();
        assert!(code != BEFORE && code != AFTER, "{code}");
        let (done, code, carried) = if takes_off {
            (host.unpatch().await, BEFORE, "")
        } else {
            (host.patch().await, AFTER, "1.0-1 applied")
        };
        assert_eq!(done.0, 0, "{}", done.1);
        assert_eq!((host.code().as_str(), host.carried().await.as_str()), (code, carried));
    }
}

#[tokio::test]
async fn a_restart_in_the_middle_is_told_and_put_right() {
    let mut host = Patched::new().await;
    host.at_rename(2, "echo here >/root/here; sleep 1000");
    let job = host.job(Work::Patch(patch()));
    let hosts = host.machine.hosts("root");
    let running = tokio::spawn(async move { hosts.run(&job).await });
    let here = host.machine.root("/root/here");
    crate::machine::until_async("the second rename", || here.exists()).await;
    assert_eq!(host.carried().await, "1.0-1 half");
    host.machine.power_off();
    running.abort();
    host.machine.ok_off("rm usr/local/bin/mv");
    host.machine.boot();
    assert_eq!(host.carried().await, "1.0-1 half");
    assert_eq!(host.patch().await.0, 0);
    assert_eq!((host.code().as_str(), host.carried().await.as_str()), (AFTER, "1.0-1 applied"));
}

#[tokio::test]
async fn an_installation_over_a_patch_is_told_and_the_patch_can_go_on_again() {
    let host = Patched::new().await;
    assert_eq!(host.patch().await.0, 0);
    host.machine.ok(&format!("echo mine >{CODE}/one.rb"));
    assert_eq!(host.carried().await, format!("1.0-1 lost {CODE}/one.rb"));
    assert_eq!(host.patch().await.0, 22, "foreign hands are never overwritten");
    host.install("1.0-1");
    let lost = host.carried().await;
    assert_eq!(lost, format!("1.0-1 lost {CODE}/one.rb {CODE}/two words.rb {CODE}/three.rb"));
    assert_eq!(host.patch().await.0, 0, "the file that dpkg does not know is there already");
    assert_eq!((host.code().as_str(), host.carried().await.as_str()), (AFTER, "1.0-1 applied"));
    host.install("2.0-1");
    let mut next = patch();
    next.version = "2.0-1".parse().unwrap();
    next.files[0] = modify("one.rb", "one 2.0-1\n", "ONE\n");
    next.files[1] = modify("two words.rb", "two 2.0-1\n", "TWO\n");
    next.files[3].change = FileChange::Delete { before: sha256("three 2.0-1\n") };
    assert_eq!(host.perform(Work::Patch(next.clone())).await.0, 0);
    assert_eq!((host.code().as_str(), host.carried().await.as_str()), (AFTER, "2.0-1 applied"));
    assert_eq!(host.perform(Work::Unpatch(next)).await.0, 0);
    assert_eq!(
        (host.code(), host.carried().await),
        (BEFORE.replace("1.0-1", "2.0-1"), String::new())
    );
}

#[tokio::test]
async fn originals_that_the_host_has_lost_can_be_stored_again() {
    let host = Patched::new().await;
    assert_eq!(host.patch().await.0, 0);
    let blobs = format!("/var/lib/serin/patches/{}/blobs", id());
    host.machine.ok(&format!(
        "echo damaged >{blobs}/{}; rm {blobs}/{}",
        sha256("one 1.0-1\n"),
        sha256("three 1.0-1\n")
    ));
    let (status, said) = host.unpatch().await;
    assert!(status == 23 && said.contains("Nothing was changed"), "{said}");
    assert_eq!((host.code().as_str(), host.carried().await.as_str()), (AFTER, "1.0-1 applied"));
    host.store("one 1.0-1\n").await.unwrap();
    host.store("three 1.0-1\n").await.unwrap();
    assert_eq!(host.unpatch().await.0, 0);
    assert_eq!((host.code().as_str(), host.carried().await.as_str()), (BEFORE, ""));
}

#[tokio::test]
async fn an_attempt_that_fails_after_one_that_died_puts_all_back() {
    let host = Patched::new().await;
    host.at_rename(2, "kill -9 0");
    let end = host.machine.hosts("root").run(&host.job(Work::Patch(patch()))).await.unwrap();
    assert!(matches!(end, JobEnd::Exited(end) if end.status == 137));
    host.at_rename(1, "exit 1");
    assert_eq!(host.patch().await.0, 26);
    assert_eq!((host.code().as_str(), host.carried().await.as_str()), (BEFORE, ""));
}

#[tokio::test]
async fn stored_bytes_are_never_taken_for_requests() {
    let host = Patched::new().await;
    let hosts = host.machine.hosts("root");
    let store = async |bytes: &[u8]| hosts.store(&web(), Fence(1), &id(), bytes).await;
    store(b"read\n3\n5\ntouch\n/root/run\n").await.unwrap();
    store(b"").await.unwrap();
    store(&vec![b'\n'; 3 << 20]).await.unwrap();
    let all: Vec<u8> = (0..=255).collect();
    store(&all.repeat(1000)).await.unwrap();
    hosts.hello(&web()).await.unwrap();
    assert!(!host.machine.root("/root/run").exists());
    // A disk that takes no more: what is left of the bytes is read all the same.
    host.machine.ok("mkdir /srv/full && mount -t tmpfs -o size=64k tmpfs /srv/full && \
         mv /var/lib/serin /srv/serin && ln -s /srv/full /var/lib/serin && cp -a /srv/serin/fence /srv/full/");
    let large = b"read\n3\n5\ntouch\n/root/run\n".repeat(40_000);
    let refused = store(&large).await.unwrap_err();
    assert!(
        matches!(&refused, PortError::Refused(why) if why.contains("cannot write")),
        "{refused}"
    );
    host.machine.ok("rm /var/lib/serin && umount /srv/full && mv /srv/serin /var/lib/serin");
    hosts.hello(&web()).await.unwrap();
    assert!(!host.machine.root("/root/run").exists());
    let left = host.machine.ok("ls -A /var/lib/serin | grep blob || true");
    assert_eq!(left, "", "no part of it is left");
}

#[tokio::test]
async fn a_connection_that_was_cut_while_storing_leaves_nothing() {
    let host = Patched::new().await;
    let machine = &host.machine;
    machine.ok("mkfifo /root/slow; cat >/usr/local/bin/head <<'END'\n#!/bin/sh\n\
         case $2 in 1000000) echo >/root/begun; /usr/bin/head -c 1000; exec sleep 1000;; esac; exec /usr/bin/head \"$@\"\n\
         END\nchmod 755 /usr/local/bin/head");
    let hosts = machine.hosts("root");
    let large = vec![b'x'; 1_000_000];
    let storing = tokio::spawn(async move { hosts.store(&web(), Fence(1), &id(), &large).await });
    let begun = machine.root("/root/begun");
    crate::machine::until_async("bytes arrive", || begun.exists()).await;
    machine
        .ok("rm /usr/local/bin/head; kill -9 $(pgrep -f '[s]shd: root'); pkill -x sleep || true");
    let lost = storing.await.unwrap();
    assert!(matches!(lost, Err(PortError::Unreachable { .. })) || lost.is_ok(), "{lost:?}");
    until("nothing is left of what arrived", || {
        machine.ok("ls -A /var/lib/serin").lines().all(|name| !name.contains("blob"))
    });
    assert_eq!(host.patch().await.0, 0);
}
