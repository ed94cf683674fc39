//! QA.
use anyhow::Result;
use crate::state::LabFolder;
use crate::topology::Environment;
use std::process::ExitCode;
/// .
pub(crate) struct Suite { pub environment: Environment, pub canary: bool, pub report: Option<std::path::PathBuf> }
/// .
pub(crate) fn qa(_: &LabFolder, _: &Suite) -> Result<ExitCode> { Ok(ExitCode::SUCCESS) }
