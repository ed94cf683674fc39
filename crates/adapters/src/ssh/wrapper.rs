//! The wrapper's text, its name on hosts, and the command by which a login installs and starts it.
//!
//! It is named by its content, so a host may hold several, and none is ever changed while a job runs under it.

use super::SshConfig;
use std::sync::LazyLock;

/// The wrapper, as it is installed on hosts.
pub(super) const WRAPPER: &str = concat!(
    include_str!("../host/wrapper/base.sh"),
    include_str!("../host/wrapper/jobs.sh"),
    include_str!("../host/wrapper/observe.sh"),
    include_str!("../host/wrapper/haproxy.sh"),
    include_str!("../host/wrapper/packages.sh"),
    include_str!("../host/wrapper/patches.sh"),
    include_str!("../host/wrapper/serve.sh"),
);

/// Its SHA-256, by which it is named on hosts.
static WRAPPER_DIGEST: LazyLock<String> = LazyLock::new(|| {
    let digest = ring::digest::digest(&ring::digest::SHA256, WRAPPER.as_bytes());
    let halves = digest.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    halves.filter_map(|half| char::from_digit(u32::from(half), 16)).collect()
});

/// The one text that a login shell reads: fixed but for the digest, and plain enough for any shell.
pub(super) fn remote_command(config: &SshConfig) -> String {
    let digest = WRAPPER_DIGEST.as_str();
    let path = wrapper_path();
    let size = WRAPPER.len();
    let become_root = if config.sudo { "sudo -n " } else { "" };
    format!(
        "exec env LC_ALL=C {become_root}sh -c '\
         s() {{ printf \"\\nSERIN-1 %s\\n\" \"$*\"; }}; \
         w={path}; d=${{w%/*}}; h={digest}; umask 022; \
         [ \"$(id -u)\" = 0 ] || {{ s not-root; exit 1; }}; \
         c() {{ r=$(sha256sum \"$1\" 2>/dev/null); [ \"${{r%% *}}\" = $h ]; }}; \
         c $w || {{ mkdir -p $d && t=$(mktemp $d/.new.XXXXXX) && s want && head -c {size} >\"$t\" && c \"$t\" \
         && chmod 755 \"$t\" && sync \"$t\" && mv \"$t\" $w && sync $d; }} || {{ rm -f \"$t\"; \
         s cannot install $w; exit 1; }}; \
         exec $w serve'"
    )
}

/// Returns where this wrapper is installed on hosts.
pub fn wrapper_path() -> String {
    let digest = WRAPPER_DIGEST.as_str();
    format!("/usr/local/lib/serin/wrapper-{}", digest.get(..16).unwrap_or(digest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    use std::time::Duration;

    #[test]
    fn the_remote_command_is_one_quoted_line_for_any_login_shell() {
        let text = remote_command(&SshConfig {
            config: None,
            max_connecting: 1,
            connect_timeout: Duration::from_secs(1),
            sudo: true,
        });
        assert!(text.starts_with("exec env LC_ALL=C sudo -n sh -c '"));
        assert_eq!(text.matches('\'').count(), 2);
        assert!(!text.contains(['\n', '!']), "{text}");
    }

    #[test]
    fn the_wrapper_is_good_shell() {
        assert!(accepts("dash", &["-n"]).expect("dash is a part of Debian"));
        // Not every machine has it.
        assert!(accepts("shellcheck", &["-s", "dash", "-"]).unwrap_or(true));
    }

    fn accepts(program: &str, arguments: &[&str]) -> Option<bool> {
        let mut child = Command::new(program).args(arguments).stdin(Stdio::piped()).spawn().ok()?;
        child.stdin.take().unwrap().write_all(WRAPPER.as_bytes()).unwrap();
        Some(child.wait().unwrap().success())
    }
}
