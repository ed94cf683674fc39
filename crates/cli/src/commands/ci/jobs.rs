//! The jobs of a CI pipeline, one for each stage and one for each bake, as GitLab reads them. Pure: the same
//! configuration and options give the same text.
//!
//! Nothing of the configuration reaches a shell but numbers, names of pipelines, which have no signs that a shell obeys,
//! and addresses, in quotes.

use super::yaml::{Document, Yaml, bare, map, text, texts};
use crate::args::{Bakes, CiGitlab};
use serin_config::Config;
use serin_model::{Environment, Pipeline, StageSpec, Topology, WorkSpec};
use std::time::Duration;

/// The file of the child.
pub(super) const CHILD: &str = "production.gitlab-ci.yml";

/// The environment of Serin that holds a copy of each QA report, below the checkout.
const REPORTS: &str = "serin-qa";

/// How long a job may take that waits for nothing of its own: a large fleet at a careful pace.
const USUAL: Duration = Duration::from_hours(6);

/// How long the migrations of a profile that does not say may take.
const MIGRATIONS: Duration = Duration::from_hours(12);

/// How long a job waits for a person's approval.
const APPROVAL: Duration = Duration::from_hours(24);

/// What is written of a configuration.
pub(super) struct Written<'a> {
    pub(super) config: &'a Config,
    pub(super) asked: &'a CiGitlab,
    /// The command that writes it again.
    pub(super) command: String,
}

