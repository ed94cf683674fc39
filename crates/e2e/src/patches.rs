//! Patches on real hosts: put on and taken off under traffic, kept by runs, and what they make of builds.

use crate::lab::{Lab, PATIENCE};
use crate::monitor::Monitor;
use crate::oracle;
use crate::scenarios::{MAX_OUT, Scenario, scenario};
use crate::traffic::Traffic;
use anyhow::{Context, Result, bail};

/// A patch of two files of the Rails code, made for the lab's builds.
const PATCH: &str = include_str!("../../../scenarios/redirect.patch");
const FIXED: &str = "user.present?";
const FILE: &str = "/opt/gitlab/embedded/service/gitlab-rails/app/models/project.rb";

pub(crate) fn patched() -> Scenario {
    scenario(
        "a_patch_reaches_every_host_of_production_and_holds_the_canary_for_a_build_with_it",
        |lab| {
            let file = tempfile::Builder::new().suffix(".patch").tempfile()?;
            std::fs::write(file.path(), PATCH)?;
            let file = file.path().to_str().context("the name of a temporary file")?;
            let before = oracle::versions(lab)?;
            refused(lab, file)?;
            let traffic = Traffic::start(lab)?;
            let monitor = Monitor::start(lab)?;
            let kill = 20 + lab.random(40);
            put_on(lab, file, kill)?;
            let seen = monitor.stop(MAX_OUT)?;
            let sent = traffic.stop()?;
            everywhere(lab, FIXED, Fixed::Yes)?;
            if oracle::versions(lab)? != before {
                bail!("versions have changed");
            }
            oracle::nothing_left_out(lab)?;
            let list = lab.serin(&["patch", "list"])?;
            list.expect(0)?.says(&["production", "INC-1", "production/h-"])?;
            lab.serin(&apply(file))?.expect(0)?.says(&["every host there has patch"])?;
            let held = near_misses(lab)?;
            let whole = contained(lab)?;
            Ok(format!("killed after {kill} lines; {sent}; {seen}; {held}; {whole}"))
        },
    )
}

fn apply(file: &str) -> [&str; 9] {
    ["patch", "apply", file, "--fleet", "production", "--incident", "INC-1", "--reason", "a hole"]
}

/// What is refused leaves no host changed, and nothing in the ledger.
fn refused(lab: &mut Lab, file: &str) -> Result<()> {
    let with = |at: usize, value: &'static str| {
        let mut arguments = apply(file);
        if let Some(argument) = arguments.get_mut(at) {
            *argument = value;
        }
        arguments
    };
    let no_place = with(4, "production/nowhere");
    lab.serin(&no_place)?.expect(4)?.says(&["production has no fleet nowhere"])?;
    lab.serin(&with(8, " "))?.expect(4)?.says(&["the reason is empty"])?;
    lab.serin(&with(6, " "))?.expect(4)?.says(&["the incident is empty"])?;
    let outside = tempfile::Builder::new().suffix(".patch").tempfile()?;
    std::fs::write(outside.path(), PATCH.replace("app/models/", "../../etc/"))?;
    let name = outside.path().to_str().context("the name of a temporary file")?;
    lab.serin(&apply(name))?.expect(4)?.says(&["is refused"])?;
    // One host whose file somebody has edited: it fits some hosts only, and none is changed.
    lab.on("web-02.gprd", &format!("cp -p {FILE} /root/kept && echo '# mine' >>{FILE}"))?;
    let run = lab.serin(&apply(file))?;
    run.expect(5)?.says(&["web-02.gprd", "has other bytes"])?;
    everywhere(lab, FIXED, Fixed::No)?;
    lab.on("web-02.gprd", &format!("cp -p /root/kept {FILE}"))?;
    lab.serin(&["cancel", "--reason", "it fits some hosts only"])?.expect(6)?;
    Ok(())
}

/// Puts it on, killed on the way after so many lines; another process goes on.
fn put_on(lab: &mut Lab, file: &str, lines: usize) -> Result<()> {
    let mut run = lab.serin_running(&apply(file))?;
    if run.lines(lines, PATIENCE)? {
        run.kill()?;
        let adopted = lab.serin(&["adopt"])?;
        adopted.expect(0)?.says(&["is finished"])?;
        return Ok(());
    }
    run.end(PATIENCE)?.expect(0)?;
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fixed {
    Yes,
    No,
}

/// Asks every host of production whether its code has some words.
fn everywhere(lab: &Lab, words: &str, fixed: Fixed) -> Result<()> {
    let hosts = oracle::versions(lab)?.into_keys();
    for host in hosts.filter(|host| host.split('.').nth(1) == Some("gprd")) {
        let found = lab.on(&host, &format!("grep -c '{words}' {FILE} || true"))?.concat();
        if (found.trim() != "0") != (fixed == Fixed::Yes) {
            bail!("{host}: {words:?} is there {found} times");
        }
    }
    Ok(())
}

/// Builds that have nothing of it, or a part, do not lift the hold.
fn near_misses(lab: &mut Lab) -> Result<String> {
    let without = lab.publish(None)?;
    let refused = lab.serin(&["run", "to-canary", &without])?;
    let held =
        refused.expect(4)?.says(&["production/canary", "builds must contain patch"])?.to_owned();
    let half = lab.publish_fixed("half")?;
    lab.serin(&["run", "to-canary", &half])?.expect(4)?.says(&["would be lost"])?;
    lab.serin(&["patch", "list"])?.expect(0)?.says(&["production/h-"])?;
    Ok(held.trim().to_owned())
}

/// A build with all of it lifts the hold, reaches the canary, and closes the patch only when main has it, too.
fn contained(lab: &mut Lab) -> Result<String> {
    let whole = lab.publish_fixed("whole")?;
    let run = lab.serin(&["run", "to-canary", &whole])?;
    run.expect(0)?.says(&[&whole, "contains patch"])?;
    lab.serin(&["patch", "list"])?.expect(0)?.says(&["production", "lifted"])?;
    everywhere(lab, FIXED, Fixed::Yes)?;
    // The canary proves a build with real requests.
    let traffic = Traffic::start(lab)?;
    let promoted = lab.serin(&["promote"])?;
    let sent = traffic.stop()?;
    let closed =
        promoted.expect(0)?.says(&["is closed: every host has a build that contains it"])?;
    let closed = closed.trim().to_owned();
    lab.serin(&["patch", "list"])?.expect(0)?.says(&["no host is to have a patch"])?;
    everywhere(lab, FIXED, Fixed::Yes)?;
    Ok(format!("{sent}; {closed}"))
}
