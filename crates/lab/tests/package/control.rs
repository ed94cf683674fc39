//! `gitlab-ctl`: which services a host has, and what its exit codes say and do not say.

use crate::host::Host;

fn host(roles: &str) -> Host {
    let host = Host::start(&format!("ROLES={roles}"));
    host.sh("touch /etc/gitlab/skip-auto-reconfigure").ok();
    host.install("16.0.0-ee.0", None).ok();
    host.sh("gitlab-ctl reconfigure").ok();
    host
}

#[test]
#[ignore = "needs root"]
fn a_host_has_the_services_of_its_roles_and_skips_all_others() {
    let host = host("git,sidekiq");
    let listed = host.sh("gitlab-ctl service-list").ok();
    assert_eq!(listed, "gitaly\npuma\nsidekiq*\nworkhorse*\n");
    assert_eq!(
        host.sh("gitlab-ctl restart gitaly").ok(),
        "",
        "success without having done anything"
    );
    host.until("curl -fs http://127.0.0.1:8080/-/readiness");
    assert!(host.sh("curl -s http://127.0.0.1:8080/-/version").ok().contains("workhorse"));

    host.sh("sed -i s/git,sidekiq/api/ /etc/gitlab/serin-lab.env; gitlab-ctl reconfigure").ok();
    assert_eq!(host.sh("gitlab-ctl service-list").ok(), "gitaly\npuma*\nsidekiq\nworkhorse\n");
    host.until("curl -s http://127.0.0.1:8080/-/version | grep -q puma");
}

#[test]
#[ignore = "needs root"]
fn status_is_what_sv_says_and_its_code_is_the_log_service_s() {
    let host = host("web");
    let up = host.sh("gitlab-ctl status").ok();
    assert!(up.starts_with("run: puma: (pid ") && up.contains("; run: log: (pid "), "{up}");
    host.sh("gitlab-ctl stop puma").ok();
    // sv's own slip, kept: with a log service beside it, a service that is down still gives 0.
    let down = host.sh("gitlab-ctl status").ok();
    assert!(down.starts_with("down: puma: "), "{down}");
    host.sh("rm -r /opt/gitlab/sv/puma/log").ok();
    assert_eq!(host.sh("gitlab-ctl status").code, Some(3));
}

#[test]
#[ignore = "needs root"]
fn sidekiq_goes_quiet() {
    let host = host("sidekiq");
    host.until("curl -fs http://127.0.0.1:8082/-/readiness");
    assert!(host.sh("curl -s http://127.0.0.1:8082/idle").ok().contains("\"fetching\":true"));
    host.sh("gitlab-ctl tstp sidekiq").ok();
    host.until("curl -s http://127.0.0.1:8082/idle | grep -q false");
    host.sh("gitlab-sidekiq-idle").ok();
    host.sh("gitlab-ctl restart sidekiq").ok();
    host.until("curl -s http://127.0.0.1:8082/idle | grep -q true");
}
