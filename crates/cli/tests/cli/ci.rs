//! Stages as jobs: each by a process of its own, in the order of the run; and the pipeline's files.

use crate::support::World;
use std::fs;

/// Three stages, of which only the numbers matter here: the runs of these tests have plans of their own.
fn world() -> World {
    let stage = |number: u32| {
        format!(
            "[[pipelines.to-canary]]\nstage = {number}\ntitle = \"look\"\nenvironment = \"production\"\n\
             fleet = \"canary\"\nwork = \"roles\"\nroles = [\"web\"]\n"
        )
    };
    World::with_haproxy_and("roundrobin", &[1, 2, 3].map(stage).concat())
}

#[tokio::test]
async fn each_stage_is_a_process_and_what_has_passed_is_done_at_once() {
    let world = world();
    world.record_for_jobs(&[1, 2]).await;
    let stage = |number: &str| world.serin_with("SERIN_RUN", "r-1", &["ci", "stage", number]);
    stage("2").is(4, &["stage 1 of run r-1 has not passed: stage 2 comes later"]);
    stage("9").is(4, &["to-canary has no stage 9"]);
    stage("1").is(0, &["run r-1 waits for its next CI job: look (serin ci stage 2 --run r-1"]);
    stage("1").is(0, &["stage 1 of run r-1 has passed"]);
    world.serin(&["status"]).is(0, &["production: run r-1", "waits for its next CI job: look"]);
    world.serin(&["why"]).is(9, &["waits for its next CI job: look"]);
    stage("2").is(0, &["run r-1 is finished"]);
    for passed in ["1", "2", "3"] {
        stage(passed).is(0, &["has passed, or had nothing to do"]);
    }
    world.serin(&["status"]).is(0, &["production: free"]);
}

#[tokio::test]
async fn a_halt_fails_the_job_until_a_person_has_resumed_the_run() {
    let world = world();
    world.record_for_jobs(&[1, 2]).await;
    let stage = |number: &str| world.serin(&["ci", "stage", number, "--run", "r-1"]);
    stage("1").is(0, &["waits for its next CI job"]);
    world.serin(&["halt", "r-1", "--reason", "lunch"]).is(5, &["has halted"]);
    stage("2").is(5, &["has halted", "try this CI job again"]);
    // The job before it has passed, whatever became of the run.
    stage("1").is(0, &["has passed"]);
    let resumed = world.serin(&["resume", "r-1", "--reason", "back"]);
    resumed.is(0, &["waits for its next CI job: look (serin ci stage 2"]);
    stage("2").is(0, &["run r-1 is finished"]);
}

#[tokio::test]
async fn a_run_that_was_given_up_fails_its_jobs_and_no_run_fails_none() {
    let world = world();
    world.record_for_jobs(&[1]).await;
    world.serin(&["halt", "r-1", "--reason", "no"]).is(5, &[]);
    world.serin(&["cancel", "r-1", "--reason", "no"]).is(6, &[]);
    world.serin(&["ci", "stage", "1", "--run", "r-1"]).is(6, &["run r-1 was given up"]);
    world.serin(&["ci", "stage", "1", "--run", "none"]).is(0, &["nothing to do"]);
    world.serin(&["ci", "stage", "1", "--run", "$x"]).is(4, &["no run is named"]);
}

#[tokio::test]
async fn what_is_begun_twice_for_one_pipeline_is_the_same_run() {
    let world = world();
    world.record_for_jobs(&[1]).await;
    let dotenv = world.path("serin.env");
    let begin = |of: &str, more: &[&str]| {
        let words = ["ci", "begin", "to-canary", "--of", of, "--dotenv", &dotenv];
        world.serin(&[&words, more].concat())
    };
    let pipeline = "https://gitlab.example/-/pipelines/7";
    begin(pipeline, &[]).is(0, &["run r-1 was begun for this CI pipeline: it goes on"]);
    assert_eq!(fs::read_to_string(&dotenv).unwrap(), "SERIN_RUN=r-1\n");
    // Another pipeline would begin a run of its own, but has no repository here: its other jobs get no run.
    let other = "https://gitlab.example/-/pipelines/8";
    begin(other, &[]).is(4, &["InRelease cannot be read"]);
    assert_eq!(fs::read_to_string(&dotenv).unwrap(), "");
    // What was given up is begun anew.
    world.serin(&["halt", "r-1", "--reason", "no"]).is(5, &[]);
    world.serin(&["cancel", "r-1", "--reason", "no"]).is(6, &[]);
    begin(pipeline, &["--kind", "weekly"]).is(4, &["there are no \"weekly\" builds", "nightly"]);
    begin(pipeline, &["latest!"]).is(4, &["latest!"]);
    assert_eq!(world.serin(&["runs", "--json"]).out.matches("r-2").count(), 0);
}

