//! Faults as people write them, in the installation that they are to happen in.

use crate::args::{FaultWords, When};
use crate::failure::{Code, Failure};
use serin_model::{
    Action, Environment, EnvironmentName, HostName, Plan, Subject, Topology, verdict::seconds,
};
use serin_sim::seeds::Incident;
use serin_sim::{Fault, Moment, Strike, Trouble};
use std::time::Duration;

/// How late a slow host answers: late enough to be felt, and within every timeout.
const LATE: Duration = Duration::from_secs(5);

/// Where a kind of fault happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    Host,
    Balancer,
    HostOrBalancer,
    Environment,
    EnvironmentOrHost,
    Nowhere,
}

const LB_RELOAD: &str = "lb-reload";

/// A kind of fault.
struct Kind {
    word: &'static str,
    place: Where,
    /// The step at which it happens if nothing is said.
    step: &'static str,
    /// How long it lasts if nothing is said; `None`: for good, or it is over at once.
    lasts: Option<Duration>,
    says: &'static str,
}

const fn kind(
    word: &'static str,
    place: Where,
    (step, minutes): (&'static str, u64),
    says: &'static str,
) -> Kind {
    let lasts = if minutes == 0 { None } else { Some(Duration::from_mins(minutes)) };
    Kind { word, place, step, lasts, says }
}

const KINDS: &[Kind] = &[
    kind(
        "host-dies",
        Where::Host,
        ("install", 0),
        "a host loses its power; TIME: it boots after so long",
    ),
    kind(
        "ssh-cut",
        Where::HostOrBalancer,
        ("install", 5),
        "a host cannot be reached, and lives on",
    ),
    kind("slow", Where::HostOrBalancer, ("install", 5), "every answer of a host is 5s late"),
    kind("dpkg-locked", Where::Host, ("install", 5), "somebody holds dpkg's lock on a host"),
    kind(
        "foreign-version",
        Where::Host,
        ("drain", 0),
        "somebody installs another version on a host",
    ),
    kind(
        "install-fails",
        Where::Host,
        ("install", 0),
        "the package cannot be configured on a host",
    ),
    kind("package-gone", Where::Nowhere, ("fetch", 5), "the repository does not have the package"),
    kind("migration-fails", Where::Environment, ("migrate", 0), "a migration fails half-way"),
    kind(
        LB_RELOAD,
        Where::Balancer,
        ("install", 0),
        "HAProxy is reloaded, and forgets what it was told",
    ),
    kind(
        "alert",
        Where::EnvironmentOrHost,
        ("bake", 10),
        "a critical alert fires, of an environment or about a host",
    ),
    kind("alerts-unreadable", Where::Environment, ("bake", 10), "alerts cannot be read"),
    kind("qa-fails", Where::Environment, ("qa", 0), "a QA suite fails"),
    kind("qa-hangs", Where::Environment, ("qa", 120), "a QA suite comes to no end"),
    kind(
        "controller-killed",
        Where::Nowhere,
        ("install", 0),
        "the process that acts for the run is killed; another one adopts it",
    ),
];

/// Lists the kinds of faults.
pub(super) fn help() -> Vec<String> {
    let line = |kind: &Kind| {
        let lasts = kind.lasts.map_or_else(String::new, |long| format!(" for {}", seconds(long)));
        let place = match kind.place {
            Where::Host => "=HOST",
            Where::Balancer => "=LB-HOST",
            Where::HostOrBalancer => "=HOST|LB-HOST",
            Where::Environment => "=ENVIRONMENT",
            Where::EnvironmentOrHost => "=ENVIRONMENT|HOST",
            Where::Nowhere => "",
        };
        let form = format!("{}{place}", kind.word);
        format!("  {form:<31} {} [at {}{lasts}]", kind.says, kind.step)
    };
    let mut lines = vec!["--fault KIND[=WHERE][@WHEN][,TIME]".to_owned()];
    lines.extend(KINDS.iter().map(line));
    lines
}

/// Tells whether a list of the kinds is wanted.
pub(super) fn asks_for_help(words: &[FaultWords]) -> bool {
    words.iter().any(|fault| fault.kind == "help")
}

/// Says what is wrong with faults that no installation has; needs no plan.
pub(super) fn check(words: &[FaultWords], topology: &Topology) -> Result<(), Failure> {
    for fault in words {
        let kind = find(fault)?;
        if let Some(place) = &fault.place {
            located(kind, fault, place, topology)?;
        }
        if let (Some(_), Some(lasting)) = (fault.lasts, never_lasts(kind)) {
            return Err(refused(fault, lasting));
        }
    }
    Ok(())
}

/// Returns what is to go wrong in a run of a plan.
pub(super) fn incidents(words: &[FaultWords], plan: &Plan) -> Result<Vec<Incident>, Failure> {
    words.iter().map(|fault| incident(fault, plan)).collect()
}

fn refused(fault: &FaultWords, why: impl AsRef<str>) -> Failure {
    Failure::new(Code::Refused, format!("--fault {}: {}", fault.text, why.as_ref()))
}

fn find(fault: &FaultWords) -> Result<&'static Kind, Failure> {
    KINDS.iter().find(|kind| kind.word == fault.kind).ok_or_else(|| {
        let words: Vec<&str> = KINDS.iter().map(|kind| kind.word).collect();
        refused(fault, format!("there is no fault {}", fault.kind))
            .hint(format!("there are: {}; `--fault help` says what they do", words.join(", ")))
    })
}

