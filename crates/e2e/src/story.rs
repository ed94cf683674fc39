//! Tells a scenario file: carries it out in the lab under constant traffic, and writes down what was seen.
//!
//! The first thing that is not as the file says ends it. Read [`tell()`] first.

use crate::lab::{Lab, PATIENCE};
use crate::process::{Ended, Running};
use crate::script::{self, Fact, Line};
use crate::traffic::Traffic;
use crate::{oracle, world};
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use tempfile::NamedTempFile;

/// Carries a scenario out, and writes its transcript to a file and to the screen as it goes.
pub(crate) fn tell(lab: &Lab, scenario: &Path, transcript: &Path) -> Result<()> {
    let text = std::fs::read_to_string(scenario).with_context(|| scenario.display().to_string())?;
    let lines = script::parse(&text)?;
    let file = File::create(transcript).with_context(|| transcript.display().to_string())?;
    let config = lab.changed_config(|text| changed(text, &lines))?;
    let traffic = Traffic::of_users(lab)?;
    let mut teller = Teller { lab, config, file, last: None };
    for line in &lines {
        teller.line(line)?;
    }
    let sent = traffic.stop()?;
    oracle::migrations_ran_once(lab)?;
    oracle::nothing_left_out(lab)?;
    teller.write(format!("= {sent}"))?;
    teller.write("= no migration ran twice, and every server is UP")
}

/// Makes the changes of the configuration that the scenario begins with.
fn changed(text: &str, lines: &[Line]) -> String {
    lines.iter().fold(text.to_owned(), |text, line| match line {
        Line::Config { old, new } => text.replace(old.as_str(), new),
        Line::Prose(_) | Line::Lab(_) | Line::Serin { .. } | Line::Says(_) | Line::See(_) => text,
    })
}

struct Teller<'a> {
    lab: &'a Lab,
    config: NamedTempFile,
    file: File,
    /// The last command of Serin, with what it printed.
    last: Option<Ended>,
}

impl Teller<'_> {
    fn write(&mut self, text: impl AsRef<str>) -> Result<()> {
        crate::say(&text);
        writeln!(self.file, "{}", text.as_ref())?;
        Ok(())
    }

    fn line(&mut self, line: &Line) -> Result<()> {
        match line {
            Line::Prose(text) => self.write(text),
            Line::Config { old, new } => {
                let text = std::fs::read_to_string(self.config.path())?;
                if !text.contains(new.as_str()) {
                    bail!("the lab's configuration has no `{old}`");
                }
                self.write(format!("(serin.toml: {new})"))
            }
            Line::Lab(words) => {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                self.write(format!("(serin-lab {})", words.join(" ")))?;
                self.lab.lab(&words)?.expect(0).map(drop)
            }
            Line::Serin { words, code } => self.serin(words, *code),
            Line::Says(words) => {
                let last = self.last.as_ref().context("there is no command before this line")?;
                last.says(&[words]).map(drop)
            }
            Line::See(fact) => {
                let seen = see(self.lab, fact)?;
                self.write(format!("= {seen}"))
            }
        }
    }

    fn serin(&mut self, words: &[String], code: i32) -> Result<()> {
        let shown = words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
        self.write(format!("$ serin {shown}"))?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut running: Running = self.lab.serin_with(self.config.path(), &words)?;
        while running.lines(1, PATIENCE)? {
            let line = running.log.last().cloned().unwrap_or_default();
            self.write(line)?;
        }
        let ended = running.end(PATIENCE)?;
        if ended.code != Some(0) {
            self.write(format!("(exit code {:?})", ended.code.unwrap_or(-1)))?;
        }
        ended.expect(code)?;
        self.last = Some(ended);
        Ok(())
    }
}

fn quoted(word: &str) -> String {
    if word.contains(' ') { format!("'{word}'") } else { word.to_owned() }
}

fn see(lab: &Lab, fact: &Fact) -> Result<String> {
    match fact {
        Fact::Runs { place, version } => world::runs(lab, place, version),
        Fact::Has { place, text, path } => world::has(lab, place, (text, path)),
        Fact::Gets { percent, requests } => world::canary_gets(lab, *percent, *requests),
        Fact::Fires { alert, environment } => world::until_fires(lab, environment, Some(alert)),
        Fact::NothingFires { environment } => world::until_fires(lab, environment, None),
    }
}
