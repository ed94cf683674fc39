//! What Serin refuses, or stops at before anything was changed: one damage at a time, on real hosts.

use crate::lab::Lab;
use crate::scenarios::Scenario;
use anyhow::{Context, Result};

/// A damage, what is asked of Serin, and what it must answer.
struct Case {
    /// `serin-lab break …`; empty: no damage.
    damage: &'static [&'static str],
    /// `serin …`; `VERSION` stands for a version that is in the repository and nowhere else.
    asked: &'static [&'static str],
    code: i32,
    words: &'static [&'static str],
}

const PLAN: &[&str] = &["plan", "to-canary", "VERSION"];
const DOCTOR: &[&str] = &["doctor"];
const RUN: &[&str] = &["run", "to-canary", "VERSION"];

/// Nothing is planned around what cannot be seen, and nothing is started on what cannot be trusted.
const CASES: &[Case] = &[
    Case {
        damage: &[],
        asked: &["plan", "to-canary", "99.0.0-ee.0"],
        code: 4,
        words: &["99.0.0-ee.0"],
    },
    Case {
        damage: &[],
        asked: &["plan", "to-moon", "VERSION"],
        code: 4,
        words: &["no pipeline to-moon"],
    },
    Case { damage: &[], asked: &["show", "r-9999"], code: 4, words: &["no run r-9999"] },
    Case {
        damage: &[],
        asked: &["run", "to-canary", "16.*"],
        code: 2,
        words: &["not a Debian version"],
    },
    Case {
        damage: &["cut", "web-01.gstg", "--reset"],
        asked: PLAN,
        code: 4,
        words: &["web-01.gstg", "cannot be reached"],
    },
    Case {
        damage: &["host-key", "web-01.gstg"],
        asked: PLAN,
        code: 4,
        words: &["web-01.gstg", "host key"],
    },
    Case {
        damage: &["no-sudo", "web-01.gstg"],
        asked: PLAN,
        code: 4,
        words: &["web-01.gstg", "sudo"],
    },
    Case {
        damage: &["power-off", "api-cny-01.gprd"],
        asked: PLAN,
        code: 4,
        words: &["api-cny-01.gprd"],
    },
    Case {
        damage: &["haproxy-socket-absent", "lb-01.gprd"],
        asked: PLAN,
        code: 4,
        words: &["lb-01.gprd", "socket"],
    },
    Case {
        damage: &["haproxy-socket-mute", "lb-02.gprd"],
        asked: PLAN,
        code: 4,
        words: &["lb-02.gprd", "does not answer"],
    },
    Case {
        damage: &["haproxy-socket-taken", "lb-01.gprd"],
        asked: PLAN,
        code: 4,
        words: &["lb-01.gprd", "does not answer", "all that it allows are taken"],
    },
    Case {
        damage: &["haproxy-forget", "lb-01.gprd", "web-cny-01"],
        asked: PLAN,
        code: 4,
        words: &["do not have", "lb-01:web/web-cny-01"],
    },
    Case {
        damage: &["alertmanager-stop"],
        asked: DOCTOR,
        code: 9,
        words: &["PROBLEM", "alerts cannot be trusted"],
    },
    Case {
        damage: &["alertmanager-lie", "html"],
        asked: DOCTOR,
        code: 9,
        words: &["PROBLEM", "alerts cannot be trusted"],
    },
    Case {
        damage: &["alertmanager-lie", "truncated"],
        asked: DOCTOR,
        code: 9,
        words: &["PROBLEM", "alerts cannot be trusted"],
    },
    Case {
        damage: &["alertmanager-lie", "empty"],
        asked: DOCTOR,
        code: 9,
        words: &["PROBLEM", "alerts cannot be trusted"],
    },
    Case {
        damage: &["alert", "production"],
        asked: &["why"],
        code: 9,
        words: &["production", "ManualAlert"],
    },
    Case {
        damage: &["alert", "staging"],
        asked: RUN,
        code: 5,
        words: &["has halted", "ManualAlert"],
    },
    Case {
        damage: &["disk-full", "deploy-01.gstg"],
        asked: PLAN,
        code: 4,
        words: &["deploy-01.gstg has 0 MB free"],
    },
    Case {
        damage: &["dpkg-half-installed", "web-02.gstg"],
        asked: PLAN,
        code: 0,
        words: &["web-02.gstg", "will be repaired"],
    },
];

/// Every refusal, one after the other.
pub(crate) fn refusals() -> Scenario {
    Scenario {
        name: "damage_is_named_and_nothing_is_planned_around_it".to_owned(),
        run: Box::new(|lab| {
            let version = lab.publish(None)?;
            for case in CASES {
                refused(lab, case, &version)
                    .with_context(|| format!("after {:?}, asked {:?}", case.damage, case.asked))?;
            }
            Ok(format!("{} cases", CASES.len()))
        }),
    }
}

fn refused(lab: &Lab, case: &Case, version: &str) -> Result<()> {
    if !case.damage.is_empty() {
        let damage: Vec<&str> = ["break"].into_iter().chain(case.damage.iter().copied()).collect();
        lab.lab(&damage)?.expect(0)?;
    }
    let fill = |word: &'static str| if word == "VERSION" { version } else { word };
    let asked: Vec<&str> = case.asked.iter().copied().map(fill).collect();
    let answer = lab.serin(&asked);
    if !case.damage.is_empty() {
        lab.lab(&["break", "mend"])?.expect(0)?;
    }
    answer?.expect(case.code)?.says(case.words)?;
    if case.code == 5 {
        lab.serin(&["cancel", "--reason", "the damage was the test"])?.expect(6)?;
    }
    Ok(())
}
