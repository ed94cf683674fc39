//! Names, each a type of its own, validated once at the edge and trusted from there on.
//!
//! Names reach command lines, file paths and HAProxy's socket. Their grammar leaves out everything that any of those
//! could take for something else: no spaces, no slashes, no quotes, never a leading `-` or `.`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The longest name that is accepted, in bytes: what a DNS name may have.
const MAX_LENGTH: usize = 253;

/// Says which text is not a name, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {kind}: {why}")]
pub struct InvalidName {
    /// The kind of name that was wanted, in words.
    pub kind: &'static str,
    /// The text that was given.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

fn check(kind: &'static str, text: &str, extra: &str) -> Result<(), InvalidName> {
    let why = if text.is_empty() {
        "it is empty"
    } else if text.len() > MAX_LENGTH {
        "it is longer than 253 bytes"
    } else if !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        "it must start with a letter or a digit"
    } else if !text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c)) {
        "it has a character other than letters, digits and a few signs"
    } else {
        return Ok(());
    };
    Err(InvalidName { kind, text: text.to_owned(), why })
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $extra:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                check($kind, text, $extra)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                check($kind, &text, $extra)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A complete installation, for example `staging`.
    EnvironmentName, "environment name", "-_"
);
name!(
    /// Hosts of one environment that share a slice of traffic, for example `canary`.
    FleetName, "fleet name", "-_"
);
name!(
    /// What a host does, for example `web`.
    RoleName, "role name", "-_"
);
name!(
    /// A host as `ssh` knows it, for example `web-01.gprd`.
    HostName, "host name", "-_."
);
name!(
    /// A load balancer of an environment, for example `lb-01`.
    LbName, "load balancer name", "-_."
);
name!(
    /// A backend of HAProxy.
    BackendName, "backend name", "-_.:"
);
name!(
    /// A server of a backend of HAProxy.
    ServerName, "server name", "-_.:"
);
name!(
    /// A service of a host, for example `puma`.
    ServiceName, "service name", "-_.@"
);
name!(
    /// A Debian package.
    PackageName, "package name", "-+."
);
name!(
    /// A recipe of stages, for example `to-canary`.
    PipelineName, "pipeline name", "-_"
);
name!(
    /// A QA suite, for example `smoke`.
    QaName, "QA suite name", "-_"
);
name!(
    /// A person, as the configuration names them.
    PersonName, "person's name", "-_."
);
name!(
    /// One execution of a plan, for example `r-7`.
    RunId, "run id", "-"
);

impl HostName {
    /// Returns the first label, by which HAProxy's servers are named: `web-01` of `web-01.gprd`.
    pub fn first_label(&self) -> &str {
        self.0.split('.').next().unwrap_or(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_refuse_what_a_shell_or_a_path_could_misread() {
        for bad in ["", "-rf", ".hidden", "a b", "a/b", "a;b", "a$b", "a\nb", "ä"] {
            assert!(bad.parse::<HostName>().is_err(), "{bad:?} was accepted");
        }
        assert!("x".repeat(254).parse::<HostName>().is_err());
        for good in ["web-01.gprd", "lb_1", "10.0.0.1"] {
            assert_eq!(good.parse::<HostName>().unwrap().as_str(), good);
        }
    }

    #[test]
    fn a_name_read_back_from_json_is_checked_again() {
        assert!(serde_json::from_str::<RunId>("\"r-7\"").is_ok());
        assert!(serde_json::from_str::<RunId>("\"../r-7\"").is_err());
    }
}
