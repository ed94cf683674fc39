//! Services: each runs the build in a new process, and stays healthy for a while.

use super::{Act, Performed, Stop, already, done, failed, filled, traffic, unexpected};
use crate::ports::{Look, Work};
use serin_model::{Argv, Reason, Role, ServiceAction, ServiceHow, ServiceName, StepId, Timestamp};
use std::time::Duration;

/// How often a service and its health are asked.
const POLL: Duration = Duration::from_millis(250);

/// How long a new process is watched where the role names no health: one that dies at once is seen by then.
const SETTLED: Duration = Duration::from_secs(2);

pub(super) async fn activate(act: &Act) -> Performed {
    let roles = act.roles()?;
    let mut told = Vec::new();
    for service in roles.iter().flat_map(|role| &role.services) {
        if tell(act, service).await? {
            told.push(service.name.to_string());
        }
    }
    for role in &roles {
        stays_healthy(act, role).await?;
    }
    if told.is_empty() {
        already("every service runs the build already, and is healthy")
    } else {
        let version = &act.build()?.version;
        done(format!("{} run(s) {version} and stay(s) healthy", told.join(", ")))
    }
}

/// Has services load files that changed under them, and watches that they stay healthy. The version that they run does not
/// change by that: of a service that is restarted, a new process is the proof.
pub(super) async fn reload(
    act: &Act,
    services: &[ServiceName],
    distinct: &str,
) -> Result<(), Box<Stop>> {
    let roles = act.roles()?;
    let concerned = |role: &&&Role| role.services.iter().any(|s| services.contains(&s.name));
    let mut told: Vec<&ServiceName> = Vec::new();
    for service in roles.iter().flat_map(|role| &role.services) {
        if !services.contains(&service.name) || told.contains(&&service.name) {
            continue;
        }
        told.push(&service.name);
        let before = act.observe(Look::State).await?.pid(&service.name);
        // The patch took its time: a reload of HAProxy may have put the host back meanwhile.
        traffic::still_drained(act).await?;
        let step = act.step.id.part(&format!("{distinct}{}", service.name));
        give(act, service, step).await?;
        if service.how == ServiceHow::Restart {
            let what = format!("{} to have a new process", service.name);
            act.until(&what, deadline(act)?, POLL, || async {
                let now = act.observe(Look::State).await?.pid(&service.name);
                Ok(now.is_some() && now != before)
            })
            .await?;
        }
    }
    for role in roles.iter().filter(concerned) {
        stays_healthy(act, role).await?;
    }
    Ok(())
}

/// Gives a service the command that has it run what is on disk.
async fn give(act: &Act, service: &ServiceAction, step: StepId) -> Result<(), Box<Stop>> {
    let profile = &act.plan.topology.profile;
    let argv = match service.how {
        ServiceHow::Hup => &profile.hup,
        ServiceHow::Restart => &profile.restart,
    };
    let work = command(argv, service)?;
    act.job_on(act.host()?.name.clone(), step, work, profile.command_timeout).await?;
    Ok(())
}

/// Tells a service to run the build unless it does, and waits until a new process runs it.
async fn tell(act: &Act, service: &ServiceAction) -> Result<bool, Box<Stop>> {
    let target = &act.build()?.version;
    let before = act.observe(Look::State).await?;
    if before.runs(&service.name, target) {
        return Ok(false);
    }
    traffic::still_drained(act).await?;
    give(act, service, act.step.id.part(service.name.as_str())).await?;
    // The command may return before anything happened: only what runs counts. Its process id says nothing, because a
    // service that hands over by itself keeps its supervised one.
    let what = format!("{} to run {target}", service.name);
    act.until(&what, deadline(act)?, POLL, || async {
        Ok(act.observe(Look::State).await?.runs(&service.name, target))
    })
    .await?;
    Ok(true)
}

fn command(argv: &Argv, service: &ServiceAction) -> Result<Work, Box<Stop>> {
    let argv = filled(argv, &[("service", service.name.as_str())])?;
    Ok(Work::command(argv))
}

fn deadline(act: &Act) -> Result<Duration, Box<Stop>> {
    Ok(act.roles()?.iter().map(|role| role.healthy_deadline).max().unwrap_or_default())
}

/// Asks until the role has been healthy without a break for as long as it must, with the same processes all along.
async fn stays_healthy(act: &Act, role: &Role) -> Result<(), Box<Stop>> {
    let host = &act.host()?.name;
    let wanted = if role.health.is_some() { role.healthy_for } else { SETTLED };
    if role.services.is_empty() {
        return Ok(());
    }
    let clock = &act.ports.clock;
    let end = clock.now().plus(role.healthy_deadline + wanted);
    let mut since: Option<(Timestamp, Vec<Option<u32>>)> = None;
    loop {
        let (pids, why_not) = health(act, role).await?;
        let now = clock.now();
        since = match (since, &why_not) {
            (Some((since, known)), None) if known == pids => Some((since, known)),
            (_, None) => Some((now, pids)),
            (_, Some(_)) => None,
        };
        if since.as_ref().is_some_and(|(since, _)| now.since(*since) >= wanted) {
            return Ok(());
        }
        if now >= end {
            let found = why_not.unwrap_or_else(|| "processes that keep being replaced".to_owned());
            return unexpected(
                format!("{} on {host} to be healthy for {}s", role.name, wanted.as_secs()),
                found,
            );
        }
        clock.sleep_until(now.plus(POLL)).await;
    }
}

/// Reads the processes of a role's services, and what speaks against its health.
async fn health(act: &Act, role: &Role) -> Result<(Vec<Option<u32>>, Option<String>), Box<Stop>> {
    let seen = act.observe(Look::State).await?;
    let pids: Vec<Option<u32>> = role
        .services
        .iter()
        .map(|service| seen.services.get(&service.name).and_then(|seen| seen.pid))
        .collect();
    let target = &act.build()?.version;
    let wrong = role.services.iter().find(|s| !seen.runs(&s.name, target));
    if let Some(service) = wrong {
        let name = &service.name;
        let found = match seen.services.get(name) {
            Some(seen) if seen.pid.is_none() => format!("{name} is down"),
            Some(_) => format!("{name} runs an older version"),
            None => format!("{name} is not known to the host"),
        };
        return Ok((pids, Some(found)));
    }
    let Some(url) = &role.health else { return Ok((pids, None)) };
    // curl is on every omnibus host and every host that fetches from an https repository.
    let probe = ["curl", "--silent", "--show-error", "--fail", "--max-time", "5", "--output"];
    let argv = Argv::new(probe.into_iter().chain(["/dev/null", "--url", url.as_str()]));
    let Ok(argv) = argv else {
        return failed(Reason::Unexpected {
            expected: "a health URL without line ends".to_owned(),
            found: url.clone(),
        });
    };
    let end = act.read(&act.host()?.name, &argv).await?;
    let found = super::last_lines(&end.output);
    Ok((pids, (end.status != 0).then(|| format!("{url}: {found}"))))
}

/// Puts back to work what was told to take no more work, on a host that was not changed.
pub(super) async fn restart(act: &Act, role: &Role) -> Result<(), Box<Stop>> {
    for service in &role.services {
        let profile = &act.plan.topology.profile;
        let work = command(&profile.restart, service)?;
        let step = act.step.id.part(service.name.as_str());
        act.job_on(act.host()?.name.clone(), step, work, profile.command_timeout).await?;
    }
    Ok(())
}
