//! The lab's `serin.toml`: what an operator would write for this installation, with time-compressed bakes.
//!
//! A real bake takes minutes; here it takes seconds, and alerts follow their cause within about three (`seed`).

use crate::text::append;
use crate::topology::{Environment, Fleet, Kind, OPS_ADDRESS, Size, Topology};
use std::path::PathBuf;

/// Where things are that the configuration points to.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    /// The lab's folder.
    pub folder: PathBuf,
    /// The key ring of the package repository.
    pub keyring: PathBuf,
    /// This program: it is also the QA command.
    pub serin_lab: PathBuf,
}

/// Roles in the order in which they are written, each with its settings.
const ROLES: &[(Kind, &str)] = &[
    (Kind::Deploy, "migrations = true\nquiet = \"none\"\n"),
    (
        Kind::Gitaly,
        "stage = \"gitaly\"\nservices = [{ name = \"gitaly\", action = \"hup\", loads = [] }]\n\
         quiet = \"graceful\"\nmax_unavailable = 1\nhealthy_deadline = \"20s\"\n",
    ),
    (
        Kind::Web,
        "services = [{ name = \"puma\", action = \"hup\" }]\nbackends = [\"web\"]\n\
         max_unavailable = \"34%\"\ndrain = { deadline = \"30s\", then = \"fail\" }\n\
         health = \"http://127.0.0.1:8080/-/readiness\"\nhealthy_for = \"1s\"\nhealthy_deadline = \"20s\"\n",
    ),
    (
        Kind::Api,
        "services = [{ name = \"puma\", action = \"hup\" }]\nbackends = [\"api\"]\n\
         max_unavailable = 1\ndrain = { deadline = \"30s\", then = \"fail\" }\n\
         health = \"http://127.0.0.1:8080/-/readiness\"\nhealthy_for = \"1s\"\nhealthy_deadline = \"20s\"\n",
    ),
    (
        Kind::Git,
        "services = [{ name = \"workhorse\", action = \"restart\", loads = [] }]\nbackends = [\"https_git\"]\n\
         max_unavailable = 1\ndrain = { deadline = \"30s\", then = \"kill\" }\n\
         health = \"http://127.0.0.1:8080/-/readiness\"\nhealthy_for = \"1s\"\nhealthy_deadline = \"20s\"\n",
    ),
    (
        Kind::Sidekiq,
        "services = [{ name = \"sidekiq\", action = \"restart\" }]\n\
         quiet = { stop_fetching = [\"gitlab-ctl\", \"tstp\", \"sidekiq\"], \
         idle = [\"/opt/gitlab/bin/gitlab-sidekiq-idle\"], deadline = \"30s\", then = \"proceed\" }\n\
         max_unavailable = 1\n",
    ),
];

/// One stage of a pipeline in the lab.
struct Stage {
    title: &'static str,
    environment: Environment,
    settings: &'static str,
    bake: &'static str,
    size: Option<Size>,
}

const STAGES: &[Stage] = &[
    Stage {
        title: "staging migrations",
        environment: Environment::Staging,
        settings: "work = \"migrations\"\n",
        bake: "2s",
        size: None,
    },
    Stage {
        title: "staging gitaly",
        environment: Environment::Staging,
        settings: "work = \"roles\"\nroles = [\"gitaly\"]\nqa = [\"smoke\"]\n",
        bake: "4s",
        size: None,
    },
    Stage {
        title: "staging fleet",
        environment: Environment::Staging,
        settings: "work = \"roles\"\nroles = [\"web\", \"api\", \"git\", \"sidekiq\"]\n\
                   qa = [\"smoke\"]\n",
        bake: "8s",
        size: Some(Size::Full),
    },
    Stage {
        title: "staging fleet",
        environment: Environment::Staging,
        settings: "work = \"roles\"\nroles = [\"web\"]\nqa = [\"smoke\"]\n",
        bake: "8s",
        size: Some(Size::Small),
    },
    Stage {
        title: "staging post-deployment migrations",
        environment: Environment::Staging,
        settings: "work = \"post-deployment-migrations\"\n",
        bake: "2s",
        size: None,
    },
    Stage {
        title: "production migrations",
        environment: Environment::Production,
        settings: "work = \"migrations\"\nqa = [\"smoke\"]\n",
        bake: "4s",
        size: Some(Size::Full),
    },
    Stage {
        title: "production canary",
        environment: Environment::Production,
        settings: "fleet = \"canary\"\nwork = \"roles\"\nroles = [\"web\", \"api\", \"git\"]\n\
                   share = \"zero-then-after-canary\"\nqa = [\"canary\"]\n",
        bake: "8s",
        size: Some(Size::Full),
    },
];

