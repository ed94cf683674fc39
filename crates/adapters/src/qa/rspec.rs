//! RSpec's summary on standard output: `12 examples, 1 failure, 2 pending`, and the list of failed examples below it.
//!
//! Several summaries are added up: parallel runs print one each. Failure messages are indented, so a summary that a
//! test only quotes does not stand at the start of a line.

use super::ansi;
use super::report::Report;
use std::collections::BTreeSet;

/// Returns the line, without colours, if it may be part of a summary.
pub(super) fn keep(line: &str) -> Option<String> {
    let line = ansi::one_line(line).trim_end().to_owned();
    let counts = line.starts_with(|c: char| c.is_ascii_digit()) && line.contains(" example");
    (counts || line.starts_with("rspec ")).then_some(line)
}

/// Parses the lines that [`keep`] kept.
pub(super) fn parse(lines: &[String]) -> Result<Report, String> {
    let summaries: Vec<_> = lines.iter().filter_map(|line| summary(line)).collect();
    if summaries.is_empty() {
        return Err("it printed no summary such as `12 examples, 0 failures`".to_owned());
    }
    let sum = |of: fn(&Summary) -> u32| {
        summaries.iter().try_fold(0_u32, |sum, one| sum.checked_add(of(one))).unwrap_or(u32::MAX)
    };
    let (examples, pending) = (sum(|s| s.examples), sum(|s| s.pending));
    let mut failed: BTreeSet<_> =
        lines.iter().filter_map(|line| line.strip_prefix("rspec ")).map(str::to_owned).collect();
    let failures = sum(|s| s.failures);
    let named = u32::try_from(failed.len()).unwrap_or(u32::MAX);
    let unnamed = failures.saturating_sub(named);
    if unnamed > 0 {
        failed.insert(format!("{unnamed} that the output does not name"));
    }
    Ok(Report {
        executed: examples
            .checked_sub(pending)
            .ok_or("its summary has more pending examples than examples")?,
        passed: None,
        failures: failures.max(named),
        failed,
        flaky: BTreeSet::new(),
        outside_errors: sum(|s| s.outside_errors),
    })
}

/// One summary line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Summary {
    examples: u32,
    failures: u32,
    pending: u32,
    outside_errors: u32,
}

fn summary(line: &str) -> Option<Summary> {
    let mut summary = Summary::default();
    let mut parts = line.split(", ");
    summary.examples = count(parts.next()?, "example")?;
    summary.failures = count(parts.next()?, "failure")?;
    for part in parts {
        match (count(part, "pending"), count(part, "error")) {
            (Some(pending), _) => summary.pending = pending,
            (None, Some(errors)) => summary.outside_errors = errors,
            (None, None) => return None,
        }
    }
    Some(summary)
}

/// `3 examples`, `1 example`, `2 errors occurred outside of examples`.
fn count(part: &str, what: &str) -> Option<u32> {
    let (number, rest) = part.split_once(' ')?;
    let rest = rest.strip_prefix(what)?;
    let known = ["", "s", " occurred outside of examples", "s occurred outside of examples"];
    known.contains(&rest).then(|| number.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(output: &str) -> Result<Report, String> {
        parse(&output.lines().filter_map(keep).collect::<Vec<_>>())
    }

    #[test]
    fn a_green_run_of_gitlab_qa_is_read() {
        let report = check(include_str!("fixtures/gitlab-qa-passed.txt")).unwrap();
        assert_eq!((report.executed, report.failed.len(), report.outside_errors), (41, 0, 0));
    }

    #[test]
    fn failed_examples_are_named() {
        let report = check(include_str!("fixtures/gitlab-qa-failed.txt")).unwrap();
        assert_eq!(report.executed, 38);
        let failed: Vec<_> = report.failed.iter().map(String::as_str).collect();
        assert_eq!(
            failed,
            [
                "./qa/specs/features/browser_ui/1_manage/login/log_in_spec.rb:8 # Manage basic user login user logs in using basic credentials and logs out",
                "./qa/specs/features/browser_ui/3_create/repository/clone_spec.rb:31 # Create Git clone over HTTP user performs a deep clone",
            ]
        );
    }

    #[test]
    fn what_is_no_test_result_is_told_apart() {
        assert!(check(include_str!("fixtures/gitlab-qa-no-token.txt")).is_err());
        let empty = check(include_str!("fixtures/rspec-no-examples.txt")).unwrap();
        assert_eq!((empty.executed, empty.failed.len()), (0, 0));
        let outside = check(include_str!("fixtures/rspec-outside-error.txt")).unwrap();
        assert_eq!((outside.executed, outside.failed.len(), outside.outside_errors), (0, 0, 1));
    }

    #[test]
    fn summaries_add_up_and_quoted_ones_do_not_count() {
        let report = check(
            "2 examples, 0 failures\n  9 examples, 9 failures\n3 examples, 1 failure, 1 pending\n",
        )
        .unwrap();
        assert_eq!(report.executed, 4);
        assert_eq!(report.failed.iter().collect::<Vec<_>>(), ["1 that the output does not name"]);
        assert!(check("3 examples, 0 failures, 4 pending").is_err());
        for no_summary in [
            "",
            "3 examples",
            "3 examples, 0 failures, 1 surprise",
            "x examples, 0 failures",
            "99999999999 examples, 0 failures",
        ] {
            assert!(check(no_summary).is_err(), "{no_summary}");
        }
    }

    proptest! {
        #[test]
        fn no_output_makes_it_panic(text in "([0-9]{1,11}| example| failure|s|, | pending|rspec |\n|[ -~\u{1b}é]){0,40}") {
            drop(check(&text));
        }
    }
}
