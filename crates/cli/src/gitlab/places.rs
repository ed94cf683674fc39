//! What a run has made of each place that GitLab knows by a name: pure, from the journal's run and the plan in it.

use serin_adapters::gitlab::{Deployment, DeploymentStatus};
use serin_config::Place;
use serin_engine::{Run, Status};
use serin_model::{Action, DebVersion, Plan, Stage, Subject};
use std::collections::BTreeSet;

/// What a run has made of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivered {
    /// The version that it brings there.
    pub(crate) version: DebVersion,
    /// How far it is.
    pub(crate) status: DeploymentStatus,
}

/// Says what a run has made of a place; nothing, if it has installed nothing there, or not one version alone.
pub(crate) fn delivered(run: &Run, place: &Place) -> Option<Delivered> {
    let plan = &run.plan;
    let stages: Vec<&Stage> =
        plan.stages.iter().filter(|stage| installs(plan, stage, place).next().is_some()).collect();
    let mut versions = BTreeSet::new();
    let mut begun = false;
    for stage in &stages {
        for (host, step) in installs(plan, stage, place) {
            versions.extend(plan.build_for(host).map(|build| &build.version));
            begun |= run.attempts(step) > 0;
        }
    }
    let mut versions = versions.into_iter();
    let (Some(version), None, true) = (versions.next(), versions.next(), begun) else {
        return None;
    };
    let passed = stages.iter().all(|stage| {
        let lanes = stage.phases.iter().flat_map(|phase| &phase.lanes);
        lanes.flat_map(|lane| &lane.steps).all(|step| run.is_done(&step.id))
    });
    let status = match &run.status {
        _ if passed => DeploymentStatus::Success,
        Status::Cancelled { .. } => DeploymentStatus::Canceled,
        Status::Running | Status::Halting(_) | Status::Halted(_) | Status::Finished => {
            DeploymentStatus::Running
        }
    };
    Some(Delivered { version: version.clone(), status })
}

/// Returns the installations of a stage in a place.
fn installs<'a>(
    plan: &'a Plan,
    stage: &'a Stage,
    place: &'a Place,
) -> impl Iterator<Item = (&'a serin_model::HostName, &'a serin_model::StepId)> {
    let lanes = stage.phases.iter().flat_map(|phase| &phase.lanes);
    lanes.filter_map(move |lane| {
        let Subject::Host(host) = &lane.subject else { return None };
        let install =
            lane.steps.iter().find(|step| matches!(step.action, Action::Install { .. }))?;
        place.holds(&plan.topology, &stage.environment, host).then_some((host, &install.id))
    })
}

/// What is to be told so that GitLab's last deployment of a place is the one that is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telling {
    /// It knows.
    Nothing,
    /// A deployment has come further.
    Update(u64),
    /// It does not know of this one.
    Create,
}

