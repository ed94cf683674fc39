//! `serin-lab break`.
use anyhow::Result;
use clap::Subcommand;
use crate::state::LabFolder;
/// .
#[derive(Debug, Subcommand)]
pub(crate) enum Damage { /// .
 Mend }
/// .
pub(crate) fn perform(_: &LabFolder, _: &Damage) -> Result<()> { Ok(()) }
