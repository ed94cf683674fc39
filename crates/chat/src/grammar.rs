//! The grammar: a table of commands, and how a text is read by it.
//!
//! The table is all there is: what is not in it cannot be said in a chat. Documentation and tests are made of the same
//! table. Read [`RULES`], then [`parse`].

mod table;

pub use table::RULES;

use crate::refusal::{Refusal, Shown};
use crate::value::{Shape, Value};
use crate::words::{self, Dialect, Word};
use serin_model::nearest;

/// Flags of `serin` that get past what somebody else decided, or reach files of the machine: a chat has none of them.
const NOT_FROM_HERE: &[&str] =
    &["override", "second", "yes", "config", "root", "asked", "json", "verbose", "pipeline"];

/// A command.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// The words by which it begins, in a chat and for `serin`.
    pub words: &'static [&'static str],
    /// What follows, in this order; what may be left out comes last.
    pub slots: &'static [Slot],
    /// What may follow anywhere, by name.
    pub flags: &'static [Flag],
    /// When it ends.
    pub ends: Ends,
    /// What is asked for once more before it is done; `None`: nothing.
    pub confirm: Option<&'static str>,
    /// What it is for.
    pub about: &'static str,
}

/// A place in a command.
#[derive(Debug, PartialEq, Eq)]
pub struct Slot {
    /// What belongs there.
    pub shape: Shape,
    /// Whether it must be there.
    pub wanted: Wanted,
}

/// A flag of a command.
#[derive(Debug, PartialEq, Eq)]
pub struct Flag {
    /// Its name, without dashes.
    pub name: &'static str,
    /// What its value is.
    pub shape: Shape,
    /// Whether it must be there.
    pub wanted: Wanted,
}

/// Whether something must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// It must.
    Always,
    /// It may be left out.
    Maybe,
}

/// When a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// It looks, and changes nothing.
    Look,
    /// It changes something, within a minute.
    Act,
    /// It acts for a run until that ends: hours, perhaps.
    Run,
}

/// What was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Somebody wants to know what can be said; about one command, if it is named.
    Help(Option<String>),
    /// Somebody confirms what they asked before.
    Confirm(String),
    /// A command.
    Asked(Asked),
}

/// A command that somebody asked for. Only [`parse`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    rule: &'static Rule,
    slots: Vec<Value>,
    flags: Vec<(&'static str, Value)>,
}

impl Rule {
    /// Returns its words.
    pub fn name(&self) -> String {
        self.words.join(" ")
    }

    /// Shows how it is written.
    pub fn usage(&self) -> String {
        let wanted = |word: String, wanted| match wanted {
            Wanted::Always => word,
            Wanted::Maybe => format!("[{word}]"),
        };
        let slots = self.slots.iter();
        let slots = slots.map(|slot| wanted(slot.shape.placeholder().to_owned(), slot.wanted));
        let flags = self.flags.iter().map(|flag| {
            let word = format!("--{} {}", flag.name, flag.shape.placeholder());
            wanted(word.trim_end().to_owned(), flag.wanted)
        });
        [self.name()].into_iter().chain(slots).chain(flags).collect::<Vec<_>>().join(" ")
    }

    fn written(&self) -> String {
        format!("write `{}`", self.usage())
    }
}

