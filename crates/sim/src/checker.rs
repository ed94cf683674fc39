//! Who speaks when something happens that must not.

use std::fmt;

/// A checker. What each checks, and where: `docs/simulator.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Checker {
    /// No more hosts of a role are out than its budget.
    Budget,
    /// The last server of a backend stays.
    LastServer,
    /// No host is changed that takes traffic.
    Rotation,
    /// A host is put into rotation only when it is well.
    Fit,
    /// No guard or bake passes while an alert fires.
    Passed,
    /// Nothing begins before its turn, after a failure, or while halted.
    Order,
    /// The journal's events fit the table of transitions.
    Transitions,
    /// The canary has no share while it is changed.
    Share,
    /// Migrations come before the code that needs them.
    Migrated,
    /// Each migration is applied once, post-deployment ones after the last host.
    Migration,
    /// No code of before after post-deployment migrations.
    Return,
    /// Config management undoes nothing.
    ConfigManagement,
    /// A run installs once on a host.
    Install,
    /// Each job has its record.
    Job,
    /// What load balancers are told has its record.
    Recorded,
    /// Fences are raised where they are said to be.
    Fenced,
    /// What a reload undid is put right.
    Redrained,
    /// A halt names every host that it leaves out.
    Taken,
    /// The journal's events make the state that the process has.
    Fold,
    /// In the end all hosts are whole and UP.
    End,
    /// Once nothing goes wrong, everything comes to its end.
    Lively,
    /// A scenario ended as it must. Tests compare how theirs end; histories have no such end.
    Scenario,
}

impl Checker {
    /// Every checker that looks at histories.
    pub const ALL: [Self; 21] = [
        Self::Budget,
        Self::LastServer,
        Self::Rotation,
        Self::Fit,
        Self::Passed,
        Self::Order,
        Self::Transitions,
        Self::Share,
        Self::Migrated,
        Self::Migration,
        Self::Return,
        Self::ConfigManagement,
        Self::Install,
        Self::Job,
        Self::Recorded,
        Self::Fenced,
        Self::Redrained,
        Self::Taken,
        Self::Fold,
        Self::End,
        Self::Lively,
    ];
}

/// What a checker found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Who found it.
    pub checker: Checker,
    /// What.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.checker, self.what)
    }
}
