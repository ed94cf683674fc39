//! The runtime's formats, as they are on disk.

#[cfg(test)]
mod environment_records;
#[cfg(test)]
mod audit;
#[cfg(test)]
mod ends;