impl Written<'_> {
    /// The pipeline that takes a build to the canary, and asks for its promotion.
    pub(super) fn parent(&self, pipeline: &Pipeline, promotion: Option<&Pipeline>) -> String {
        let mut document = Document::default();
        document.say(&format!(
            "Written by `{}`: change serin.toml, and write it again.\n\n\
             Each stage of {} is a job, and each bake another. A job that dies is tried again: it goes on where the run is.\n\
             Begin one by hand with the variables SERIN_BUILD (a version) or SERIN_KIND (nightly, candidate, official), or by\n\
             a schedule with SERIN_KIND, and SERIN_PROMOTE=if-ready to promote with no hand on a keyboard.",
            self.command, pipeline.name
        ));
        let more = promotion.map(|_| ["promote", "production"]);
        self.head(&mut document, pipeline, more.as_ref().map_or(&[], |more| more.as_slice()));
        document.say("A push or merge request changes this file: it delivers nothing.");
        document.entry("workflow", &on_purpose());
        self.begin(&mut document, "begin", pipeline);
        for stage in &pipeline.stages {
            self.stage(&mut document, pipeline, stage, Belt::Own);
        }
        if let Some(promotion) = promotion {
            self.promote(&mut document, promotion);
        }
        document
            .say("Answers `/… run serin status` in a chat, and does what else docs/chat.md lists.");
        document.entry("serin", &chat());
        document.into_text()
    }

    /// The pipeline that promotes, which the other one begins.
    pub(super) fn child(&self, promotion: &Pipeline) -> String {
        let mut document = Document::default();
        document.say(&format!(
            "Written by `{}`: change serin.toml, and write it again.\n\n\
             Promotes what is on the canary: each stage of {} is a job. The job that begins this pipeline holds its resource\n\
             group until the end, so that the jobs here need none.",
            self.command, promotion.name
        ));
        self.head(&mut document, promotion, &[]);
        self.begin(&mut document, &format!("begin {}", promotion.name), promotion);
        for stage in &promotion.stages {
            if stage.exposure.is_some() && !self.asked.traffic.is_empty() {
                document.say("Real requests beside those of users, from several runners, while the canary proves the build.");
                document.entry("traffic", &self.traffic(promotion, stage));
            }
            self.stage(&mut document, promotion, stage, Belt::OfTheParent);
        }
        document.into_text()
    }

    /// What all jobs have, and the order of stages.
    fn head(&self, document: &mut Document, pipeline: &Pipeline, more: &[&str]) {
        let mut stages = vec!["begin".to_owned()];
        for stage in &pipeline.stages {
            stages.push(work_name(stage));
            stages.extend(bakes(stage).then(|| bake_name(stage)));
        }
        stages.extend(more.iter().map(|name| (*name).to_owned()));
        document.say("In this order, whatever the jobs are called.");
        document.entry("stages", &texts(stages));
        let mut default = vec![
            // A newer pipeline must not cut a job that is changing hosts.
            ("interruptible".to_owned(), bare("false")),
            ("retry".to_owned(), retry()),
        ];
        if !self.asked.tag.is_empty() {
            default.push(("tags".to_owned(), texts(self.asked.tag.clone())));
        }
        default.extend(self.asked.image.clone().map(|image| ("image".to_owned(), text(image))));
        document.say("A runner that dies costs one more try. What Serin has halted is a person's to resume, and is not tried again.");
        document.entry("default", &Yaml::Map(default));
        let variables =
            [("SERIN_CONFIG", text(&self.asked.serin_toml)), ("SERIN_QA_REPORTS", text(REPORTS))];
        document.say("Where the configuration is, and where QA reports go.");
        document.entry("variables", &map(variables));
    }

    fn begin(&self, document: &mut Document, name: &str, pipeline: &Pipeline) {
        let bakes = match self.asked.bakes {
            Bakes::Live => "",
            Bakes::Afterwards => " --bakes afterwards",
        };
        let script = format!("serin ci begin {}{bakes} --dotenv serin.env", pipeline.name);
        let reports = map([("dotenv", text("serin.env"))]);
        document.say("Plans and records the run, and tells the other jobs which it is.");
        let artifacts = map([("reports", reports)]);
        let job = [("stage", text("begin")), ("script", texts([script])), ("artifacts", artifacts)];
        document.entry(name, &map(job));
    }

    fn stage(&self, document: &mut Document, pipeline: &Pipeline, stage: &StageSpec, belt: Belt) {
        let topology = &self.config.topology;
        let number = stage.number;
        let script = if bakes(stage) {
            format!("serin ci stage {number} --before-bake")
        } else {
            format!("serin ci stage {number}")
        };
        let mut job = job(&work_name(stage), &script, environment(topology, pipeline, stage));
        job.push(("timeout", text(hours(timeout(topology, stage)))));
        job.extend(belt.of(stage));
        if !stage.qa.is_empty() {
            job.push(("artifacts", test_reports()));
        }
        document.say(&format!("Stage {number}: {}.", plain(&stage.title)));
        document.entry(&work_name(stage), &entries(job));
        if bakes(stage) {
            let place = verified(topology, stage);
            let mut job = self::job(&bake_name(stage), &format!("serin ci stage {number}"), place);
            job.push(("timeout", text(hours(stage.bake + USUAL))));
            job.extend(belt.of(stage));
            if self.asked.bakes == Bakes::Afterwards {
                // No runner is held: what was recorded meanwhile is asked when it is over.
                let wait = stage.bake.as_secs().max(1);
                let wait = format!("{wait} seconds");
                job.extend([("when", text("delayed")), ("start_in", text(wait))]);
            }
            document.entry(&bake_name(stage), &entries(job));
        }
    }

    fn promote(&self, document: &mut Document, promotion: &Pipeline) {
        let script = format!("serin ci promotable --pipeline {}", promotion.name);
        let minutes = self.config.promotion.baked_for.as_secs().div_ceil(60).max(1);
        let by_schedule = map([
            ("if", text(r#"$CI_PIPELINE_SOURCE == "schedule" && $SERIN_PROMOTE == "if-ready""#)),
            ("when", text("delayed")),
            ("start_in", text(format!("{minutes} minutes"))),
        ]);
        let by_hand = map([("when", text("manual")), ("allow_failure", bare("false"))]);
        document.say("On to main: by a person's hand, or in a schedule by itself when the build has baked. It is looked at whether the\ncanary still has this pipeline's build.");
        let rules = Yaml::List(vec![by_schedule, by_hand]);
        let job = [("stage", text("promote")), ("script", texts([script])), ("rules", rules)];
        document.entry("promote", &map(job));
        let group = promotion.stages.first().map(|stage| stage.environment.to_string());
        let include = Yaml::List(vec![map([("local", text(CHILD))])]);
        let trigger = map([("include", include), ("strategy", text("depend"))]);
        document.entry(
            "production",
            &map([
                ("stage", text("production")),
                ("trigger", trigger),
                ("resource_group", text(group.unwrap_or_default())),
            ]),
        );
    }

    fn traffic(&self, promotion: &Pipeline, stage: &StageSpec) -> Yaml {
        let asked = self.asked;
        let bases: Vec<String> =
            asked.traffic.iter().map(|base| quoted(&base.to_string())).collect();
        let (rate, length) = (asked.traffic_rate, asked.traffic_length.as_secs());
        let endpoints = asked.traffic_endpoint.iter().map(|endpoint| quoted(endpoint));
        let endpoints: Vec<String> = endpoints.map(|what| format!(" --endpoint {what}")).collect();
        let endpoints = endpoints.concat();
        let bases = bases.join(" ");
        let script = format!("serin traffic {bases} --rate {rate} --for {length}s{endpoints}");
        map([
            ("stage", text(work_name(stage))),
            ("needs", texts([format!("begin {}", promotion.name)])),
            ("script", texts([script])),
            ("parallel", bare(&asked.traffic_jobs.to_string())),
            // Whether the build is good is for the gates to say; a request that failed is shown.
            ("allow_failure", bare("true")),
        ])
    }
}

/// Whose resource group keeps two pipelines apart. Serin's own claim does so in any case: it is a second belt.
#[derive(Clone, Copy)]
enum Belt {
    Own,
    OfTheParent,
}

impl Belt {
    fn of(self, stage: &StageSpec) -> Option<(&'static str, Yaml)> {
        match self {
            Self::Own => Some(("resource_group", text(stage.environment.as_str()))),
            Self::OfTheParent => None,
        }
    }
}

fn job(stage: &str, script: &str, environment: Yaml) -> Vec<(&'static str, Yaml)> {
    vec![("stage", text(stage)), ("script", texts([script])), ("environment", environment)]
}

fn entries(job: Vec<(&'static str, Yaml)>) -> Yaml {
    Yaml::Map(job.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn chat() -> Yaml {
    let rule = map([("if", text(r#"$CI_PIPELINE_SOURCE == "chat""#))]);
    map([
        ("stage", text("begin")),
        ("script", texts(["serin chat gitlab"])),
        ("rules", Yaml::List(vec![rule])),
    ])
}

fn on_purpose() -> Yaml {
    let pushed = r#"$CI_PIPELINE_SOURCE == "push" || $CI_PIPELINE_SOURCE == "merge_request_event""#;
    let never = map([("if", text(pushed)), ("when", text("never"))]);
    map([("rules", Yaml::List(vec![never, map([("when", text("always"))])]))])
}

/// What a runner's death looks like, and a process that was killed (137): nothing else is tried again by itself.
fn retry() -> Yaml {
    let reasons = [
        "runner_system_failure",
        "stuck_or_timeout_failure",
        "scheduler_failure",
        "api_failure",
        "unknown_failure",
    ];
    map([("max", bare("2")), ("when", texts(reasons)), ("exit_codes", bare("137"))])
}

fn test_reports() -> Yaml {
    let reports = map([("junit", texts([format!("{REPORTS}/**/*.xml")]))]);
    map([("when", text("always")), ("expire_in", text("4 weeks")), ("reports", reports)])
}

/// Where a stage works. Of several that work in one place, the last that changes its hosts is the deployment.
fn environment(topology: &Topology, pipeline: &Pipeline, stage: &StageSpec) -> Yaml {
    let here = place(topology, stage);
    let of_hosts = |other: &&StageSpec| {
        matches!(other.work, WorkSpec::Roles(_)) && place(topology, other) == here
    };
    let last = pipeline.stages.iter().rev().find(of_hosts).map(|last| last.number);
    let action = match last {
        Some(last) if last == stage.number => "start",
        Some(last) if last < stage.number => "access",
        Some(_) | None => "prepare",
    };
    in_place(topology, stage, action)
}

fn verified(topology: &Topology, stage: &StageSpec) -> Yaml {
    in_place(topology, stage, "verify")
}

fn in_place(topology: &Topology, stage: &StageSpec, action: &str) -> Yaml {
    map([
        ("name", text(place(topology, stage))),
        ("deployment_tier", text(tier(stage.environment.as_str()))),
        ("action", text(action)),
    ])
}

/// An environment as GitLab calls it; a canary, which gets a share of the traffic, is one of its own.
fn place(topology: &Topology, stage: &StageSpec) -> String {
    let fleet = |environment: &Environment| environment.fleets.get(&stage.fleet).cloned();
    let fleet = topology.environments.get(&stage.environment).and_then(fleet);
    let is_canary = fleet.is_some_and(|fleet| fleet.share_after.is_some());
    match &stage.work {
        WorkSpec::Roles(_) if is_canary => format!("{}/{}", stage.environment, stage.fleet),
        WorkSpec::Roles(_)
        | WorkSpec::Migrations
        | WorkSpec::PostDeploymentMigrations
        | WorkSpec::DeployHost
        | WorkSpec::Patch => stage.environment.to_string(),
    }
}

fn tier(environment: &str) -> &'static str {
    match environment {
        "production" => "production",
        "staging" => "staging",
        "testing" | "test" => "testing",
        "development" => "development",
        _ => "other",
    }
}

fn timeout(topology: &Topology, stage: &StageSpec) -> Duration {
    let work = match &stage.work {
        WorkSpec::Migrations | WorkSpec::PostDeploymentMigrations => {
            let profile = topology.profile.migrations.as_ref();
            profile.map_or(MIGRATIONS, |migrations| migrations.timeout)
        }
        WorkSpec::Roles(_) | WorkSpec::DeployHost | WorkSpec::Patch => Duration::ZERO,
    };
    let exposure = stage.exposure.as_ref().map_or(Duration::ZERO, |exposure| exposure.deadline);
    let approval = if stage.approval.is_some() { APPROVAL } else { Duration::ZERO };
    USUAL + work + exposure + approval
}

fn hours(time: Duration) -> String {
    format!("{} hours", time.as_secs().div_ceil(3600))
}

fn bakes(stage: &StageSpec) -> bool {
    !stage.bake.is_zero()
}

fn work_name(stage: &StageSpec) -> String {
    format!("{} {}", stage.number, plain(&stage.title))
}

fn bake_name(stage: &StageSpec) -> String {
    format!("{} bake", stage.number)
}

/// Letters, digits and a few signs of a title: names of jobs are put into addresses, folders and variables. GitLab takes
/// up to 255 characters.
fn plain(title: &str) -> String {
    const MOST: usize = 200;
    let fit = |c: char| if c.is_alphanumeric() || "-_.,()".contains(c) { c } else { ' ' };
    let title: String = title.chars().map(fit).take(MOST).collect();
    title.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A word as a shell reads it back.
pub(super) fn quoted(value: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./:@=+,".contains(c);
    if !value.is_empty() && value.chars().all(safe) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_becomes_a_name_of_a_job_without_signs_that_others_obey() {
        assert_eq!(plain("staging: $(reboot) \"x\"\n now/here"), "staging (reboot) x now here");
    }
}
