//! Where later words may be sent: only to the platform that asked. A request names its own address, and a forged one
//! would have us call any machine that this one reaches.

/// An address that may be used, and is kept out of everything that is printed: whoever has it may speak in the channel.
#[derive(Clone, PartialEq, Eq)]
pub struct Target(String);

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Target(…)")
    }
}

/// Where Slack takes later words.
pub const SLACK: &str = "https://hooks.slack.com/";

impl Target {
    /// Takes an address that begins with a base, which ends in a slash: so the host is the base's.
    pub fn under(base: &str, url: &str) -> Option<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.~/=".contains(c);
        let rest = url.strip_prefix(base).filter(|_| base.ends_with('/'))?;
        let parts =
            |mut parts: std::str::Split<'_, char>| parts.all(|part| part != ".." && part != ".");
        let fits = rest.chars().all(plain) && parts(rest.split('/')) && url.len() <= 1000;
        fits.then(|| Self(url.to_owned()))
    }

    /// Returns the address.
    pub fn url(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_platform_itself_is_answered() {
        assert!(Target::under(SLACK, "https://hooks.slack.com/commands/T1/2/aB3").is_some());
        for url in [
            "http://hooks.slack.com/commands/T1",
            "https://hooks.slack.com.evil.example/x",
            "https://hooks.slack.com@evil.example/x",
            "https://hooks.slack.com:8443/x",
            "https://hooks.slack.com",
            "https://HOOKS.slack.com/x",
            "https://hooks.slack.com/../x",
            "https://hooks.slack.com/x?y=http://169.254.169.254",
            "https://hooks.slack.com/x#@evil",
            "https://hooks.slack.com/\\evil.example",
            "https://hooks.slack.com/x\r\nHost: evil",
            "https://169.254.169.254/latest",
            "file:///etc/passwd",
            "",
        ] {
            assert_eq!(Target::under(SLACK, url), None, "{url}");
        }
        let site = "https://chat.example.com/hooks/commands/";
        assert!(Target::under(site, "https://chat.example.com/hooks/commands/abc").is_some());
        assert_eq!(Target::under(site, "https://chat.example.com/api/v4/users"), None);
        assert_eq!(Target::under("https://x", "https://x.evil/"), None);
        assert_eq!(
            format!("{:?}", Target::under("https://x/", "https://x/y").unwrap()),
            "Target(…)"
        );
    }
}
