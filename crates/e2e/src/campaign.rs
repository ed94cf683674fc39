//! The fault campaign: every fault by itself, and a report of what was seen.

use crate::lab::Lab;
use crate::scenarios::{self, Scenario};
use crate::seen::Seen;
use crate::work::timed;
use crate::{faults, gates, others, say};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// How often the controller is killed.
const KILLS: usize = 200;

/// All faults, as people call them, and the story that tells each.
fn faults() -> Vec<(&'static str, Scenario)> {
    vec![
        ("controller paused past its lease", scenarios::taken_over()),
        ("two controllers start at once", others::two_operators()),
        ("two controllers and more adopt at once", faults::controllers::adopted_by_several()),
        ("hosts' clocks differ", faults::machines::clocks_differ()),
        ("controller's clock an hour off", faults::machines::own_clock_wrong()),
        ("SSH cut in each phase", faults::network::cut_in_each_phase()),
        ("a host answers nothing for a while", faults::network::cut_silently()),
        ("20% of packets lost", faults::network::packets_lost()),
        ("300 ms delay", faults::network::delayed()),
        ("host off in mid-install, and back", faults::machines::powered_off()),
        ("host's disk full", faults::machines::disk_full()),
        ("dpkg killed", faults::machines::dpkg_killed()),
        ("HAProxy restarted", faults::services::haproxy_restarted()),
        ("load balancer lost", faults::services::balancer_lost()),
        ("Alertmanager restarted", gates::alertmanager_restarted()),
        ("Alertmanager lost", faults::services::alertmanager_lost()),
        ("PostgreSQL lost in a migration", faults::services::database_lost()),
        ("journal's disk full", faults::controllers::journal_full()),
        ("controller killed", faults::controllers::killed(KILLS)),
    ]
}

/// Where rows are kept and shown, and what they are told of.
pub(crate) struct Report<'a> {
    /// The table, for people; beside it, with `.rows` at the end of its name, one JSON object a row.
    pub(crate) path: &'a Path,
    /// What was tested, such as a commit.
    pub(crate) source: &'a str,
}

/// Tells all faults whose name, or whose story's, holds one of these words, and writes the report. Rows of faults that were
/// told before stay, unless all are told.
pub(crate) fn tell(lab: &mut Lab, only: &[String], report: &Report<'_>) -> Result<bool> {
    let wanted = |(fault, scenario): &(&str, Scenario)| {
        let holds = |word: &String| fault.contains(word) || scenario.name.contains(word);
        only.is_empty() || only.iter().any(holds)
    };
    let order: Vec<&str> = faults().into_iter().map(|(fault, _)| fault).collect();
    let chosen: Vec<_> = faults().into_iter().filter(wanted).collect();
    if chosen.is_empty() {
        bail!("no fault's name holds any of {only:?}");
    }
    let kept = report.path.with_added_extension("rows");
    let mut rows = if only.is_empty() { Vec::new() } else { read_rows(&kept)? };
    let mut is_good = true;
    for (fault, scenario) in chosen {
        say(format!("      {fault}: {} …", scenario.name));
        let row = told(lab, fault, &scenario, report.source);
        is_good &= !row.is_failure;
        rows.retain(|other| other.fault != row.fault);
        rows.push(row);
        rows.sort_by_key(|row| order.iter().position(|fault| *fault == row.fault));
        // Also when the next one never ends: what was seen is there.
        let lines: Vec<String> = rows.iter().map(|row| format!("{}\n", row.to_json())).collect();
        std::fs::write(&kept, lines.concat()).with_context(|| kept.display().to_string())?;
        std::fs::write(report.path, render(&rows))
            .with_context(|| report.path.display().to_string())?;
    }
    say(render(&rows));
    Ok(is_good)
}

fn told(lab: &mut Lab, fault: &str, scenario: &Scenario, source: &str) -> Row {
    drop(lab.seen());
    let (result, took) = timed(|| (scenario.run)(lab));
    let seen = lab.seen();
    lab.mend();
    match &result {
        Ok(told) => say(format!("ok    {fault}: {told}")),
        Err(error) => say(format!("FAIL  {fault}: {error:#}")),
    }
    let failure = result.err().map(|error| format!("{error:#}"));
    let told_of = format!("{source}, seed {}", lab.seed());
    Row::new(fault, &seen, failure.as_deref(), (took, &told_of))
}

/// What became of one fault.
#[derive(Debug, PartialEq)]
struct Row {
    fault: String,
    is_failure: bool,
    /// Why something failed, in words.
    note: Option<String>,
    /// What the columns after the fault show.
    cells: Vec<String>,
    requests: u64,
    failed: u64,
    seconds: u64,
    told_of: String,
}

impl Row {
    fn new(
        fault: &str,
        seen: &Seen,
        failure: Option<&str>,
        (took, told_of): (Duration, &str),
    ) -> Self {
        let unless_none = |text: String| if seen.requests == 0 { "–".to_owned() } else { text };
        let cells = vec![
            counts(seen.damage.iter().map(|(name, count)| (name.as_str(), *count)), "–"),
            counts(seen.deeds.iter().map(|(name, count)| (*name, *count)), "went on"),
            recoveries(&seen.recoveries),
            unless_none(seen.requests.to_string()),
            unless_none(seen.failed.to_string()),
            seen.most_out.map_or("–".to_owned(), |most| most.to_string()),
            if failure.is_some() { "**FAILED**".to_owned() } else { seen.held.join("; ") },
        ];
        let excuse = Some(seen.excuse.clone()).filter(|excuse| !excuse.is_empty());
        Self {
            fault: fault.to_owned(),
            is_failure: failure.is_some(),
            note: failure.map(str::to_owned).or(excuse),
            cells,
            requests: seen.requests,
            failed: seen.failed,
            seconds: took.as_secs(),
            told_of: told_of.to_owned(),
        }
    }

