//! What may stand in a place of a command: shapes, and values of the model that fit them.

use crate::refusal::{Refusal, Shown};
use serin_model::{DebVersion, EnvironmentName, FleetName, HoldName, Pace, PipelineName, RunId};
use std::fmt;
use std::time::Duration;

/// More builds would not fit into a reply.
const MOST_BUILDS: u8 = 50;
/// A hold of a month is an agreement, not a command.
const LONGEST: Duration = Duration::from_hours(24 * 31);
/// A longer reason is a report: it belongs elsewhere.
const MOST_TEXT: usize = 500;
/// Signs that a text may hold beside letters, digits and spaces. What shells, Markdown or chats take for more is left out.
const SIGNS: &str = ".,:!?'\"()-_/+#%@=–—…‘’“”";

/// What belongs in a place of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Nothing: the flag itself says it.
    Nothing,
    /// A run: `r-7`.
    Run,
    /// A pipeline: `to-canary`.
    Pipeline,
    /// The complete version of a build.
    Version,
    /// Two of them: `OLD..NEW`.
    Versions,
    /// An environment or one fleet of it: `production/canary`.
    Place,
    /// A run or a place.
    Undone,
    /// `5%`.
    Percent,
    /// `10m`, `1h30m`.
    Length,
    /// A number of builds.
    Count,
    /// A hold: `production/h-3`.
    Hold,
    /// `careful` or `expedited`.
    Pace,
    /// Words of a person.
    Text,
}

/// A value that fits a shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Nothing,
    /// A run.
    Run(RunId),
    /// A pipeline.
    Pipeline(PipelineName),
    /// A version.
    Version(DebVersion),
    /// Two versions.
    Versions(DebVersion, DebVersion),
    /// A place.
    Place(EnvironmentName, Option<FleetName>),
    /// A percentage, 0 to 100.
    Percent(u8),
    /// A time.
    Length(Duration),
    /// A number.
    Count(u8),
    /// A hold.
    Hold(HoldName),
    /// How hosts are treated.
    Pace(Pace),
    /// A text: letters, digits, spaces and a few signs.
    Text(String),
}

impl Shape {
    /// Reads a word as a value.
    pub(crate) fn read(self, word: &str) -> Result<Value, Refusal> {
        let refused = |why| Refusal::Value { word: Shown::new(word), what: self.noun(), why };
        self.value(word).ok_or_else(|| refused(self.how()))
    }

    fn value(self, word: &str) -> Option<Value> {
        match self {
            Self::Nothing => None,
            Self::Run => run(word).map(Value::Run),
            Self::Pipeline => word.parse().ok().map(Value::Pipeline),
            Self::Version => word.parse().ok().map(Value::Version),
            Self::Versions => {
                let (from, to) = word.split_once("..")?;
                Some(Value::Versions(from.parse().ok()?, to.parse().ok()?))
            }
            Self::Place => place(word),
            Self::Undone => run(word).map(Value::Run).or_else(|| place(word)),
            Self::Percent => {
                let number = word.strip_suffix('%')?;
                digits(number).filter(|percent| *percent <= 100).map(Value::Percent)
            }
            Self::Length => length(word).map(Value::Length),
            Self::Count => {
                digits(word).filter(|count| (1..=MOST_BUILDS).contains(count)).map(Value::Count)
            }
            Self::Hold => {
                // The name of the environment is checked with the rest.
                word.parse().ok().map(Value::Hold)
            }
            Self::Pace => match word {
                "careful" => Some(Value::Pace(Pace::Careful)),
                "expedited" => Some(Value::Pace(Pace::Expedited)),
                _ => None,
            },
            Self::Text => text(word).map(Value::Text),
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Nothing => "flag with a value",
            Self::Run => "run",
            Self::Pipeline => "pipeline",
            Self::Version => "version",
            Self::Versions => "pair of versions",
            Self::Place => "place",
            Self::Undone => "run or place",
            Self::Percent => "share",
            Self::Length => "time",
            Self::Count => "number",
            Self::Hold => "hold",
            Self::Pace => "pace",
            Self::Text => "text that is kept",
        }
    }

