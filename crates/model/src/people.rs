//! People, the doors through which their commands come, and what they may do.
//!
//! Who may do what is decided here and nowhere else: [`People::judge`]. An identity that nobody is mapped to may do
//! nothing, and one that is not proven no more than look, unless the configuration trusts it.

use crate::{EnvironmentName, names::PersonName};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// Where a command came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Door {
    /// Somebody typed it, or a program of theirs did.
    Terminal,
    /// A job of GitLab CI.
    Ci,
    /// A job that was asked for in a chat, by GitLab's own bridge.
    GitlabChat,
    /// Slack.
    Slack,
    /// Mattermost.
    Mattermost,
}

/// The kinds of accounts that people have. Two doors may know them by the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccountKind {
    /// An account of the machine.
    Unix,
    /// A user of GitLab.
    Gitlab,
    /// A member of Slack, by id.
    Slack,
    /// A user of Mattermost, by id.
    Mattermost,
}

/// How it is known who somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// The kernel, GitLab or a signed request says so.
    Verified,
    /// They say so, in variables that whoever starts a job can set.
    Unverified,
    /// They say so, and the configuration believes it (`trust_variables`).
    Trusted,
}

/// Who asks, as the door knows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The door.
    pub door: Door,
    /// The account or id there.
    pub subject: String,
    /// How that is known.
    pub proof: Proof,
}

/// What a person may do. Each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PersonRole {
    /// Look.
    Viewer,
    /// Stop things, and let them go on.
    Operator,
    /// Bring builds and patches to hosts, and take them back.
    ReleaseManager,
    /// Move the journal.
    Admin,
}

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Their name, as Serin shows it.
    pub name: PersonName,
    /// Their accounts.
    pub accounts: BTreeMap<AccountKind, BTreeSet<String>>,
    /// What they may do where nothing else is said.
    pub everywhere: Option<PersonRole>,
    /// What they may do in some environments.
    pub roles: BTreeMap<EnvironmentName, PersonRole>,
}

/// Everybody; nobody is listed where whoever reaches the journal may do everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct People(pub BTreeMap<PersonName, Person>);

/// What a command needs of who asks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// At least this role.
    pub role: PersonRole,
    /// Where.
    pub scope: NeedScope,
}

/// Where a role is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NeedScope {
    /// Anywhere: the command concerns no environment in particular.
    Anywhere,
    /// In one of these at least.
    OneOf(BTreeSet<EnvironmentName>),
    /// In each of these.
    EachOf(BTreeSet<EnvironmentName>),
    /// In what is said for everywhere (`"*"`): the command concerns the whole installation.
    Installation,
}

/// Why somebody may not do what they ask.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Nobody is known by that account.
    #[error("{0} is nobody whom serin.toml lists under [people]")]
    Unknown(Identity),
    /// Nothing proves who asks.
    #[error("this needs the role {role}, and nothing proves that {identity} asks")]
    Unproven {
        /// Who they say they are.
        identity: Identity,
        /// What is needed.
        role: PersonRole,
    },
    /// The person may not.
    #[error("{person} may not: this needs the role {role}{place}{who}")]
    TooLittle {
        /// The person.
        person: PersonName,
        /// What is needed.
        role: PersonRole,
        /// Where, in words.
        place: String,
        /// Who has it, in words.
        who: String,
    },
}

impl Door {
    /// Returns the kind of accounts by which it knows people.
    pub fn account(self) -> AccountKind {
        match self {
            Self::Terminal => AccountKind::Unix,
            Self::Ci | Self::GitlabChat => AccountKind::Gitlab,
            Self::Slack => AccountKind::Slack,
            Self::Mattermost => AccountKind::Mattermost,
        }
    }
}

impl Person {
    /// Returns what they may do in an environment.
    pub fn role_in(&self, environment: &EnvironmentName) -> Option<PersonRole> {
        self.roles.get(environment).copied().or(self.everywhere)
    }

