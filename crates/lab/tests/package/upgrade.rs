//! Installing, upgrading and downgrading as a fleet does it, and what the maintainer scripts do when nobody stops them.

use crate::host::{Database, Host};

const WEB: &str = "ROLES=web,gitaly,sidekiq\nGITALY=127.0.0.1:8075";

fn configured(version: &str) -> Host {
    let host = Host::start(WEB);
    host.sh("touch /etc/gitlab/skip-auto-reconfigure").ok();
    host.install(version, None).ok();
    host.sh("gitlab-ctl reconfigure").ok();
    host.until(
        "curl -fs http://127.0.0.1:8080/-/readiness && curl -fs http://127.0.0.1:8075/-/readiness",
    );
    host
}

#[test]
#[ignore = "needs root"]
fn a_new_package_runs_only_after_each_service_was_told() {
    let host = configured("16.0.0-ee.0");
    let said = host.install("16.1.0-ee.0", None).ok();
    assert!(said.contains("Found /etc/gitlab/skip-auto-reconfigure, exiting..."), "{said}");
    assert_eq!(host.package_state(), "install installed ok 16.1.0-ee.0");
    let reconfigured = "cat /var/opt/gitlab/gitlab-rails/VERSION";
    assert_eq!(host.sh(reconfigured).ok(), "16.0.0-ee\n");
    assert_eq!([8080, 8075].map(|port| host.running(port)), ["16.0.0-ee.0", "16.0.0-ee.0"]);

    host.sh("gitlab-ctl reconfigure").ok();
    assert_eq!(host.sh(reconfigured).ok(), "16.1.0-ee\n");
    assert_eq!(host.running(8080), "16.0.0-ee.0", "reconfigure restarts nothing");

    assert_eq!(host.sh("gitlab-ctl hup puma").ok(), "", "hup says nothing and returns at once");
    host.until("curl -s http://127.0.0.1:8080/-/version | grep -q 16.1.0-ee.0");
    assert_eq!(host.running(8075), "16.0.0-ee.0");
    let pid = "cat /opt/gitlab/sv/gitaly/supervise/pid";
    let wrapper = host.sh(pid).ok();
    host.sh("gitlab-ctl hup gitaly").ok();
    host.until("curl -s http://127.0.0.1:8075/-/version | grep -q 16.1.0-ee.0");
    assert_eq!(host.sh(pid).ok(), wrapper, "runit sees the same process");
}

#[test]
#[ignore = "needs root"]
fn a_downgrade_is_an_upgrade_backwards() {
    let host = configured("16.1.0-ee.0");
    let said = host.install("16.0.0-ee.0", None).ok();
    assert!(said.contains("downgrading gitlab-ee"), "{said}");
    host.sh("gitlab-ctl restart puma").ok();
    host.until("curl -s http://127.0.0.1:8080/-/version | grep -q 16.0.0-ee.0");
}

#[test]
#[ignore = "needs root"]
fn preinst_refuses_what_omnibus_refuses_and_leaves_the_old_package() {
    let host = configured("15.5.0-ee.0");
    let old = "install installed ok 15.5.0-ee.0";

    let far = host.install("16.0.0-ee.0", None);
    assert_eq!(far.code, Some(1), "{far:?}");
    assert!(far.text.contains("upgrade to the latest 15.11.x version first"), "{far:?}");
    assert_eq!(host.package_state(), old);

    host.sh("echo \"gitlab_rails['removed_setting'] = 1\" >>/etc/gitlab/gitlab.rb").ok();
    assert_eq!(host.sh("gitlab-ctl check-config --version=15.6.0").code, Some(1));
    let removed = host.install("15.6.0-ee.0", None);
    assert_eq!(removed.code, Some(1), "{removed:?}");
    assert!(removed.text.contains("removed_setting has been removed"), "{removed:?}");
    assert_eq!(host.package_state(), old);
    assert_eq!(host.running(8080), "15.5.0-ee.0");

    host.sh("touch /etc/gitlab/skip-fail-config-check").ok();
    host.install("15.6.0-ee.0", None).ok();
}

#[test]
#[ignore = "needs root"]
fn without_the_skip_file_an_install_migrates_and_restarts() {
    let database = Database::start();
    let host = Host::start_with_database(WEB, &database);
    host.install("16.0.0-ee.0", None).ok();
    host.sh("gitlab-ctl reconfigure").ok();
    host.until("curl -fs http://127.0.0.1:8080/-/readiness");
    let migrations = "SELECT count(*) FROM migration_log";
    assert_eq!(database.value(migrations), "8", "five of the base, three of the version");

    let said = host.install("16.1.0-ee.0", None).ok();

    assert!(said.contains("ok: down: puma") && said.contains("Upgrade complete!"), "{said}");
    assert_eq!(database.value(migrations), "11", "three of the version, nothing twice");
    host.until("curl -s http://127.0.0.1:8080/-/version | grep -q 16.1.0-ee.0");
    host.until("curl -s http://127.0.0.1:8075/-/version | grep -q 16.1.0-ee.0");
    host.until("curl -fs http://127.0.0.1:8080/group/project");
    let status = host.sh("gitlab-rake db:migrate:status").ok();
    assert_eq!(status.matches("   up     ").count(), 11, "{status}");
    assert_eq!(status.matches("NO FILE").count(), 3, "{status}");
    assert_eq!(database.value("SELECT count(*) FROM pg_index WHERE NOT indisvalid"), "0");
}

#[test]
#[ignore = "needs root"]
fn a_purge_leaves_the_configuration_only() {
    let host = configured("16.0.0-ee.0");
    host.sh("dpkg --purge gitlab-ee").ok();
    assert_eq!(host.sh("ls /etc/service; ls /usr/bin | grep gitlab; pgrep serin-standin").text, "");
    assert_eq!(host.sh("test -e /opt/gitlab || test -e /var/log/gitlab").code, Some(1));
    host.sh("test -e /etc/gitlab/gitlab.rb").ok();
}
