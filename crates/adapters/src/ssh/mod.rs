//! SSH by the system's own client: one long session a host, on which the wrapper answers framed requests.
//!
//! The operator's ssh_config, agent, certificates and jump hosts all work, because it is `ssh` that reads them; host
//! keys are always strict. This layer knows frames and failures of connections, not what requests mean. Read
//! [`SshPool`] first.
//!
//! A session is spoiled by anything unexpected: a request that was given up, a frame that makes no sense, an end. It is
//! then dropped with its `ssh`, never used again. What was asked goes on or not on the host; asking again tells.

mod explain;
pub(crate) mod frames;
#[doc(hidden)]
pub mod fuzzing;
mod names;
mod pool;
mod session;
mod wrapper;

pub use frames::{Reply, Request};
pub use names::destination;
pub use pool::SshPool;
pub use wrapper::wrapper_path;

use std::path::PathBuf;
use std::time::Duration;

/// How hosts are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshConfig {
    /// The ssh_config to use; `None`: the operator's own.
    pub config: Option<PathBuf>,
    /// How many logins may be in progress at once.
    pub max_connecting: usize,
    /// How long a connection may take until the other side speaks SSH. Logging in gets 20 s more.
    pub connect_timeout: Duration,
    /// Whether the login user must become root by `sudo -n`.
    pub sudo: bool,
}
