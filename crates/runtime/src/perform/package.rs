//! The package on a host: checked, fetched, installed, reconfigured.

use super::{Act, Performed, Stop, already, done, failed, filled, traffic, unexpected};
use crate::ports::{Look, Work};
use serin_model::{Action, DebVersion, HostObservation, PackageState, Reason};

pub(super) async fn check(act: &Act, from: Option<&DebVersion>) -> Performed {
    let seen = act.observe(Look::State).await?;
    expected(act, &seen, from)?;
    if let Some(file) = seen.missing_files.first() {
        return unexpected(format!("{file} on {}", act.subject), "no such file");
    }
    // A patch run installs nothing.
    let needed = if act.plan.patching.is_none() { act.build()?.room() } else { 0 };
    if seen.free_bytes < needed {
        return unexpected(
            format!("{} MB free for the package", needed / 1_000_000),
            format!("{} MB", seen.free_bytes / 1_000_000),
        );
    }
    done(format!("has {}, {} MB free", seen.package, seen.free_bytes / 1_000_000))
}

/// The host has the version it had when the plan was made, or already the one that it is to have.
fn expected(act: &Act, seen: &HostObservation, from: Option<&DebVersion>) -> Result<(), Box<Stop>> {
    let target = &act.build()?.version;
    let found = match &seen.package {
        PackageState::Absent => None,
        PackageState::Installed(version) | PackageState::Broken { version, .. } => Some(version),
    };
    if found == from || found == Some(target) {
        return Ok(());
    }
    let from = from.map_or_else(|| "no package".to_owned(), ToString::to_string);
    unexpected(format!("{from} or {target} on {}", act.subject), seen.package.to_string())
}

/// What this run has not changed on a host, others may have while it was out of service.
pub(super) async fn untouched(act: &Act) -> Result<(), Box<Stop>> {
    let seen = act.observe(Look::State).await?;
    if let PackageState::Broken { .. } = seen.package {
        return unexpected(format!("a whole package on {}", act.subject), seen.package.to_string());
    }
    let lane = act.plan.step(&act.step.id).map(|(_, lane, _)| lane);
    let from = lane.into_iter().flat_map(|lane| &lane.steps).find_map(|step| {
        if let Action::Install { from } = &step.action { Some(from.as_ref()) } else { None }
    });
    from.map_or(Ok(()), |from| expected(act, &seen, from))
}

pub(super) async fn fetch(act: &Act) -> Performed {
    let seen = act.observe(Look::State).await?;
    let build = act.build()?;
    if seen.installed() == Some(&build.version) {
        return already("the build is installed");
    }
    let timeout = act.plan.topology.profile.install_timeout;
    act.job(Work::Fetch(build.clone()), timeout).await?;
    let fetched = format!("fetched, SHA-256 {} proven", build.sha256.short());
    match (seen.installed(), act.plan.has_way_back()) {
        (Some(version), true) => {
            let (package, version) = (build.package.clone(), version.clone());
            let kept = format!("{fetched}; {version} is kept for the way back");
            let host = act.host()?.name.clone();
            let step = act.step.id.part("keep");
            act.job_on(host, step, Work::Keep { package, version }, timeout).await?;
            done(kept)
        }
        (Some(_), false) | (None, _) => done(fetched),
    }
}

pub(super) async fn simulate(act: &Act) -> Performed {
    let seen = act.observe(Look::State).await?;
    let build = act.build()?;
    if seen.installed() == Some(&build.version) {
        return already("the build is installed");
    }
    let timeout = act.plan.topology.profile.command_timeout;
    act.job(Work::Simulate(build.clone()), timeout).await?;
    done(match seen.installed() {
        Some(from) => format!("apt would install it, and go back to {from}"),
        None => "apt would install it".to_owned(),
    })
}

pub(super) async fn check_config(act: &Act) -> Performed {
    let Some(check) = &act.plan.topology.profile.check_config else {
        return already("the profile has no check");
    };
    let argv = filled(check, &[("version", act.build()?.version.as_str())])?;
    let end = act.read(&act.host()?.name, &argv).await?;
    if end.status == 0 {
        done("the configuration fits the build")
    } else {
        failed(super::command_failed(argv.to_string(), &end))
    }
}

pub(super) async fn install(act: &Act, from: Option<&DebVersion>) -> Performed {
    let seen = act.observe(Look::State).await?;
    let target = &act.build()?.version;
    if seen.installed() == Some(target) {
        return already(format!("{target} is installed and configured"));
    }
    expected(act, &seen, from)?;
    traffic::still_drained(act).await?;
    let timeout = act.plan.topology.profile.install_timeout;
    act.job(Work::Install(act.build()?.clone()), timeout).await?;
    let seen = act.observe(Look::State).await?;
    if seen.installed() == Some(target) {
        done(format!("{target} is installed and configured"))
    } else {
        failed(Reason::Unexpected {
            expected: format!("{target} to be installed"),
            found: seen.package.to_string(),
        })
    }
}

pub(super) async fn reconfigure(act: &Act) -> Performed {
    let profile = &act.plan.topology.profile;
    let Some(argv) = &profile.reconfigure else {
        return already("the profile has nothing to reconfigure");
    };
    traffic::still_drained(act).await?;
    let work = Work::command(argv.clone());
    act.job(work, profile.command_timeout).await?;
    done("reconfigured")
}
