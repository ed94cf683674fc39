//! What is told: a page of gauges for each stage of a pipeline, and for each environment.
//!
//! A page is a group of the Pushgateway's, which keeps it for ever. So a page is named by what stays the same from run to
//! run, and never by a run or a build.

use crate::show::embargo;
use serin_adapters::pushgateway::{Gauge, Replacing};
use serin_engine::{Run, Spent, StageTimes, Status};
use serin_model::{
    ConfigManagementState, Environment, FleetName, Host, Observed, PackageState, Timestamp,
};
use std::collections::BTreeMap;
use std::time::Duration;

/// A page of gauges.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Page {
    /// Its name: labels and values.
    pub(crate) group: Vec<(&'static str, String)>,
    /// What becomes of what it said before.
    pub(crate) replacing: Replacing,
    /// What it says.
    pub(crate) gauges: Vec<Gauge>,
}

/// What became of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Became {
    Running,
    Passed,
    Halted,
    Cancelled,
}

impl Became {
    const ALL: [Self; 4] = [Self::Running, Self::Passed, Self::Halted, Self::Cancelled];

    fn of(run: &Run, times: &StageTimes) -> Self {
        match &run.status {
            _ if times.passed.is_some() => Self::Passed,
            Status::Halting(_) | Status::Halted(_) => Self::Halted,
            Status::Cancelled { .. } => Self::Cancelled,
            Status::Running | Status::Finished => Self::Running,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Passed => "passed",
            Self::Halted => "halted",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Makes the page of a stage. When it last passed and when it last failed stay known from earlier runs.
pub(crate) fn stage(run: &Run, (number, times): (u32, &StageTimes), at: Timestamp) -> Page {
    let became = Became::of(run, times);
    let environment = || vec![("environment", times.environment.to_string())];
    let with = |label: &'static str, value: &str| {
        let mut labels = environment();
        labels.push((label, value.to_owned()));
        labels
    };
    let one = |name, help, value| Gauge { name, help, samples: vec![(environment(), value)] };
    let verdict =
        |each: Became| (with("verdict", each.name()), f64::from(u8::from(each == became)));
    let spent = |each: Spent| {
        let time = times.spent.get(&each).copied().unwrap_or_default();
        (with("cause", each.name()), seconds(time))
    };
    let build = embargo::veiled(run.plan.build.version.as_str()).into_owned();
    let mut gauges = vec![
        Gauge {
            name: "serin_stage_verdict",
            help: "What became of the stage when it was last run: 1 at one of running, passed, halted, cancelled.",
            samples: Became::ALL.into_iter().map(verdict).collect(),
        },
        Gauge {
            name: "serin_stage_build_info",
            help: "The build that the stage was last run for.",
            samples: vec![(with("build", &build), 1.0)],
        },
        one(
            "serin_stage_start_timestamp_seconds",
            "When the stage's turn last came.",
            instant(times.began),
        ),
        one(
            "serin_stage_duration_seconds",
            "How long the stage has taken so far, waiting included.",
            seconds(times.total()),
        ),
        Gauge {
            name: "serin_stage_time_seconds",
            help: "What the stage's time went to; each moment counts once.",
            samples: Spent::ALL.into_iter().map(spent).collect(),
        },
    ];
    match (became, times.passed) {
        (_, Some(passed)) => gauges.push(one(
            "serin_stage_success_timestamp_seconds",
            "When the stage last passed.",
            instant(passed),
        )),
        (Became::Halted | Became::Cancelled, None) => gauges.push(one(
            "serin_stage_failure_timestamp_seconds",
            "When the stage last halted or was given up.",
            instant(at),
        )),
        (Became::Running | Became::Passed, None) => {}
    }
    let pipeline = run.plan.pipeline.to_string();
    Page {
        group: vec![("pipeline", pipeline), ("stage", number.to_string())],
        replacing: Replacing::SameNames,
        gauges,
    }
}

/// A share of traffic: what is intended, and what weights amount to, both in percent.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Shares {
    pub(crate) intended: BTreeMap<FleetName, f64>,
    pub(crate) by_weight: BTreeMap<FleetName, f64>,
}

/// Makes the page of an environment, as it was just observed.
pub(crate) fn environment(environment: &Environment, observed: &Observed, shares: &Shares) -> Page {
    let mut versions: BTreeMap<(&FleetName, String), u32> = BTreeMap::new();
    let mut out: BTreeMap<&FleetName, u32> = BTreeMap::new();
    let mut stopped: BTreeMap<&FleetName, u32> = BTreeMap::new();
    for (fleet, host) in environment.hosts() {
        *versions.entry((&fleet.name, version(observed, host))).or_default() += 1;
        *out.entry(&fleet.name).or_default() += u32::from(!is_up(environment, observed, host));
        let seen = observed.hosts.get(&host.name).map(|seen| &seen.config_management);
        let stays = seen == Some(&ConfigManagementState::Stopped);
        *stopped.entry(&fleet.name).or_default() += u32::from(stays);
    }
    let label = |fleet: &FleetName| ("fleet", fleet.to_string());
    let count = |counts: BTreeMap<&FleetName, u32>| {
        counts.into_iter().map(|(fleet, count)| (vec![label(fleet)], f64::from(count))).collect()
    };
    let share = |of: &BTreeMap<FleetName, f64>| {
        of.iter().map(|(fleet, percent)| (vec![label(fleet)], *percent)).collect()
    };
    let hosts = versions.into_iter().map(|((fleet, version), count)| {
        (vec![label(fleet), ("version", version)], f64::from(count))
    });
    let gauges = vec![
        Gauge {
            name: "serin_hosts",
            help: "Hosts by the version of the package that is installed; also absent, broken, unreachable.",
            samples: hosts.collect(),
        },
        Gauge {
            name: "serin_hosts_out_of_service",
            help: "Hosts with a server that is not UP on some load balancer, for whatever reason.",
            samples: count(out),
        },
        Gauge {
            name: "serin_hosts_config_management_stopped",
            help: "Hosts on which config management does not run.",
            samples: count(stopped),
        },
        Gauge {
            name: "serin_share_intended_percent",
            help: "The share of traffic that the fleet is meant to get.",
            samples: share(&shares.intended),
        },
        Gauge {
            name: "serin_share_by_weight_percent",
            help: "The share of traffic that the weights of the fleet's servers amount to.",
            samples: share(&shares.by_weight),
        },
    ];
    Page {
        group: vec![("environment", environment.name.to_string())],
        replacing: Replacing::Group,
        gauges: gauges.into_iter().filter(|gauge| !gauge.samples.is_empty()).collect(),
    }
}

fn version(observed: &Observed, host: &Host) -> String {
    let seen = observed.hosts.get(&host.name).map(|seen| &seen.package);
    match seen {
        Some(PackageState::Installed(version)) => embargo::veiled(version.as_str()).into_owned(),
        Some(PackageState::Absent) => "absent".to_owned(),
        Some(PackageState::Broken { .. }) => "broken".to_owned(),
        None => "unreachable".to_owned(),
    }
}

fn is_up(environment: &Environment, observed: &Observed, host: &Host) -> bool {
    host.servers.iter().all(|server| {
        let lb = (environment.name.clone(), server.lb.clone());
        let key = (server.backend.clone(), server.server.clone());
        let lb = observed.load_balancers.get(&lb);
        lb.and_then(|lb| lb.servers.get(&key)).is_some_and(|server| server.up)
    })
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

/// Seconds since 1970, as Prometheus has them.
fn instant(at: Timestamp) -> f64 {
    Duration::from_millis(at.as_millis()).as_secs_f64()
}