/// How real traffic proves the canary: a few seconds of it, at the rate of `make demo`.
const EXPOSURE: &str = "exposure = { fleet = \"canary\", share = \"10%\", requests = 50, watch = \"4s\", \
                        deadline = \"60s\" }\n";

const TO_MAIN: &[Stage] = &[
    Stage {
        title: "production gitaly",
        environment: Environment::Production,
        settings: "work = \"roles\"\nroles = [\"gitaly\"]\nqa = [\"smoke\"]\n",
        bake: "4s",
        size: None,
    },
    Stage {
        title: "production fleet",
        environment: Environment::Production,
        settings: "work = \"roles\"\nroles = [\"web\", \"api\", \"git\", \"sidekiq\"]\n\
                   qa = [\"smoke\"]\n",
        bake: "8s",
        size: None,
    },
    Stage {
        title: "production post-deployment migrations",
        environment: Environment::Production,
        settings: "work = \"post-deployment-migrations\"\n",
        bake: "0s",
        size: None,
    },
];

/// Renders `serin.toml`.
pub(crate) fn render(topology: &Topology, paths: &Paths) -> String {
    let folder = paths.folder.display();
    let mut text = format!(
        "# Written by `serin-lab up` and removed by `serin-lab down`: copy it to keep changes.\n\
         [package]\nname = \"gitlab-ee\"\nprofile = \"gitlab-omnibus\"\n\n\
         [profile]\n\
         running_version = [\"/usr/local/bin/running-version\", \"{{service}}\"]\n\n\
         [repository]\nurl = \"http://{OPS_ADDRESS}/repo\"\nsuite = \"bookworm\"\n\
         keyring = \"{}\"\ndowngrades = [\"candidate\", \"official\"]\n\n\
         [[repository.kinds]]\nkind = \"nightly\"\nversion = \"*+rnightly*\"\n\
         [[repository.kinds]]\nkind = \"candidate\"\nversion = \"*-rc*\"\n\
         [[repository.kinds]]\nkind = \"official\"\nversion = \"*-ee.*\"\n\n\
         [journal]\npath = \"{folder}/journal.db\"\n\n\
         [ssh]\nconfig = \"{folder}/ssh_config\"\n\n\
         [promotion]\nbaked_for = \"0s\"\n",
        paths.keyring.display()
    );
    for (kind, settings) in ROLES {
        let known = topology.hosts.iter().any(|host| host.kind == *kind);
        if let Some(role) = kind.role().filter(|_| known) {
            append(&mut text, format_args!("\n[roles.{role}]\n{settings}"));
        }
    }
    for environment in topology.environments() {
        push_environment(&mut text, topology, environment, paths);
    }
    push_pipelines(&mut text, topology);
    text
}

fn push_environment(
    text: &mut String,
    topology: &Topology,
    environment: Environment,
    paths: &Paths,
) {
    append(text, format_args!("\n[environments.{environment}]\n"));
    for balancer in topology.of_kind(environment, Kind::LoadBalancer) {
        append(
            text,
            format_args!(
                "[environments.{environment}.load_balancers.{}]\nhost = \"{}\"\n",
                balancer.label(),
                balancer.name
            ),
        );
    }
    for fleet in [Fleet::Main, Fleet::Canary] {
        push_fleet(text, topology, environment, fleet);
    }
    let domain = environment.domain();
    append(
        text,
        format_args!(
            "\n[environments.{environment}.config_management]\nagent = \"chef-client\"\n\
         stop = [\"sv\", \"-w\", \"60\", \"stop\", \"chef-client\"]\n\
         start = [\"sv\", \"start\", \"chef-client\"]\n\
         running = [\"pgrep\", \"-f\", \"^/bin/sh /usr/local/sbin/chef-client\"]\nwait = \"60s\"\n\
         [environments.{environment}.config_management.record]\n\
         read = [\"/usr/local/bin/version-role\", \"get\", \"{{environment}}-{{fleet}}\"]\n\
         write = [\"/usr/local/bin/version-role\", \"set\", \"{{environment}}-{{fleet}}\", \
         \"{{version}}\"]\nhost = \"deploy-01.{domain}\"\n\
         \n[environments.{environment}.alerts]\nalertmanagers = [\"http://{OPS_ADDRESS}:9093\"]\n\
         prometheus = [\"http://{OPS_ADDRESS}:9090\"]\nmatchers = [\"env=\\\"{domain}\\\"\"]\n\
         critical = [\"severity=\\\"critical\\\"\"]\n\
         watchdog = [\"alertname=\\\"Watchdog\\\"\", \"env=\\\"{domain}\\\"\"]\npoll = \"1s\"\n\
         unreadable_for = \"15s\"\nmin_age = \"8s\"\nattribute = {{ label = \"instance\", \
         matchers = [\"alertname=~\\\"HAProxyServerDown|InstanceDown\\\"\"] }}\n"
        ),
    );
    push_qa(text, environment, "smoke", paths);
    if has_canary(topology, environment) {
        push_qa(text, environment, "canary", paths);
    }
}