    fn to_json(&self) -> Value {
        serde_json::json!({
            "fault": self.fault, "is_failure": self.is_failure, "note": self.note, "cells": self.cells,
            "requests": self.requests, "failed": self.failed, "seconds": self.seconds, "told_of": self.told_of,
        })
    }

    fn of_json(line: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(line)?;
        let of = |name: &str| value.get(name).with_context(|| format!("no {name} in {line}"));
        let text =
            |name: &str| Ok::<_, anyhow::Error>(of(name)?.as_str().unwrap_or_default().to_owned());
        let number = |name: &str| Ok::<_, anyhow::Error>(of(name)?.as_u64().unwrap_or_default());
        let cells = of("cells")?.as_array().into_iter().flatten();
        Ok(Self {
            fault: text("fault")?,
            is_failure: of("is_failure")?.as_bool().unwrap_or(true),
            note: of("note")?.as_str().map(str::to_owned),
            cells: cells.filter_map(|cell| cell.as_str().map(str::to_owned)).collect(),
            requests: number("requests")?,
            failed: number("failed")?,
            seconds: number("seconds")?,
            told_of: text("told_of")?,
        })
    }
}

fn read_rows(path: &Path) -> Result<Vec<Row>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    text.lines().map(Row::of_json).collect()
}

fn render(rows: &[Row]) -> String {
    let mut lines = vec![
        "| fault | done | what Serin did | going on after | requests | failed | out at most | oracle | took |"
            .to_owned(),
        "|---|---|---|---|---|---|---|---|---|".to_owned(),
    ];
    let mut notes = Vec::new();
    for row in rows {
        let mut fault = row.fault.clone();
        if let Some(note) = &row.note {
            notes.push(format!("({}) {fault}: {note}", notes.len() + 1));
            fault = format!("{fault} ({})", notes.len());
        }
        lines.push(format!("| {fault} | {} | {} s |", row.cells.join(" | "), row.seconds));
    }
    let sum = |count: fn(&Row) -> u64| rows.iter().map(count).sum::<u64>();
    lines.push(String::new());
    lines.push(format!(
        "{} faults, {} not as promised; {} requests, {} of them failed; {} min.",
        rows.len(),
        rows.iter().filter(|row| row.is_failure).count(),
        sum(|row| row.requests),
        sum(|row| row.failed),
        sum(|row| row.seconds).div_ceil(60)
    ));
    let sources: BTreeSet<&str> = rows.iter().map(|row| row.told_of.as_str()).collect();
    for source in &sources {
        let of_it = rows.iter().filter(|row| row.told_of == *source).map(|row| row.fault.as_str());
        let of_it: Vec<&str> = of_it.collect();
        let which = if sources.len() == 1 { "all of them".to_owned() } else { of_it.join(", ") };
        lines.push(format!("Told of {source}: {which}."));
    }
    for note in notes {
        lines.extend([String::new(), note]);
    }
    lines.join("\n") + "\n"
}

fn counts<'a>(counted: impl Iterator<Item = (&'a str, usize)>, none: &str) -> String {
    let words: Vec<String> = counted
        .map(|(name, count)| if count == 1 { name.to_owned() } else { format!("{name} ×{count}") })
        .collect();
    if words.is_empty() { none.to_owned() } else { words.join(", ") }
}

fn recoveries(times: &[Duration]) -> String {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let seconds = |time: &Duration| format!("{:.1} s", time.as_secs_f64());
    match (sorted.get(sorted.len() / 2), sorted.last()) {
        (Some(median), Some(most)) if sorted.len() > 1 => {
            format!("{}, {} at most", seconds(median), seconds(most))
        }
        (_, Some(only)) => seconds(only),
        (_, None) => "–".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_was_counted_and_no_more() {
        let mut seen =
            Seen { requests: 12, failed: 3, excuse: "no power".to_owned(), ..Seen::default() };
        seen.damaged("power-off");
        seen.damaged("power-off");
        seen.did("halted");
        seen.recoveries = [2500, 400, 1000].map(Duration::from_millis).to_vec();
        seen.holds("every server UP");
        let told = (Duration::from_secs(90), "v1, seed 7");
        let rows = [
            Row::new("power", &seen, None, told),
            Row::new("disk", &Seen::default(), Some("web-01 is DOWN"), told),
        ];
        let text = render(&rows);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "| power (1) | power-off ×2 | halted | 1.0 s, 2.5 s at most | 12 | 3 | – | every server UP | 90 s |",
                "| disk (2) | – | went on | – | – | – | – | **FAILED** | 90 s |",
                "",
                "2 faults, 1 not as promised; 12 requests, 3 of them failed; 3 min.",
                "Told of v1, seed 7: all of them.",
                "",
                "(1) power: no power",
                "",
                "(2) disk: web-01 is DOWN",
            ]
        );
    }

    #[test]
    fn a_row_survives_being_kept() {
        let seen = Seen { requests: 5, most_out: Some(1), ..Seen::default() };
        let row = Row::new("power", &seen, Some("why"), (Duration::from_secs(1), "v1"));
        assert_eq!(Row::of_json(&row.to_json().to_string()).unwrap(), row);
    }
}
