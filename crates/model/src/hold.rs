//! Holds and freeze windows: an environment's standing refusal to start work, with reason, owner and end.
//!
//! A hold is placed by a person and lives in the environment's stream; a freeze window is written in the configuration
//! and comes again. Both end up as [`Held`], which is all that a run, a guard or a person has to know of them. Which
//! window is on at a moment needs time zones, and is not told here.

use crate::{EnvironmentName, FleetName, PatchId, Timestamp};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A hold's number in its environment, written `h-3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HoldId(pub u32);

/// Says that a text is not the id of a hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a hold: write it as `serin hold list` shows it, for example production/h-3")]
pub struct InvalidHold(pub String);

/// A hold as people name it: with its environment, `production/h-3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldName {
    /// The environment.
    pub environment: EnvironmentName,
    /// Its number there.
    pub id: HoldId,
}

/// What a hold or window does to a run that is already on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MidRun {
    /// The run halts at once.
    Halt,
    /// The stage that is at work is finished; the guard of the next one fails.
    NextStage,
}

/// Something that holds an environment now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The environment.
    pub environment: EnvironmentName,
    /// The fleet; `None`: the whole environment.
    pub fleet: Option<FleetName>,
    /// What holds it.
    pub by: HeldBy,
    /// Who is answerable.
    pub owner: String,
    /// Why, in their words.
    pub reason: String,
    /// When it ends by itself; `None`: when somebody lifts it.
    pub until: Option<Timestamp>,
    /// What it does to a run on its way.
    pub mid_run: MidRun,
}

/// What holds an environment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldBy {
    /// A hold.
    Hold(HoldId),
    /// A patch that the plan would drop.
    Patch(PatchId),
    /// One occurrence of a freeze window, by when it began; of two that begin together, both.
    Window {
        /// When it began.
        from: Timestamp,
    },
}

/// A freeze window of an environment, as the configuration has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreezeWindow {
    /// Why nothing is to be started.
    pub reason: String,
    /// When.
    pub when: WindowTime,
    /// What it does to a run on its way.
    pub mid_run: MidRun,
}

/// When a freeze window is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowTime {
    /// Once.
    Once {
        /// The first moment.
        from: Timestamp,
        /// The first moment after it.
        to: Timestamp,
    },
    /// Every week, by the clocks of a time zone.
    Weekly {
        /// The days on which it begins.
        days: Vec<Weekday>,
        /// When it begins, in minutes after midnight.
        from: u16,
        /// When it ends, in minutes after midnight; not later than `from`: on the day after. 1440 is the day's end.
        to: u16,
        /// The zone, as the time zone database names it.
        zone: String,
    },
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "their names say it")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "h-{}", self.0)
    }
}

impl FromStr for HoldId {
    type Err = InvalidHold;
    fn from_str(text: &str) -> Result<Self, InvalidHold> {
        let number = text.strip_prefix("h-").and_then(|number| number.parse().ok());
        // `h-03` would be another hold's name.
        let number = number.filter(|number: &u32| format!("h-{number}") == text);
        number.map(Self).ok_or_else(|| InvalidHold(text.to_owned()))
    }
}

impl TryFrom<String> for HoldId {
    type Error = InvalidHold;
    fn try_from(text: String) -> Result<Self, InvalidHold> {
        text.parse()
    }
}

impl From<HoldId> for String {
    fn from(id: HoldId) -> String {
        id.to_string()
    }
}

impl FromStr for HoldName {
    type Err = InvalidHold;
    fn from_str(text: &str) -> Result<Self, InvalidHold> {
        let invalid = || InvalidHold(text.to_owned());
        let (environment, id) = text.split_once('/').ok_or_else(invalid)?;
        match (environment.parse(), id.parse()) {
            (Ok(environment), Ok(id)) => Ok(Self { environment, id }),
            (Err(_), _) | (_, Err(_)) => Err(invalid()),
        }
    }
}

impl fmt::Display for MidRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Halt => "halt",
            Self::NextStage => "next-stage",
        })
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (environment, owner) = (&self.environment, &self.owner);
        match &self.by {
            HeldBy::Hold(id) => write!(f, "{environment}/{id}: {owner} holds ")?,
            HeldBy::Patch(id) => write!(f, "patch {} ({owner}) holds ", id.short())?,
            HeldBy::Window { .. } => write!(f, "a freeze window ({owner}) holds ")?,
        }
        match &self.fleet {
            Some(fleet) => write!(f, "{environment}/{fleet}")?,
            None => write!(f, "{environment}")?,
        }
        match self.until {
            Some(until) => write!(f, " until {}", until.utc())?,
            None => f.write_str(" until it is lifted")?,
        }
        write!(f, ": {}", self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_is_named_in_one_way() {
        let good: HoldName = "production/h-3".parse().unwrap();
        assert_eq!((good.environment.as_str(), good.id), ("production", HoldId(3)));
        for bad in ["h-3", "production/3", "production/h-03", "production/h-", "/h-1", "a/b/h-1"] {
            assert!(bad.parse::<HoldName>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn what_holds_says_owner_end_and_reason() {
        let held = |by, fleet: Option<&str>, until| Held {
            environment: "production".parse().unwrap(),
            fleet: fleet.map(|fleet| fleet.parse().unwrap()),
            by,
            owner: "mira".to_owned(),
            reason: "patching".to_owned(),
            until,
            mid_run: MidRun::Halt,
        };
        let by = HeldBy::Hold(HoldId(2));
        assert_eq!(
            held(by.clone(), Some("canary"), None).to_string(),
            "production/h-2: mira holds production/canary until it is lifted: patching"
        );
        let until = Some(Timestamp::from_millis(1_796_112_000_000));
        assert_eq!(
            held(by, None, until).to_string(),
            "production/h-2: mira holds production until 2026-12-01 08:00 UTC: patching"
        );
    }
}
