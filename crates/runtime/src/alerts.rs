//! What a reading of alerts means. Pure.

use crate::ports::{Alert, AlertReading};
use serin_model::{Reason, Verdict};
use std::collections::BTreeSet;

/// A verdict on a reading, and the alerts that were not counted because they are about hosts that the run has out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What the reading says.
    pub verdict: Verdict,
    /// Shown, not counted.
    pub attributed: Vec<Alert>,
}

/// Judges a reading. `out` holds names and addresses of the hosts that the run has out of service; `tolerated`, alerts
/// as [`told`] that the run was started in spite of.
///
/// A critical alert fails, whatever else is doubtful; a reading that cannot be trusted is inconclusive.
pub fn judge(
    reading: &AlertReading,
    out: &BTreeSet<String>,
    tolerated: &BTreeSet<String>,
) -> Judged {
    let critical = reading.firing.iter().filter(|alert| alert.critical);
    let (attributed, counted): (Vec<&Alert>, Vec<&Alert>) = critical.partition(|alert| {
        alert.about.as_ref().is_some_and(|host| out.contains(host))
            || tolerated.contains(&told(alert))
    });
    let verdict = if !counted.is_empty() {
        let show = |alert: &&Alert| {
            let silenced = if alert.silenced { ", silenced" } else { "" };
            format!("{} ({}{silenced})", alert.name, alert.labels)
        };
        Verdict::Fail(Reason::AlertsFiring(counted.iter().map(show).collect()))
    } else if let Some(doubt) = reading.doubts.first() {
        Verdict::Inconclusive(Reason::AlertsUnreadable(doubt.clone()))
    } else {
        Verdict::Pass
    };
    Judged { verdict, attributed: attributed.into_iter().cloned().collect() }
}

/// Returns an alert as people and plans name it: two with the same labels are one.
pub fn told(alert: &Alert) -> String {
    format!("{} ({})", alert.name, alert.labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(severity: &str, about: Option<&str>) -> Alert {
        Alert {
            name: "Down".to_owned(),
            labels: format!("severity={severity}"),
            critical: severity == "critical",
            silenced: false,
            about: about.map(str::to_owned),
        }
    }

    fn verdict(firing: Vec<Alert>, doubts: &[&str]) -> Verdict {
        let doubts = doubts.iter().map(|&doubt| doubt.to_owned()).collect();
        let out = BTreeSet::from(["web-01.gprd".to_owned()]);
        judge(&AlertReading { firing, doubts }, &out, &BTreeSet::new()).verdict
    }

    #[test]
    fn an_alert_that_the_run_was_started_in_spite_of_is_shown_and_not_counted() {
        let tolerated = BTreeSet::from(["Down (severity=critical)".to_owned()]);
        let other = Alert { name: "Slow".to_owned(), ..alert("critical", None) };
        let judged = |firing| {
            let reading = AlertReading { firing, doubts: Vec::new() };
            judge(&reading, &BTreeSet::new(), &tolerated)
        };
        let known = judged(vec![alert("critical", None)]);
        assert_eq!((known.verdict, known.attributed.len()), (Verdict::Pass, 1));
        let new = judged(vec![alert("critical", None), other]);
        assert!(matches!(new.verdict, Verdict::Fail(_)), "a new one counts");
    }

    #[test]
    fn only_a_trusted_reading_without_a_critical_alert_passes() {
        assert_eq!(verdict(vec![], &[]), Verdict::Pass);
        assert_eq!(verdict(vec![alert("warning", None)], &[]), Verdict::Pass);
        assert!(matches!(verdict(vec![], &["no watchdog"]), Verdict::Inconclusive(_)));
        assert!(matches!(verdict(vec![alert("critical", None)], &[]), Verdict::Fail(_)));
        assert!(matches!(verdict(vec![alert("critical", None)], &["torn"]), Verdict::Fail(_)));
    }

    #[test]
    fn an_alert_about_a_host_that_is_out_is_shown_and_not_counted() {
        assert_eq!(verdict(vec![alert("critical", Some("web-01.gprd"))], &[]), Verdict::Pass);
        assert!(matches!(
            verdict(vec![alert("critical", Some("web-02.gprd"))], &[]),
            Verdict::Fail(_)
        ));
    }
}
