//! What others do meanwhile: a build that is withdrawn or replaced, a second operator, somebody with a shell on a host.

use crate::lab::{Lab, PATIENCE};
use crate::oracle::{self, Versions};
use crate::process::Ended;
use crate::scenarios::{Scenario, give_up, named_or_in_service, scenario};
use crate::traffic::Traffic;
use anyhow::{Context, Result, bail};
use rustix::process::Signal;

/// The line after which a plan is made, and nothing has happened yet.
const BEGINS: &[&str] = &["begins; from another terminal"];

pub(crate) fn build_withdrawn() -> Scenario {
    scenario("a_build_that_is_withdrawn_or_replaced_is_fetched_nowhere", |lab| {
        let before = oracle::versions(lab)?;
        let version = lab.publish(None)?;
        let gone = halted_by(lab, &version, &["unpublish", &version])?;
        let named = format!("no repository of this host has gitlab-ee {version}");
        gone.says(&["has halted", "fetch on deploy-01.gstg", &named])?;
        unchanged(&before, lab)?;

        let version = lab.publish(None)?;
        let replace = ["publish", &version, "--flaw", "slow-migrations"];
        let replaced = halted_by(lab, &version, &replace)?;
        let named = format!("has gitlab-ee {version} with SHA-256");
        let halt = replaced.says(&["has halted", "fetch on deploy-01.gstg", &named, ", not "])?;
        unchanged(&before, lab)?;
        Ok(halt.trim().to_owned())
    })
}

/// Does something to the repository between plan and fetch; the run halts, and is given up.
fn halted_by(lab: &Lab, version: &str, to_repository: &[&str]) -> Result<Ended> {
    let mut run = lab.serin_running(&["run", "to-canary", version])?;
    run.until(BEGINS, PATIENCE)?;
    // It must not get to the fetch first.
    run.signal(Signal::STOP)?;
    let done = lab.lab(to_repository);
    run.signal(Signal::CONT)?;
    done?.expect(0)?;
    let ended = run.end(PATIENCE)?;
    ended.expect(5)?;
    ended.says(&["no host is out of service because of it"])?;
    give_up(lab)?;
    Ok(ended)
}

/// No host has another version than before, and none is out.
fn unchanged(before: &Versions, lab: &Lab) -> Result<()> {
    let after = oracle::versions(lab)?;
    if let Some((host, seen)) = after.iter().find(|(host, seen)| before.get(*host) != Some(*seen)) {
        bail!("{host} has {seen}");
    }
    oracle::nothing_left_out(lab)
}

pub(crate) fn build_replaced_later() -> Scenario {
    scenario("a_build_that_is_replaced_after_staging_does_not_reach_production", |lab| {
        let before = oracle::versions(lab)?;
        let version = lab.publish(None)?;
        let mut run = lab.serin_running(&["run", "to-canary", &version])?;
        // With its time before it: the plan has been printed too.
        run.until(&["  stage 4: "], PATIENCE)?;
        lab.lab(&["publish", &version, "--flaw", "slow-migrations"])?.expect(0)?;
        let ended = run.end(PATIENCE)?;
        ended.expect(5)?;
        let named = format!("has gitlab-ee {version} with SHA-256");
        let halt = ended.says(&["has halted", "fetch on deploy-01.gprd", &named])?;
        let after = oracle::versions(lab)?;
        let in_production = |host: &str| host.split('.').nth(1) == Some("gprd");
        for (host, seen) in after.iter().filter(|(host, _)| in_production(host)) {
            if before.get(host) != Some(seen) {
                bail!("{host} has {seen}");
            }
        }
        oracle::nothing_left_out(lab)?;
        oracle::migrations_ran_once(lab)?;
        give_up(lab)?;
        Ok(halt.trim().to_owned())
    })
}

