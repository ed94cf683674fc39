//! Installations that go wrong or are cut, and how they are put right.

use crate::host::{Database, Host};
use crate::package::Flaw;

#[test]
#[ignore = "needs root"]
fn a_package_that_fails_to_install_is_repaired_by_a_better_one() {
    let host = Host::start("ROLES=web");
    host.sh("touch /etc/gitlab/skip-auto-reconfigure").ok();
    host.install("16.0.0-ee.0", None).ok();
    let broken = host.install("16.1.0-ee.0", Some(Flaw::FailsToInstall));
    assert_eq!(broken.code, Some(1), "{broken:?}");
    assert_eq!(host.package_state(), "install half-configured ok 16.1.0-ee.0");
    host.install("16.0.0-ee.0", None).ok();
    assert_eq!(host.package_state(), "install installed ok 16.0.0-ee.0");
}

#[test]
#[ignore = "needs root"]
fn dpkg_killed_in_the_postinst_is_finished_later() {
    let host = Host::start("ROLES=web\nPOSTINST_SECONDS=30");
    host.sh("touch /etc/gitlab/skip-auto-reconfigure").ok();
    let deb = host.build("16.0.0-ee.0", None);
    let mut cut = host.command(&format!("exec dpkg --install {deb}")).spawn().unwrap();
    host.until("pgrep -x sleep");
    host.sh("pkill -KILL -x dpkg").ok();
    cut.wait().unwrap();
    assert!(host.package_state().contains("half-configured"), "{}", host.package_state());
    host.sh("sed -i /POSTINST_SECONDS/d /etc/gitlab/serin-lab.env; dpkg --configure -a").ok();
    assert_eq!(host.package_state(), "install installed ok 16.0.0-ee.0");
}

#[test]
#[ignore = "needs root"]
fn a_migration_that_fails_half_way_keeps_its_first_half() {
    let database = Database::start();
    let host = Host::start_with_database("ROLES=deploy", &database);
    host.sh("touch /etc/gitlab/skip-auto-reconfigure").ok();
    host.install("16.0.0-ee.0", None).ok();
    host.sh("SKIP_POST_DEPLOYMENT_MIGRATIONS=true gitlab-rake db:migrate").ok();
    assert_eq!(database.value("SELECT count(*) FROM schema_migrations"), "6");
    host.install("16.1.0-ee.0", Some(Flaw::MigrationFailsHalfWay)).ok();

    let failed = host.sh("SKIP_POST_DEPLOYMENT_MIGRATIONS=true gitlab-rake db:migrate");

    assert_eq!(failed.code, Some(1), "{failed:?}");
    assert!(failed.text.contains("all later migrations canceled"), "{failed:?}");
    assert!(failed.text.contains("check constraint \"impossible\""), "{failed:?}");
    assert_eq!(database.value("SELECT count(*) FROM schema_migrations"), "7");
    let status = host.sh("gitlab-rake db:migrate:status").ok();
    assert!(status.contains("  down    30160"), "{status}");
}