    /// Tells whether they have what is needed.
    pub fn has(&self, need: &Need) -> bool {
        let enough = |role: Option<PersonRole>| role.is_some_and(|role| role >= need.role);
        let here = |environment: &EnvironmentName| enough(self.role_in(environment));
        let anywhere =
            || enough(self.everywhere) || self.roles.values().any(|role| enough(Some(*role)));
        match &need.scope {
            NeedScope::Anywhere => anywhere(),
            // What concerns no environment would be everybody's.
            NeedScope::EachOf(environments) if environments.is_empty() => anywhere(),
            NeedScope::OneOf(environments) => environments.iter().any(here),
            NeedScope::EachOf(environments) => environments.iter().all(here),
            NeedScope::Installation => enough(self.everywhere),
        }
    }
}

impl People {
    /// Returns who is known by an identity.
    pub fn behind(&self, identity: &Identity) -> Option<&Person> {
        let kind = identity.door.account();
        let has = |person: &&Person| {
            person.accounts.get(&kind).is_some_and(|names| names.contains(&identity.subject))
        };
        self.0.values().find(has)
    }

    /// Decides whether somebody may do what a command needs, and returns who it is; nobody, where nobody is listed.
    ///
    /// # Errors
    /// With why not, and who may.
    pub fn judge(&self, identity: &Identity, need: &Need) -> Result<Option<&Person>, Denied> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let person = self.behind(identity);
        let person = person.ok_or_else(|| Denied::Unknown(identity.clone()))?;
        if !person.has(need) {
            let (person, role) = (person.name.clone(), need.role);
            let (place, who) = (need.scope.to_string(), self.who_has(need));
            return Err(Denied::TooLittle { person, role, place, who });
        }
        match identity.proof {
            Proof::Verified | Proof::Trusted => Ok(Some(person)),
            Proof::Unverified if need.role == PersonRole::Viewer => Ok(Some(person)),
            Proof::Unverified => {
                Err(Denied::Unproven { identity: identity.clone(), role: need.role })
            }
        }
    }

    /// Says who has what is needed.
    fn who_has(&self, need: &Need) -> String {
        let who: Vec<&str> = self
            .0
            .values()
            .filter(|person| person.has(need))
            .map(|person| person.name.as_str())
            .collect();
        match who.as_slice() {
            [] => ", which nobody has".to_owned(),
            [only] => format!(", which {only} has"),
            [several @ .., last] => format!(", which {} and {last} have", several.join(", ")),
        }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Terminal => "terminal",
            Self::Ci => "ci",
            Self::GitlabChat => "gitlab-chat",
            Self::Slack => "slack",
            Self::Mattermost => "mattermost",
        })
    }
}

impl FromStr for Door {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Terminal, Self::Ci, Self::GitlabChat, Self::Slack, Self::Mattermost];
        all.into_iter().find(|door| door.to_string() == text).ok_or_else(|| {
            format!("{text:?} is no door: write {}", all.map(|door| door.to_string()).join(", "))
        })
    }
}

impl fmt::Display for PersonRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::ReleaseManager => "release-manager",
            Self::Admin => "admin",
        })
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Verified => "verified",
            Self::Unverified => "unverified",
            Self::Trusted => "trusted",
        })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.door, self.subject)
    }
}

