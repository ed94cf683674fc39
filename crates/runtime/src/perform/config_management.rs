//! Config management: stopped, recorded for, started where a host runs what its record says.

use super::{Act, Performed, Stop, already, done, failed, filled, unexpected};
use crate::ports::{Look, Work};
use serin_model::{
    ConfigManagement, ConfigManagementState, DebVersion, FleetName, HostObservation, Reason,
    VersionRecord,
};
use std::time::Duration;

/// How often it is asked whether a converge has ended.
const POLL: Duration = Duration::from_millis(500);

fn agent(act: &Act) -> Result<&ConfigManagement, Box<Stop>> {
    let agent = act.environment()?.config_management.as_ref();
    agent.map_or_else(|| unexpected("config management in the plan", "none"), Ok)
}

fn record_of(act: &Act) -> Result<&VersionRecord, Box<Stop>> {
    let record = agent(act)?.record.as_ref();
    record.map_or_else(|| unexpected("a version record in the plan", "none"), Ok)
}

pub(super) async fn stop(act: &Act) -> Performed {
    let agent = agent(act)?;
    let host = &act.host()?.name;
    if act.read(host, &agent.running).await?.status != 0 {
        return already(format!("{} was stopped already", agent.agent));
    }
    let work = Work::command(agent.stop.clone());
    act.job(work, agent.wait).await?;
    let what = format!("the end of {}'s converge on {host}", agent.agent);
    act.until(&what, agent.wait, POLL, || async {
        Ok(act.read(host, &agent.running).await?.status != 0)
    })
    .await?;
    done(format!("{} is stopped", agent.agent))
}

pub(super) async fn start(act: &Act, fleet: &FleetName) -> Performed {
    let agent = agent(act)?;
    let host = act.host()?;
    let seen = act.observe(Look::State).await?;
    if seen.config_management == ConfigManagementState::Running {
        return already(format!("{} runs already", agent.agent));
    }
    // Without a record the agent installs no version, so nothing can differ.
    if agent.record.is_some() && !runs_what_is_recorded(act, fleet, &seen).await? {
        return already(format!(
            "{} stays stopped: {} has {}, the record of {fleet} says otherwise",
            agent.agent, host.name, seen.package
        ));
    }
    let work = Work::command(agent.start.clone());
    act.job(work, super::READ_TIMEOUT).await?;
    let what = format!("the start of {} on {}", agent.agent, host.name);
    act.until(&what, super::READ_TIMEOUT, POLL, || async {
        Ok(act.read(&host.name, &agent.running).await?.status == 0)
    })
    .await?;
    done(format!("{} runs again", agent.agent))
}

async fn runs_what_is_recorded(
    act: &Act,
    fleet: &FleetName,
    seen: &HostObservation,
) -> Result<bool, Box<Stop>> {
    let recorded = recorded(act, fleet).await?;
    let mut services = act.roles()?.into_iter().flat_map(|role| &role.services);
    Ok(recorded.as_ref().is_some_and(|version| {
        seen.installed() == Some(version)
            && services.all(|service| seen.runs(&service.name, version))
    }))
}

pub(super) async fn record(
    act: &Act,
    fleet: &FleetName,
    (from, to): (Option<&DebVersion>, Option<&DebVersion>),
) -> Performed {
    let record = record_of(act)?;
    let target = to.unwrap_or(&act.plan.build.version);
    let found = recorded(act, fleet).await?;
    if found.as_ref() == Some(target) {
        return already(format!("the record says {target} already"));
    }
    if found.as_ref() != from {
        let show = |version: Option<&DebVersion>| {
            version.map_or("nothing".to_owned(), ToString::to_string)
        };
        return unexpected(
            format!("{} in the record of {fleet}", show(from)),
            show(found.as_ref()),
        );
    }
    let argv = filled(&record.write, &values(act, fleet, target.as_str()))?;
    let work = Work::command(argv);
    act.job_on(record.host.clone(), act.step.id.clone(), work, super::READ_TIMEOUT).await?;
    match recorded(act, fleet).await? {
        Some(version) if version == *target => done(format!("the record says {target}")),
        other => unexpected(
            format!("{target} in the record of {fleet} after writing it"),
            other.map_or("nothing".to_owned(), |v| v.to_string()),
        ),
    }
}

/// Reads what the record of a fleet says.
async fn recorded(act: &Act, fleet: &FleetName) -> Result<Option<DebVersion>, Box<Stop>> {
    let record = record_of(act)?;
    let argv = filled(&record.read, &values(act, fleet, ""))?;
    let end = act.read(&record.host, &argv).await?;
    if end.status != 0 {
        return failed(super::command_failed(argv.to_string(), &end));
    }
    let text = end.output.trim();
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).or_else(|why: serin_model::InvalidVersion| {
        failed(Reason::Unexpected {
            expected: format!("a version from `{argv}`"),
            found: why.to_string(),
        })
    })
}

fn values<'a>(
    act: &'a Act,
    fleet: &'a FleetName,
    version: &'a str,
) -> [(&'static str, &'a str); 3] {
    [("environment", act.environment.as_str()), ("fleet", fleet.as_str()), ("version", version)]
}