/// Compares what is true with what GitLab knows, newest first.
pub(crate) fn telling(known: &[Deployment], sha: &str, status: DeploymentStatus) -> Telling {
    match known.first() {
        Some(last) if last.sha == sha && last.status == status.word() => Telling::Nothing,
        Some(last) if last.sha == sha && last.status == DeploymentStatus::Running.word() => {
            Telling::Update(last.id)
        }
        // A commit that is there already is deployed anew: by a second run, or on its way back.
        Some(_) | None => Telling::Create,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serin_engine::{Event, Outcome};
    use serin_model::{Build, BuildKind, Lane, Pace, Phase, Step, StepId, Timestamp, Topology};
    use std::collections::BTreeMap;
    use std::path::Path;

    const CONFIG: &str = r#"
        [package]
        name = "serin-standin"
        profile = "plain"
        [repository]
        url = "http://127.0.0.1:9"
        suite = "bookworm"
        keyring = "none.gpg"
        [roles.web]
        services = [{ name = "web", action = "restart" }]
        quiet = "none"
        [environments.production]
        fleets.main.hosts = { web = ["web-01"] }
        fleets.canary.hosts = { web = ["web-cny-01"] }
    "#;

    /// A run that installs on the canary and, in a stage of its own, on main.
    pub(crate) fn run() -> Run {
        let topology: Topology =
            serin_config::parse(CONFIG, Path::new("serin.toml")).unwrap().topology;
        let stage = |number, host: &str| {
            let action = Action::Install { from: None };
            let id = StepId::new(number, host, &action, None);
            let steps = vec![Step { id, action }];
            let lane = Lane { subject: Subject::Host(host.parse().unwrap()), steps };
            let phases = vec![Phase { title: "install".to_owned(), lanes: vec![lane] }];
            let environment = "production".parse().unwrap();
            Stage { number, title: host.to_owned(), environment, phases }
        };
        let plan = Plan {
            pipeline: "to-main".parse().unwrap(),
            build: Build {
                package: topology.package.clone(),
                version: "16.2.0-ee.0".parse().unwrap(),
                sha256: "ab".repeat(32).parse().unwrap(),
                size: 1,
                kind: BuildKind::Official,
            },
            stages: vec![stage(6, "web-cny-01"), stage(8, "web-01")],
            topology,
            pace: Pace::Careful,
            back: None,
            patching: None,
            overlays: Vec::new(),
            tolerated: BTreeMap::new(),
            why: None,
            queue: None,
            actors: serin_model::Actors::default(),
        };
        Run::new(&Event::Started { plan: Box::new(plan), by: "mira".to_owned() }).unwrap()
    }

    fn place(fleet: Option<&str>) -> Place {
        let fleet = fleet.map(|fleet| fleet.parse().unwrap());
        Place { environment: "production".parse().unwrap(), fleet }
    }

    /// Installs on the host of the stage that is worked on.
    fn install(run: &mut Run) {
        let (stage, _, lanes) = run.current().unwrap();
        let (environment, step) = (stage.environment.clone(), lanes[0].steps[0].id.clone());
        let at = Timestamp::from_millis(1);
        let outcome = Outcome::Done("seen".to_owned());
        let mut events = vec![
            Event::AttemptStarted { step: step.clone(), attempt: 1, term: 1 },
            Event::AttemptEnded { step, attempt: 1, outcome, at },
        ];
        if run.term == 0 {
            let unavailable = BTreeMap::new();
            events.splice(
                0..0,
                [
                    Event::Adopted { term: 1, by: "mira".to_owned() },
                    Event::EnvironmentEntered { environment: environment.clone(), fence: 1 },
                    Event::FenceRaised { environment, fence: 1, unavailable },
                ],
            );
        }
        for event in events {
            run.apply(&event).unwrap();
        }
    }

    #[test]
    fn a_place_has_a_build_when_every_stage_that_brings_it_there_has_passed() {
        let mut run = run();
        let at = |run: &Run, fleet: Option<&str>| {
            delivered(run, &place(fleet)).map(|delivered| delivered.status)
        };
        assert_eq!(at(&run, Some("canary")), None, "nothing was begun");
        install(&mut run);
        assert_eq!(at(&run, Some("canary")), Some(DeploymentStatus::Success));
        assert_eq!(at(&run, Some("main")), None);
        assert_eq!(at(&run, None), Some(DeploymentStatus::Running), "the environment is mixed");
        let elsewhere = Place { environment: "staging".parse().unwrap(), fleet: None };
        assert_eq!(delivered(&run, &elsewhere), None);
        let mut cancelled = run.clone();
        install(&mut run);
        assert_eq!(at(&run, Some("main")), Some(DeploymentStatus::Success));
        assert_eq!(at(&run, None), Some(DeploymentStatus::Success));
        let reason = serin_model::Reason::Interrupted;
        for event in [
            Event::HaltRequested { reason },
            Event::Halted,
            Event::Cancelled { by: "mira".to_owned(), why: "enough".to_owned() },
        ] {
            cancelled.apply(&event).unwrap();
        }
        assert_eq!(at(&cancelled, None), Some(DeploymentStatus::Canceled));
        assert_eq!(at(&cancelled, Some("canary")), Some(DeploymentStatus::Success));
    }

    #[test]
    fn only_what_is_news_is_told() {
        use DeploymentStatus::{Canceled, Running, Success};
        let known = |sha: &str, status: &str| Deployment {
            id: 7,
            sha: sha.to_owned(),
            status: status.to_owned(),
        };
        for (known, status, told) in [
            (vec![], Running, Telling::Create),
            (vec![known("a", "running")], Running, Telling::Nothing),
            (vec![known("a", "running")], Success, Telling::Update(7)),
            (vec![known("a", "running")], Canceled, Telling::Update(7)),
            (vec![known("a", "success")], Success, Telling::Nothing),
            (vec![known("a", "success")], Running, Telling::Create),
            (vec![known("b", "running"), known("a", "success")], Success, Telling::Create),
            (vec![known("a", "blocked")], Success, Telling::Create),
        ] {
            assert_eq!(telling(&known, "a", status), told, "{known:?} {status:?}");
        }
    }
}
