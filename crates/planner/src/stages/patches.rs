//! Patches: what a plan about one does to hosts, and how other runs keep those that hosts are to have.

use super::{Stages, phase};
use crate::report::{Note, PlanError, PlanReport};
use serin_model::{
    Action, Host, HostObservation, Overlay, Pace, PatchDirection, Patching, Phase, RoleName,
    ServiceName, Subject,
};
use std::collections::BTreeSet;

impl Stages<'_> {
    /// A patch is put on every host of the fleet, or taken off: only hosts with services that have loaded a file of it are
    /// drained for that.
    pub(super) fn patch(&self, report: &mut PlanReport) -> Result<Vec<Phase>, PlanError> {
        let Some(patching) = self.request.patching else { return Ok(Vec::new()) };
        let members = self.fleet.hosts.values();
        let members = members.filter(|host| patching.hosts.contains_key(&host.name));
        let (done, hosts): (Vec<&Host>, Vec<&Host>) =
            members.partition(|host| self.is_patched(patching, host));
        if !done.is_empty() {
            report.notes.push(Note::HostsDone { stage: self.spec.number, count: done.len() });
        }
        // A run that was given up may have left config management stopped on hosts that are as they should be.
        let recorded = self.recorded(self.fleet);
        let left = |host: &&Host| {
            !hosts.iter().any(|own| own.name == host.name)
                && self.is_stopped(host)
                && recorded.is_some()
                && self.seen(&host.name).and_then(HostObservation::installed) == recorded.as_ref()
        };
        let left: Vec<&Host> = self.fleet.hosts.values().filter(left).collect();
        if hosts.is_empty() {
            let start = (!left.is_empty()).then(|| self.start_config_management(self.fleet, &left));
            return Ok(start.flatten().into_iter().collect());
        }
        let mut prepare = Vec::new();
        let mut change = Vec::new();
        let mut serve_on = 0;
        let mut roles: BTreeSet<&RoleName> = BTreeSet::new();
        for host in &hosts {
            let overlay = self.overlay(patching, host)?;
            let services = self.loading(host, overlay);
            let subject = || Subject::Host(host.name.clone());
            let fits = patching.direction == PatchDirection::Apply;
            let check = Action::CheckHost { from: self.from(host) };
            let fits = fits.then(|| prepare_patch(overlay));
            prepare.push(self.lane(subject(), [check].into_iter().chain(fits).collect()));
            serve_on += usize::from(services.is_empty());
            if !services.is_empty() {
                roles.extend(&host.roles);
            }
            change.push(self.lane(subject(), self.change(patching, overlay, services)));
        }
        self.note_patch(&roles.into_iter().cloned().collect::<Vec<_>>(), &hosts, report);
        if serve_on > 0 {
            report.notes.push(Note::ServeOn { stage: self.spec.number, count: serve_on });
        }
        let mut phases = self.stop_and_record(&hosts, report);
        phases.push(phase("checks", prepare));
        phases.push(phase("patch", change));
        let to_start: Vec<&Host> = hosts.iter().copied().chain(left).collect();
        phases.extend(self.start_config_management(self.fleet, &to_start));
        Ok(phases)
    }

    fn change(
        &self,
        patching: &Patching,
        overlay: &Overlay,
        services: Vec<ServiceName>,
    ) -> Vec<Action> {
        let loaded = !services.is_empty();
        let (patch, version) = (overlay.patch.id.clone(), overlay.patch.version.clone());
        let change = match patching.direction {
            PatchDirection::Apply => Action::Patch { patch, version, services },
            PatchDirection::Remove => Action::Unpatch { patch, version, services },
        };
        let drain = loaded && self.request.pace == Pace::Careful;
        let drain = drain.then_some(Action::Drain);
        let ready = loaded.then_some(Action::Ready);
        drain.into_iter().chain([change]).chain(ready).collect()
    }

    /// Tells whether a host is as the plan wants it. That files are there does not say that services have loaded them: for
    /// that there must have been a run that saw to it.
    fn is_patched(&self, patching: &Patching, host: &Host) -> bool {
        let Some(seen) = self.seen(&host.name) else { return false };
        let up = host.servers.iter().all(|server| self.is_up(server));
        up && match patching.direction {
            PatchDirection::Apply => {
                patching.verified.contains(&host.name) && seen.carries(&patching.patch)
            }
            PatchDirection::Remove => seen.patches.iter().all(|known| known.id != patching.patch),
        }
    }

    fn overlay(&self, patching: &Patching, host: &Host) -> Result<&Overlay, PlanError> {
        let version = patching.hosts.get(&host.name).map(|build| &build.version);
        let mut placed = self.request.overlays.iter().map(|placed| &placed.overlay);
        let own = placed.find(|overlay| {
            overlay.patch.id == patching.patch && Some(&overlay.patch.version) == version
        });
        own.ok_or_else(|| PlanError::NoOverlay {
            host: host.name.clone(),
            patch: patching.patch.clone(),
        })
    }

    /// Returns the patches that a host is to have on the version that it gets.
    pub(super) fn kept(&self, host: &Host) -> Vec<&Overlay> {
        let version = self.target(host);
        let mut fleets = self.environment.fleets.values();
        let fleet = fleets.find(|fleet| fleet.hosts.contains_key(&host.name));
        let here = self.request.overlays.iter().filter(|placed| {
            placed.environment == self.environment.name
                && fleet.is_some_and(|fleet| placed.fleets.contains(&fleet.name))
                && Some(&placed.overlay.patch.version) == version
        });
        here.map(|placed| &placed.overlay).collect()
    }

    /// Tells whether a host has every patch that it is to have.
    pub(super) fn has_kept(&self, host: &Host) -> bool {
        let Some(seen) = self.seen(&host.name) else { return false };
        self.kept(host).iter().all(|overlay| seen.carries(&overlay.patch.id))
    }

    pub(super) fn prepare_kept(&self, host: &Host) -> Vec<Action> {
        self.kept(host).into_iter().map(prepare_patch).collect()
    }

    /// Puts patches back onto what the package laid down, before a service loads it. Services of a host that has the version
    /// already are not told by a step that follows.
    pub(super) fn patch_kept(&self, host: &Host) -> Vec<Action> {
        let installed = self.seen(&host.name).and_then(|seen| seen.installed());
        let has_version = installed == self.target(host);
        let again = |overlay: &Overlay| Action::Patch {
            patch: overlay.patch.id.clone(),
            version: overlay.patch.version.clone(),
            services: if has_version { self.loading(host, overlay) } else { Vec::new() },
        };
        self.kept(host).into_iter().map(again).collect()
    }

    /// Returns the services of a host that have loaded a file of a patch.
    fn loading(&self, host: &Host, overlay: &Overlay) -> Vec<ServiceName> {
        let services = self.request.topology.roles_of(host).flat_map(|role| &role.services);
        let loads = services.filter(|service| {
            overlay.patch.files.iter().any(|file| service.has_loaded(&file.path))
        });
        let names: BTreeSet<&ServiceName> = loads.map(|service| &service.name).collect();
        names.into_iter().cloned().collect()
    }
}

fn prepare_patch(overlay: &Overlay) -> Action {
    Action::PreparePatch { patch: overlay.patch.id.clone(), version: overlay.patch.version.clone() }
}
