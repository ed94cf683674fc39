//! Observing a host: its whole state in one round trip.

use crate::machine::{Machine, until, web};
use serin_model::policy::Migrations;
use serin_model::{Argv, ConfigManagementState, DebVersion, PackageState, Profile};
use serin_runtime::ports::{Fence, HostPort, HostQuery, PortError};
use std::fs;
use std::time::{Duration, Instant};

fn argv(words: &[&str]) -> Argv {
    Argv::new(words.iter().copied()).unwrap()
}

/// A profile whose services are asked by files in `/srv/run`.
pub(crate) fn profile() -> Profile {
    Profile {
        name: "test".into(),
        required_files: vec!["/etc/passwd".into(), "/etc/skip auto".into()],
        check_config: None,
        reconfigure: None,
        hup: argv(&["true"]),
        restart: argv(&["true"]),
        service_pid: argv(&["cat", "/srv/run/{service}.pid"]),
        running_version: Some(argv(&["cat", "/srv/run/{service}.version"])),
        migrations: Some(Migrations {
            regular: argv(&["true"]),
            post_deployment: argv(&["true"]),
            status: argv(&["sh", "-c", "cat $LIST"]),
            regular_folder: "/srv/migrate".into(),
            post_deployment_folder: "/srv/post_migrate".into(),
            no_session: argv(&["true"]),
            environment: [("LIST".to_owned(), "/srv/list".to_owned())].into(),
            timeout: Duration::from_secs(10),
        }),
        install_timeout: Duration::from_mins(1),
        command_timeout: Duration::from_mins(1),
    }
}

pub(crate) fn query() -> HostQuery {
    HostQuery {
        host: web(),
        package: "coreutils".parse().unwrap(),
        profile: profile(),
        services: Vec::new(),
        config_management: None,
        look: serin_runtime::ports::Look::State,
    }
}

#[tokio::test]
async fn services_are_seen_with_pid_version_and_age() {
    let machine = Machine::start();
    let hosts = machine.hosts("root");
    machine.ok("mkdir -p /srv/run; cd /srv/run; sleep 0.1; touch /var/lib/dpkg/info/coreutils.list; sleep 0.1; \
         (sleep 1000 >/dev/null 2>&1 </dev/null & echo $! >new.pid); echo 2.0-1 >new.version; \
         echo 1 >old.pid; echo '1.0-1 extra' >old.version; : >down.pid; cp new.pid mute.pid; echo 999999 >gone.pid; \
         cp new.pid odd.pid; echo 'not a version' >odd.version");
    let mut query = query();
    let names = ["new", "old", "down", "mute", "gone", "unknown", "odd"];
    query.services = names.iter().map(|name| name.parse().unwrap()).collect();
    query.profile.service_pid = argv(&["sh", "-c", "cat /srv/run/$0.pid || exit 4", "{service}"]);
    let pid: u32 = machine.ok("cat /srv/run/new.pid").trim().parse().unwrap();
    let seen = hosts.observe(&query).await.unwrap();
    let told: Vec<String> = (seen.services.iter())
        .map(|(name, service)| {
            let version = service.version.as_ref().map(DebVersion::as_str);
            format!("{name} {:?} {version:?} {}", service.pid, service.older_than_package)
        })
        .collect();
    let expected = [
        "down None None false".to_owned(),
        "gone None None false".to_owned(),
        format!("mute Some({pid}) None true"),
        format!("new Some({pid}) Some(\"2.0-1\") false"),
        format!("odd Some({pid}) None true"),
        "old Some(1) Some(\"1.0-1\") true".to_owned(),
    ];
    assert_eq!(told, expected);
    query.profile.running_version = None;
    let seen = hosts.observe(&query).await.unwrap();
    let mute = &seen.services[&"mute".parse().unwrap()];
    assert!(mute.version.is_none() && !mute.older_than_package, "its age is enough");
}

