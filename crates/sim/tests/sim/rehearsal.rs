//! Rehearsals: a pretend copy of an installation, one pipeline, chosen incidents.

use serin_engine::{Event, Outcome};
use serin_model::{HostName, Quiet};
use serin_sim::installation::{self, name};
use serin_sim::latencies::Latencies;
use serin_sim::seeds::{Incident, Planted};
use serin_sim::world::BEGIN;
use serin_sim::{
    AfterHalt, Fault, Moment, Pretended, Rehearsal, RehearsalEnd, Rehearsed, Setting, Strike,
    Trouble, rehearse,
};
use std::collections::BTreeMap;
use std::time::Duration;

fn rehearsal(pipeline: &str, incidents: Vec<Incident>) -> Rehearsal {
    let pipelines = [installation::pipeline(), installation::promotion()];
    let pipelines: BTreeMap<_, _> = pipelines.into_iter().map(|p| (p.name.clone(), p)).collect();
    let what = Pretended {
        pipeline: name(pipeline),
        version: None,
        latencies: Latencies::assumed(),
        begin: BEGIN.plus(Duration::from_hours(1)),
    };
    let setting = Setting::pretended(&installation::topology(), &pipelines, what);
    let (pipeline, after_halt) = (name(pipeline), AfterHalt::Stop);
    Rehearsal { seed: 7, setting, pipeline, incidents, after_halt, planted: None }
}

fn at(host: &str, step: &str, strike: Strike) -> Incident {
    let moment =
        Moment { host: Some(name(host)), step: Some(step.to_owned()), ..Moment::default() };
    Incident::Strikes(moment, strike)
}

#[track_caller]
fn is(rehearsed: &Rehearsed, end: &RehearsalEnd) {
    assert_eq!(rehearsed.violations, Vec::<String>::new(), "{}", rehearsed.timeline.join("\n"));
    assert_eq!(&rehearsed.end, end, "{}", rehearsed.timeline.join("\n"));
}

/// Returns when a step was first begun, in seconds after the beginning.
fn began(rehearsed: &Rehearsed, step: &str) -> Option<u64> {
    let (_, events) = rehearsed.run.as_ref()?;
    let found = events.iter().find(
        |(_, event)| matches!(event, Event::AttemptStarted { step: id, .. } if id.as_str() == step),
    );
    found.map(|(at, _)| at.since(events.first().map_or(*at, |(at, _)| *at)).as_secs())
}

#[test]
fn both_pipelines_are_delivered_and_the_same_seed_is_the_same_in_every_word() {
    for pipeline in ["to-canary", "to-main"] {
        let once = rehearse(&rehearsal(pipeline, Vec::new()));
        is(&once, &RehearsalEnd::Delivered);
        assert_eq!(once.timeline, rehearse(&rehearsal(pipeline, Vec::new())).timeline);
        let other = Rehearsal { seed: 8, ..rehearsal(pipeline, Vec::new()) };
        assert_ne!(once.timeline, rehearse(&other).timeline);
    }
}

#[test]
fn what_strikes_at_a_step_strikes_in_the_middle_of_it() {
    let host = "web-02.gstg";
    let dies = Fault::HostDies { host: name(host), back_after: None };
    let dead = rehearse(&rehearsal("to-canary", vec![at(host, "install", Strike::Befalls(dies))]));
    is(&dead, &RehearsalEnd::Halted);
    let install = began(&dead, "3/web-02.gstg/install").unwrap();
    let (when, what) = dead.befallen.first().unwrap();
    let begin = dead.run.as_ref().and_then(|(_, events)| events.first()).unwrap().0;
    assert_eq!(
        (when.since(begin).as_secs(), what.as_str()),
        (install + 1, "web-02.gstg loses its power")
    );
    let out: Vec<HostName> =
        dead.state().unwrap().out_of_service().into_iter().map(|out| out.host).collect();
    assert_eq!(out, [name(host)]);
}

#[test]
fn the_effect_of_a_step_goes_wrong_once_and_a_resumed_run_ends() {
    let fails = Strike::Goes(Trouble::Fails);
    let mut story = rehearsal("to-canary", vec![at("web-02.gstg", "install", fails.clone())]);
    is(&rehearse(&story), &RehearsalEnd::Halted);
    story.after_halt = AfterHalt::RepairAndResume;
    let resumed = rehearse(&story);
    is(&resumed, &RehearsalEnd::Delivered);
    let (_, events) = resumed.run.as_ref().unwrap();
    let failed = events.iter().filter(|(_, event)| {
        matches!(event, Event::AttemptEnded { outcome: Outcome::Failed(_), .. })
    });
    assert_eq!(failed.count(), 1);

    let qa = Moment { stage: Some(6), step: Some("qa".to_owned()), ..Moment::default() };
    let failed = rehearse(&rehearsal("to-canary", vec![Incident::Strikes(qa, fails)]));
    is(&failed, &RehearsalEnd::Halted);
    let reason = format!("{:?}", failed.state().unwrap().status);
    assert!(reason.contains("TestsFailed"), "{reason}");
}

#[test]
fn a_process_that_is_killed_in_a_step_is_followed_by_another() {
    let killed = rehearse(&rehearsal("to-main", vec![at("web-01.gprd", "install", Strike::Dies)]));
    is(&killed, &RehearsalEnd::Delivered);
    let (_, events) = killed.run.as_ref().unwrap();
    let terms = events.iter().filter(|(_, event)| matches!(event, Event::Adopted { .. }));
    assert_eq!(terms.count(), 2);
}

#[test]
fn what_other_pipelines_bring_is_there_and_no_command_of_the_installation_is_left() {
    let setting = rehearsal("to-main", Vec::new()).setting;
    let stages: Vec<u32> = setting.brought.iter().map(|stage| stage.number).collect();
    assert_eq!(stages, [1, 2, 3, 4, 5, 6]);
    let mut topology = installation::topology();
    topology.profile.hup = serin_model::Argv::new(["real"]).unwrap();
    let role = topology.roles.get_mut(&name("sidekiq")).unwrap();
    let Quiet::StopFetching { stop, .. } = &mut role.quiet else { panic!("{role:?}") };
    *stop = serin_model::Argv::new(["real"]).unwrap();
    let what = Pretended {
        pipeline: name("to-canary"),
        version: None,
        latencies: Latencies::quick(),
        begin: BEGIN,
    };
    let pretended = Setting::pretended(&topology, &BTreeMap::new(), what);
    assert!(!format!("{:?}", pretended.topology).contains("\"real\""));
}

#[test]
fn every_checker_looks_on() {
    for bug in [Planted::NoDrain, Planted::NoMigrations, Planted::KeepsShare, Planted::NoReady] {
        let story = Rehearsal { planted: Some(bug), ..rehearsal("to-canary", Vec::new()) };
        assert!(!rehearse(&story).violations.is_empty(), "{bug:?} was not found");
    }
}
