//! `serin patch list`: the ledger, beside what hosts carry.

use crate::context::Context;
use crate::failure::{Code, Failure};
use crate::show::{line, print, table};
use serin_engine::environment::{EnvironmentState, LedgerPatch};
use serin_model::{
    CarriedState, DebVersion, Environment, FleetName, HoldId, HostName, Observed, PatchId,
};
use serin_runtime::environment::Stream;
use serin_runtime::perform::observe_environments;

/// A patch of an environment, and its hosts.
struct Entry<'a> {
    environment: &'a Environment,
    id: PatchId,
    patch: LedgerPatch,
    hold: Option<HoldId>,
    hosts: Vec<(HostName, Host)>,
}

/// What is known of a host that is to have a patch.
enum Host {
    Carries,
    BuildContains,
    Lacks(String),
}

/// Which entries of the ledger are listed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Entries {
    Open,
    All,
}

pub(super) async fn run(context: &Context, which: Entries) -> Result<Code, Failure> {
    let mut entries = Vec::new();
    for environment in context.config.topology.environments.values() {
        let stream = Stream::read(context.journal.as_ref(), &environment.name).await?;
        let patches = stream.state.patches.iter();
        let shown: Vec<_> =
            patches.filter(|(_, patch)| which == Entries::All || patch.closed.is_none()).collect();
        if shown.is_empty() {
            continue;
        }
        let topology = &context.config.topology;
        let seen = observe_environments(&context.ports()?, topology, [environment]).await;
        for (id, patch) in shown {
            entries.push(Entry {
                environment,
                id: id.clone(),
                patch: patch.clone(),
                hold: hold(context, &stream.state, id),
                hosts: hosts(environment, (id, patch), &seen),
            });
        }
    }
    if context.json() {
        let objects: Vec<_> = entries.iter().map(object).collect();
        line(serde_json::to_string(&objects).unwrap_or_default());
    } else if entries.is_empty() {
        line(match which {
            Entries::All => "there has never been a patch",
            Entries::Open => "no host is to have a patch",
        });
    } else {
        show(&entries);
    }
    Ok(Code::Done)
}

fn hold(context: &Context, state: &EnvironmentState, id: &PatchId) -> Option<HoldId> {
    let now = context.clock.now();
    let mut on = state.holds.iter().filter(|(_, hold)| hold.is_on(now));
    on.find(|(_, hold)| hold.patch.as_ref() == Some(id)).map(|(id, _)| *id)
}

fn hosts(
    environment: &Environment,
    (id, patch): (&PatchId, &LedgerPatch),
    seen: &Observed,
) -> Vec<(HostName, Host)> {
    let members = environment.hosts().filter(|(fleet, _)| patch.fleets.contains(&fleet.name));
    let state = |name: &HostName| {
        let Some(observed) = seen.hosts.get(name) else {
            let why = seen.unreachable.get(name).map_or("not seen", String::as_str);
            return Host::Lacks(why.to_owned());
        };
        if observed.carries(id) {
            return Host::Carries;
        }
        if observed.sha256.as_ref().is_some_and(|bytes| patch.contained.contains_key(bytes)) {
            return Host::BuildContains;
        }
        let carried = observed.patches.iter().find(|carried| carried.id == *id);
        Host::Lacks(match carried.map(|carried| &carried.state) {
            Some(CarriedState::Half) => "only a part of it is there".to_owned(),
            Some(CarriedState::Lost { files }) => format!("{} changed since", files.join(", ")),
            Some(CarriedState::Applied) | None => format!("not on {}", observed.package),
        })
    };
    members.map(|(_, host)| (host.name.clone(), state(&host.name))).collect()
}

impl Entry<'_> {
    fn count(&self, wanted: fn(&Host) -> bool) -> usize {
        self.hosts.iter().filter(|(_, host)| wanted(host)).count()
    }

    fn place(&self) -> String {
        let all = self.environment.fleets.len() == self.patch.fleets.len();
        let fleets: Vec<&str> = self.patch.fleets.iter().map(FleetName::as_str).collect();
        let name = &self.environment.name;
        if all { name.to_string() } else { format!("{name}/{}", fleets.join(",")) }
    }

    fn holds(&self) -> String {
        match (&self.hold, &self.patch.closed) {
            (Some(id), _) => format!("{}/{id}", self.environment.name),
            (None, None) => "lifted".to_owned(),
            (None, Some(_)) => "closed".to_owned(),
        }
    }

    /// Hosts without it are news only as long as they are to have it.
    fn lacking(&self) -> impl Iterator<Item = (&HostName, &str)> {
        let open = self.patch.closed.is_none();
        self.hosts.iter().filter(move |_| open).filter_map(|(name, host)| match host {
            Host::Lacks(why) => Some((name, why.as_str())),
            Host::Carries | Host::BuildContains => None,
        })
    }
}

fn show(entries: &[Entry<'_>]) {
    let mut rows =
        table(&["PATCH", "PLACE", "HOSTS", "IN THE BUILD", "HOLD", "INCIDENT", "BY", "REASON"]);
    for entry in entries {
        let carry = entry.count(|host| matches!(host, Host::Carries));
        rows.add_row([
            entry.id.short().to_owned(),
            entry.place(),
            format!("{carry} of {}", entry.hosts.len()),
            entry.count(|host| matches!(host, Host::BuildContains)).to_string(),
            entry.holds(),
            entry.patch.incident.clone(),
            entry.patch.by.clone(),
            entry.patch.reason.clone(),
        ]);
    }
    print(&rows);
    for entry in entries {
        for (host, why) in entry.lacking() {
            line(format!("{host} does not have patch {}: {why}", entry.id.short()));
        }
        if let Some((by, why)) = &entry.patch.closed {
            line(format!("patch {} was closed by {by}: {why}", entry.id.short()));
        }
    }
}

fn object(entry: &Entry<'_>) -> serde_json::Value {
    let host = |(name, host): &(HostName, Host)| {
        let (carries, contains, why) = match host {
            Host::Carries => (true, false, None),
            Host::BuildContains => (false, true, None),
            Host::Lacks(why) => (false, false, Some(why.as_str())),
        };
        serde_json::json!({
            "host": name.as_str(), "carries": carries, "build_contains": contains, "why": why,
        })
    };
    let builds: Vec<&str> = entry.patch.contained.values().map(DebVersion::as_str).collect();
    serde_json::json!({
        "patch": entry.id.as_str(),
        "environment": entry.environment.name.as_str(),
        "fleets": entry.patch.fleets.iter().map(FleetName::as_str).collect::<Vec<_>>(),
        "incident": entry.patch.incident,
        "reason": entry.patch.reason,
        "by": entry.patch.by,
        "open": entry.patch.closed.is_none(),
        "hold": entry.hold.map(|id| id.to_string()),
        "contained_in": builds,
        "hosts": entry.hosts.iter().map(host).collect::<Vec<_>>(),
    })
}
