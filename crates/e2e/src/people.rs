//! Two people, of whom one starts what the other has agreed to, and a GitLab that comes back while it goes on.

use crate::events;
use crate::gitlab::{Deployment, GitLab};
use crate::lab::{Lab, PATIENCE};
use crate::oracle;
use crate::process::Ended;
use crate::scenarios::{Scenario, scenario};
use crate::traffic::Traffic;
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;

pub(crate) fn agreed_and_told() -> Scenario {
    scenario("what_two_people_agreed_to_starts_and_gitlab_is_told_where_it_is", |lab| {
        let before = oracle::versions(lab)?;
        let version = lab.publish(None)?;
        let gitlab = GitLab::away()?;
        let api = gitlab.api.clone();
        let token = tempfile::NamedTempFile::new()?;
        std::fs::write(token.path(), "t0ken\n")?;
        let config = lab.changed_config(|text| with_people(text, &api, token.path()))?;
        let config = config.path();
        let run = ["--json", "run", "to-canary", &version];
        let agree = ["agree", "to-canary", &version, "--note", "read the changes"];
        asks(lab, config, "mallory", &run)?.expect(4)?.says(&["error:", "mallory"])?;
        asks(lab, config, "bob", &run)?.expect(4)?.says(&["bob may not", "release-manager"])?;
        let alone = |answer: Ended| -> Result<()> {
            answer.expect(4)?.says(&["error:", "wants a second person"])?;
            answer.says(&["hint: carol can: serin agree"]).map(drop)
        };
        alone(asks(lab, config, "alice", &run)?)?;
        // Nobody is a second person to themselves, and agreeing to another build is no word about this one.
        asks(lab, config, "alice", &agree)?.expect(0)?;
        asks(lab, config, "carol", &["agree", "to-canary", "1.0", "--note", "x"])?.expect(0)?;
        alone(asks(lab, config, "alice", &run)?)?;
        asks(lab, config, "carol", &agree)?.expect(0)?;

        let traffic = Traffic::start(lab)?;
        let mut running = lab.serin_as("alice", config, &run)?;
        // Staging's last stage follows: GitLab was asked in vain when its first was over.
        events::until(&mut running, |event| event.is_done("3/staging/qa.smoke"))?;
        let in_vain = gitlab.comes_back();
        let ended = running.end(PATIENCE)?;
        let sent = traffic.stop_regardless();
        ended.expect(0)?.says(&["GitLab is not told", "The run goes on"])?;
        sent?;
        ensure!(in_vain > 0, "GitLab was not asked while it was away");
        oracle::delivered(lab, &version)?;
        oracle::main_untouched(&before, lab)?;

        let sha = commit_on(lab, "web-cny-01.gprd")?;
        let told = gitlab.deployments();
        succeeded(&told, "gstg", &sha)?;
        succeeded(&told, "gprd-cny", &sha)?;
        let canary = told.iter().find(|known| known.environment == "gprd-cny");
        let statuses = canary.map(|known| known.statuses.join(", ")).unwrap_or_default();
        ensure!(statuses == "running, success", "the canary was told as {statuses}");
        asks(lab, config, "alice", &["gitlab", "deployments"])?.expect(0)?;
        ensure!(gitlab.deployments() == told, "it was told twice: {:?}", gitlab.deployments());
        asks(lab, config, "bob", &["audit", "verify"])?.expect(0)?;
        let trail = asks(lab, config, "bob", &["audit", "-n", "100"])?;
        trail.expect(0)?.says(&["bob", "REFUSED", "run to-canary"])?;
        trail.says(&["alice", "run to-canary", "done"])?;
        trail.says(&["carol", "agree to-canary", &version])?;
        Ok(format!("refused 4 times, agreed, run; GitLab was away for {in_vain} question(s)"))
    })
}

fn asks(lab: &Lab, config: &Path, who: &str, asked: &[&str]) -> Result<Ended> {
    lab.serin_as(who, config, asked)?.end(PATIENCE)
}

fn with_people(text: &str, api: &str, token: &Path) -> String {
    format!(
        r#"{text}
[environments.staging.policy]
two_people = true
[people.alice]
unix = ["alice"]
roles = {{ "*" = "release-manager" }}
[people.bob]
unix = ["bob"]
roles = {{ "*" = "viewer" }}
[people.carol]
unix = ["carol"]
roles = {{ "*" = "release-manager" }}
[gitlab]
api = "{api}"
token_file = "{}"
[[gitlab.deployments]]
project = "42"
component = "gitlab-rails"
environments = {{ staging = "gstg", "production/canary" = "gprd-cny" }}
"#,
        token.display()
    )
}

/// Returns the commit of the component that a host has, by the list in its package.
fn commit_on(lab: &Lab, host: &str) -> Result<String> {
    let text = lab.on(host, "cat /opt/gitlab/version-manifest.json")?.concat();
    let list: serde_json::Value = serde_json::from_str(&text)?;
    let sha = list.pointer("/software/gitlab-rails/locked_version").and_then(|sha| sha.as_str());
    sha.map(str::to_owned).context("the package lists no commit")
}

fn succeeded(told: &[Deployment], environment: &str, sha: &str) -> Result<()> {
    let mut of: Vec<&Deployment> =
        told.iter().filter(|known| known.environment == environment).collect();
    let (Some(one), true) = (of.pop(), of.is_empty()) else {
        bail!("not one deployment of {environment}: {told:?}");
    };
    let last = one.statuses.last().map(String::as_str);
    ensure!(one.sha == sha, "{environment} was told of {}, not {sha}", one.sha);
    ensure!(last == Some("success"), "{environment} was told {:?}", one.statuses);
    Ok(())
}
