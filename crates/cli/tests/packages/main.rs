//! `serin builds`, `changes` and `patch check`: the real command, a signed repository over HTTP, packages by dpkg-deb.

// `cfg(test)` is always on here; it tells the linter that helpers are tests, too.
#[cfg(test)]
mod commands;
#[cfg(test)]
mod site;
