//! Fetching and installing, with the real apt and dpkg, from a repository on the machine's own disk.

use crate::machine::{Machine, done, run, until, until_async, web};
use serin_model::plan::Action;
use serin_model::{Build, BuildKind, HostObservation, PackageState, StepId};
use serin_runtime::ports::{Fence, HostPort, HostQuery, Job, JobEnd, Work};
use std::fs;
use std::process::Command;
use std::time::Duration;

/// A machine with a repository of versions of the package `demo`.
pub(crate) struct Shop {
    pub(crate) machine: Machine,
    jobs: std::cell::Cell<u32>,
}

impl Shop {
    pub(crate) fn open() -> Self {
        let machine = Machine::start();
        fs::create_dir_all(machine.root("/srv/repo")).unwrap();
        machine.ok("rm -rf /etc/apt/sources.list.d/* /etc/apt/sources.list; mkdir -p /srv/conf; \
             echo 'deb [trusted=yes] copy:/srv/repo ./' >/etc/apt/sources.list");
        let shop = Self { machine, jobs: 1.into() };
        shop.publish("demo", "1.0-1", "", "exit 0");
        shop.publish("demo", "2.0-1", "", "exit 0");
        shop
    }

    /// Adds a package to the repository and to its index.
    pub(crate) fn publish(&self, package: &str, version: &str, field: &str, postinst: &str) {
        let tree = self.machine.path(&format!("{package}-{version}"));
        fs::create_dir_all(tree.join("DEBIAN")).unwrap();
        fs::create_dir_all(tree.join("usr/share/demo")).unwrap();
        fs::create_dir_all(tree.join("etc")).unwrap();
        fs::write(tree.join("usr/share/demo").join(package), version).unwrap();
        fs::write(tree.join("etc").join(format!("{package}.conf")), version).unwrap();
        fs::write(tree.join("DEBIAN/conffiles"), format!("/etc/{package}.conf\n")).unwrap();
        let field = if field.is_empty() { String::new() } else { format!("{field}\n") };
        let control = format!(
            "Package: {package}\nVersion: {version}\nArchitecture: all\nMaintainer: T <t@example.com>\n\
             {field}Description: test\n"
        );
        fs::write(tree.join("DEBIAN/control"), control).unwrap();
        fs::write(tree.join("DEBIAN/postinst"), format!("#!/bin/sh\n{postinst}\n")).unwrap();
        done(Command::new("chmod").arg("755").arg(tree.join("DEBIAN/postinst")));
        let sums = "find usr -type f -exec md5sum {} + >DEBIAN/md5sums";
        done(Command::new("sh").args(["-c", sums]).current_dir(&tree));
        let pool = self.machine.root("/srv/repo");
        done(Command::new("dpkg-deb").args(["--root-owner-group", "-b"]).arg(&tree).arg(&pool));
        self.index();
    }

    pub(crate) fn index(&self) {
        let script = "apt-ftparchive packages . >Packages && apt-ftparchive release . >Release";
        done(Command::new("sh").args(["-c", script]).current_dir(self.machine.root("/srv/repo")));
    }