impl Asked {
    /// Returns the command's row of the table.
    pub fn rule(&self) -> &'static Rule {
        self.rule
    }

    /// Returns the arguments for `serin`: known words, checked values, and texts only after `--reason=` and `--note=`.
    pub fn argv(&self) -> Vec<String> {
        let words = self.rule.words.iter().map(|word| (*word).to_owned());
        let slots = self.slots.iter().map(ToString::to_string);
        let flags = self.flags.iter().map(|(name, value)| {
            let value = value.to_string();
            if value.is_empty() { format!("--{name}") } else { format!("--{name}={value}") }
        });
        words.chain(slots).chain(flags).collect()
    }

    /// Shows the command as it would be typed again.
    pub fn text(&self) -> String {
        let slots = self.slots.iter().map(ToString::to_string);
        let flags = self.flags.iter().map(|(name, value)| {
            if let Value::Text(words) = value {
                // A text holds no double quote when it was typed in double quotes; in single ones it may.
                return format!("--{name} \"{}\"", words.replace('"', "'"));
            }
            format!("--{name} {value}").trim_end().to_owned()
        });
        [self.rule.name()].into_iter().chain(slots).chain(flags).collect::<Vec<_>>().join(" ")
    }

    /// Returns the value of a slot or flag of a shape, if it was given.
    pub fn value(&self, shape: Shape) -> Option<&Value> {
        let mut slots = self.rule.slots.iter().zip(&self.slots);
        slots.find(|(slot, _)| slot.shape == shape).map(|(_, value)| value)
    }

    /// Tells when it ends. What is asked without the part that changes something only looks.
    pub fn ends(&self) -> Ends {
        let looks = match self.rule.words {
            ["promote"] => self.flags.iter().any(|(name, _)| *name == "why-not"),
            ["share"] => self.value(Shape::Percent).is_none(),
            [] | [..] => false,
        };
        if looks { Ends::Look } else { self.rule.ends }
    }

    /// Returns what will happen, if it must be confirmed first.
    pub fn confirm(&self) -> Option<&'static str> {
        self.rule.confirm.filter(|_| self.ends() != Ends::Look)
    }
}

/// Reads what somebody typed after the slash command.
pub fn parse(text: &str, dialect: Dialect) -> Result<Said, Refusal> {
    let words = words::split(text, dialect)?;
    let plain = |word: Option<&Word>| match word {
        Some(Word::Plain(word)) => Some(word.clone()),
        Some(Word::Quoted(_) | Word::Flag(..)) | None => None,
    };
    let first = words.first();
    match plain(first).as_deref() {
        None if first.is_none() => return Err(Refusal::Empty),
        Some("help") => return Ok(Said::Help(about(words.get(1..).unwrap_or_default())?)),
        Some("confirm") => return confirm(words.get(1..).unwrap_or_default()),
        Some(_) | None => {}
    }
    let rule = find(&words)?;
    fill(rule, words.into_iter().skip(rule.words.len())).map(Said::Asked)
}

/// Says what can be said, or how one command is written.
pub fn help(about: Option<&str>) -> String {
    let fits = |rule: &&Rule| about.is_none_or(|word| rule.words.first() == Some(&word));
    let mut lines = Vec::new();
    for rule in RULES.iter().filter(fits) {
        lines.push(format!("{}\n    {}", rule.usage(), rule.about));
    }
    lines.push("help [COMMAND]\n    what can be said".to_owned());
    lines.join("\n")
}

fn about(words: &[Word]) -> Result<Option<String>, Refusal> {
    let Some(word) = words.first() else { return Ok(None) };
    let Word::Plain(name) = word else { return Err(unknown(word)) };
    let known = RULES.iter().any(|rule| rule.words.first() == Some(&name.as_str()));
    if known { Ok(Some(name.clone())) } else { Err(unknown(word)) }
}

fn confirm(words: &[Word]) -> Result<Said, Refusal> {
    match words {
        [Word::Plain(code)] if crate::confirm::is_code(code) => Ok(Said::Confirm(code.clone())),
        [] | [..] => Err(Refusal::Code),
    }
}

/// Finds the rule that begins as a text does.
fn find(words: &[Word]) -> Result<&'static Rule, Refusal> {
    let begins = |rule: &&Rule| {
        rule.words
            .iter()
            .enumerate()
            .all(|(at, known)| matches!(words.get(at), Some(Word::Plain(word)) if word == known))
    };
    if let Some(rule) = RULES.iter().find(begins) {
        return Ok(rule);
    }
    let Some(first) = words.first() else { return Err(Refusal::Empty) };
    let Word::Plain(name) = first else { return Err(unknown(first)) };
    let group: Vec<&Rule> =
        RULES.iter().filter(|rule| rule.words.first() == Some(&name.as_str())).collect();
    match group.first().and_then(|rule| rule.words.first()) {
        None => Err(unknown(first)),
        Some(word) => {
            let next: Vec<String> = group.iter().map(|rule| format!("`{}`", rule.name())).collect();
            Err(Refusal::Unfinished { word, next: next.join(", ") })
        }
    }
}

