//! Admission: whether one more host may be taken out of service now.
//!
//! Decided one host at a time over all its roles, from a fresh reading of the load balancers plus the hosts that this
//! run has out and that the reading may not show yet. What counts is what is not UP, whoever took it down.

use crate::run::Run;
use crate::steps::LaneState;
use serin_model::{
    AdminState, BackendName, Environment, Fleet, FleetName, Host, HostName, Lane, LbName,
    LbObservation, LbServer, RoleName, ServerObservation, Stage, Subject, Timestamp,
};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How old a reading of a load balancer may be to decide by: six polls. The hosts that this run has out are counted
/// in any case, so only what others did within this time can be missed.
pub const FRESH: Duration = Duration::from_secs(3);

/// How long servers must have been down to count as out for good. Right after a reload HAProxy has checked none of them
/// yet, and a server that comes and goes is one that users still reach: to take its host out does take something away.
const STEADY: Duration = Duration::from_secs(10);

/// What was last seen of the load balancers of the environment that is worked on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    /// By load balancer. One that was never read is missing.
    pub load_balancers: BTreeMap<LbName, LbObservation>,
    /// Since when hosts have been waiting to be taken out of service with nothing else going on; `None`: they do not.
    pub still_since: Option<Timestamp>,
}

/// Why a host may not be taken out of service now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotAdmitted {
    /// A load balancer was not read lately.
    Stale(LbName),
    /// As many hosts of a role are out of service as may be.
    Budget {
        /// The role.
        role: RoleName,
        /// The hosts that are out; shared, because hundreds may wait for the same few.
        out: Arc<[HostName]>,
        /// How many may be.
        limit: usize,
    },
    /// It is the last server of a backend that is UP.
    LastUp(LbServer),
    /// The plan does not know the host.
    UnknownHost,
}

/// What admission is decided by, gathered once for all the hosts that wait.
pub(crate) struct Admission<'a> {
    run: &'a Run,
    stage: &'a Stage,
    lanes: &'a [LaneState<'a>],
    view: &'a View,
    now: Timestamp,
    /// Nothing is gathered unless a host waits.
    counts: Option<Counts<'a>>,
    /// Whether a host was admitted: the next one is when this one shows in the run's state.
    taken: bool,
}

struct Counts<'a> {
    fleets: BTreeMap<&'a HostName, &'a Fleet>,
    out: BTreeMap<&'a HostName, Out>,
    members: BTreeMap<(&'a FleetName, &'a RoleName), Members>,
    /// Servers that are UP and take traffic, but for those of hosts that are out.
    serving: BTreeMap<(&'a LbName, &'a BackendName), usize>,
}

/// How much of a host is out of service.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Out {
    /// This run has it out, or all its servers are held out or have been down for a while: to take it out takes nothing
    /// more away.
    Wholly,
    /// Its servers are down here or just now, or the fence could not be raised on it, or nobody knows the outcome of its
    /// drain.
    Partly,
}

struct Members {
    hosts: usize,
    out: Arc<[HostName]>,
}

impl<'a> Admission<'a> {
    pub(crate) fn new(
        run: &'a Run,
        stage: &'a Stage,
        lanes: &'a [LaneState<'a>],
        view: &'a View,
        now: Timestamp,
    ) -> Self {
        Self { run, stage, lanes, view, now, counts: None, taken: false }
    }

    /// Decides whether the host of a lane is taken out of service now; `false`: another one just was.
    ///
    /// # Errors
    /// The first thing that speaks against it.
    pub(crate) fn admit(&mut self, lane: &Lane) -> Result<bool, NotAdmitted> {
        let (run, stage, view) = (self.run, self.stage, self.view);
        let environment = run.plan.topology.environments.get(&stage.environment);
        let environment = environment.ok_or(NotAdmitted::UnknownHost)?;
        let Subject::Host(name) = &lane.subject else { return Err(NotAdmitted::UnknownHost) };
        let lanes = self.lanes;
        let counts =
            self.counts.get_or_insert_with(|| Counts::gather(run, environment, lanes, view));
        let fleet = *counts.fleets.get(name).ok_or(NotAdmitted::UnknownHost)?;
        let host = fleet.hosts.get(name).ok_or(NotAdmitted::UnknownHost)?;
        for server in &host.servers {
            let seen = view.load_balancers.get(&server.lb);
            if seen.is_none_or(|seen| self.now.since(seen.observed_at) > FRESH) {
                return Err(NotAdmitted::Stale(server.lb.clone()));
            }
        }
        counts.within_budget(run, fleet, host)?;
        counts.not_last(host, view)?;
        Ok(!std::mem::replace(&mut self.taken, true))
    }
}

