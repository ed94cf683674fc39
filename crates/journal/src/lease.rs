//! Taking a lease: the patience that every journal shares.
//!
//! A journal says in one transaction whether a lease can be had now ([`LeaseTable::try_take`]); waiting and judging
//! silence happen here. It reads no foreign clock: the holder's beat is a counter, and only how long *this* process has
//! seen it unchanged counts. Taking a lease is not what makes acting safe; its number, checked by every append, is.

use crate::port::{Holder, JournalError, Lease, LeaseRefused, Scope};
use async_trait::async_trait;
use std::time::Duration;
use tokio::time::Instant;

/// Looks in one time to live: a beat that moves is noticed after at most a tenth of it.
const LOOKS: u32 = 10;

/// The shortest and longest time between two looks: not a busy loop, and not blind for longer than a person waits.
const SHORTEST: Duration = Duration::from_millis(5);
const LONGEST: Duration = Duration::from_secs(1);

/// What a journal has to be able to do for a lease to be taken with patience.
#[async_trait]
pub(crate) trait LeaseTable: Send + Sync {
    /// Takes the lease if nobody holds it, if its holder is known to be dead, or if it is still as in `silent`, which
    /// the caller has watched for long enough.
    async fn try_take(
        &self,
        scope: &Scope,
        holder: &Holder,
        silent: Option<&Sighting>,
    ) -> Result<Attempt, JournalError>;
}

/// What came of an attempt to take a lease.
#[derive(Debug)]
pub(crate) enum Attempt {
    /// It is ours.
    Taken(Lease),
    /// Somebody holds it who is not known to be dead.
    Held(Sighting),
}

/// A holder as it was seen.
#[derive(Debug, Clone)]
pub(crate) struct Sighting {
    /// Who holds the lease.
    pub(crate) holder: Holder,
    /// Its number.
    pub(crate) epoch: u64,
    /// How often the holder has shown that it lives.
    pub(crate) beat: u64,
}

impl Sighting {
    /// Says whether nothing has moved between two looks.
    pub(crate) fn unchanged(&self, epoch: u64, beat: u64) -> bool {
        self.epoch == epoch && self.beat == beat
    }
}

/// Takes a lease, watching a silent holder for a whole `ttl` before it is replaced.
pub(crate) async fn take_patiently(
    table: &impl LeaseTable,
    scope: &Scope,
    holder: &Holder,
    ttl: Duration,
) -> Result<Lease, LeaseRefused> {
    let first = match table.try_take(scope, holder, None).await? {
        Attempt::Taken(lease) => return Ok(lease),
        Attempt::Held(sighting) => sighting,
    };
    let pause = (ttl / LOOKS).clamp(SHORTEST, LONGEST);
    let mut looked = Instant::now();
    let mut watched = Duration::ZERO;
    loop {
        tokio::time::sleep(pause).await;
        // When the whole machine was frozen, the holder had no chance to beat either: a long gap proves little.
        watched += looked.elapsed().min(pause * 2);
        looked = Instant::now();
        let silent = (watched >= ttl).then_some(&first);
        match table.try_take(scope, holder, silent).await? {
            Attempt::Taken(lease) => return Ok(lease),
            Attempt::Held(now) if now.unchanged(first.epoch, first.beat) => {}
            Attempt::Held(now) => {
                return Err(LeaseRefused::Held { scope: scope.clone(), holder: now.holder });
            }
        }
    }
}