pub(crate) fn two_operators() -> Scenario {
    scenario("of_two_operators_who_start_at_once_one_is_refused_by_name", |lab| {
        let before = oracle::versions(lab)?;
        let version = lab.publish(None)?;
        let traffic = Traffic::start(lab)?;
        let start = || lab.serin_running(&["run", "to-canary", &version]);
        let both = [start()?, start()?];
        let ended = both.map(|run| run.end(PATIENCE));
        let [first, second] = ended;
        let (first, second) = (first?, second?);
        let (winner, loser) = if first.code == Some(0) { (first, second) } else { (second, first) };
        winner.expect(0)?;
        loser.expect(4)?;
        let run = run_of(&winner.log)?;
        let told = loser.says(&[&format!("error: staging belongs to run {run}")])?.to_owned();
        traffic.stop()?;
        // What only one of them did shows in the logs of dpkg and of the databases.
        oracle::delivered(lab, &version)?;
        oracle::main_untouched(&before, lab)?;
        Ok(told)
    })
}

/// Finds which run an output is about.
fn run_of(log: &[String]) -> Result<&str> {
    let line = log.iter().find(|line| BEGINS.iter().all(|word| line.contains(word)));
    let name = line.and_then(|line| line.strip_prefix("run ")?.split(' ').next());
    name.context("no run began")
}

pub(crate) fn third_version() -> Scenario {
    scenario("a_version_that_somebody_installed_meanwhile_is_named_and_halts", |lab| {
        let before = oracle::versions(lab)?;
        let third = lab.publish(None)?;
        let version = lab.publish(None)?;
        let from = before.get("web-02.gstg").and_then(|seen| seen.split(' ').next());
        let from = from.context("web-02.gstg has no version")?.to_owned();
        let mut run = lab.serin_running(&["run", "to-canary", &version])?;
        // From here on config management is stopped, and does not put it right.
        run.until(&["staging/main", "record"], PATIENCE)?;
        install_by_hand(lab, "web-02.gstg", &third)?;
        let ended = run.end(PATIENCE)?;
        ended.expect(5)?;
        let expected = format!("expected {from} or {version} on web-02.gstg, found {third}");
        let halt = ended.says(&["has halted", "check on web-02.gstg", &expected])?;
        oracle::nothing_left_out(lab)?;
        oracle::main_untouched(&before, lab)?;
        give_up(lab)?;
        // The next plan knows of it.
        lab.serin(&["run", "to-canary", &version])?.expect(0)?;
        oracle::delivered(lab, &version)?;
        Ok(halt.trim().to_owned())
    })
}

/// Installs a version as a person at a shell would; what runs is left alone.
fn install_by_hand(lab: &Lab, host: &str, version: &str) -> Result<()> {
    let line = format!(
        "export DEBIAN_FRONTEND=noninteractive
         apt-get -qq update && apt-get -qq -y --allow-downgrades install gitlab-ee={version}"
    );
    lab.on(host, &line)?;
    Ok(())
}

pub(crate) fn half_right() -> Scenario {
    scenario("a_host_with_an_old_process_or_left_drained_is_put_right", |lab| {
        let before = oracle::versions(lab)?;
        let version = lab.publish(None)?;
        // The right package, and the process of the version before.
        lab.on("api-01.gstg", "sv -w 60 stop chef-client")?;
        install_by_hand(lab, "api-01.gstg", &version)?;
        lab.serin(&["run", "to-canary", &version])?.expect(0)?;
        oracle::delivered(lab, &version)?;
        let runs = lab.on("api-01.gstg", "running-version puma")?.concat();
        if runs != version {
            bail!("puma of api-01.gstg runs {runs}");
        }
        // The right package and process, and no traffic.
        let drain = "echo 'set server web/web-01 state drain' | \
                     socat -t2 - UNIX-CONNECT:/run/haproxy/admin.sock";
        lab.on("lb-01.gstg", drain)?;
        let plan = lab.serin(&["plan", "to-canary", &version])?;
        plan.expect(0)?;
        plan.says(&["lb-01:web/web-01 was left in drain"])?;
        plan.says(&["deploy: web-01.gstg"])?;
        let run = lab.serin(&["run", "to-canary", &version])?;
        run.expect(0)?;
        run.says(&["web-01.gstg", "ready", "UP"])?;
        oracle::delivered(lab, &version)?;
        oracle::main_untouched(&before, lab)?;
        named_or_in_service(lab)?;
        Ok("both were put right, and nothing was installed twice".to_owned())
    })
}