#[tokio::test]
async fn the_rest_of_a_host_is_seen() {
    let mut machine = Machine::start();
    let hosts = machine.hosts("release");
    hosts.raise_fence(&web(), Fence(12)).await.unwrap();
    let mut query = query();
    query.config_management = Some(argv(&["test", "-e", "/srv/converging"]));
    let seen = hosts.observe(&query).await.unwrap();
    assert!(matches!(seen.package, PackageState::Installed(_)));
    assert_eq!((seen.fence, seen.missing_files), (12, vec!["/etc/skip auto".to_owned()]));
    assert!(seen.free_bytes > 1_000_000);
    assert_eq!(seen.config_management, ConfigManagementState::Stopped);
    assert_eq!(seen.pending_migrations, None);
    fs::write(machine.root("/srv/converging"), "").unwrap();
    let again = hosts.observe(&query).await.unwrap();
    assert_eq!(again.config_management, ConfigManagementState::Running);
    assert_eq!(again.boot, seen.boot);
    query.config_management = Some(argv(&["nosuch"]));
    let error = hosts.observe(&query).await.unwrap_err();
    assert!(matches!(&error, PortError::Garbled(why) if why.contains("nosuch")), "{error}");
    machine.power_off();
    machine.boot();
    query.config_management = None;
    let seen_after = hosts.observe(&query).await.unwrap();
    assert_ne!(seen_after.boot, seen.boot, "another start of the same machine");
    assert_eq!(seen_after.config_management, ConfigManagementState::None);
}

#[tokio::test]
async fn migrations_that_are_pending_are_told_apart_by_their_folder() {
    let machine = Machine::start();
    let hosts = machine.hosts("root");
    let mut query = query();
    query.look = serin_runtime::ports::Look::Migrations;
    assert_eq!(hosts.observe(&query).await.unwrap().pending_migrations, None, "no list, no answer");
    let list = "\ndatabase: main\n\n Status   Migration ID    Migration Name\n-----\n   up     20230101  Add A\n  \
         down    20230102  Add B\n  down    20230103  Drop C\n";
    fs::write(machine.root("/srv/list"), list).unwrap();
    machine.ok(
        "cd /srv; mkdir migrate post_migrate; touch migrate/20230101_a.rb migrate/20230102_b.rb",
    );
    assert_eq!(hosts.observe(&query).await.unwrap().pending_migrations, None, "one has no file");
    fs::write(machine.root("/srv/post_migrate/20230103_c.rb"), "").unwrap();
    let pending = hosts.observe(&query).await.unwrap().pending_migrations;
    assert_eq!(pending, Some((vec!["20230102".to_owned()], vec!["20230103".to_owned()])));
    fs::write(machine.root("/srv/list"), list.replace("down", " up ")).unwrap();
    let pending = hosts.observe(&query).await.unwrap().pending_migrations;
    assert_eq!(pending, Some((Vec::new(), Vec::new())));
    fs::write(machine.root("/srv/list"), "rails is not amused\n").unwrap();
    assert_eq!(hosts.observe(&query).await.unwrap().pending_migrations, None);
}

#[tokio::test]
async fn a_host_whose_disk_is_full_is_still_observed() {
    let machine = Machine::start();
    machine.ok("mkdir -p /var/lib/serin && mount -t tmpfs -o size=64k tmpfs /var/lib/serin && mkdir /var/lib/serin/jobs");
    let hosts = machine.hosts("root");
    hosts.hello(&web()).await.unwrap();
    machine.sh("head -c 100000 /dev/zero >/var/lib/serin/fill; true");
    let said = hosts.hello(&web()).await.unwrap_err();
    assert_eq!(said, PortError::Refused("cannot write to /var/lib/serin".into()));
    let fenced = hosts.raise_fence(&web(), Fence(1)).await.unwrap_err();
    assert_eq!(fenced, PortError::Refused("cannot write /var/lib/serin/fence".into()));
    assert_eq!(hosts.observe(&query()).await.unwrap().fence, 0);
}

/// Prints what the wrapper costs; the bound only catches what is absurd on a machine that is busy with other tests.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "this measures")]
async fn an_observation_and_a_job_cost_little() {
    let machine = Machine::start();
    let hosts = machine.hosts("root");
    machine.ok("mkdir -p /srv/run; echo 1 >/srv/run/puma.pid; echo 1.0-1 >/srv/run/puma.version");
    let mut query = query();
    query.services = vec!["puma".parse().unwrap()];
    hosts.observe(&query).await.unwrap();
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..20 {
        let began = Instant::now();
        hosts.hello(&web()).await.unwrap();
        times[0].push(began.elapsed());
        let began = Instant::now();
        hosts.observe(&query).await.unwrap();
        times[1].push(began.elapsed());
        let began = Instant::now();
        crate::jobs::run_true(&hosts, round).await;
        times[2].push(began.elapsed());
    }
    for (what, times) in ["hello", "observe", "start and wait for true"].iter().zip(&mut times) {
        times.sort();
        println!("{what}: median {:?}, worst {:?}", times[10], times[19]);
        assert!(times[10] < Duration::from_secs(1), "{what}: {times:?}");
    }
    until("nothing is left of the jobs", || !machine.sh("pgrep -f '[s]upervise'").status.success());
}
