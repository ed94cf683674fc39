//! Who acted when, as the hosts themselves wrote it down: each job keeps the fence under which it was asked for.

use crate::lab::Lab;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;

/// Prints time, fence and name of each attempt of each job.
const LOOK: &str = "cd /var/lib/serin/jobs 2>/dev/null || exit 0; \
                    for claimed in */*/claimed.*; do [ -e \"$claimed\" ] || continue; \
                    echo \"$(stat -c %.9Y \"$claimed\") $(sed -n 's/^fence //p' \"$claimed\") $claimed\"; done";

/// Attempts of an environment's jobs by host and name: when each was asked for, and under which fence.
type Attempts = BTreeMap<(String, String), (String, u64)>;

/// Attempts of jobs that were seen on hosts, by environment.
#[derive(Default)]
pub(super) struct Owners {
    attempts: BTreeMap<String, Attempts>,
}

impl Owners {
    /// Looks at all hosts. Jobs of runs that are over are not there any more.
    pub(super) fn look(&mut self, lab: &Lab) -> Result<()> {
        for host in lab.all_hosts()? {
            let Some(environment) = host.name.split('.').nth(1).filter(|at| at.starts_with('g'))
            else {
                continue;
            };
            for line in lab.on(&host.name, LOOK)? {
                let mut words = line.split_whitespace();
                let (Some(at), Some(fence)) = (words.next(), words.next()) else { continue };
                let name = words.next_back().unwrap_or_default().to_owned();
                let fence = fence.parse().with_context(|| format!("{}: {line}", host.name))?;
                let attempts = self.attempts.entry(environment.to_owned()).or_default();
                attempts.insert((host.name.clone(), name), (at.to_owned(), fence));
            }
        }
        Ok(())
    }

    /// In each environment, no job was ever asked for under a smaller fence than one before it: whoever was replaced never
    /// acted again. All hosts have one clock. Returns how many there were.
    pub(super) fn one_at_a_time(&self) -> Result<usize> {
        let mut count = 0;
        for (environment, attempts) in &self.attempts {
            let mut all: Vec<(&str, u64, &(String, String))> =
                attempts.iter().map(|(name, (at, fence))| (at.as_str(), *fence, name)).collect();
            // Nanoseconds of one length: they sort as texts.
            all.sort_unstable();
            for pair in all.windows(2) {
                if let [(_, before, first), (_, after, second)] = pair
                    && after < before
                {
                    bail!(
                        "{environment}: {second:?} was asked for under fence {after}, after {first:?} under {before}"
                    );
                }
            }
            count += all.len();
        }
        if count == 0 {
            bail!("no host has kept a job");
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owners(attempts: &[(&str, &str, u64)]) -> Owners {
        let attempts = attempts.iter().map(|(name, at, fence)| {
            (("web-01.gstg".to_owned(), (*name).to_owned()), ((*at).to_owned(), *fence))
        });
        Owners { attempts: [("gstg".to_owned(), attempts.collect())].into() }
    }

    #[test]
    fn a_fence_that_falls_is_found() {
        assert_eq!(
            owners(&[("a", "1.5", 1), ("b", "1.6", 1), ("c", "1.7", 2)]).one_at_a_time().unwrap(),
            3
        );
        assert!(owners(&[("a", "1.5", 2), ("b", "1.6", 1)]).one_at_a_time().is_err());
        assert!(Owners::default().one_at_a_time().is_err());
    }
}
