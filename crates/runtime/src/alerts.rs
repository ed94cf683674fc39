//! What a reading of alerts means. Pure.

use crate::ports::{Alert, AlertReading};
use serin_model::{Back, Reason, Verdict};
use std::collections::BTreeSet;

/// A verdict on a reading, and the alerts that were not counted because they are about hosts that the run has out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What the reading says.
    pub verdict: Verdict,
    /// Shown, not counted.
    pub attributed: Vec<Alert>,
}

/// What a run was started in spite of.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tolerated<'a> {
    /// Alerts, as [`told`].
    pub alerts: Option<&'a BTreeSet<String>>,
    /// Where hosts go back to: what the build that they leave does on one of them, it will do on the others.
    pub back: Option<&'a Back>,
}

impl Tolerated<'_> {
    fn holds(&self, alert: &Alert) -> bool {
        let told = told(alert);
        self.alerts.is_some_and(|alerts| {
            alerts.iter().any(|known| *known == told || self.differ_by_host(known, &told))
        })
    }

    /// Tells whether two alerts are one but for the host that they are about, and both hosts go back.
    fn differ_by_host(&self, one: &str, other: &str) -> bool {
        let (one, other): (Vec<&str>, Vec<&str>) = (
            one.split([' ', '(', ')', ',']).collect(),
            other.split([' ', '(', ')', ',']).collect(),
        );
        one.len() == other.len()
            && one.iter().zip(&other).all(|(a, b)| {
                let hosts = a.split_once('=').zip(b.split_once('='));
                let both_go_back = |((label, a), (same, b)): ((&str, &str), (&str, &str))| {
                    label == same && self.goes_back(a) && self.goes_back(b)
                };
                a == b || hosts.is_some_and(both_go_back)
            })
    }

    /// Tells whether a label's value names a host that goes back; it may have a port.
    fn goes_back(&self, value: &str) -> bool {
        let name = value.split(':').next();
        self.back.is_some_and(|back| back.hosts.keys().any(|host| Some(host.as_str()) == name))
    }
}

/// Judges a reading. `out` holds names and addresses of the hosts that the run has out of service.
///
/// A critical alert fails, whatever else is doubtful; a reading that cannot be trusted is inconclusive.
pub fn judge(reading: &AlertReading, out: &BTreeSet<String>, tolerated: Tolerated<'_>) -> Judged {
    let critical = reading.firing.iter().filter(|alert| alert.critical);
    let (attributed, counted): (Vec<&Alert>, Vec<&Alert>) = critical.partition(|alert| {
        alert.about.as_ref().is_some_and(|host| out.contains(host)) || tolerated.holds(alert)
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
    use serin_model::{Build, BuildKind};

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
        judge(&AlertReading { firing, doubts }, &out, Tolerated::default()).verdict
    }

    #[test]
    fn an_alert_that_the_run_was_started_in_spite_of_is_shown_and_not_counted() {
        let known = BTreeSet::from(["Down (severity=critical)".to_owned()]);
        let tolerated = Tolerated { alerts: Some(&known), back: None };
        let other = Alert { name: "Slow".to_owned(), ..alert("critical", None) };
        let judged = |firing| {
            let reading = AlertReading { firing, doubts: Vec::new() };
            judge(&reading, &BTreeSet::new(), tolerated)
        };
        let known = judged(vec![alert("critical", None)]);
        assert_eq!((known.verdict, known.attributed.len()), (Verdict::Pass, 1));
        let new = judged(vec![alert("critical", None), other]);
        assert!(matches!(new.verdict, Verdict::Fail(_)), "a new one counts");
    }

    #[test]
    fn a_known_alert_about_another_host_that_goes_back_does_not_count_either() {
        let build = Build {
            package: "gitlab-ee".parse().unwrap(),
            version: "1.0".parse().unwrap(),
            sha256: "a".repeat(64).parse().unwrap(),
            size: 1,
            kind: BuildKind::Nightly,
        };
        let hosts = ["web-01.gprd", "web-02.gprd"].map(|name| name.parse().unwrap());
        let hosts = hosts.into_iter().map(|host| (host, build.clone())).collect();
        let back = Back {
            undoes: BTreeSet::new(),
            hosts,
            records: Vec::new(),
            out_of_service: BTreeSet::new(),
        };
        let known = BTreeSet::from(["Leaks (env=gprd, instance=web-01.gprd:9100)".to_owned()]);
        let tolerated = Tolerated { alerts: Some(&known), back: Some(&back) };
        let counts = |name: &str, labels: &str| {
            let labels = labels.to_owned();
            let alert = Alert { name: name.to_owned(), labels, ..alert("critical", None) };
            let reading = AlertReading { firing: vec![alert], doubts: Vec::new() };
            judge(&reading, &BTreeSet::new(), tolerated).verdict != Verdict::Pass
        };
        assert!(!counts("Leaks", "env=gprd, instance=web-02.gprd:9100"));
        assert!(counts("Leaks", "env=gprd, instance=web-03.gprd:9100"), "this host stays");
        assert!(counts("Leaks", "env=gstg, instance=web-02.gprd:9100"), "another environment");
        assert!(counts("Burns", "env=gprd, instance=web-02.gprd:9100"), "another alert");
        assert!(counts("Leaks", "env=gprd, job=web-02.gprd:9100"), "another label");
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