    fn how(self) -> &'static str {
        match self {
            Self::Nothing => "nothing follows it",
            Self::Run => "write it as `r-7`",
            Self::Pipeline => "write its name, such as `to-canary`",
            Self::Version => "write the complete version, as `builds` shows it",
            Self::Versions => "write two complete versions with `..` between them",
            Self::Place => "write an environment or a fleet of it, such as `production/canary`",
            Self::Undone => "write `r-7`, `production` or `production/canary`",
            Self::Percent => "write `0%` to `100%`",
            Self::Length => "write `30s`, `10m` or `1h30m`, a month at most",
            Self::Count => "write 1 to 50",
            Self::Hold => "write it as `hold list` shows it, such as `production/h-3`",
            Self::Pace => "write `careful` or `expedited`",
            Self::Text => {
                "write up to 500 characters that begin with a letter or digit: words, numbers and .,:!?'\"()-_/+#%@="
            }
        }
    }

    /// How the place is shown where a command is explained.
    pub fn placeholder(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Run => "RUN",
            Self::Pipeline => "PIPELINE",
            Self::Version => "BUILD",
            Self::Versions => "OLD..NEW",
            Self::Place => "PLACE",
            Self::Undone => "RUN|PLACE",
            Self::Percent => "PERCENT",
            Self::Length => "TIME",
            Self::Count => "COUNT",
            Self::Hold => "HOLD",
            Self::Pace => "PACE",
            Self::Text => "TEXT",
        }
    }
}

/// As `serin` is given it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => Ok(()),
            Self::Run(run) => write!(f, "{run}"),
            Self::Pipeline(name) => write!(f, "{name}"),
            Self::Version(version) => write!(f, "{version}"),
            Self::Versions(from, to) => write!(f, "{from}..{to}"),
            Self::Place(environment, None) => write!(f, "{environment}"),
            Self::Place(environment, Some(fleet)) => write!(f, "{environment}/{fleet}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Length(length) => write!(f, "{}s", length.as_secs()),
            Self::Count(count) => write!(f, "{count}"),
            Self::Hold(hold) => write!(f, "{}/{}", hold.environment, hold.id),
            Self::Pace(Pace::Careful) => f.write_str("careful"),
            Self::Pace(Pace::Expedited) => f.write_str("expedited"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// A run's id is `r-` and a number: `serin` takes any other name for something else.
fn run(word: &str) -> Option<RunId> {
    let number = word.strip_prefix("r-")?;
    (number.bytes().all(|b| b.is_ascii_digit()) && number.parse::<u64>().is_ok())
        .then(|| word.parse().ok())
        .flatten()
}

fn place(word: &str) -> Option<Value> {
    let (environment, fleet) = match word.split_once('/') {
        Some((environment, fleet)) => (environment, Some(fleet.parse().ok()?)),
        None => (word, None),
    };
    Some(Value::Place(environment.parse().ok()?, fleet))
}

fn digits(word: &str) -> Option<u8> {
    word.bytes().all(|b| b.is_ascii_digit()).then(|| word.parse().ok()).flatten()
}

/// Reads numbers with units, the larger unit first or not: `1h30m`.
fn length(word: &str) -> Option<Duration> {
    let mut rest = word;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at_checked(end)?;
        let mut units = after.chars();
        let seconds = match units.next()? {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return None,
        };
        let number: u64 = number.parse().ok()?;
        total = total.checked_add(number.checked_mul(seconds)?)?;
        rest = units.as_str();
    }
    let length = Duration::from_secs(total);
    (!length.is_zero() && length <= LONGEST).then_some(length)
}

fn text(word: &str) -> Option<String> {
    let word = word.trim();
    let plain = |c: char| c.is_alphanumeric() || c == ' ' || SIGNS.contains(c);
    let fits = word.starts_with(char::is_alphanumeric)
        && word.chars().all(plain)
        && word.chars().count() <= MOST_TEXT;
    fits.then(|| word.to_owned())
}
