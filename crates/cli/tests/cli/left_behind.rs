//! Hosts that a run has left out of service when it was given up are named until a later run has put them back.

use crate::support::World;
use serin_engine::{Event, Outcome};
use serin_journal::{Append, Journal, SqliteJournal};
use serin_model::{
    Action, EnvironmentName, HostName, Lane, Phase, Reason, RunId, Stage, Step, StepId, Subject,
    Timestamp,
};
use serin_runtime::records;
use std::collections::BTreeMap;
use std::path::Path;

fn production() -> EnvironmentName {
    "production".parse().unwrap()
}

/// A stage that takes hosts out, installs, and puts them back.
fn stage(hosts: &[&str]) -> Stage {
    let lane = |host: &&str| {
        let step = |action: Action| Step { id: StepId::new(1, host, &action, None), action };
        let steps = [Action::Drain, Action::Install { from: None }, Action::Ready].map(step);
        let host: HostName = host.parse().unwrap();
        Lane { subject: Subject::Host(host), steps: steps.into() }
    };
    let lanes = hosts.iter().map(lane).collect();
    Stage {
        number: 1,
        title: "web".to_owned(),
        environment: production(),
        phases: vec![Phase { title: "roll".to_owned(), lanes }],
    }
}

/// Records a run that works on hosts so far, and then ends.
async fn ran(world: &World, hosts: &[&str], actions: &[&str], end: Vec<Event>) -> RunId {
    let plan = world.plan(vec![stage(hosts)]);
    let steps: Vec<StepId> = plan.steps().map(|(_, _, step)| step.id.clone()).collect();
    let run = world.begin(plan).await;
    let (term, attempt, at) = (1, 1, Timestamp::from_millis(1_000));
    let environment = production();
    let mut events = vec![
        Event::Adopted { term, by: "mira".to_owned() },
        Event::EnvironmentEntered { environment: environment.clone(), fence: 1 },
        Event::FenceRaised { environment, fence: 1, unavailable: BTreeMap::new() },
    ];
    let begun = steps.into_iter().filter(|id| actions.iter().any(|a| id.as_str().ends_with(a)));
    for step in begun {
        let outcome = Outcome::Done(String::new());
        events.push(Event::AttemptStarted { step: step.clone(), attempt, term });
        events.push(Event::AttemptEnded { step, attempt, outcome, at });
    }
    events.extend(end);
    events.push(Event::EnvironmentLeft { environment: production() });
    let journal = SqliteJournal::open(Path::new(&world.path("journal.db"))).unwrap();
    let lines: Vec<String> = events.iter().map(|event| records::write(event).unwrap()).collect();
    let append = Append { run: &run, expected: 1, records: &lines, at, leases: &[], claims: &[] };
    journal.append(&append).await.unwrap();
    run
}

fn given_up() -> Vec<Event> {
    let reason = Reason::Interrupted;
    let (by, why) = ("mira".to_owned(), "no".to_owned());
    vec![Event::HaltRequested { reason }, Event::Halted, Event::Cancelled { by, why }]
}

#[tokio::test]
async fn a_host_that_was_left_out_is_named_until_a_later_run_has_put_it_back() {
    let world = World::new("");
    let both = ["web-01.gprd", "web-02.gprd"];
    let all = ["/drain", "/install", "/ready"];
    // Put back before: that says nothing about what came afterwards.
    ran(&world, &both, &all, vec![Event::Finished]).await;
    ran(&world, &both, &["/drain", "/install"], given_up()).await;
    let out =
        |host: &str, run: &str| format!("OUT OF SERVICE  {host}  since run {run} was given up");
    let [first, second] = both.map(|host| out(host, "r-2"));
    world.serin(&["status"]).is(0, &["production: free", &first, &second]);
    ran(&world, &["web-01.gprd"], &all, vec![Event::Finished]).await;
    world.serin(&["status"]).is(0, &[&second]);
    assert!(!world.serin(&["status"]).out.contains("web-01.gprd"));
    // Left out once more, it is named after the run that did so last.
    ran(&world, &["web-02.gprd"], &["/drain", "/install"], given_up()).await;
    world.serin(&["status"]).is(0, &[&out("web-02.gprd", "r-4")]);
    assert!(!world.serin(&["status"]).out.contains("r-2"));
    ran(&world, &both, &all, vec![Event::Finished]).await;
    assert!(!world.serin(&["status"]).out.contains("OUT OF SERVICE"));
}