fn never_lasts(kind: &Kind) -> Option<&'static str> {
    let for_ever = kind.lasts.is_none() && kind.word != "host-dies";
    for_ever.then_some("this is over at once, or stays: it takes no TIME")
}

/// Where something happens.
#[derive(Debug, Clone)]
struct Place {
    environment: EnvironmentName,
    /// A host of a fleet.
    host: Option<HostName>,
    /// A load balancer's host.
    balancer: Option<HostName>,
}

fn located(
    kind: &Kind,
    fault: &FaultWords,
    text: &str,
    topology: &Topology,
) -> Result<Place, Failure> {
    let all = || topology.environments.values();
    let host_of = |environment: &Environment| {
        let found = environment.hosts().find(|(_, host)| host.name.as_str() == text);
        found.map(|(_, host)| host.name.clone())
    };
    let balancer_of = |environment: &Environment| {
        let mut lbs = environment.load_balancers.values();
        lbs.find(|lb| lb.host.as_str() == text).map(|lb| lb.host.clone())
    };
    let (hosts, lbs, environments) = match kind.place {
        Where::Host => (true, false, false),
        Where::Balancer => (false, true, false),
        Where::HostOrBalancer => (true, true, false),
        Where::Environment => (false, false, true),
        Where::EnvironmentOrHost => (true, false, true),
        Where::Nowhere => {
            return Err(refused(fault, "this happens nowhere in particular: leave WHERE out"));
        }
    };
    for environment in all() {
        let host = host_of(environment).filter(|_| hosts);
        let balancer = balancer_of(environment).filter(|_| lbs);
        let is_named = environments && environment.name.as_str() == text;
        if host.is_some() || balancer.is_some() || is_named {
            return Ok(Place { environment: environment.name.clone(), host, balancer });
        }
    }
    let mut known = Vec::new();
    if environments {
        known.extend(all().map(|environment| environment.name.to_string()));
    }
    if lbs {
        let balancers = all().flat_map(|environment| environment.load_balancers.values());
        known.extend(balancers.map(|lb| lb.host.to_string()));
    }
    if hosts {
        known.extend(all().flat_map(|e| e.hosts().map(|(_, host)| host.name.to_string())));
    }
    Err(refused(fault, format!("there is no {text} for it in the configuration"))
        .hint(format!("there are: {}", listed(&known))))
}

/// More names than this are counted: an error has to fit on a screen.
const MOST_NAMES: usize = 24;

