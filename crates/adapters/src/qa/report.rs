//! What a report says, whatever its format.

use std::collections::BTreeSet;

/// The tests of one run of a suite.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// How many ran; skipped and pending ones did not.
    pub(super) executed: u32,
    /// The names of those that passed, in formats that say them.
    pub(super) passed: Option<BTreeSet<String>>,
    /// How many failed: more than there are names, where the output does not name them all.
    pub(super) failures: u32,
    /// The names of those that failed.
    pub(super) failed: BTreeSet<String>,
    /// The names of those that passed only when the suite itself tried them again.
    pub(super) flaky: BTreeSet<String>,
    /// Errors that belong to no test.
    pub(super) outside_errors: u32,
}

impl Report {
    /// Adds another report of the same run.
    pub(super) fn add(&mut self, other: Self) {
        self.executed = self.executed.saturating_add(other.executed);
        self.failures = self.failures.saturating_add(other.failures);
        self.outside_errors = self.outside_errors.saturating_add(other.outside_errors);
        self.failed.extend(other.failed);
        self.flaky.extend(other.flaky);
        if let Some(passed) = other.passed {
            self.passed.get_or_insert_default().extend(passed);
        }
    }

    /// Returns what has still failed, when this is the report of a retry: what failed again, and what it did not show
    /// to have passed.
    pub(super) fn still_failed(&self, before: &Self) -> BTreeSet<String> {
        let unproven: BTreeSet<_> = match &self.passed {
            Some(passed) => before.failed.difference(passed).cloned().collect(),
            // Without names, only a number can show that nothing was left out.
            None if self.executed >= before.failures => BTreeSet::new(),
            None => before.failed.clone(),
        };
        unproven.union(&self.failed).cloned().collect()
    }
}
