//! `serin doctor`: that nothing that Serin needs is served by what it deploys.

use crate::support::World;

/// Alerts of production, from an Alertmanager somewhere.
fn alerts(alertmanager: &str) -> String {
    format!(
        "serves = [\"gitlab.example.com\"]\n[environments.production.alerts]\n\
         alertmanagers = [\"{alertmanager}\"]\nprometheus = [\"http://127.0.0.1:1\"]\n\
         matchers = ['env=\"gprd\"']\nwatchdog = ['alertname=\"Watchdog\"']\n"
    )
}

#[test]
fn what_serin_needs_is_not_served_by_what_it_deploys() {
    let apart =
        "none of 3 services that Serin needs is on any of 8 hosts and names that it deploys";
    World::new(&alerts("http://127.0.0.1:2")).serin(&["doctor"]).is(9, &[apart]);
    for (alertmanager, what) in [
        (
            "http://me:secret@Web-01.gprd:9093/x",
            "is on web-01.gprd, which runs of production would",
        ),
        ("http://lb-01.gprd", "is on lb-01.gprd, a load balancer of production"),
        ("https://gitlab.example.com/x", "is on gitlab.example.com, which production serves"),
    ] {
        let said = World::new(&alerts(alertmanager)).serin(&["doctor"]);
        said.is(9, &["PROBLEM  the Alertmanager http", what]);
        assert!(!said.out.contains("secret"), "{said:?}");
    }
}

#[test]
fn another_name_for_the_same_address_is_found_out() {
    let more = alerts("http://10.1.2.3:9093") + "[ssh]\nconfig = \"ssh_config\"\n";
    let world = World::new(&more);
    let alias = "Host web-cny-01.gprd\n  HostName 10.1.2.3\n";
    std::fs::write(world.path("ssh_config"), alias).unwrap();
    let found =
        "http://10.1.2.3:9093 is on 10.1.2.3 (as web-cny-01.gprd), which runs of production";
    world.serin(&["doctor"]).is(9, &[found]);
}
