//! For the fuzz target of command lines: all that a login shell is given.

use super::SshConfig;

/// The wrapper, as it is installed on hosts.
pub const WRAPPER: &str = super::wrapper::WRAPPER;

/// Returns the command that the login shell of a host reads.
pub fn remote_command(config: &SshConfig) -> String {
    super::wrapper::remote_command(config)
}