impl<'a> Counts<'a> {
    fn gather(
        run: &'a Run,
        environment: &'a Environment,
        lanes: &[LaneState<'a>],
        view: &'a View,
    ) -> Self {
        let fleets = environment.hosts().map(|(fleet, host)| (&host.name, fleet)).collect();
        let mut counts = Self {
            fleets,
            out: BTreeMap::new(),
            members: BTreeMap::new(),
            serving: BTreeMap::new(),
        };
        counts.gather_out(run, environment, lanes, view);
        let mut members: BTreeMap<_, (usize, Vec<HostName>)> = BTreeMap::new();
        for (fleet, host) in environment.hosts() {
            for role in &host.roles {
                let (hosts, out) = members.entry((&fleet.name, role)).or_default();
                *hosts += 1;
                if counts.out.contains_key(&host.name) {
                    out.push(host.name.clone());
                }
            }
        }
        let members = members.into_iter();
        counts.members =
            members.map(|(k, (hosts, out))| (k, Members { hosts, out: out.into() })).collect();
        counts.gather_serving(environment, view);
        counts
    }

    /// Every host that is out of service, for whatever reason.
    fn gather_out(
        &mut self,
        run: &'a Run,
        environment: &'a Environment,
        lanes: &[LaneState<'a>],
        view: &View,
    ) {
        for (_, host) in environment.hosts() {
            if host.servers.iter().any(|server| !is_up(view, server)) {
                let all = host.servers.iter().all(|server| is_out(view, server));
                self.out.insert(&host.name, if all { Out::Wholly } else { Out::Partly });
            }
        }
        let unfenced = run.environments.get(&environment.name).and_then(|e| e.unavailable.as_ref());
        for host in unfenced.into_iter().flat_map(BTreeMap::keys) {
            self.out.entry(host).or_insert(Out::Partly);
        }
        for lane in lanes.iter().filter(|lane| lane.holds_slot()) {
            let Subject::Host(host) = &lane.lane.subject else { continue };
            if lane.instead_of_drain().is_some() {
                // It counts as out for the others; how much of it is, load balancers say.
                self.out.entry(host).or_insert(Out::Partly);
            } else {
                self.out.insert(host, Out::Wholly);
            }
        }
    }

    fn gather_serving(&mut self, environment: &'a Environment, view: &'a View) {
        for (lb, seen) in &view.load_balancers {
            for ((backend, _), found) in &seen.servers {
                let serves = usize::from(found.up && found.weight > 0);
                *self.serving.entry((lb, backend)).or_default() += serves;
            }
        }
        // What the reading does not show yet, or what is about to go.
        let out = environment.hosts().filter(|(_, host)| self.out.contains_key(&host.name));
        for server in out.flat_map(|(_, host)| &host.servers).filter(|s| serves(view, s)) {
            if let Some(count) = self.serving.get_mut(&(&server.lb, &server.backend)) {
                *count = count.saturating_sub(1);
            }
        }
    }

    fn within_budget(&self, run: &Run, fleet: &Fleet, host: &Host) -> Result<(), NotAdmitted> {
        let own = self.out.get(&host.name);
        if own == Some(&Out::Wholly) {
            return Ok(());
        }
        for role in run.plan.topology.roles_of(host) {
            let Some(members) = self.members.get(&(&fleet.name, &role.name)) else { continue };
            let limit = role.max_unavailable.of(members.hosts);
            let others = members.out.len() - usize::from(own.is_some());
            if others + 1 > limit {
                let (role, out) = (role.name.clone(), Arc::clone(&members.out));
                return Err(NotAdmitted::Budget { role, out, limit });
            }
        }
        Ok(())
    }

    fn not_last(&self, host: &Host, view: &View) -> Result<(), NotAdmitted> {
        let mine = |server: &LbServer| {
            let own = host.servers.iter().filter(|s| {
                (&s.lb, &s.backend) == (&server.lb, &server.backend) && serves(view, s)
            });
            if self.out.contains_key(&host.name) { 0 } else { own.count() }
        };
        for server in host.servers.iter().filter(|s| !s.may_be_empty && is_up(view, s)) {
            let all = self.serving.get(&(&server.lb, &server.backend)).copied().unwrap_or_default();
            if all <= mine(server) {
                return Err(NotAdmitted::LastUp(server.clone()));
            }
        }
        Ok(())
    }
}

pub(crate) fn seen<'a>(view: &'a View, server: &LbServer) -> Option<&'a ServerObservation> {
    let key = (server.backend.clone(), server.server.clone());
    view.load_balancers.get(&server.lb)?.servers.get(&key)
}

fn is_up(view: &View, server: &LbServer) -> bool {
    seen(view, server).is_some_and(|seen| seen.up)
}

/// Tells whether a server is held out by an admin state, or has been down for a while.
fn is_out(view: &View, server: &LbServer) -> bool {
    seen(view, server).is_some_and(|seen| {
        let held = seen.admin != AdminState::Ready;
        !seen.up && (held || Duration::from_millis(seen.last_change_ms) >= STEADY)
    })
}

fn serves(view: &View, server: &LbServer) -> bool {
    seen(view, server).is_some_and(|seen| seen.up && seen.weight > 0)
}

impl fmt::Display for NotAdmitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale(lb) => write!(f, "waits for a fresh reading of {lb}"),
            Self::Budget { role, out, limit } => {
                let out = out.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                write!(f, "waits: {limit} host(s) of role {role} may be out, and {out} is out")
            }
            Self::LastUp(server) => {
                write!(f, "waits: {server} is the last server of its backend that is UP")
            }
            Self::UnknownHost => f.write_str("is not in the plan's topology"),
        }
    }
}