fn has_canary(topology: &Topology, environment: Environment) -> bool {
    topology.in_environment(environment).any(|host| host.fleet == Fleet::Canary)
}

fn push_fleet(text: &mut String, topology: &Topology, environment: Environment, fleet: Fleet) {
    let mut hosts = String::new();
    let mut own_backends = String::new();
    for (kind, _) in ROLES {
        let Some(role) = kind.role() else { continue };
        let names: Vec<String> = topology
            .of_kind(environment, *kind)
            .filter(|host| host.fleet == fleet)
            .map(|host| format!("\"{}\"", host.name))
            .collect();
        if names.is_empty() {
            continue;
        }
        append(&mut hosts, format_args!("{role} = [{}]\n", names.join(", ")));
        if let Some(backend) = kind.backend() {
            append(&mut own_backends, format_args!("{role} = [\"canary_{backend}\"]\n"));
        }
    }
    if hosts.is_empty() {
        return;
    }
    let name = format!("environments.{environment}.fleets.{fleet}");
    if fleet == Fleet::Canary {
        append(
            text,
            format_args!(
                "\n[{name}]\nshare = {{ after_canary = \"10%\" }}\n[{name}.backends]\n{own_backends}"
            ),
        );
    }
    append(text, format_args!("\n[{name}.hosts]\n{hosts}"));
}

fn push_qa(text: &mut String, environment: Environment, suite: &str, paths: &Paths) {
    let canary = if suite == "canary" { ", \"--canary\"" } else { "" };
    append(
        text,
        format_args!(
            "\n[environments.{environment}.qa.{suite}]\ncommand = [\"{}\", \"--dir\", \"{}\", \"qa\", \
         \"--environment\", \"{environment}\"{canary}, \"--report\", \"qa.xml\"]\n\
         report = \"junit\"\nreport_files = [\"qa.xml\"]\nminimum_tests = 5\ntimeout = \"60s\"\n",
            paths.serin_lab.display(),
            paths.folder.display()
        ),
    );
}

fn push_pipelines(text: &mut String, topology: &Topology) {
    let fitting = STAGES.iter().filter(|stage| stage.size.is_none_or(|size| size == topology.size));
    for (number, stage) in (1..).zip(fitting) {
        push_stage(text, "to-canary", (number, stage), "");
    }
    if topology.size == Size::Small {
        return;
    }
    for (number, stage) in (7..).zip(TO_MAIN) {
        push_stage(text, "to-main", (number, stage), if number == 7 { EXPOSURE } else { "" });
    }
}

fn push_stage(text: &mut String, pipeline: &str, (number, stage): (u32, &Stage), more: &str) {
    append(
        text,
        format_args!(
            "\n[[pipelines.{pipeline}]]\nstage = {number}\ntitle = \"{}\"\nenvironment = \"{}\"\n{}{more}\
             bake = \"{}\"\n",
            stage.title, stage.environment, stage.settings, stage.bake
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(size: Size) -> toml::Table {
        let paths = Paths {
            folder: "/lab".into(),
            keyring: "/lab/keys/repo.gpg".into(),
            serin_lab: "/bin/serin-lab".into(),
        };
        let text = render(&Topology::new(size), &paths);
        text.parse().unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    #[test]
    fn the_full_lab_has_six_stages_and_its_canary_backends() {
        let config = rendered(Size::Full);
        assert_eq!(config["pipelines"]["to-canary"].as_array().unwrap().len(), 6);
        let to_main = config["pipelines"]["to-main"].as_array().unwrap();
        assert_eq!((to_main.len(), to_main[0]["stage"].as_integer()), (3, Some(7)));
        let canary = &config["environments"]["production"]["fleets"]["canary"];
        assert_eq!(canary["backends"]["git"][0].as_str(), Some("canary_https_git"));
        assert_eq!(canary["hosts"]["web"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn the_small_lab_speaks_of_nothing_that_it_does_not_have() {
        let config = rendered(Size::Small);
        assert!(config["environments"].get("production").is_none());
        assert!(config["roles"].get("api").is_none());
        assert_eq!(config["pipelines"]["to-canary"].as_array().unwrap().len(), 4);
    }
}
