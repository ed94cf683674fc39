//! The table of commands. It decides nothing: who may say what is in the configuration.

use super::{Ends, Flag, Rule, Slot, Wanted};
use crate::value::Shape;

const fn slot(shape: Shape) -> Slot {
    Slot { shape, wanted: Wanted::Always }
}

const fn maybe(shape: Shape) -> Slot {
    Slot { shape, wanted: Wanted::Maybe }
}

const fn flag(name: &'static str, shape: Shape) -> Flag {
    Flag { name, shape, wanted: Wanted::Maybe }
}

const fn text(name: &'static str, wanted: Wanted) -> Flag {
    Flag { name, shape: Shape::Text, wanted }
}

/// Everything that can be said in a chat, but `help` and `confirm`, which need no `serin`.
pub const RULES: &[Rule] = &[
    Rule {
        words: &["status"],
        slots: &[],
        flags: &[],
        ends: Ends::Look,
        confirm: None,
        about: "every environment: who it belongs to, what goes on there, what is out of service",
    },
    Rule {
        words: &["why"],
        slots: &[],
        flags: &[],
        ends: Ends::Look,
        confirm: None,
        about: "everything that blocks now",
    },
    Rule {
        words: &["builds"],
        slots: &[],
        flags: &[flag("limit", Shape::Count)],
        ends: Ends::Look,
        confirm: None,
        about: "the builds in the package repository, newest first",
    },
    Rule {
        words: &["changes"],
        slots: &[slot(Shape::Versions)],
        flags: &[],
        ends: Ends::Look,
        confirm: None,
        about: "which components differ between two builds",
    },
    Rule {
        words: &["run"],
        slots: &[slot(Shape::Pipeline), maybe(Shape::Version)],
        flags: &[flag("fleet", Shape::Place), text("reason", Wanted::Maybe)],
        ends: Ends::Run,
        confirm: Some(
            "The pipeline is run for that build (by default the newest), through all its stages, until it is finished or halts.",
        ),
        about: "run a pipeline for a build, such as `run to-canary`; `expedited` wants --fleet and --reason",
    },
    Rule {
        words: &["promote"],
        slots: &[],
        flags: &[flag("why-not", Shape::Nothing)],
        ends: Ends::Run,
        confirm: Some(
            "The build that is on the canary is taken to the main fleet: all of production gets it.",
        ),
        about: "take the build that is on the canary to the main fleet; --why-not says what is missing, and does nothing",
    },
    Rule {
        words: &["share"],
        slots: &[slot(Shape::Place), maybe(Shape::Percent)],
        flags: &[flag("over", Shape::Length), text("reason", Wanted::Maybe)],
        ends: Ends::Act,
        confirm: None,
        about: "the share of traffic that a canary gets; with a percentage, set it, --over a time step by step",
    },
    Rule {
        words: &["halt"],
        slots: &[maybe(Shape::Run)],
        flags: &[text("reason", Wanted::Always)],
        ends: Ends::Act,
        confirm: None,
        about: "stop a run: nothing new is started, hosts in the middle are brought to safety",
    },
    Rule {
        words: &["resume"],
        slots: &[maybe(Shape::Run)],
        flags: &[text("reason", Wanted::Always)],
        ends: Ends::Run,
        confirm: None,
        about: "lift a run's halt: what failed is tried again",
    },
    Rule {
        words: &["adopt"],
        slots: &[maybe(Shape::Run)],
        flags: &[],
        ends: Ends::Run,
        confirm: None,
        about: "take over the run of a process that died",
    },
    Rule {
        words: &["rollback"],
        slots: &[slot(Shape::Undone)],
        flags: &[flag("pace", Shape::Pace), text("reason", Wanted::Always)],
        ends: Ends::Run,
        confirm: Some(
            "Hosts there go back to what they had before. A run that is going on there is halted and given up first.",
        ),
        about: "go back to what hosts had before; --pace expedited is faster, and may drop connections",
    },
    Rule {
        words: &["agree"],
        slots: &[slot(Shape::Pipeline), slot(Shape::Version)],
        flags: &[text("note", Wanted::Always)],
        ends: Ends::Act,
        confirm: None,
        about: "agree to a run that another person is about to start, where it takes two",
    },
    Rule {
        words: &["approve"],
        slots: &[maybe(Shape::Run)],
        flags: &[text("note", Wanted::Always)],
        ends: Ends::Act,
        confirm: None,
        about: "say that what a stage waits for was done, and what was found",
    },
    Rule {
        words: &["patch", "list"],
        slots: &[],
        flags: &[],
        ends: Ends::Look,
        confirm: None,
        about: "the patches that hosts are to have, and the hosts that do not",
    },
    Rule {
        words: &["hold", "list"],
        slots: &[],
        flags: &[],
        ends: Ends::Look,
        confirm: None,
        about: "the holds and freeze windows that are on",
    },
    Rule {
        words: &["hold", "place"],
        slots: &[slot(Shape::Place)],
        flags: &[flag("for", Shape::Length), text("reason", Wanted::Always)],
        ends: Ends::Act,
        confirm: None,
        about: "refuse new runs there, and new stages of those on their way",
    },
    Rule {
        words: &["hold", "lift"],
        slots: &[slot(Shape::Hold)],
        flags: &[text("reason", Wanted::Always)],
        ends: Ends::Act,
        confirm: Some("The hold is lifted: runs may start there again."),
        about: "lift a hold",
    },
];
