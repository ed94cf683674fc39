//! `serin-lab status`: every host, what is installed and what runs there, HAProxy's servers, and the alerts.
//!
//! Looks, and changes nothing. What cannot be seen is said to be unseen.

use crate::alerts;
use crate::balancer::server_states;
use crate::host::{shell, wait_for_port};
use crate::run::{in_parallel, run_unchecked, say};
use crate::state::{LabFolder, LabRecord};
use crate::topology::{Host, Kind};
use anyhow::Result;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

/// Prints the state of the lab.
pub(crate) fn status(folder: &LabFolder) -> Result<()> {
    let record = folder.load()?;
    print_hosts(&record)?;
    print_balancers(&record);
    print_alerts();
    Ok(())
}

fn print_hosts(record: &LabRecord) -> Result<()> {
    let rows = Mutex::new(BTreeMap::new());
    in_parallel(&record.topology.hosts, 8, |host| {
        let row = describe_host(record, host);
        if let Ok(mut rows) = rows.lock() {
            rows.insert(host.name.clone(), row);
        }
        Ok(())
    })?;
    let rows = rows.into_inner().unwrap_or_default();
    say(format_args!(
        "{:<18} {:<13} {:<11} {:<34} {}",
        "HOST", "ADDRESS", "SSH", "INSTALLED", "RUNNING"
    ));
    for host in &record.topology.hosts {
        let row = rows.get(&host.name).map(String::as_str).unwrap_or_default();
        say(format_args!("{:<18} {:<13} {row}", host.name, host.address.to_string()));
    }
    Ok(())
}

fn describe_host(record: &LabRecord, host: &Host) -> String {
    let Ok(init) = record.live_init(&host.name) else { return "powered off".to_owned() };
    let reachable = match wait_for_port(host, 22, Duration::ZERO) {
        Ok(()) => "reachable",
        Err(_) => "unreachable",
    };
    if !host.has_package() {
        return reachable.to_owned();
    }
    let query = "dpkg-query -W -f '${Version} ${db:Status-Status}' gitlab-ee";
    let installed = answer_of(&mut shell(init, query)).unwrap_or_else(|| "nothing".to_owned());
    let running = host.kind.port().map_or_else(String::new, |port| {
        let line = format!("curl -fsS --max-time 2 http://127.0.0.1:{port}/-/version");
        let version = answer_of(&mut shell(init, &line)).and_then(|text| {
            let answer: serde_json::Value = serde_json::from_str(&text).ok()?;
            Some(answer.get("version")?.as_str()?.to_owned())
        });
        version.unwrap_or_else(|| "no answer".to_owned())
    });
    format!("{reachable:<11} {installed:<34} {running}")
}

fn answer_of(command: &mut std::process::Command) -> Option<String> {
    let output = run_unchecked(command).ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn print_balancers(record: &LabRecord) {
    for host in record.topology.hosts.iter().filter(|host| host.kind == Kind::LoadBalancer) {
        say(format_args!("\n{}", host.name));
        let rows = record.live_init(&host.name).and_then(server_states);
        match rows {
            Ok(rows) => {
                for row in rows {
                    let (name, status, weight) = (row.name, row.status, row.weight);
                    say(format_args!("  {name:<30} {status:<10} weight {weight}"));
                }
            }
            Err(error) => say(format_args!("  HAProxy cannot be asked: {error:#}")),
        }
    }
}

fn print_alerts() {
    say("\nALERTS");
    match alerts::active() {
        Ok(alerts) => {
            for alert in alerts {
                let (severity, environment) = (alert.severity, alert.environment);
                say(format_args!(
                    "  {severity:<9} {environment:<5} {} {}",
                    alert.name, alert.instance
                ));
            }
        }
        Err(error) => say(format_args!("  Alertmanager cannot be asked: {error:#}")),
    }
}
