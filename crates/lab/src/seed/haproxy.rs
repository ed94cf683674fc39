//! `haproxy.cfg` of an environment's load balancers; both of production's are the same.
//!
//! Every server is configured with weight 100, canary servers too: a server that is configured with weight 0 can
//! never be raised by a percentage. How much the canary really gets is set at run time, and lost at a reload.
//! Nothing is retried and nothing is sent elsewhere after a failure, so that every failure is seen by the client.

use super::hosts_of;
use crate::text::append;
use crate::topology::{Environment, Fleet, Kind, Topology};

/// The port of the internal canary API endpoint.
pub(crate) const INTERNAL_CANARY_PORT: u16 = 8081;
/// The port of HAProxy's own metrics.
pub(crate) const METRICS_PORT: u16 = 8404;

const HEAD: &str = "\
global
    user haproxy
    group haproxy
    nbthread 2
    maxconn 4000
    stats socket /run/haproxy/admin.sock mode 660 group haproxy level admin expose-fd listeners
    stats timeout 2m

defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    timeout queue 5s
    retries 0
    option httpchk GET /-/readiness
    default-server inter 500ms fall 2 rise 2 weight 100
";

/// Renders the configuration of one environment.
pub(crate) fn render(topology: &Topology, environment: Environment) -> String {
    let mut text = HEAD.to_owned();
    let kinds: Vec<Kind> = [Kind::Web, Kind::Api, Kind::Git]
        .into_iter()
        .filter(|kind| !hosts_of(topology, environment, *kind, None).is_empty())
        .collect();
    let canary_kinds: Vec<Kind> = kinds
        .iter()
        .copied()
        .filter(|kind| !hosts_of(topology, environment, *kind, Some(Fleet::Canary)).is_empty())
        .collect();
    text.push_str(&render_frontends(&kinds, &canary_kinds));
    for kind in &kinds {
        push_backend(&mut text, topology, environment, *kind, None);
    }
    for kind in &canary_kinds {
        push_backend(&mut text, topology, environment, *kind, Some(Fleet::Canary));
    }
    text
}

fn render_frontends(kinds: &[Kind], canary_kinds: &[Kind]) -> String {
    let mut text = String::from(
        "\nfrontend http\n    bind :80\n\
         \x20   acl canary req.cook(gitlab_canary) -m str true\n\
         \x20   acl canary hdr_beg(host) -i canary.\n\
         \x20   acl is_api path_beg /api/\n\
         \x20   acl is_git path_reg \\.git/(info/refs|git-upload-pack|git-receive-pack)$\n",
    );
    // Git first: a repository's path may look like anything. Whoever chose the canary is served by main while the
    // canary is empty.
    for kind in canary_kinds.iter().rev() {
        let condition = condition(*kind);
        let Some(backend) = kind.backend() else { continue };
        append(
            &mut text,
            format_args!(
                "    use_backend canary_{backend} if canary{condition} {{ nbsrv(canary_{backend}) gt 0 }}\n"
            ),
        );
    }
    for kind in kinds.iter().rev().filter(|kind| **kind != Kind::Web) {
        let Some(backend) = kind.backend() else { continue };
        append(&mut text, format_args!("    use_backend {backend} if{}\n", condition(*kind)));
    }
    text.push_str("    default_backend web\n");
    if canary_kinds.contains(&Kind::Api) {
        append(
            &mut text,
            format_args!(
                "\nfrontend internal_canary_api\n    bind :{INTERNAL_CANARY_PORT}\n    \
             default_backend canary_api\n"
            ),
        );
    }
    append(
        &mut text,
        format_args!(
            "\nfrontend metrics\n    bind :{METRICS_PORT}\n    \
         http-request use-service prometheus-exporter if {{ path /metrics }}\n"
        ),
    );
    text
}

fn condition(kind: Kind) -> &'static str {
    match kind {
        Kind::Git => " is_git",
        Kind::Api => " is_api",
        Kind::Web
        | Kind::Deploy
        | Kind::Gitaly
        | Kind::Sidekiq
        | Kind::LoadBalancer
        | Kind::Database
        | Kind::Ops => "",
    }
}

fn push_backend(
    text: &mut String,
    topology: &Topology,
    environment: Environment,
    kind: Kind,
    fleet: Option<Fleet>,
) {
    let (Some(backend), Some(port)) = (kind.backend(), kind.port()) else { return };
    let prefix = if fleet.is_some() { "canary_" } else { "" };
    append(text, format_args!("\nbackend {prefix}{backend}\n"));
    for host in hosts_of(topology, environment, kind, fleet) {
        append(text, format_args!("    server {} {}:{port} check\n", host.label(), host.address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Size;
    use std::process::Command;

    #[test]
    fn main_backends_hold_canary_servers_and_canary_backends_hold_nothing_else() {
        let text = render(&Topology::new(Size::Full), Environment::Production);
        let servers_of = |backend: &str| -> Vec<String> {
            text.split("\nbackend ")
                .find_map(|block| block.strip_prefix(&format!("{backend}\n")))
                .unwrap()
                .lines()
                .map_while(|line| line.trim().strip_prefix("server "))
                .filter_map(|line| line.split(' ').next())
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(servers_of("web"), ["web-01", "web-02", "web-03", "web-cny-01", "web-cny-02"]);
        assert_eq!(servers_of("canary_web"), ["web-cny-01", "web-cny-02"]);
        assert_eq!(servers_of("canary_https_git"), ["git-cny-01"]);
    }

    #[test]
    fn the_small_lab_has_one_backend() {
        let text = render(&Topology::new(Size::Small), Environment::Staging);
        assert_eq!(text.matches("\nbackend ").count(), 1);
        assert!(!text.contains("use_backend"));
    }

    #[test]
    fn haproxy_accepts_every_rendered_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let Ok(version) = Command::new("haproxy").arg("-v").output() else {
            println!("haproxy is not on this machine: its verdict was not asked for");
            return;
        };
        assert!(version.status.success());
        for (size, environment) in [
            (Size::Full, Environment::Staging),
            (Size::Full, Environment::Production),
            (Size::Small, Environment::Staging),
        ] {
            let text = render(&Topology::new(size), environment)
                .replace("user haproxy", "user root")
                .replace("group haproxy", "group root");
            let path = folder.path().join("haproxy.cfg");
            std::fs::write(&path, &text).unwrap();
            let verdict = Command::new("haproxy").args(["-c", "-f"]).arg(&path).output().unwrap();
            let said = String::from_utf8_lossy(&verdict.stderr).into_owned();
            assert!(verdict.status.success(), "{said}\n{text}");
            assert!(!said.contains("WARNING"), "{said}\n{text}");
        }
    }
}