fn unknown(word: &Word) -> Refusal {
    let known: Vec<&str> = RULES.iter().filter_map(|rule| rule.words.first().copied()).collect();
    let near = match word {
        Word::Plain(text) => nearest(text, &known),
        Word::Quoted(_) | Word::Flag(..) => None,
    };
    Refusal::Unknown { word: word.shown(), near }
}

/// Puts words into the places of a command.
fn fill(rule: &'static Rule, words: impl Iterator<Item = Word>) -> Result<Asked, Refusal> {
    let mut asked = Asked { rule, slots: Vec::new(), flags: Vec::new() };
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        match word {
            Word::Plain(ref text) | Word::Quoted(ref text) => {
                let slot = rule.slots.get(asked.slots.len());
                let slot = slot.ok_or_else(|| Refusal::TooMuch {
                    word: Shown::new(text),
                    usage: rule.written(),
                })?;
                asked.slots.push(slot.shape.read(text)?);
            }
            Word::Flag(name, value) => {
                let flag = known(rule, &name)?;
                if asked.flags.iter().any(|(name, _)| *name == flag.name) {
                    return Err(Refusal::Twice(flag.name));
                }
                let value = match (flag.shape, value) {
                    (Shape::Nothing, None) => Value::Nothing,
                    // Its shape takes nothing, and says so.
                    (shape, Some(value)) => shape.read(&value)?,
                    (shape, None) => shape.read(&following(flag, rule, &mut words)?)?,
                };
                asked.flags.push((flag.name, value));
            }
        }
    }
    complete(&asked)?;
    Ok(asked)
}

fn known(rule: &'static Rule, name: &str) -> Result<&'static Flag, Refusal> {
    if let Some(flag) = rule.flags.iter().find(|flag| flag.name == name) {
        return Ok(flag);
    }
    if let Some(flag) = NOT_FROM_HERE.iter().find(|flag| **flag == name) {
        return Err(Refusal::NotFromHere { flag });
    }
    let names: Vec<&str> = rule.flags.iter().map(|flag| flag.name).collect();
    Err(Refusal::Flag {
        command: rule.name(),
        word: Shown::new(&format!("--{name}")),
        near: nearest(name, &names),
        usage: rule.written(),
    })
}

/// Returns the value that follows a flag. A text without quotes goes on to the end, for nobody quotes at three in the
/// morning; but if it swallowed a flag, that would be a surprise.
fn following(
    flag: &'static Flag,
    rule: &Rule,
    words: &mut std::iter::Peekable<impl Iterator<Item = Word>>,
) -> Result<String, Refusal> {
    let missing =
        || Refusal::Missing { what: format!("what --{} is", flag.name), usage: rule.written() };
    match words.next_if(|word| !matches!(word, Word::Flag(..))) {
        None | Some(Word::Flag(..)) => Err(missing()),
        Some(Word::Plain(first)) if flag.shape == Shape::Text => {
            let mut text = first;
            for word in words {
                let (Word::Plain(next) | Word::Quoted(next)) = word else {
                    return Err(Refusal::Unquoted(flag.name));
                };
                // A dash between words is none; `-c` looks like a flag.
                if next.len() > 1 && next.starts_with('-') {
                    return Err(Refusal::Unquoted(flag.name));
                }
                text = format!("{text} {next}");
            }
            Ok(text)
        }
        Some(Word::Plain(word) | Word::Quoted(word)) => Ok(word),
    }
}

fn complete(asked: &Asked) -> Result<(), Refusal> {
    let rule = asked.rule;
    let missing = |what: String| Err(Refusal::Missing { what, usage: rule.written() });
    if let Some(slot) = rule.slots.get(asked.slots.len())
        && slot.wanted == Wanted::Always
    {
        return missing(slot.shape.placeholder().to_owned());
    }
    for flag in rule.flags.iter().filter(|flag| flag.wanted == Wanted::Always) {
        if !asked.flags.iter().any(|(name, _)| *name == flag.name) {
            return missing(format!("--{}", flag.name));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
