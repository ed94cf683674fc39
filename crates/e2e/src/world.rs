//! What scenario files see, asked of hosts, load balancers and Alertmanager themselves.

use crate::lab::Lab;
use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Prints a host's package and its state, and what each of its services has loaded.
const WHAT_RUNS: &str = "dpkg-query -W -f '${Version} ${db:Status-Status}\\n' gitlab-ee
for service in gitaly puma sidekiq workhorse; do
    [ ! -e /etc/service/$service ] || echo \"$(running-version $service) $service\"
done";

/// All hosts of a place have the version installed, and every service of theirs runs it.
pub(crate) fn runs(lab: &Lab, place: &str, version: &str) -> Result<String> {
    let (mut hosts, mut services) = (0, 0);
    for name in of_place(lab, place)? {
        let said = lab.on(&name, WHAT_RUNS)?;
        let (package, loaded) = said.split_first().context("dpkg-query printed nothing")?;
        if *package != format!("{version} installed") {
            bail!("{name} has {package}, not {version}");
        }
        for line in loaded {
            if line.split(' ').next() != Some(version) {
                bail!("{name} runs {line}, not {version}");
            }
            services += 1;
        }
        hosts += 1;
    }
    if hosts == 0 || services == 0 {
        bail!("{place} has {hosts} hosts and {services} services: that proves nothing");
    }
    Ok(format!("{place}: {version} is installed on {hosts} hosts, and {services} services run it"))
}

/// A file on every host of a place holds some text.
pub(crate) fn has(lab: &Lab, place: &str, (text, path): (&str, &str)) -> Result<String> {
    let hosts = of_place(lab, place)?;
    for name in &hosts {
        let lines = lab.on(name, &format!("cat {path}"))?;
        if !lines.iter().any(|line| line.contains(text)) {
            bail!("{path} on {name} has no `{text}`");
        }
    }
    Ok(format!("{place}: {} hosts have `{text}` in {path}", hosts.len()))
}

/// Application hosts of an environment, or of one fleet of it. The deploy host serves nobody, and has what was brought
/// last to any fleet: it counts for the whole environment only.
fn of_place(lab: &Lab, place: &str) -> Result<Vec<String>> {
    let (environment, fleet) = place.split_once('/').map_or((place, None), |(e, f)| (e, Some(f)));
    let kinds = ["gitaly", "web", "api", "git", "sidekiq"].into_iter();
    let kinds = kinds.chain(fleet.is_none().then_some("deploy"));
    let domain = match environment {
        "staging" => ".gstg",
        "production" => ".gprd",
        unknown => bail!("the lab has no environment {unknown}"),
    };
    let mut names = Vec::new();
    for kind in kinds {
        let hosts = lab.hosts(kind)?.into_iter().map(|(name, _)| name);
        let in_fleet =
            |name: &String| fleet.is_none_or(|f| (f == "canary") == name.contains("-cny-"));
        names.extend(hosts.filter(|name| name.ends_with(domain)).filter(in_fleet));
    }
    Ok(names)
}

/// How far a measured share may be from the intended one, in percent: with 2000 requests at 5%, four times the spread
/// that chance alone gives.
const SPREAD: f64 = 2.0;

/// How often load balancers are asked until enough requests have passed: far longer than at 100 requests a second.
const READINGS: usize = 3000;

/// The canary gets its percentage of the next so many requests of production, by what load balancers passed on.
pub(crate) fn canary_gets(lab: &Lab, percent: u32, requests: u64) -> Result<String> {
    let before = passed_on(lab)?;
    for _ in 0..READINGS {
        let now = passed_on(lab)?;
        let canary = now.canary.saturating_sub(before.canary);
        let all = canary + now.main.saturating_sub(before.main);
        if all < requests {
            continue;
        }
        let measured = 100.0 * number(canary) / number(all);
        if (measured - f64::from(percent)).abs() > SPREAD || (percent == 0 && canary > 0) {
            bail!("the canary got {canary} of {all} requests: {measured:.1}%, not {percent}%");
        }
        return Ok(format!("the canary got {canary} of {all} requests: {measured:.1}%"));
    }
    bail!("{requests} requests did not come within {READINGS} readings")
}

fn number(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

struct PassedOn {
    main: u64,
    canary: u64,
}

/// Adds up the sessions of servers in the backends that both fleets share.
fn passed_on(lab: &Lab) -> Result<PassedOn> {
    let mut sum = PassedOn { main: 0, canary: 0 };
    for (name, _) in lab.hosts("load-balancer")? {
        if name.split_once('.').is_none_or(|(_, domain)| domain != "gprd") {
            continue;
        }
        let show = "echo 'show stat -1 4 -1' | socat -t2 - UNIX-CONNECT:/run/haproxy/admin.sock";
        for line in lab.on(&name, show)?.iter().filter(|line| !line.starts_with('#')) {
            let fields: Vec<&str> = line.split(',').collect();
            let (Some(backend), Some(server), Some(total)) =
                (fields.first(), fields.get(1), fields.get(7))
            else {
                continue;
            };
            if ["web", "api", "https_git"].contains(backend) {
                let total: u64 = total.parse().with_context(|| format!("{name}: {line}"))?;
                let to = if server.contains("-cny-") { &mut sum.canary } else { &mut sum.main };
                *to += total;
            }
        }
    }
    Ok(sum)
}

/// How often Alertmanager is asked: a question takes a tenth of a second, and an alert ten seconds to come or go.
const QUESTIONS: usize = 600;

/// Waits until Alertmanager shows an alert of an environment, or nothing but its watchdog.
pub(crate) fn until_fires(lab: &Lab, environment: &str, alert: Option<&String>) -> Result<String> {
    let domain = if environment == "staging" { "gstg" } else { "gprd" };
    let mut shown = Vec::new();
    for _ in 0..QUESTIONS {
        shown = firing(lab, domain)?;
        let found = match alert {
            Some(alert) => shown.iter().find(|(name, _)| name == alert),
            None if shown.iter().all(|(name, _)| name == "Watchdog") => {
                return Ok(format!("nothing fires in {environment}"));
            }
            None => None,
        };
        if let Some((name, about)) = found {
            return Ok(format!("{name} fires in {environment} about {about}"));
        }
    }
    bail!("{environment}: Alertmanager still shows {shown:?}")
}

/// Returns names of alerts, and what each is about.
fn firing(lab: &Lab, domain: &str) -> Result<Vec<(String, String)>> {
    let ask = "curl -fsS --max-time 5 'http://10.87.0.10:9093/api/v2/alerts?active=true'";
    let said = lab.on("ops-01.lab", ask)?.concat();
    let alerts: Vec<Value> = serde_json::from_str(&said).with_context(|| said.clone())?;
    let label = |alert: &Value, name: &str| {
        let value = alert.pointer(&format!("/labels/{name}")).and_then(Value::as_str);
        value.unwrap_or_default().to_owned()
    };
    let here = alerts.iter().filter(|alert| label(alert, "env") == domain);
    Ok(here.map(|alert| (label(alert, "alertname"), label(alert, "instance"))).collect())
}