fn listed(names: &[String]) -> String {
    let shown = names.iter().take(MOST_NAMES).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MOST_NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn incident(fault: &FaultWords, plan: &Plan) -> Result<Incident, Failure> {
    let kind = find(fault)?;
    let topology = &plan.topology;
    let named = fault.place.as_deref().map(|text| located(kind, fault, text, topology));
    let named = named.transpose()?;
    let (at, moment) = match &fault.when {
        Some(When::After(after)) => (Some(*after), None),
        Some(When::Step(stage, step)) => {
            (None, Some(moment(fault, named.as_ref(), (*stage, step), plan)?))
        }
        None => (None, Some(moment(fault, named.as_ref(), (None, kind.step), plan)?)),
    };
    let place = match (named, &moment) {
        (Some(place), _) => place,
        (None, Some(moment)) => found(plan, moment),
        (None, None) => found(plan, &Moment::default()),
    };
    let strike = strike(fault, kind, &place, topology)?;
    match (at, moment, strike) {
        (Some(at), _, Strike::Befalls(fault)) => Ok(Incident::Befalls(at, fault)),
        (Some(at), _, Strike::Dies) => Ok(Incident::Killed(at)),
        (Some(_), _, Strike::Goes(_) | Strike::Approves) => Err(refused(
            fault,
            format!("this happens to a step: say @{} rather than a time", kind.step),
        )),
        (None, moment, strike) => Ok(Incident::Strikes(moment.unwrap_or_default(), strike)),
    }
}

/// Returns the moment at which it is to happen, which the plan must have.
fn moment(
    fault: &FaultWords,
    place: Option<&Place>,
    (stage, step): (Option<u32>, &str),
    plan: &Plan,
) -> Result<Moment, Failure> {
    let environment = place.map(|place| place.environment.clone());
    let host = place.and_then(|place| place.host.clone());
    let mut moment = Moment { stage, environment, host, step: Some(step.to_owned()) };
    if is_of_environments(plan, &moment) {
        // A step of the whole environment is a moment for a host as well.
        moment.host = None;
    }
    if place.is_none() && stage.is_none() {
        // Where the pipeline ends is where it hurts.
        moment.stage = plan
            .stages
            .iter()
            .rev()
            .map(|stage| stage.number)
            .find(|number| Moment { stage: Some(*number), ..moment.clone() }.is_in(plan));
    }
    if moment.host.is_none() && fault.kind == LB_RELOAD {
        // A reload hurts where something is drained.
        moment.host = serving(plan, &moment);
    }
    if moment.is_in(plan) {
        return Ok(moment);
    }
    let place = moment.host.as_ref().map(ToString::to_string);
    let place = place.or_else(|| moment.environment.as_ref().map(ToString::to_string));
    let place = place.map_or_else(String::new, |place| format!(" on {place}"));
    let stage = stage.map_or_else(String::new, |stage| format!(" in stage {stage}"));
    let what = format!("this pipeline has no step {step}{place}{stage}");
    Err(refused(fault, what).hint(format!("it has: {}", listed(&steps(plan, &moment)))))
}

/// Tells whether there are steps of this kind, and none of them is about a host.
fn is_of_environments(plan: &Plan, moment: &Moment) -> bool {
    let fitting = plan.steps().filter(|(stage, _, step)| {
        moment.stage.is_none_or(|number| number == stage.number)
            && moment.step.as_deref() == Some(step.action.name())
    });
    let about_hosts: Vec<bool> =
        fitting.map(|(_, lane, _)| matches!(lane.subject, Subject::Host(_))).collect();
    !about_hosts.is_empty() && about_hosts.iter().all(|about_host| !about_host)
}

/// Returns the first host in a moment that has servers on a load balancer.
fn serving(plan: &Plan, moment: &Moment) -> Option<HostName> {
    let mut hosts = plan.steps().filter_map(|(stage, lane, _)| match &lane.subject {
        Subject::Host(name) => plan.topology.host(&stage.environment, name),
        Subject::Fleet(_) | Subject::Environment => None,
    });
    let serves = |host: &&serin_model::Host| {
        let this = Moment { host: Some(host.name.clone()), ..moment.clone() };
        !host.servers.is_empty() && this.is_in(plan)
    };
    hosts.find(serves).map(|host| host.name.clone())
}

/// Lists the steps that a plan has where a moment is to be, or anywhere.
fn steps(plan: &Plan, moment: &Moment) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (stage, lane, step) in plan.steps() {
        let of_host =
            matches!(&lane.subject, Subject::Host(host) if moment.host.as_ref() == Some(host));
        let here = moment.environment.as_ref().is_none_or(|name| *name == stage.environment);
        if here && (moment.host.is_none() || of_host) {
            let name = format!("{}:{}", stage.number, step.action.name());
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    if names.is_empty() {
        return plan.stages.iter().map(|s| format!("stage {} ({})", s.number, s.title)).collect();
    }
    names
}

/// Finds where a moment is in a plan.
fn found(plan: &Plan, moment: &Moment) -> Place {
    let stages = plan.stages.iter().rev();
    let stage = stages
        .filter(|stage| moment.stage.is_none_or(|number| stage.number == number))
        .find(|stage| stage.phases.iter().flat_map(|phase| &phase.lanes).any(is_install))
        .or_else(|| plan.stages.iter().rev().find(|s| Some(s.number) == moment.stage))
        .or_else(|| plan.stages.last());
    let environment = stage.map(|stage| stage.environment.clone());
    let lanes = stage.into_iter().flat_map(|stage| &stage.phases).flat_map(|phase| &phase.lanes);
    let host = lanes.filter(|lane| is_install(lane)).find_map(|lane| match &lane.subject {
        Subject::Host(host) => Some(host.clone()),
        Subject::Fleet(_) | Subject::Environment => None,
    });
    let known = environment.as_ref().and_then(|name| plan.topology.environments.get(name));
    let balancer = known.and_then(|e| e.load_balancers.values().next()).map(|lb| lb.host.clone());
    let any = || plan.topology.environments.keys().next().cloned();
    let environment = environment.or_else(any).unwrap_or_else(nowhere);
    Place { environment, host, balancer }
}

#[expect(clippy::expect_used, reason = "the name is written here")]
fn nowhere() -> EnvironmentName {
    "nowhere".parse().expect("a name that is written here")
}

fn is_install(lane: &serin_model::Lane) -> bool {
    lane.steps.iter().any(|step| matches!(step.action, Action::Install { .. }))
}

fn strike(
    fault: &FaultWords,
    kind: &Kind,
    place: &Place,
    topology: &Topology,
) -> Result<Strike, Failure> {
    let host = || place.host.clone().ok_or_else(|| refused(fault, "no host is changed: name one"));
    let balancer =
        || place.balancer.clone().ok_or_else(|| refused(fault, "there is no load balancer for it"));
    let either = || place.host.clone().map_or_else(balancer, Ok);
    let lasts = fault.lasts.or(kind.lasts).unwrap_or_default();
    let environment = || place.environment.clone();
    let alerts = || {
        let known = topology.environments.get(&place.environment);
        let alerts = known.and_then(|environment| environment.alerts.as_ref());
        let why = format!("{} has no alerts in the configuration", place.environment);
        alerts.ok_or_else(|| refused(fault, why))
    };
    Ok(match kind.word {
        "host-dies" => Strike::Befalls(Fault::HostDies { host: host()?, back_after: fault.lasts }),
        "ssh-cut" => Strike::Befalls(Fault::Cut { host: either()?, lasts }),
        "slow" => Strike::Befalls(Fault::Slow { host: either()?, by: LATE, lasts }),
        "dpkg-locked" => Strike::Befalls(Fault::DpkgLocked { host: host()?, lasts }),
        "foreign-version" => Strike::Befalls(Fault::ThirdVersion { host: host()? }),
        "package-gone" => Strike::Befalls(Fault::PackageGone { lasts }),
        LB_RELOAD => Strike::Befalls(Fault::Reload { host: balancer()? }),
        "alert" => {
            let attributed = alerts()?.attribution.is_some() && fault.place.is_some();
            let about = place.host.clone().filter(|_| attributed);
            Strike::Befalls(Fault::Alert { environment: environment(), about, lasts })
        }
        "alerts-unreadable" => {
            alerts()?;
            Strike::Befalls(Fault::AlertsUnreadable { environment: environment(), lasts })
        }
        "qa-hangs" => Strike::Befalls(Fault::QaHangs { lasts }),
        "controller-killed" => Strike::Dies,
        // What is left goes wrong with the step itself.
        _ => Strike::Goes(Trouble::Fails),
    })
}
