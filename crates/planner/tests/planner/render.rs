//! Plans and reports as text, narrow enough to be reviewed as prose.

use serin_model::{Action, Lane, Plan, Stage, Subject};
use serin_planner::PlanReport;
use std::collections::BTreeMap;
use std::fmt::Write;

/// A plan as an indented list; lanes that do the same on several hosts are one line.
pub(crate) fn plan(plan: &Plan) -> String {
    let mut text = format!("{} {}\n", plan.pipeline, plan.build.version);
    plan.stages.iter().for_each(|stage| text.push_str(&self::stage(stage)));
    text
}

fn stage(stage: &Stage) -> String {
    let mut text = format!("{} {}\n", stage.number, stage.title);
    for phase in &stage.phases {
        writeln!(text, "  {}", phase.title).unwrap();
        let mut lanes: Vec<(String, Vec<String>)> = Vec::new();
        for lane in &phase.lanes {
            let (subject, actions) = (lane.subject.to_string(), actions(lane));
            match lanes.iter_mut().find(|(known, _)| *known == actions) {
                Some((_, subjects)) => subjects.push(subject),
                None => lanes.push((actions, vec![subject])),
            }
        }
        for (actions, subjects) in lanes {
            writeln!(text, "    {}", subjects.join(" ")).unwrap();
            writeln!(text, "      {actions}").unwrap();
        }
    }
    text
}

fn actions(lane: &Lane) -> String {
    lane.steps.iter().map(|step| action(&step.action)).collect::<Vec<_>>().join(", ")
}

fn action(action: &Action) -> String {
    let from = |from: &Option<serin_model::DebVersion>| {
        from.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string)
    };
    match action {
        Action::CheckHost { from: version } => format!("check has {}", from(version)),
        Action::Install { from: version } => format!("install over {}", from(version)),
        Action::RecordVersion { from: version, .. } => format!("record over {}", from(version)),
        Action::StartConfigManagement { fleet } => format!("start config management of {fleet}"),
        Action::SetShare { percent, .. } => format!("share {percent}%"),
        Action::Qa(suite) => format!("qa {suite}"),
        Action::Bake { duration, .. } => format!("bake {}s", duration.as_secs()),
        Action::Sweep { intended } => {
            let mut fleets: BTreeMap<_, Vec<_>> = BTreeMap::new();
            for (fleet, role) in intended {
                fleets.entry(fleet.to_string()).or_default().push(role.to_string());
            }
            let fleet =
                |(fleet, roles): (String, Vec<String>)| format!("{fleet}: {}", roles.join(" "));
            format!("sweep {}", fleets.into_iter().map(fleet).collect::<Vec<_>>().join("; "))
        }
        other => other.name().to_owned(),
    }
}

pub(crate) fn report(report: &PlanReport) -> String {
    report.notes.iter().fold(String::new(), |text, note| text + &note.to_string() + "\n")
}

/// The actions that a plan has for one host, or for another subject, stage by stage.
pub(crate) fn of_subject(plan: &Plan, subject: &str) -> Vec<String> {
    let named = |lane: &Lane| match &lane.subject {
        Subject::Host(host) => host.as_str() == subject,
        Subject::Fleet(fleet) => fleet.as_str() == subject,
        Subject::Environment => false,
    };
    plan.steps()
        .filter(|(_, lane, _)| named(lane))
        .map(|(stage, _, step)| format!("{} {}", stage.number, action(&step.action)))
        .collect()
}

/// The lines that only one of two plans has: what changes between them.
pub(crate) fn diff(before: &Plan, after: &Plan) -> String {
    let lines = |plan: &Plan| -> Vec<String> {
        let line = |(stage, lane, step): (&Stage, &Lane, &serin_model::Step)| {
            format!("{} {}: {}", stage.number, lane.subject, action(&step.action))
        };
        plan.steps().map(line).collect()
    };
    let (before, after) = (lines(before), lines(after));
    let mut text = String::new();
    for line in before.iter().filter(|line| !after.contains(line)) {
        writeln!(text, "- {line}").unwrap();
    }
    for line in after.iter().filter(|line| !before.contains(line)) {
        writeln!(text, "+ {line}").unwrap();
    }
    text
}
