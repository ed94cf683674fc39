//! What must be true at the end of every story, asked of the hosts and the database, not of Serin.

use crate::lab::Lab;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;

/// Versions of all application hosts.
pub(crate) type Versions = BTreeMap<String, String>;

/// Reads what is installed everywhere.
pub(crate) fn versions(lab: &Lab) -> Result<Versions> {
    let mut versions = Versions::new();
    for (name, _) in application_hosts(lab)? {
        let query = "dpkg-query -W -f '${Version} ${db:Status-Status}' gitlab-ee";
        versions.insert(name.clone(), lab.on(&name, query)?.concat());
    }
    Ok(versions)
}

fn application_hosts(lab: &Lab) -> Result<Vec<(String, String)>> {
    let kinds = ["deploy", "gitaly", "web", "api", "git", "sidekiq"];
    let hosts = kinds.iter().map(|kind| lab.hosts(kind)).collect::<Result<Vec<_>>>()?;
    Ok(hosts.concat())
}

/// A host that the pipeline `to-canary` must leave alone.
pub(crate) fn is_main_production(host: &str) -> bool {
    host.split('.').nth(1) == Some("gprd")
        && !host.contains("-cny-")
        && !host.starts_with("deploy-")
}

/// Main production has what it had.
pub(crate) fn main_untouched(before: &Versions, lab: &Lab) -> Result<()> {
    let after = versions(lab)?;
    for (host, version) in before.iter().filter(|(host, _)| is_main_production(host)) {
        if after.get(host) != Some(version) {
            bail!("{host} had {version}, and has {:?}", after.get(host));
        }
    }
    lab.account().borrow_mut().holds("main production untouched");
    Ok(())
}

/// The build is where the pipeline puts it, once, and nothing is left behind.
pub(crate) fn delivered(lab: &Lab, version: &str) -> Result<()> {
    for (host, seen) in versions(lab)? {
        let meant = !is_main_production(&host);
        if meant && seen != format!("{version} installed") {
            bail!("{host} has {seen}");
        }
        let count = installations(lab, &host, version)?;
        let wanted = if meant { "1" } else { "0" };
        if count != wanted {
            bail!("{host}: {version} was installed {count} times");
        }
    }
    migrations_ran_once(lab)?;
    nothing_left_out(lab)?;
    let plan = lab.serin(&["plan", "to-canary", version])?;
    plan.expect(0)?.says(&["nothing to do"]).context("planning right after success")?;
    lab.account().borrow_mut().holds("every host has the build, installed once");
    Ok(())
}

/// The build is on every host of both environments, and was installed there once.
pub(crate) fn everywhere(lab: &Lab, version: &str) -> Result<()> {
    for (host, seen) in versions(lab)? {
        if seen != format!("{version} installed") {
            bail!("{host} has {seen}");
        }
        let count = installations(lab, &host, version)?;
        if count != "1" {
            bail!("{host}: {version} was installed {count} times");
        }
    }
    lab.account().borrow_mut().holds("every host has the build, installed once");
    Ok(())
}

/// Returns how often a host's dpkg has installed a version, by its log.
fn installations(lab: &Lab, host: &str, version: &str) -> Result<String> {
    let line =
        format!("grep -c ' status installed gitlab-ee:amd64 {version}$' /var/log/dpkg.log || true");
    Ok(lab.on(host, &line)?.concat())
}

/// No migration has run twice in any database.
pub(crate) fn migrations_ran_once(lab: &Lab) -> Result<()> {
    for (host, _) in lab.hosts("database")? {
        let twice = lab.on(
            &host,
            "su postgres -c \"psql -qtA gitlab -c \
             'select id from migration_log group by id having count(*) > 1'\"",
        )?;
        if !twice.concat().trim().is_empty() {
            bail!("{host}: migrations ran twice: {}", twice.join(" "));
        }
    }
    lab.account().borrow_mut().holds("each migration once");
    Ok(())
}

/// Asks an environment's database, and returns what it prints.
pub(crate) fn ask_database(lab: &Lab, environment: &str, statement: &str) -> Result<String> {
    let host = format!("db-01.{environment}");
    let line = format!("su postgres -c 'psql -qtA gitlab' <<'END'\n{statement};\nEND");
    Ok(lab.on(&host, &line)?.concat().trim().to_owned())
}

/// How often a database is asked for what is waited for: a question takes a tenth of a second.
const QUESTIONS: usize = 1000;

/// Asks an environment's database until it says what is wanted.
pub(crate) fn until_database_says(
    lab: &Lab,
    environment: &str,
    statement: &str,
    wanted: &str,
) -> Result<()> {
    let mut said = String::new();
    for _ in 0..QUESTIONS {
        said = ask_database(lab, environment, statement)?;
        if said == wanted {
            return Ok(());
        }
    }
    bail!("{environment}: `{statement}` gave {said}, not {wanted}")
}

/// Every server of every load balancer is UP.
pub(crate) fn nothing_left_out(lab: &Lab) -> Result<()> {
    for (name, _) in lab.hosts("load-balancer")? {
        let stat = lab.on(
            &name,
            "echo 'show stat -1 4 -1' | socat -t2 - UNIX-CONNECT:/run/haproxy/admin.sock",
        )?;
        for line in stat.iter().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let fields: Vec<&str> = line.split(',').collect();
            if fields.get(17).is_some_and(|status| *status != "UP") {
                bail!(
                    "{name}: {} is {}",
                    fields.get(1).unwrap_or(&"?"),
                    fields.get(17).unwrap_or(&"?")
                );
            }
        }
    }
    lab.account().borrow_mut().holds("every server UP");
    Ok(())
}

/// Serin reads its records of the newest run, all of them, and finds none changed, dropped or moved.
pub(crate) fn records_hold(lab: &Lab) -> Result<()> {
    lab.serin(&["show", "--events"])?.expect(0)?;
    lab.account().borrow_mut().holds("its records are whole");
    Ok(())
}
