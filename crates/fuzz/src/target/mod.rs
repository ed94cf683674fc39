//! The targets, and what they have in common.

mod alerts;
mod commands;
mod config;
mod haproxy;
mod hosts;
mod packages;
mod patches;
mod records;
mod reports;
mod shell;

/// Something that must hold for any bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Panics if it does not hold.
    pub hold: fn(&[u8]),
    /// What it may take besides what an input of its size is allowed, in bytes.
    pub memory: usize,
    /// Words of its format, for mutations.
    pub words: &'static [&'static [u8]],
    /// How many mutations `make test` tries: what takes a second or two.
    pub mutations: u32,
}

const MIB: usize = 1 << 20;

/// Every target.
pub const TARGETS: &[Target] = &[
    config::CONFIG,
    haproxy::HAPROXY,
    packages::INDEX,
    packages::RELEASE,
    packages::PACKAGE,
    packages::MANIFEST,
    reports::JUNIT,
    reports::RSPEC,
    alerts::ALERTMANAGER,
    alerts::PROMETHEUS,
    alerts::MATCHER,
    patches::PATCH,
    records::RUN,
    records::ENVIRONMENT,
    hosts::REPLY,
    hosts::OBSERVATION,
    commands::COMMANDS,
];

/// Returns a target by its name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Fails if a text that people are shown could move a cursor, or fills more than a screen.
fn is_for_people(text: &str, most: usize) {
    let control = text.chars().find(|c| c.is_control());
    assert!(control.is_none(), "{control:?} in what is shown: {text:?}");
    let length = text.chars().count();
    assert!(length <= most, "{length} characters are shown, and may be {most}");
}

/// Waits for something that does no I/O.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime without threads and I/O").block_on(future)
}