#[tokio::test]
async fn a_run_is_not_begun_where_nobody_could_be_told_which_it_is() {
    let world = world();
    let nowhere = world.path("no/such/folder/serin.env");
    let begun = world.serin(&["ci", "begin", "to-canary", "--dotenv", &nowhere]);
    begun.is(4, &["serin.env cannot be written"]);
    world.serin(&["runs"]).is(0, &[]);
    assert!(!world.serin(&["runs"]).out.contains("r-1"));
}

#[tokio::test]
async fn without_its_ci_system_a_person_takes_the_run_to_its_end() {
    let world = world();
    world.record_for_jobs(&[1, 2, 3]).await;
    world.serin(&["adopt"]).is(0, &["run r-1 is finished"]);
}

#[tokio::test]
async fn the_log_of_a_job_has_a_section_for_each_phase() {
    let world = world();
    world.record_for_jobs(&[1, 2]).await;
    let said = world.serin_with("GITLAB_CI", "true", &["ci", "stage", "1", "--run", "r-1"]);
    assert_eq!(said.code, 0, "{said:?}");
    let markers: Vec<&str> = said.out.lines().filter(|line| line.contains("section_")).collect();
    let [start, end] = markers.as_slice() else { panic!("{markers:?}") };
    assert!(start.starts_with("\u{1b}[0Ksection_start:"), "{start:?}");
    assert!(start.ends_with(":stage_1_phase_1_1\r\u{1b}[0Kstage 1: guard"), "{start:?}");
    assert!(end.starts_with("\u{1b}[0Ksection_end:"), "{end:?}");
    assert!(end.ends_with(":stage_1_phase_1_1\r\u{1b}[0K"), "{end:?}");
}

#[test]
fn the_files_say_all_stages_and_are_the_same_every_time() {
    let folder = tempfile::tempdir().unwrap();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/gitlab.toml");
    let out = folder.path().to_str().unwrap();
    let world = World::new("");
    let words = |more: &[&'static str]| {
        let words = ["--config", example, "ci", "gitlab", "--out", out, "--tag", "deploy"];
        world.serin(&[&words, more].concat())
    };
    let traffic: &[&str] = &["--traffic", "http://gitlab.example", "--traffic-jobs", "3"];
    let checked: Vec<&str> = traffic.iter().copied().chain(["--check"]).collect();
    words(&checked).is(9, &[".gitlab-ci.yml is not what would be written now"]);
    words(traffic).is(0, &["wrote", "production.gitlab-ci.yml"]);
    words(&checked).is(0, &[]);
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    insta::assert_snapshot!("gitlab_ci", read(".gitlab-ci.yml"));
    insta::assert_snapshot!("production_gitlab_ci", read("production.gitlab-ci.yml"));
    words(&["--bakes", "afterwards"]).is(0, &["wrote"]);
    let afterwards = read(".gitlab-ci.yml");
    assert!(afterwards.contains("begin to-canary --bakes afterwards --dotenv"), "{afterwards}");
    assert_eq!(afterwards.matches("when: \"delayed\"").count(), 7, "six bakes, and the promotion");
    fs::write(folder.path().join(".gitlab-ci.yml"), "stages: [test]\n").unwrap();
    words(&[]).is(4, &[".gitlab-ci.yml was not written by serin ci gitlab"]);
}
