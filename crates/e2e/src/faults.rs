//! Faults in the middle of a run: what is waited for, what halts, and what a person then finds.

pub(crate) mod controllers;
pub(crate) mod machines;
pub(crate) mod network;
pub(crate) mod services;

use crate::events;
use crate::lab::{Lab, PATIENCE};
use crate::oracle;
use crate::process::Running;
use crate::scenarios::{Scenario, named_or_in_service, scenario};
use crate::traffic::Traffic;
use anyhow::{Context, Result, bail};
use std::process::Command;

pub(crate) fn dpkg_locked() -> Scenario {
    scenario("a_lock_of_dpkg_that_another_process_holds_is_waited_for", |lab| {
        let version = lab.publish(None)?;
        let mut running = lab.serin_running(&["--json", "run", "to-canary", &version])?;
        // The second of two hosts of which one may be out: it is drained seconds from now.
        events::until(&mut running, |event| event.is_done("3/web-01.gstg/activate"))?;
        lab.lab(&["break", "dpkg-lock", "web-02.gstg", "15"])?.expect(0)?;
        events::until(&mut running, |e| e.is("attempt-started", "3/web-02.gstg/install"))?;
        lab.on("web-02.gstg", "cat /run/serin-lab-dpkg-lock")
            .context("the lock was free again before the installation began")?;
        let ended = running.end(PATIENCE)?;
        ended.expect(0)?;
        let events = events::all(&ended.log);
        let attempts = events.iter().filter(|e| e.is("attempt-started", "3/web-02.gstg/install"));
        if attempts.count() != 1 {
            bail!("the installation was tried several times");
        }
        oracle::delivered(lab, &version)?;
        Ok("one attempt, which waited".to_owned())
    })
}

pub(crate) fn drain_never_ends() -> Scenario {
    scenario("a_drain_that_does_not_end_halts_and_puts_the_host_back", |lab| {
        let before = oracle::versions(lab)?;
        let version = lab.publish(None)?;
        let traffic = Traffic::start(lab)?;
        let mut run = lab.serin_running(&["run", "to-canary", &version])?;
        run.until(&["web-01.gstg", "check-config"], PATIENCE)?;
        // Longer than the checks that are left and the deadline of 30 s; several, so that each of two hosts has one.
        let long = (0..8).map(|_| request(lab, 55_000)).collect::<Result<Vec<_>>>()?;
        let ended = run.end(PATIENCE)?;
        ended.expect(5)?;
        let halt = ended
            .says(&["has halted", "drain on web-01.gstg", "left after 30s", "web/web-01 ("])?
            .trim()
            .to_owned();
        ended.says(&["no host is out of service because of it"])?;
        let status = lab.serin(&["status"])?;
        status.says(&["halted in stage 3", "drain on web-01.gstg", "web/web-01 ("])?;
        oracle::nothing_left_out(lab)?;
        for (host, seen) in oracle::versions(lab)? {
            if host.starts_with("web-") && before.get(&host) != Some(&seen) {
                bail!("{host} has {seen}");
            }
        }
        for request in long {
            request.end(PATIENCE)?.expect(0).context("a long request was cut")?;
        }
        lab.serin(&["resume", "--reason", "the requests have ended"])?.expect(0)?;
        let sent = traffic.stop()?;
        oracle::delivered(lab, &version)?;
        oracle::main_untouched(&before, lab)?;
        Ok(format!("{halt}; {sent}"))
    })
}

/// Begins a request to staging's web hosts that takes so many milliseconds; it ends with 0 when it was answered.
fn request(lab: &Lab, milliseconds: u32) -> Result<Running> {
    let balancers = lab.hosts("load-balancer")?;
    let staging = balancers.iter().find(|(name, _)| name == "lb-01.gstg");
    let (_, address) = staging.context("the lab has no lb-01.gstg")?;
    let url = format!("http://{address}/slow?ms={milliseconds}");
    Running::start(Command::new("curl").args(["--silent", "--show-error", "--fail", &url]))
}

