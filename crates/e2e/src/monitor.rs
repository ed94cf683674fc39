//! Watches every load balancer 20 times a second: how many servers of a fleet are out of a backend at once.

use crate::lab::Lab;
use crate::process::Running;
use crate::seen::Account;
use anyhow::{Result, bail};
use std::collections::BTreeMap;
use std::time::Duration;

/// Prints HAProxy's servers again and again; a reload may make one reading fail.
const WATCH: &str = "while :; do echo 'show stat -1 4 -1' | socat -t1 - \
                     UNIX-CONNECT:/run/haproxy/admin.sock 2>/dev/null; echo END; sleep 0.04; done";

/// Load balancers that are being watched.
pub(crate) struct Monitor {
    watched: Vec<(String, Running)>,
    account: Account,
}

impl Monitor {
    pub(crate) fn start(lab: &Lab) -> Result<Self> {
        let mut watched = Vec::new();
        for (name, _) in lab.hosts("load-balancer")? {
            let running = lab.lab_running(&["exec", &name, "--", "sh", "-c", WATCH])?;
            watched.push((name, running));
        }
        Ok(Self { watched, account: Account::clone(lab.account()) })
    }

    /// Stops, and fails if more than `limit` servers of one fleet were out of one backend at once.
    pub(crate) fn stop(self, limit: usize) -> Result<String> {
        let mut samples = 0;
        let mut peak = 0;
        for (lb, mut running) in self.watched {
            running.until(&["END"], Duration::from_secs(10))?;
            let log = running.kill()?;
            let mut whole: Vec<&[String]> = log.split(|line| line == "END").collect();
            // The last one was cut by the kill.
            whole.pop();
            for sample in whole {
                samples += usize::from(!sample.is_empty());
                for (group, out) in out_of(sample) {
                    peak = peak.max(out.len());
                    if out.len() > limit {
                        bail!("{lb}: {group}: {} were out at once", out.join(", "));
                    }
                }
            }
        }
        if samples < 100 {
            bail!("only {samples} readings of the load balancers: too few to prove anything");
        }
        self.account.borrow_mut().most_out = Some(peak);
        Ok(format!("at most {peak} of a fleet out of a backend in {samples} readings"))
    }
}

/// Returns the servers that are not UP, by backend and fleet.
fn out_of(sample: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in sample.iter().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(',').collect();
        let (Some(backend), Some(server), Some(status)) =
            (fields.first(), fields.get(1), fields.get(17))
        else {
            continue;
        };
        if !status.starts_with("UP") {
            let fleet = if server.contains("-cny-") { "canary" } else { "main" };
            let group = out.entry(format!("{backend} ({fleet})")).or_default();
            group.push(format!("{server} {status}"));
        }
    }
    out
}
