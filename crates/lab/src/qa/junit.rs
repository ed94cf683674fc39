//! JUnit XML, as much of it as readers of test reports agree on.

use super::{Outcome, Verdict};
use crate::text::append;

/// Renders a report of one suite.
pub(super) fn render(suite: &str, outcomes: &[Outcome]) -> String {
    let count = |wanted: fn(&Verdict) -> bool| {
        outcomes.iter().filter(|outcome| wanted(&outcome.verdict)).count()
    };
    let failures = count(|verdict| matches!(verdict, Verdict::Failed(_)));
    let skipped = count(|verdict| matches!(verdict, Verdict::Skipped(_)));
    let seconds: f64 = outcomes.iter().map(|outcome| outcome.took.as_secs_f64()).sum();
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"{suite}\" \
         tests=\"{}\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\" \
         time=\"{seconds:.3}\">\n",
        outcomes.len()
    );
    for outcome in outcomes {
        let name = escape(outcome.name);
        let seconds = outcome.took.as_secs_f64();
        append(
            &mut text,
            format_args!("  <testcase classname=\"{suite}\" name=\"{name}\" time=\"{seconds:.3}\""),
        );
        match &outcome.verdict {
            Verdict::Passed => text.push_str("/>\n"),
            Verdict::Failed(why) => {
                let why = escape(why);
                append(
                    &mut text,
                    format_args!("><failure message=\"{why}\">{why}</failure></testcase>\n"),
                );
            }
            Verdict::Skipped(why) => {
                append(
                    &mut text,
                    format_args!("><skipped message=\"{}\"/></testcase>\n", escape(why)),
                );
            }
        }
    }
    text.push_str("</testsuite>\n</testsuites>\n");
    text
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_failure_is_counted_and_its_reason_escaped() {
        let outcomes = [
            Outcome { name: "a", took: Duration::from_millis(5), verdict: Verdict::Passed },
            Outcome {
                name: "b",
                took: Duration::ZERO,
                verdict: Verdict::Failed("<oh> \"no\" & so on".into()),
            },
        ];
        let text = render("lab.staging", &outcomes);
        assert!(text.contains("tests=\"2\" failures=\"1\" errors=\"0\" skipped=\"0\""), "{text}");
        assert!(text.contains("message=\"&lt;oh&gt; &quot;no&quot; &amp; so on\""), "{text}");
    }
}