impl fmt::Display for NeedScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |environments: &BTreeSet<EnvironmentName>, word: &str| {
            let names: Vec<&str> = environments.iter().map(EnvironmentName::as_str).collect();
            names.join(word)
        };
        match self {
            Self::Anywhere => Ok(()),
            Self::OneOf(environments) => write!(f, " in {}", join(environments, " or ")),
            Self::EachOf(environments) if environments.is_empty() => Ok(()),
            Self::EachOf(environments) => write!(f, " in {}", join(environments, " and ")),
            Self::Installation => f.write_str(" everywhere (\"*\")"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(name: &str, account: (AccountKind, &str), roles: &[(&str, PersonRole)]) -> Person {
        let everywhere = roles.iter().find(|(place, _)| *place == "*").map(|(_, role)| *role);
        let roles = roles.iter().filter(|(place, _)| *place != "*");
        Person {
            name: name.parse().unwrap(),
            accounts: [(account.0, [account.1.to_owned()].into())].into(),
            everywhere,
            roles: roles.map(|(place, role)| (place.parse().unwrap(), *role)).collect(),
        }
    }

    fn people() -> People {
        let unix = |name| (AccountKind::Unix, name);
        let all = [
            person("ada", unix("ada"), &[("*", PersonRole::Admin)]),
            person(
                "bob",
                (AccountKind::Gitlab, "bob"),
                &[("*", PersonRole::ReleaseManager), ("production", PersonRole::Viewer)],
            ),
            person("cy", unix("cy"), &[("staging", PersonRole::Operator)]),
        ];
        People(all.into_iter().map(|person| (person.name.clone(), person)).collect())
    }

    fn identity(door: Door, subject: &str, proof: Proof) -> Identity {
        Identity { door, subject: subject.to_owned(), proof }
    }

    fn need(role: PersonRole, scope: NeedScope) -> Need {
        Need { role, scope }
    }

    fn set(names: &[&str]) -> BTreeSet<EnvironmentName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn told(identity: &Identity, need: &Need) -> String {
        match people().judge(identity, need) {
            Ok(person) => person.unwrap().name.to_string(),
            Err(denied) => denied.to_string(),
        }
    }

    #[test]
    fn a_role_is_needed_in_each_environment_and_what_is_said_of_one_goes_before_everywhere() {
        use NeedScope::{Anywhere, EachOf, Installation, OneOf};
        use PersonRole::{Admin, Operator, ReleaseManager, Viewer};
        let (both, staging) = (set(&["staging", "production"]), set(&["staging"]));
        for (subject, need, said) in [
            ("ada", need(ReleaseManager, EachOf(both.clone())), "ada"),
            ("ada", need(Admin, Installation), "ada"),
            ("cy", need(Operator, EachOf(staging.clone())), "cy"),
            ("cy", need(Operator, OneOf(both.clone())), "cy"),
            ("cy", need(Viewer, Anywhere), "cy"),
            (
                "cy",
                need(Operator, EachOf(both)),
                "cy may not: this needs the role operator in production and staging, which ada has",
            ),
            (
                "cy",
                need(ReleaseManager, EachOf(staging)),
                "cy may not: this needs the role release-manager in staging, which ada and bob have",
            ),
            (
                "cy",
                need(Admin, Installation),
                "cy may not: this needs the role admin everywhere (\"*\"), which ada has",
            ),
            (
                "cy",
                need(ReleaseManager, EachOf(set(&[]))),
                "cy may not: this needs the role release-manager, which ada and bob have",
            ),
            (
                "eve",
                need(Viewer, Anywhere),
                "terminal:eve is nobody whom serin.toml lists under [people]",
            ),
            // An account of one kind is none of another.
            (
                "bob",
                need(Viewer, Anywhere),
                "terminal:bob is nobody whom serin.toml lists under [people]",
            ),
        ] {
            assert_eq!(told(&identity(Door::Terminal, subject, Proof::Verified), &need), said);
        }
    }

    #[test]
    fn who_is_not_proven_may_only_look() {
        let bob = |proof| identity(Door::Ci, "bob", proof);
        let act = need(PersonRole::Operator, NeedScope::EachOf(set(&["staging"])));
        let look = need(PersonRole::Viewer, NeedScope::Anywhere);
        assert_eq!(told(&bob(Proof::Unverified), &look), "bob");
        assert_eq!(
            told(&bob(Proof::Unverified), &act),
            "this needs the role operator, and nothing proves that ci:bob asks"
        );
        assert_eq!(told(&bob(Proof::Trusted), &act), "bob");
        assert_eq!(told(&bob(Proof::Verified), &act), "bob");
    }

    #[test]
    fn where_nobody_is_listed_everybody_may() {
        let need = need(PersonRole::Admin, NeedScope::Installation);
        let eve = identity(Door::Ci, "eve", Proof::Unverified);
        assert_eq!(People::default().judge(&eve, &need), Ok(None));
    }
}
