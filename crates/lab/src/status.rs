//! Status.
use anyhow::Result;
use crate::state::LabFolder;
/// .
pub(crate) fn status(_: &LabFolder) -> Result<()> { Ok(()) }
