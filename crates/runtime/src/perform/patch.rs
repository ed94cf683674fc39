//! Patches on a host: the bytes are there before anything changes, all files change or none, and what does not run well
//! with them is taken back.

use super::{Act, Performed, Stop, already, done, failed, service, traffic, unexpected};
use crate::ports::{Look, Work};
use serin_model::{
    Action, CarriedState, DebVersion, HostName, HostObservation, Overlay, PatchId, Reason,
    ServiceName, Subject,
};

/// Brings the bytes to the host; where the version of the patch is installed, also sees that every file fits.
pub(super) async fn prepare(act: &Act, patch: &PatchId, version: &DebVersion) -> Performed {
    let overlay = overlay(act, patch, version)?;
    let seen = act.observe(Look::State).await?;
    store(act, overlay).await?;
    if seen.installed() != Some(version) {
        return done(format!("the bytes of patch {} are there", patch.short()));
    }
    let to_do = act.ports.hosts.fits(&act.host()?.name, &overlay.patch).await?;
    done(match to_do {
        0 => format!("patch {} is there already", patch.short()),
        _ => format!("patch {} fits, {to_do} file(s) to change", patch.short()),
    })
}

pub(super) async fn apply(
    act: &Act,
    (patch, version): (&PatchId, &DebVersion),
    services: &[ServiceName],
) -> Performed {
    let overlay = overlay(act, patch, version)?;
    let seen = on_version(act, version).await?;
    // Nothing to be told: a step that follows has every service load what is there.
    if services.is_empty() && seen.carries(patch) {
        return already(format!("patch {} is there", patch.short()));
    }
    traffic::still_drained(act).await?;
    store(act, overlay).await?;
    let timeout = act.plan.topology.profile.command_timeout;
    act.job(Work::Patch(overlay.patch.clone()), timeout).await?;
    if !act.observe(Look::State).await?.carries(patch) {
        return unexpected(
            format!("patch {} on {}", patch.short(), act.subject),
            "it is not whole",
        );
    }
    match service::reload(act, services, "").await {
        Ok(()) => done(format!("patch {} is there{}", patch.short(), told(services))),
        Err(stop) => Err(back_out(act, overlay, services, stop).await),
    }
}

pub(super) async fn remove(
    act: &Act,
    (patch, version): (&PatchId, &DebVersion),
    services: &[ServiceName],
) -> Performed {
    let overlay = overlay(act, patch, version)?;
    let seen = on_version(act, version).await?;
    if services.is_empty() && seen.patches.iter().all(|carried| carried.id != *patch) {
        return already(format!("patch {} is not there", patch.short()));
    }
    traffic::still_drained(act).await?;
    let timeout = act.plan.topology.profile.command_timeout;
    act.job(Work::Unpatch(overlay.patch.clone()), timeout).await?;
    service::reload(act, services, "").await?;
    done(format!("patch {} is taken off{}", patch.short(), told(services)))
}

/// Says what of the patches that a plan puts on a host, or takes off it, is not so.
pub(super) fn stray(act: &Act, host: &HostName, seen: &HostObservation) -> Option<String> {
    act.plan.steps().find_map(|(stage, lane, step)| {
        if stage.environment != act.environment || lane.subject != Subject::Host(host.clone()) {
            return None;
        }
        let carries = seen.carries(step.action.patch()?);
        if let Action::Patch { patch, .. } = &step.action {
            let lost = || lost(seen, patch);
            (!carries).then(|| format!("{host} does not carry patch {}{}", patch.short(), lost()))
        } else if let Action::Unpatch { patch, .. } = &step.action {
            carries.then(|| format!("{host} still carries patch {}", patch.short()))
        } else {
            None
        }
    })
}

fn lost(seen: &HostObservation, patch: &PatchId) -> String {
    let carried = seen.patches.iter().find(|carried| carried.id == *patch);
    match carried.map(|carried| &carried.state) {
        Some(CarriedState::Lost { files }) => format!(": {} changed since", files.join(", ")),
        Some(CarriedState::Half) => ": only a part of it".to_owned(),
        Some(CarriedState::Applied) | None => String::new(),
    }
}

/// A host that does not run well with a patch has it for the shortest time.
async fn back_out(
    act: &Act,
    overlay: &Overlay,
    services: &[ServiceName],
    why: Box<Stop>,
) -> Box<Stop> {
    // Without an answer nothing is known: the next attempt looks again.
    let Stop::Failed(reason) = *why else { return why };
    let timeout = act.plan.topology.profile.command_timeout;
    let host = match act.host() {
        Ok(host) => host.name.clone(),
        Err(stop) => return stop,
    };
    let work = Work::Unpatch(overlay.patch.clone());
    let undone = act.job_on(host, act.step.id.part("back-out"), work, timeout).await;
    let undone = match undone {
        Ok(_) => service::reload(act, services, "again-").await,
        Err(stop) => Err(stop),
    };
    let patch = overlay.patch.id.short();
    let became = match undone {
        Ok(()) => format!("patch {patch} was taken back: every file is as before"),
        Err(stop) => format!("patch {patch} could not be taken back cleanly: {}", told_of(&stop)),
    };
    Box::new(Stop::Failed(Reason::Unexpected {
        expected: format!("{} to run well with patch {patch}", act.subject),
        found: format!("{reason}; {became}"),
    }))
}

fn told_of(stop: &Stop) -> String {
    match stop {
        Stop::Failed(reason) | Stop::Lost(reason) | Stop::Unknown(reason) => reason.to_string(),
        Stop::Done(seen) | Stop::AlreadyDone(seen) => seen.clone(),
    }
}

fn told(services: &[ServiceName]) -> String {
    if services.is_empty() {
        return String::new();
    }
    let names: Vec<&str> = services.iter().map(ServiceName::as_str).collect();
    format!("; {} loaded it and stay(s) healthy", names.join(", "))
}

fn overlay<'a>(
    act: &'a Act,
    patch: &PatchId,
    version: &DebVersion,
) -> Result<&'a Overlay, Box<Stop>> {
    let found = act.plan.overlay(patch, version);
    found.map_or_else(|| unexpected("a patch of the plan", patch.short()), Ok)
}

async fn on_version(act: &Act, version: &DebVersion) -> Result<HostObservation, Box<Stop>> {
    let seen = act.observe(Look::State).await?;
    if seen.installed() == Some(version) {
        return Ok(seen);
    }
    failed(Reason::Unexpected {
        expected: format!("{version} on {}: the patch is for it", act.subject),
        found: seen.package.to_string(),
    })
}

async fn store(act: &Act, overlay: &Overlay) -> Result<(), Box<Stop>> {
    let host = &act.host()?.name;
    for text in overlay.contents.values() {
        act.ports.hosts.store(host, act.fence, &overlay.patch.id, text.as_bytes()).await?;
    }
    Ok(())
}