pub(crate) fn power_lost() -> Scenario {
    scenario("a_deploy_host_that_loses_power_in_its_migrations_runs_none_twice", |lab| {
        let before = oracle::versions(lab)?;
        let version = lab.publish(Some("slow-migrations"))?;
        let run = lab.serin_running(&["run", "to-canary", &version])?;
        // In its first migration, which PostgreSQL then undoes: it is run again.
        oracle::until_database_says(lab, "gstg", IN_A_MIGRATION, "1")?;
        lab.lab(&["break", "power-off", "deploy-01.gstg"])?.expect(0)?;
        oracle::until_database_says(lab, "gstg", SESSIONS, "0")?;
        lab.lab(&["break", "power-on", "deploy-01.gstg"])?.expect(0)?;
        // In its second, when the first is done and the second has no transaction: nobody can tell.
        let begun = format!("SELECT count(*) FROM migration_log WHERE version = '{version}'");
        oracle::until_database_says(lab, "gprd", &begun, "2")?;
        // Main production's record says another version: config management must not start with the host.
        lab.on("deploy-01.gprd", "touch /etc/service/chef-client/down")?;
        lab.lab(&["break", "power-off", "deploy-01.gprd"])?.expect(0)?;
        lab.lab(&["break", "power-on", "deploy-01.gprd"])?.expect(0)?;
        let ended = run.end(PATIENCE)?;
        ended.expect(5)?;
        ended.says(&["deploy-01.gstg", "migrate", "no answer, looking again"])?;
        ended.says(&["deploy-01.gstg", "migrate", "2 migration(s) applied"])?;
        let told = ["migrate on deploy-01.gprd", "it cannot be told", "1 of the 2 that were due"];
        let halt = ended.says(&[&["has halted"][..], &told].concat())?.trim().to_owned();
        lab.serin(&["status"])?.says(&["halted in stage 5", "it cannot be told"])?;
        oracle::migrations_ran_once(lab)?;
        oracle::nothing_left_out(lab)?;
        // What a person does by hand: the second one had begun, so they finish it and say so.
        let finish = format!(
            "INSERT INTO schema_migrations SELECT max(id) FROM migration_log WHERE version = '{version}'"
        );
        oracle::ask_database(lab, "gprd", &finish)?;
        lab.serin(&["resume", "--reason", "the second was finished by hand"])?.expect(0)?;
        lab.on("deploy-01.gprd", "rm /etc/service/chef-client/down")?;
        oracle::delivered(lab, &version)?;
        oracle::main_untouched(&before, lab)?;
        Ok(halt)
    })
}

/// How many migrations are at work.
const IN_A_MIGRATION: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'gitlab-rake' \
                              AND state = 'active' AND query LIKE '%pg_sleep%'";

/// How many sessions hold the lock of migrations: PostgreSQL notices that one's client is gone when it has finished what it was told.
const SESSIONS: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";

pub(crate) fn socket_taken() -> Scenario {
    scenario("haproxy_without_a_free_connection_is_waited_for", |lab| {
        let before = oracle::versions(lab)?;
        let version = lab.publish(None)?;
        let traffic = Traffic::start(lab)?;
        let mut run = lab.serin_running(&["run", "to-canary", &version])?;
        run.until(&["web-01.gstg", "drain", "no session on"], PATIENCE)?;
        lab.lab(&["break", "haproxy-socket-taken", "lb-01.gstg"])?.expect(0)?;
        run.until(&["lb-01.gstg", "takes connections but does not answer"], PATIENCE)?;
        lab.lab(&["break", "mend", "lb-01.gstg"])?.expect(0)?;
        run.end(PATIENCE)?.expect(0)?;
        let sent = traffic.stop()?;
        oracle::delivered(lab, &version)?;
        oracle::main_untouched(&before, lab)?;
        Ok(sent)
    })
}

pub(crate) fn socket_stays_taken() -> Scenario {
    scenario("haproxy_that_stays_without_a_free_connection_halts_and_names_who_is_out", |lab| {
        let before = oracle::versions(lab)?;
        let version = lab.publish(None)?;
        let mut run = lab.serin_running(&["run", "to-canary", &version])?;
        run.until(&["web-01.gstg", "drain", "no session on"], PATIENCE)?;
        lab.lab(&["break", "haproxy-socket-taken", "lb-01.gstg"])?.expect(0)?;
        let ended = run.end(PATIENCE)?;
        ended.expect(5)?;
        let told = ["has halted", "lb-01.gstg cannot be reached", "does not answer"];
        let halt = ended.says(&told)?.trim().to_owned();
        lab.lab(&["break", "mend", "lb-01.gstg"])?.expect(0)?;
        named_or_in_service(lab)?;
        lab.serin(&["resume", "--reason", "HAProxy answers again"])?.expect(0)?;
        oracle::delivered(lab, &version)?;
        oracle::main_untouched(&before, lab)?;
        Ok(halt)
    })
}
