//! `serin ci gitlab`: writes the pipeline's files, or says whether they are as they would be written.

use super::jobs::{CHILD, Written, quoted};
use crate::args::{Bakes, CiGitlab};
use crate::commands::plan::find_pipeline;
use crate::failure::{Code, Failure};
use crate::show::line;
use serin_config::{Config, Journal};
use std::path::{Path, PathBuf};

/// How a file begins that may be written over.
const OURS: &str = "# Written by `serin ci gitlab";

pub(crate) fn write(config: &Config, asked: &CiGitlab) -> Result<Code, Failure> {
    let files = files(config, asked)?;
    let differing: Vec<&(PathBuf, String)> =
        files.iter().filter(|(path, text)| read(path).as_ref() != Some(text)).collect();
    if asked.check {
        for (path, _) in &differing {
            line(format!("{} is not what would be written now", path.display()));
        }
        return Ok(if differing.is_empty() { Code::Done } else { Code::Blocked });
    }
    for (path, text) in &files {
        if read(path).is_some_and(|found| !found.starts_with(OURS)) {
            return Err(Failure::new(
                Code::Refused,
                format!("{} was not written by serin ci gitlab", path.display()),
            )
            .hint(
                "move it away, or write elsewhere with --out, and include what is written there",
            ));
        }
        std::fs::write(path, text).map_err(|error| {
            Failure::new(Code::Refused, format!("{} cannot be written: {error}", path.display()))
        })?;
        line(format!("wrote {}", path.display()));
    }
    if let Journal::File(path) = &config.journal {
        line(format!(
            "note: the journal is the file {}: all jobs must run on its machine (--tag), or move it to PostgreSQL",
            path.display()
        ));
    }
    Ok(Code::Done)
}

/// Returns the files and what they are to hold.
fn files(config: &Config, asked: &CiGitlab) -> Result<Vec<(PathBuf, String)>, Failure> {
    let pipeline = find_pipeline(config, &asked.pipeline)?;
    let promotion = config.pipelines.get(&asked.promotion);
    let written = Written { config, asked, command: command(asked) };
    let parent = written.parent(pipeline, promotion);
    let mut files = vec![(asked.out.join(".gitlab-ci.yml"), parent)];
    files.extend(promotion.map(|promotion| (asked.out.join(CHILD), written.child(promotion))));
    Ok(files)
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The command that writes the same again, without where to.
fn command(asked: &CiGitlab) -> String {
    let mut words = vec!["serin ci gitlab".to_owned()];
    let mut option = |name: &str, value: &str| words.push(format!("--{name} {}", quoted(value)));
    if asked.pipeline.as_str() != "to-canary" {
        option("pipeline", asked.pipeline.as_str());
    }
    if asked.promotion.as_str() != "to-main" {
        option("promotion", asked.promotion.as_str());
    }
    asked.tag.iter().for_each(|tag| option("tag", tag));
    asked.image.iter().for_each(|image| option("image", image));
    if asked.serin_toml != "serin.toml" {
        option("serin-toml", &asked.serin_toml);
    }
    if asked.bakes == Bakes::Afterwards {
        option("bakes", "afterwards");
    }
    asked.traffic.iter().for_each(|base| option("traffic", &base.to_string()));
    asked.traffic_endpoint.iter().for_each(|endpoint| option("traffic-endpoint", endpoint));
    if !asked.traffic.is_empty() {
        option("traffic-jobs", &asked.traffic_jobs.to_string());
        option("traffic-rate", &asked.traffic_rate.to_string());
        option("traffic-for", &format!("{}s", asked.traffic_length.as_secs()));
    }
    // It becomes a comment, which ends with its line.
    words.join(" ").chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
