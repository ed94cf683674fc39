//! What `ssh` and `sudo` said when a connection failed, with what a person can do about it.
//!
//! It only adds words: `ssh`'s own last lines are always part of the text.

/// How many of the last lines of `ssh`'s errors are shown. The first ones may be a banner.
const LINES: usize = 3;

/// What is said, by a part of the text that tells it.
const HINTS: [(&str, &str); 15] = [
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
    ("a password is required", SUDO_PASSWORD),
    ("a terminal is required", SUDO_PASSWORD),
    ("is not in the sudoers file", "the login user may not use sudo: give it a NOPASSWD rule"),
    ("you must have a tty", "sudo wants a terminal: remove `requiretty` for the login user"),
    ("sudo: not found", SUDO_MISSING),
    ("'sudo': No such file", SUDO_MISSING),
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
        "stdio forwarding failed",
        "the jump host cannot reach it: is the host up, and may the jump host forward?",
    ),
    ("Connection refused", "nothing listens there: is sshd running?"),
    ("timed out", "no answer in time: is the host up, and the network?"),
    // The last one: behind a jump host, every other failure ends in these words as well.
    (
        THROTTLED,
        "sshd closed the connection before the login: it is overloaded, or MaxStartups is too low",
    ),
];

const SUDO_PASSWORD: &str = "sudo wants a password: give the login user a NOPASSWD rule, \
                             or log in as root with `sudo = false` under [ssh]";

const SUDO_MISSING: &str =
    "sudo is missing: install it, or log in as root with `sudo = false` under [ssh]";

/// What `ssh` says when the other side closed the connection instead of saying which version of SSH it speaks.
const THROTTLED: &str = "kex_exchange_identification";

/// Returns why a connection failed, in one line, from what `ssh` printed.
pub(super) fn explain(stderr: &str) -> String {
    let hint = cause(stderr).map(|(_, hint)| hint);
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
    cause(stderr).is_some_and(|(part, _)| part == THROTTLED)
}

fn cause(stderr: &str) -> Option<(&'static str, &'static str)> {
    HINTS.iter().find(|(part, _)| stderr.contains(part)).copied()
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

    #[test]
    fn only_a_connection_closed_before_the_login_counts_as_throttled() {
        let closed = "kex_exchange_identification: Connection closed by remote host\n\
                      Connection closed by UNKNOWN port 65535\n";
        assert!(was_throttled(closed));
        let reset = "kex_exchange_identification: read: Connection reset by peer\n";
        assert!(was_throttled(&format!("{reset}{closed}")), "by the jump host");
        for other in [
            "ssh: connect to host bastion port 22: Connection refused\n",
            "Host key verification failed.\n",
            "me@bastion: Permission denied (publickey).\n",
            "channel 0: open failed: connect failed: Connection refused\nstdio forwarding failed\n",
        ] {
            assert!(!was_throttled(&format!("{other}{closed}")), "{other}");
        }
    }
}
