//! What is true of every plan, whatever the installation and the state it is in.

use crate::installation::{Installation, NEW, OLD, of, running};
use crate::render;
use serin_model::{
    Action, AdminState, ConfigManagementState, HostName, PackageState, Subject, WorkSpec,
};
use serin_planner::{check_plan, plan};
use std::collections::BTreeSet;

/// SplitMix64: our own, so that no update of a dependency moves the seeds.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

fn random_topology(random: &mut Random) -> String {
    let fleet = |random: &mut Random, suffix: &str, roles: &[&str]| {
        let hosts =
            roles.iter().map(|role| format!("{role}{suffix}-01..{:02}", 1 + random.below(3)));
        hosts.collect::<Vec<_>>().join(" ")
    };
    let roles: &[&str] = &["gitaly", "web", "api", "git", "sidekiq", "web+api"];
    let lbs = |random: &mut Random| if random.one_in(2) { "lb-01" } else { "lb-01 lb-02" };
    let (first, second) = (lbs(random), lbs(random));
    let (staging, main) = (fleet(random, "", roles), fleet(random, "", roles));
    let canary = fleet(random, "-cny", &["web", "api", "git"]);
    format!(
        "staging {first}\n  main deploy-01 {staging}\n\
         production {second}\n  main deploy-01 {main}\n  canary {canary}"
    )
}

fn random_state(random: &mut Random, installation: &mut Installation) {
    let hosts: Vec<HostName> = installation.observed.hosts.keys().cloned().collect();
    let versions = [OLD, NEW, "1.5", "3.0"];
    let version = |random: &mut Random| of(versions[usize::try_from(random.below(4)).unwrap()]);
    for host in &hosts {
        let seen = installation.host(host.as_str());
        seen.package = match random.below(10) {
            0 => PackageState::Absent,
            1 => PackageState::Broken { version: version(random), state: "unpacked".to_owned() },
            _ => PackageState::Installed(version(random)),
        };
        for service in seen.services.values_mut() {
            *service = running(&version(random));
            service.pid = (!random.one_in(8)).then_some(7);
        }
        if random.one_in(4) {
            seen.config_management = ConfigManagementState::Stopped;
        }
        if seen.pending_migrations.is_some() && random.one_in(3) {
            seen.pending_migrations = Some((vec!["m2".to_owned()], vec!["p1".to_owned()]));
        }
        for server in installation.servers(host.as_str()) {
            if random.one_in(6) {
                server.admin = AdminState::Drain;
                server.up = false;
            }
        }
    }
    for record in installation.observed.records.values_mut() {
        *record = (!random.one_in(4)).then(|| version(random));
    }
    installation.passed = (1..=6).filter(|_| random.one_in(2)).collect();
}

/// Says a claim about 200 installations, and names the seed for which it does not hold.
fn always(claim: impl Fn(&mut Installation, &dyn Fn(&str) -> String)) {
    for seed in 0..200 {
        let mut random = Random(seed);
        let mut installation = Installation::new(&random_topology(&mut random));
        random_state(&mut random, &mut installation);
        claim(&mut installation, &|what| format!("seed {seed}: {what}"));
    }
}

#[test]
fn planning_twice_gives_equal_plans() {
    always(|installation, seed| {
        let (first, second) = (plan(installation.request()), plan(installation.clone().request()));
        assert_eq!(first.unwrap(), second.unwrap(), "{}", seed("they differ"));
    });
}

#[test]
fn planning_after_success_gives_an_empty_plan() {
    always(|installation, seed| {
        let (all, _) = plan(installation.request()).unwrap();
        installation.succeed(&all);
        installation.pass_all();
        let (nothing, _) = plan(installation.request()).unwrap();
        assert!(nothing.is_empty(), "{}", seed(&render::plan(&nothing)));
    });
}

#[test]
fn every_plan_is_clean() {
    always(|installation, seed| {
        let (all, _) = plan(installation.request()).unwrap();
        assert_eq!(check_plan(&all), [], "{}", seed("findings"));
    });
}

#[test]
fn every_host_that_is_not_as_it_should_be_is_brought_back_through_the_whole_lane() {
    always(|installation, seed| {
        let (all, _) = plan(installation.request()).unwrap();
        for (environment, host) in hosts_to_deploy(installation) {
            let up = installation.servers(host.as_str()).iter().all(|server| server.up);
            let seen = &installation.observed.hosts[&host];
            let version = of(NEW);
            let seen_right = seen.installed() == Some(&version)
                && seen.services.keys().all(|service| seen.runs(service, &version));
            let drained = all.steps().any(|(stage, lane, step)| {
                stage.environment == environment
                    && lane.subject == Subject::Host(host.clone())
                    && step.action == Action::Drain
            });
            assert_eq!(drained, !(seen_right && up), "{}", seed(host.as_str()));
        }
    });
}

fn hosts_to_deploy(
    installation: &Installation,
) -> BTreeSet<(serin_model::EnvironmentName, HostName)> {
    let mut hosts = BTreeSet::new();
    for stage in &installation.pipeline.stages {
        let WorkSpec::Roles(roles) = &stage.work else { continue };
        let fleet = &installation.topology.environments[&stage.environment].fleets[&stage.fleet];
        for host in fleet.hosts.values().filter(|h| h.roles.iter().any(|r| roles.contains(r))) {
            hosts.insert((stage.environment.clone(), host.name.clone()));
        }
    }
    hosts
}

#[test]
fn a_stage_is_left_out_only_if_this_build_has_passed_it() {
    always(|installation, seed| {
        let (all, _) = plan(installation.request()).unwrap();
        for spec in &installation.pipeline.stages {
            let Some(stage) = all.stages.iter().find(|stage| stage.number == spec.number) else {
                assert!(installation.passed.contains(&spec.number), "{}", seed(&spec.title));
                continue;
            };
            let has = |wanted: &str| stage.phases.iter().any(|phase| phase.title == wanted);
            assert!(has("guard") && has("bake"), "{}", seed(&spec.title));
            assert_eq!(has("QA"), !spec.qa.is_empty(), "{}", seed(&spec.title));
        }
    });
}

#[test]
fn config_management_is_stopped_on_every_host_that_is_changed_or_reads_a_record_that_changes() {
    always(|installation, seed| {
        let (all, _) = plan(installation.request()).unwrap();
        let mut stopped = BTreeSet::new();
        for (stage, lane, step) in all.steps() {
            let here = |subject: &Subject| (stage.environment.clone(), subject.clone());
            match &step.action {
                Action::StopConfigManagement => drop(stopped.insert(here(&lane.subject))),
                Action::Install { .. } => {
                    assert!(stopped.contains(&here(&lane.subject)), "{}", seed(step.id.as_str()));
                }
                Action::RecordVersion { fleet, .. } => {
                    let environment = &installation.topology.environments[&stage.environment];
                    for host in environment.fleets[fleet].hosts.keys() {
                        let subject = here(&Subject::Host(host.clone()));
                        assert!(stopped.contains(&subject), "{}", seed(host.as_str()));
                    }
                }
                _ => {}
            }
        }
    });
}

#[test]
fn production_main_is_never_touched_on_the_way_to_the_canary() {
    always(|installation, seed| {
        let (all, _) = plan(installation.request()).unwrap();
        let production = &installation.topology.environments[&of("production")];
        let main = &production.fleets[&of("main")];
        for (_, lane, step) in all.steps() {
            let Subject::Host(host) = &lane.subject else { continue };
            let deploys = host.as_str().starts_with("deploy-");
            assert!(deploys || !main.hosts.contains_key(host), "{}", seed(step.id.as_str()));
        }
    });
}
