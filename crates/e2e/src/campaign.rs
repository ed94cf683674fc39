//! The fault campaign: every fault by itself, and a report of what was seen.

use crate::lab::Lab;
use crate::scenarios::{self, Scenario};
use crate::seen::Seen;
use crate::work::timed;
use crate::{faults, gates, others, say};
use anyhow::{Context, Result, bail};
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
        ("HAProxy reloaded", scenarios::reloaded()),
        ("HAProxy restarted", faults::services::haproxy_restarted()),
        ("load balancer lost", faults::services::balancer_lost()),
        ("Alertmanager restarted", gates::alertmanager_restarted()),
        ("Alertmanager lost", faults::services::alertmanager_lost()),
        ("PostgreSQL lost in a migration", faults::services::database_lost()),
        ("deploy host off in a migration", faults::power_lost()),
        ("journal's disk full", faults::controllers::journal_full()),
        ("controller killed", faults::controllers::killed(KILLS)),
    ]
}

/// Tells all faults whose name, or whose story's, holds one of these words, and writes the report.
pub(crate) fn tell(lab: &mut Lab, only: &[String], report: &Path) -> Result<bool> {
    let wanted = |(fault, scenario): &(&str, Scenario)| {
        let holds = |word: &String| fault.contains(word) || scenario.name.contains(word);
        only.is_empty() || only.iter().any(holds)
    };
    let chosen: Vec<_> = faults().into_iter().filter(wanted).collect();
    if chosen.is_empty() {
        bail!("no fault's name holds any of {only:?}");
    }
    let mut rows = Vec::new();
    for (fault, scenario) in chosen {
        say(format!("      {fault}: {} …", scenario.name));
        drop(lab.seen());
        let (result, took) = timed(|| (scenario.run)(lab));
        let seen = lab.seen();
        lab.mend();
        match &result {
            Ok(told) => say(format!("ok    {fault}: {told}")),
            Err(error) => say(format!("FAIL  {fault}: {error:#}")),
        }
        rows.push(Row {
            fault,
            seen,
            took,
            failure: result.err().map(|error| format!("{error:#}")),
        });
        // Also when the next one never ends: what was seen is there.
        let text = render(&rows, lab.seed());
        std::fs::write(report, text).with_context(|| report.display().to_string())?;
    }
    say(std::fs::read_to_string(report)?);
    Ok(rows.iter().all(|row| row.failure.is_none()))
}

/// What became of one fault.
struct Row {
    fault: &'static str,
    seen: Seen,
    took: Duration,
    failure: Option<String>,
}

fn render(rows: &[Row], seed: u64) -> String {
    let mut text = String::from(
        "| fault | done | what Serin did | going on after | requests | failed | out at most | oracle | took |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    let mut notes = Vec::new();
    for row in rows {
        let line = row.show(&mut notes);
        append(&mut text, &line);
    }
    let total = |count: fn(&Seen) -> u64| rows.iter().map(|row| count(&row.seen)).sum::<u64>();
    let failures = rows.iter().filter(|row| row.failure.is_some()).count();
    append(&mut text, "");
    append(
        &mut text,
        &format!(
            "{} faults told, {failures} not as promised; {} requests, {} failed; {} min; seed {seed}",
            rows.len(),
            total(|seen| seen.requests),
            total(|seen| seen.failed),
            rows.iter().map(|row| row.took.as_secs()).sum::<u64>().div_ceil(60)
        ),
    );
    for note in notes {
        append(&mut text, "");
        append(&mut text, &note);
    }
    text
}

fn append(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

impl Row {
    fn show(&self, notes: &mut Vec<String>) -> String {
        let seen = &self.seen;
        let mut failed =
            if seen.requests == 0 { "–".to_owned() } else { seen.failed.to_string() };
        if !seen.excuse.is_empty() {
            notes.push(format!("({}) {}: {}.", notes.len() + 1, self.fault, seen.excuse));
            failed = format!("{failed} ({})", notes.len());
        }
        let oracle = match &self.failure {
            None => seen.held.join(", "),
            Some(why) => {
                notes.push(format!("({}) {}: FAILED: {why}", notes.len() + 1, self.fault));
                format!("**FAILED** ({})", notes.len())
            }
        };
        let cells = [
            self.fault.to_owned(),
            counts(seen.damage.iter().map(|(name, count)| (name.as_str(), *count))),
            counts(seen.deeds.iter().map(|(name, count)| (*name, *count))),
            recoveries(&seen.recoveries),
            if seen.requests == 0 { "–".to_owned() } else { seen.requests.to_string() },
            failed,
            seen.most_out.map_or("–".to_owned(), |most| most.to_string()),
            oracle,
            format!("{} s", self.took.as_secs()),
        ];
        format!("| {} |", cells.join(" | "))
    }
}

fn counts<'a>(counted: impl Iterator<Item = (&'a str, usize)>) -> String {
    let words: Vec<String> = counted
        .map(|(name, count)| if count == 1 { name.to_owned() } else { format!("{name} ×{count}") })
        .collect();
    if words.is_empty() { "went on".to_owned() } else { words.join(", ") }
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

    fn row(seen: Seen, failure: Option<&str>) -> Row {
        let failure = failure.map(str::to_owned);
        Row { fault: "power", seen, took: Duration::from_secs(90), failure }
    }

    #[test]
    fn a_row_says_what_was_counted_and_no_more() {
        let mut seen =
            Seen { requests: 12, failed: 3, excuse: "no power".to_owned(), ..Seen::default() };
        seen.damaged("power-off");
        seen.damaged("power-off");
        seen.did("halted");
        seen.recoveries =
            vec![Duration::from_millis(2500), Duration::from_millis(400), Duration::from_secs(1)];
        seen.holds("every server UP");
        let text = render(&[row(seen, None), row(Seen::default(), Some("web-01 is DOWN"))], 7);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            lines[0],
            "| power | power-off ×2 | halted | 1.0 s, 2.5 s at most | 12 | 3 (1) | – | every server UP | 90 s |"
        );
        assert_eq!(
            lines[1],
            "| power | went on | went on | – | – | – | – | **FAILED** (2) | 90 s |"
        );
        assert_eq!(
            lines[3],
            "2 faults told, 1 not as promised; 12 requests, 3 failed; 3 min; seed 7"
        );
        assert_eq!(lines[5], "(1) power: no power.");
        assert_eq!(lines[7], "(2) power: FAILED: web-01 is DOWN");
    }
}
