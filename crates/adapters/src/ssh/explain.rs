//! What `ssh` and `sudo` said when a connection failed, with what a person can do about it.
//!
//! It only adds words: `ssh`'s own last lines are always part of the text.

/// How many of the last lines of `ssh`'s errors are shown. The first ones may be a banner.
const LINES: usize = 3;

/// What is said, by a part of the text that tells it.
const HINTS: [(&str, &str); 14] = [
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "the host key is not the one in known_hosts: if the host was reinstalled, replace its line there; \
         if not, someone else is answering",
    ),
    (
        "Host key verification failed",
        "its host key is not in known_hosts (keys are never accepted unseen): \
         check it and add it, or use a certificate authority",
    ),
    (
        "a password is required",
        "sudo wants a password: give the login user a NOPASSWD rule, or log in as root with `sudo = false` under [ssh]",
    ),
    (
        "a terminal is required",
        "sudo wants a password: give the login user a NOPASSWD rule, or log in as root with `sudo = false` under [ssh]",
    ),
    ("is not in the sudoers file", "the login user may not use sudo: give it a NOPASSWD rule"),
    ("you must have a tty", "sudo wants a terminal: remove `requiretty` for the login user"),
    (
        "sudo: not found",
        "sudo is missing: install it, or log in as root with `sudo = false` under [ssh]",
    ),
    (
        "'sudo': No such file",
        "sudo is missing: install it, or log in as root with `sudo = false` under [ssh]",
    ),
    (
        "Permission denied (",
        "the login was refused: check user, key, agent and, for certificates, principals and validity",
    ),
    (
        "Too many authentication failures",
        "the agent offered too many keys: set IdentitiesOnly and IdentityFile",
    ),
    ("Could not resolve hostname", "the name is not known: check the inventory and ssh_config"),
    (
        "kex_exchange_identification",
        "the connection was closed before login: sshd is overloaded, or MaxStartups is too low",
    ),
    ("Connection refused", "nothing listens there: is sshd running?"),
    ("timed out", "no answer in time: is the host up, and the network?"),
];

/// Returns why a connection failed, in one line, from what `ssh` printed.
pub(super) fn explain(stderr: &str) -> String {
    let hint = HINTS.iter().find(|(part, _)| stderr.contains(part)).map(|(_, hint)| *hint);
    let lines: Vec<&str> =
        stderr.lines().map(str::trim).filter(|line| !line.is_empty() && !is_noise(line)).collect();
    let last = lines.iter().skip(lines.len().saturating_sub(LINES)).copied().collect::<Vec<_>>();
    let said = last.join(" / ");
    match hint {
        Some(hint) if said.is_empty() => hint.to_owned(),
        Some(hint) => format!("{hint} (ssh said: {said})"),
        None if said.is_empty() => "the connection ended without a word".to_owned(),
        None => format!("ssh said: {said}"),
    }
}

/// Tells whether nothing ran on the host, and trying again soon may help: sshd drops connections at random before any
/// login when many come at once.
pub(super) fn was_throttled(stderr: &str) -> bool {
    stderr.contains("kex_exchange_identification")
}

fn is_noise(line: &str) -> bool {
    line.starts_with("@@@") || line.starts_with("Warning: Permanently added")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_to_do_and_keeps_what_ssh_said() {
        let said = explain("Welcome to web-01\n\nsudo: a password is required\n");
        assert!(said.starts_with("sudo wants a password"), "{said}");
        assert!(said.ends_with("(ssh said: Welcome to web-01 / sudo: a password is required)"));
        assert_eq!(explain(" \n"), "the connection ended without a word");
        assert_eq!(explain("a\nb\nc\nd\n"), "ssh said: b / c / d");
    }
}