    pub(crate) fn build(&self, version: &str) -> Build {
        let name = version.rsplit(':').next().unwrap();
        let file = self.machine.root(&format!("/srv/repo/demo_{name}_all.deb"));
        let sum = Command::new("sha256sum").arg(&file).output().unwrap().stdout;
        let sha256 = String::from_utf8(sum).unwrap().split(' ').next().unwrap().parse().unwrap();
        let size = fs::metadata(file).unwrap().len();
        let (package, version) = ("demo".parse().unwrap(), version.parse().unwrap());
        Build { package, version, sha256, size, kind: BuildKind::Official }
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
    pub(crate) async fn perform(&self, work: Work) -> (i32, String) {
        let end = self.machine.hosts("root").run(&self.job(work)).await.unwrap();
        let JobEnd::Exited(end) = end else { panic!("{end:?}") };
        let last = end.output.lines().last().unwrap_or_default().to_owned();
        if std::env::var_os("SERIN_TEST_LOGS").is_some() {
            println!("{}", end.output);
        }
        (end.status, last)
    }

    pub(crate) async fn fetch_and_install(&self, build: &Build) {
        let (status, last) = self.perform(Work::Fetch(build.clone())).await;
        assert_eq!(status, 0, "{last}");
        let (status, last) = self.perform(Work::Install(build.clone())).await;
        assert_eq!((status, last), (0, format!("serin: installed demo {}", build.version)));
        assert_eq!(self.package().await, PackageState::Installed(build.version.clone()));
    }

    async fn package(&self) -> PackageState {
        self.observe().await.package
    }

    pub(crate) async fn observe(&self) -> HostObservation {
        let query = HostQuery {
            host: web(),
            package: "demo".parse().unwrap(),
            profile: crate::observe::profile(),
            services: Vec::new(),
            config_management: None,
            look: serin_runtime::ports::Look::State,
        };
        self.machine.hosts("root").observe(&query).await.unwrap()
    }
}

#[tokio::test]
async fn a_build_is_fetched_and_installed_upwards_and_downwards() {
    let shop = Shop::open();
    assert_eq!(shop.package().await, PackageState::Absent);
    let (one, two) = (shop.build("1.0-1"), shop.build("2.0-1"));
    shop.fetch_and_install(&one).await;
    // A changed configuration file is kept, without a question.
    fs::write(shop.machine.root("/etc/demo.conf"), "mine").unwrap();
    shop.fetch_and_install(&two).await;
    assert_eq!(shop.machine.ok("cat /etc/demo.conf /usr/share/demo/demo"), "mine2.0-1");
    shop.fetch_and_install(&one).await;
    shop.publish("demo", "1:0.5-1", "", "exit 0");
    shop.fetch_and_install(&shop.build("1:0.5-1")).await;
    // Nothing is fetched twice, not even from a repository that is gone.
    shop.machine.ok("rm -r /srv/repo");
    let (status, last) = shop.perform(Work::Fetch(two.clone())).await;
    assert_eq!(
        (status, last.as_str()),
        (0, "serin: /var/cache/apt/archives/demo_2.0-1_all.deb was there already")
    );
    let (status, _) = shop.perform(Work::Install(two.clone())).await;
    assert_eq!(status, 0);
    let (status, last) = shop.perform(Work::Install(two)).await;
    assert_eq!((status, last.as_str()), (0, "serin: demo 2.0-1 was installed already"));
}

#[tokio::test]
async fn only_the_pinned_bytes_are_fetched_and_installed() {
    let shop = Shop::open();
    let build = shop.build("2.0-1");
    let mut other = build.clone();
    other.sha256 = "0".repeat(64).parse().unwrap();
    let (status, last) = shop.perform(Work::Fetch(other.clone())).await;
    let expected = format!(
        "serin: the repository has demo 2.0-1 with SHA-256 {}, not {}",
        build.sha256, other.sha256
    );
    assert_eq!((status, last), (11, expected));

    let (status, last) = shop.perform(Work::Install(build.clone())).await;
    assert_eq!(status, 10, "{last}");
    assert!(
        last.ends_with("is not in /var/cache/apt/archives: it must be fetched first"),
        "{last}"
    );

    assert_eq!(shop.perform(Work::Fetch(build.clone())).await.0, 0);
    shop.machine.ok("cd /var/cache/apt/archives && printf x | dd of=demo_2.0-1_all.deb conv=notrunc 2>/dev/null");
    assert_eq!(
        shop.perform(Work::Install(build.clone())).await.0,
        10,
        "other bytes of the same size"
    );
    assert_eq!(shop.package().await, PackageState::Absent);
    assert_eq!(shop.perform(Work::Fetch(build.clone())).await.0, 0, "they are fetched anew");

    // The index is honest, and the file is not.
    shop.machine.ok("rm /var/cache/apt/archives/*.deb; printf x | dd of=/srv/repo/demo_2.0-1_all.deb conv=notrunc 2>/dev/null");
    let (status, last) = shop.perform(Work::Fetch(build.clone())).await;
    assert_eq!(status, 15, "{last}");
    assert!(last.starts_with("serin: cannot fetch demo 2.0-1: "), "{last}");
}

#[tokio::test]
async fn a_version_that_no_repository_has_is_said_to_be_missing() {
    let shop = Shop::open();
    let mut build = shop.build("2.0-1");
    build.version = "9.9-9".parse().unwrap();
    let (status, last) = shop.perform(Work::Fetch(build.clone())).await;
    assert_eq!((status, last.as_str()), (13, "serin: no repository of this host has demo 9.9-9"));
    shop.machine.ok("rm -r /srv/repo");
    let (status, last) = shop.perform(Work::Fetch(build)).await;
    assert_eq!(status, 15);
    assert!(last.starts_with("serin: cannot update apt's lists: "), "{last}");
}

#[tokio::test]
async fn another_repository_that_is_down_does_not_matter() {
    let shop = Shop::open();
    let other = "deb [trusted=yes] copy:/srv/nowhere ./\n";
    fs::write(shop.machine.root("/etc/apt/sources.list.d/other.list"), other).unwrap();
    let (status, last) = shop.perform(Work::Fetch(shop.build("2.0-1"))).await;
    assert_eq!(
        (status, last.as_str()),
        (0, "serin: fetched /var/cache/apt/archives/demo_2.0-1_all.deb")
    );
}

#[tokio::test]
async fn a_half_configured_package_is_mended_by_the_next_install() {
    let shop = Shop::open();
    shop.publish("demo", "2.1-1", "", "[ ! -e /etc/broken ] || exit 3");
    let (good, bad) = (shop.build("2.0-1"), shop.build("2.1-1"));
    shop.fetch_and_install(&good).await;
    shop.machine.ok("touch /etc/broken");
    assert_eq!(shop.perform(Work::Fetch(bad.clone())).await.0, 0);
    let (status, last) = shop.perform(Work::Install(bad.clone())).await;
    let why =
        "installed demo package post-installation script subprocess returned error exit status 3";
    assert_eq!(status, 15);
    assert!(
        last.starts_with("serin: installing demo 2.1-1 failed: ") && last.ends_with(why),
        "{last}"
    );
    let broken =
        PackageState::Broken { version: bad.version.clone(), state: "half-configured".into() };
    assert_eq!(shop.package().await, broken);
    // Back to the old version, though what is there cannot be configured.
    shop.fetch_and_install(&good).await;
    assert_eq!(shop.perform(Work::Install(bad.clone())).await.0, 15);
    shop.machine.ok("rm /etc/broken");
    let (status, last) = shop.perform(Work::Install(bad)).await;
    assert_eq!((status, last.as_str()), (0, "serin: demo 2.1-1 was installed already"), "repaired");
}

#[tokio::test]
async fn a_dpkg_that_was_killed_is_mended() {
    let shop = Shop::open();
    shop.publish("demo", "2.1-1", "", "[ -e /root/go ] || { touch /root/hangs; sleep 1000; }");
    let (good, hanging) = (shop.build("2.0-1"), shop.build("2.1-1"));
    shop.fetch_and_install(&good).await;
    assert_eq!(shop.perform(Work::Fetch(hanging.clone())).await.0, 0);
    let (hosts, job) = (shop.machine.hosts("root"), shop.job(Work::Install(hanging.clone())));
    let running = tokio::spawn(async move { hosts.run(&job).await });
    let hangs = shop.machine.root("/root/hangs");
    until_async("the package hangs", || hangs.exists()).await;
    // Everything at once: apt, dpkg, the script, the supervisor.
    shop.machine.ok("kill -9 $(pgrep -f '[s]upervise|[a]pt-get|[d]pkg|[s]leep 1000')");
    assert!(matches!(running.await.unwrap().unwrap(), JobEnd::Died { .. }));
    assert!(matches!(shop.package().await, PackageState::Broken { .. }));
    shop.machine.ok("touch /root/go");
    // A broken package does not keep its successor from being fetched.
    shop.machine.ok("rm /var/cache/apt/archives/*.deb");
    shop.fetch_and_install(&good).await;

    // In the middle of unpacking: what dpkg calls half-installed.
    shop.machine.ok("sed -i '/^Package: demo$/,/^$/s/^Status: .*/Status: install reinstreq half-installed/' /var/lib/dpkg/status");
    let state = PackageState::Broken {
        version: good.version.clone(),
        state: "half-installed,reinstreq".into(),
    };
    assert_eq!(shop.package().await, state);
    shop.machine.ok("rm /var/cache/apt/archives/*.deb");
    shop.fetch_and_install(&hanging).await;
    shop.machine.ok("sed -i '/^Package: demo$/,/^$/s/^Status: .*/Status: install reinstreq half-installed/' /var/lib/dpkg/status");
    shop.fetch_and_install(&hanging).await;
}

#[tokio::test]
async fn locks_of_another_apt_are_waited_for() {
    let shop = Shop::open();
    let build = shop.build("2.0-1");
    shop.machine.ok("mkdir -p /var/lib/apt/lists /var/cache/apt/archives");
    for (lock, work) in [
        ("/var/lib/apt/lists/lock", Work::Fetch(build.clone())),
        ("/var/cache/apt/archives/lock", Work::Fetch(build.clone())),
        ("/var/lib/dpkg/lock-frontend", Work::Install(build.clone())),
    ] {
        // struct flock of this machine's Linux: l_type, l_whence, padding, l_start, l_len, l_pid.
        let perl = "open F, \">>\", shift; my $l = pack(\"s s l q q l l\", 1, 0, 0, 0, 0, 0, 0); fcntl(F, 6, $l) or die; \
             open G, \">/root/held\"; until (-e \"/root/go\") { select undef, undef, undef, 0.05 }";
        shop.machine.ok(&format!(
            "rm -f /root/go /root/held; (perl -e '{perl}' {lock} >/dev/null 2>&1 </dev/null &)"
        ));
        until("the lock is held", || shop.machine.root("/root/held").exists());
        let (hosts, job) = (shop.machine.hosts("root"), shop.job(work));
        let log = shop.machine.root(&format!(
            "/var/lib/serin/jobs/r-1-0/{}/log.1",
            job.step.as_str().replace('/', "__")
        ));
        let running = tokio::spawn(async move { hosts.run(&job).await });
        let waits =
            || fs::read_to_string(&log).is_ok_and(|text| text.contains("Could not get lock"));
        until_async("it waits for the lock", waits).await;
        fs::write(shop.machine.root("/root/go"), "").unwrap();
        let end = running.await.unwrap().unwrap();
        assert!(matches!(&end, JobEnd::Exited(end) if end.status == 0), "{lock}: {end:?}");
        if lock.contains("lists") {
            shop.machine.ok("rm /var/cache/apt/archives/*.deb");
        }
    }
}

#[tokio::test]
async fn an_apt_hold_is_still_there_afterwards() {
    let shop = Shop::open();
    shop.fetch_and_install(&shop.build("1.0-1")).await;
    shop.machine.ok("apt-mark hold demo");
    shop.fetch_and_install(&shop.build("2.0-1")).await;
    assert_eq!(shop.machine.ok("apt-mark showhold"), "demo\n");
}

#[tokio::test]
async fn an_install_that_would_remove_something_else_is_refused() {
    let shop = Shop::open();
    shop.publish("bystander", "1.0", "", "exit 0");
    shop.publish("demo", "3.0-1", "Conflicts: bystander", "exit 0");
    shop.fetch_and_install(&shop.build("1.0-1")).await;
    shop.machine.ok("apt-get -qq install bystander");
    let build = shop.build("3.0-1");
    assert_eq!(shop.perform(Work::Fetch(build.clone())).await.0, 0);
    let (status, last) = shop.perform(Work::Install(build)).await;
    assert_eq!(
        (status, last.as_str()),
        (12, "serin: installing demo 3.0-1 would remove: bystander ")
    );
    assert_eq!(shop.machine.ok("dpkg-query -Wf '${db:Status-Abbrev}' demo bystander"), "ii ii ");
}

#[tokio::test]
async fn a_version_that_the_repository_has_pruned_is_installed_from_the_hosts_own_cache() {
    let shop = Shop::open();
    let (old, new) = (shop.build("1.0-1"), shop.build("2.0-1"));
    shop.fetch_and_install(&old).await;
    shop.fetch_and_install(&new).await;
    fs::remove_file(shop.machine.root("/srv/repo/demo_1.0-1_all.deb")).unwrap();
    shop.index();
    shop.machine.ok("apt-get -q update");
    shop.fetch_and_install(&old).await;
}

#[tokio::test]
async fn a_host_knows_which_bytes_it_has_until_somebody_else_installs_others() {
    let shop = Shop::open();
    assert_eq!(shop.observe().await.sha256, None);
    let (old, new) = (shop.build("1.0-1"), shop.build("2.0-1"));
    shop.fetch_and_install(&old).await;
    assert_eq!(shop.observe().await.sha256, Some(old.sha256));
    shop.fetch_and_install(&new).await;
    assert_eq!(shop.observe().await.sha256, Some(new.sha256));
    shop.machine.ok("apt-get -y -q --allow-downgrades install demo=1.0-1");
    assert_eq!(shop.observe().await.sha256, None, "nobody has proven these");
}
