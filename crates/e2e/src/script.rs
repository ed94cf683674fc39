//! A scenario file: what an operator does, what they see, and what is then true, in the order of the file.
//!
//! It only reads; `story` tells. One thing a line:
//!
//! ```text
//! # prose, which the transcript repeats
//! config OLD -> NEW          the lab's serin.toml has NEW in place of OLD
//! lab publish 16.1.0-ee.0    something happens in the world
//! serin promote              an operator's command, which ends with 0
//! serin why -> 9             one that ends with another code
//!   says BuildMisbehaves     a line of what it printed holds these words
//! see production runs 16.1.0-ee.0
//! see production/canary gets 5% of 2000 requests
//! see production/canary has some words in /opt/gitlab/some/file
//! see BuildMisbehaves fires in production
//! see nothing fires in production
//! ```

use anyhow::{Context, Result, bail};

/// A line of a scenario file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// What is repeated in the transcript; empty lines are, too.
    Prose(String),
    /// A change of the lab's configuration.
    Config { old: String, new: String },
    /// A command of `serin-lab`.
    Lab(Vec<String>),
    /// A command of `serin`, and the code that it must end with.
    Serin { words: Vec<String>, code: i32 },
    /// Words that a line of the last command's output must hold.
    Says(String),
    /// What must be true.
    See(Fact),
}

/// What is asked of the world itself, never of Serin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// All hosts of an environment, or of one fleet of it, have a version installed and run it.
    Runs { place: String, version: String },
    /// A file on all hosts of an environment or fleet holds some text.
    Has { place: String, text: String, path: String },
    /// The canary's part of the requests that load balancers pass on.
    Gets { percent: u32, requests: u64 },
    /// Alertmanager shows an alert of an environment.
    Fires { alert: String, environment: String },
    /// Alertmanager shows nothing but the watchdog.
    NothingFires { environment: String },
}

/// Reads a scenario file.
pub(crate) fn parse(text: &str) -> Result<Vec<Line>> {
    let lines = (1..).zip(text.lines());
    lines.map(|(at, text)| line(text).with_context(|| format!("line {at}: {text}"))).collect()
}

fn line(text: &str) -> Result<Line> {
    if text.is_empty() || text.starts_with('#') {
        return Ok(Line::Prose(text.to_owned()));
    }
    let (verb, rest) = text.trim_start().split_once(' ').context("a verb alone")?;
    Ok(match verb {
        "config" => {
            let (old, new) = rest.split_once(" -> ").context("no ` -> `")?;
            Line::Config { old: old.to_owned(), new: new.to_owned() }
        }
        "lab" => Line::Lab(words(rest)?),
        "serin" => {
            let (command, code) = rest.rsplit_once(" -> ").unwrap_or((rest, "0"));
            Line::Serin { words: words(command)?, code: code.parse()? }
        }
        "says" => Line::Says(rest.to_owned()),
        "see" => Line::See(fact(rest)?),
        unknown => bail!("`{unknown}` is no verb"),
    })
}

fn fact(text: &str) -> Result<Fact> {
    if let Some((place, rest)) = text.split_once(" has ") {
        let (words, path) = rest.rsplit_once(" in ").context("no ` in `")?;
        let [place, text, path] = [place, words, path].map(str::to_owned);
        return Ok(Fact::Has { place, text, path });
    }
    let words: Vec<&str> = text.split(' ').collect();
    Ok(match words.as_slice() {
        [place, "runs", version] => {
            Fact::Runs { place: (*place).to_owned(), version: (*version).to_owned() }
        }
        ["production/canary", "gets", percent, "of", requests, "requests"] => {
            let percent = percent.strip_suffix('%').context("no percentage")?;
            Fact::Gets { percent: percent.parse()?, requests: requests.parse()? }
        }
        ["nothing", "fires", "in", environment] => {
            Fact::NothingFires { environment: (*environment).to_owned() }
        }
        [alert, "fires", "in", environment] => {
            Fact::Fires { alert: (*alert).to_owned(), environment: (*environment).to_owned() }
        }
        _ => bail!("`{text}` is no fact"),
    })
}

/// Splits as a shell would a line without anything but words and 'quoted words'.
fn words(text: &str) -> Result<Vec<String>> {
    let parts: Vec<&str> = text.split('\'').collect();
    if parts.len().is_multiple_of(2) {
        bail!("a quote without its end");
    }
    let mut words = Vec::new();
    for (number, part) in parts.into_iter().enumerate() {
        if number % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> Line {
        parse(text).unwrap().remove(0)
    }

    #[test]
    fn a_command_has_words_and_a_code() {
        let words = |all: &[&str]| all.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
        let why = Line::Serin { words: words(&["why"]), code: 9 };
        assert_eq!(only("serin why -> 9"), why);
        let halt = words(&["halt", "--reason", "a long lunch"]);
        assert_eq!(
            only("serin halt --reason 'a long lunch'"),
            Line::Serin { words: halt, code: 0 }
        );
    }

    #[test]
    fn a_fact_says_what_and_where() {
        assert_eq!(
            only("see production/canary gets 5% of 2000 requests"),
            Line::See(Fact::Gets { percent: 5, requests: 2000 })
        );
        let [place, text, path] = ["staging", "user in sight", "/a/file"].map(str::to_owned);
        assert_eq!(
            only("see staging has user in sight in /a/file"),
            Line::See(Fact::Has { place, text, path })
        );
        let environment = "staging".to_owned();
        assert_eq!(
            only("see nothing fires in staging"),
            Line::See(Fact::NothingFires { environment })
        );
    }

    #[test]
    fn what_is_no_line_is_named() {
        for (text, said) in [
            ("sern why", "line 1: sern why: `sern` is no verb"),
            ("\nserin halt 'lunch", "line 2: serin halt 'lunch: a quote without its end"),
            ("see production flies", "line 1: see production flies: `production flies` is no fact"),
        ] {
            assert_eq!(format!("{:#}", parse(text).unwrap_err()), said);
        }
    }

    #[test]
    fn every_file_in_scenarios_is_understood_and_has_its_transcript() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
        let mut read = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "txt") {
                parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
                assert!(path.with_extension("out").exists(), "{}", path.display());
                read += 1;
            }
        }
        assert!(read > 0, "no scenario was found");
    }
}
