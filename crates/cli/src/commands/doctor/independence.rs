//! Whether Serin stands on its own feet: nothing that it needs may be served by what it deploys.
//!
//! Names are compared as they are written, and by the addresses that this machine finds for them: a name of its own for
//! the same load balancer is found out, too.

use super::Findings;
use crate::context::Context;
use serin_adapters::ssh::destination;
use serin_model::HostName;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How long a name may take to be found: resolvers ask a second server after five seconds.
const LOOKUP: Duration = Duration::from_secs(6);

/// How many names are looked up at once.
const AT_ONCE: usize = 16;

/// Something that Serin needs, and the host that has it.
struct Needed {
    what: String,
    host: String,
}

/// Says what is served by something that runs would take out of service.
pub(super) async fn check(context: &Context, findings: &mut Findings) {
    let needed = needed(context);
    let deployed = deployed(context);
    let names: BTreeSet<String> =
        needed.iter().map(|needed| needed.host.clone()).chain(deployed.keys().cloned()).collect();
    let addresses = addresses(context, names).await;
    let none = BTreeSet::new();
    let of = |name: &str| addresses.get(name).unwrap_or(&none);
    let mut problems = 0;
    for Needed { what, host } in &needed {
        let same = deployed.iter().find(|(name, _)| {
            *name == host || of(name).iter().any(|address| of(host).contains(address))
        });
        let Some((name, whose)) = same else { continue };
        problems += 1;
        let behind = if name == host { String::new() } else { format!(" (as {name})") };
        findings.problem(format!("{what} is on {host}{behind}, {whose}: it would go down with it"));
    }
    if problems == 0 {
        let unknown = needed.iter().filter(|needed| of(&needed.host).is_empty()).count();
        let known = if unknown == 0 {
            "by name and address".to_owned()
        } else {
            format!("by name; no address is known here of {unknown} of them")
        };
        let (count, all) = (needed.len(), deployed.len());
        findings.good(format!(
            "none of {count} services that Serin needs is on any of {all} hosts and names that it deploys ({known})"
        ));
    }
}

fn needed(context: &Context) -> Vec<Needed> {
    let config = &context.config;
    let mut needed = Vec::new();
    let mut url = |what: &str, url: &str| {
        if let Some(host) = host_of(url) {
            needed.push(Needed { what: format!("{what} {}", redacted(url)), host });
        }
    };
    url("the repository", &config.repository.url);
    for environment in config.topology.environments.values() {
        if let Some(source) = &environment.alerts {
            source.alertmanagers.iter().for_each(|at| url("the Alertmanager", at));
            source.prometheus.iter().for_each(|at| url("the Prometheus", at));
        }
    }
    config.pushgateway.iter().for_each(|at| url("the Pushgateway", at));
    if let serin_config::Journal::Postgres(postgres) = &config.journal
        && !postgres.host.starts_with('/')
    {
        let host = postgres.host.to_ascii_lowercase();
        needed.push(Needed { what: "the journal".to_owned(), host });
    }
    needed
}

/// Returns every host and name that runs take out of service or change, and what it is.
fn deployed(context: &Context) -> BTreeMap<String, String> {
    let mut deployed = BTreeMap::new();
    for environment in context.config.topology.environments.values() {
        let name = &environment.name;
        for (_, host) in environment.hosts() {
            let what = format!("which runs of {name} would take out of service");
            deployed.insert(host.name.as_str().to_ascii_lowercase(), what);
        }
        for lb in environment.load_balancers.values() {
            let what = format!("a load balancer of {name}");
            deployed.insert(lb.host.as_str().to_ascii_lowercase(), what);
        }
        for served in context.config.serves.get(name).into_iter().flatten() {
            deployed.insert(served.clone(), format!("which {name} serves"));
        }
    }
    deployed
}

/// Finds the addresses of names, as `ssh` and the resolver of this machine know them. Loopback is this machine's own.
async fn addresses(
    context: &Context,
    names: BTreeSet<String>,
) -> BTreeMap<String, BTreeSet<IpAddr>> {
    let ssh = Arc::new(context.ssh());
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut lookups = JoinSet::new();
    for name in names {
        let (ssh, places) = (Arc::clone(&ssh), Arc::clone(&places));
        lookups.spawn(async move {
            let _place = places.acquire().await;
            let alias: Result<HostName, _> = name.parse();
            let behind = match &alias {
                Ok(alias) => destination(&ssh, alias).await,
                Err(_) => None,
            };
            let behind = behind.unwrap_or_else(|| name.clone());
            let found = tokio::time::timeout(LOOKUP, tokio::net::lookup_host((behind, 0))).await;
            let found: BTreeSet<IpAddr> = match found {
                Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
                Ok(Err(_)) | Err(_) => BTreeSet::new(),
            };
            (name, found.into_iter().filter(|address| !address.is_loopback()).collect())
        });
    }
    let mut all = BTreeMap::new();
    while let Some(looked) = lookups.join_next().await {
        if let Ok((name, found)) = looked {
            all.insert(name, found);
        }
    }
    all
}

/// Returns the host of a URL, without user, port and brackets.
fn host_of(url: &str) -> Option<String> {
    let rest = url.split_once("://")?.1;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let host = match host.strip_prefix('[') {
        Some(address) => address.split(']').next()?,
        None => host.split(':').next()?,
    };
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}

fn redacted(url: &str) -> String {
    serin_adapters::http::redacted(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_address_is_found() {
        for (url, host) in [
            ("http://a.example", Some("a.example")),
            ("https://me:pa@ss@A.example:9093/x?y", Some("a.example")),
            ("http://[fd00::1]:80/", Some("fd00::1")),
            ("http:///x", None),
            ("nonsense", None),
        ] {
            assert_eq!(host_of(url).as_deref(), host, "{url}");
        }
    }
}
