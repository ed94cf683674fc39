//! Holds and shares of traffic while a run acts, and where none does.

use crate::{began_after, block_on, proven, time_of};
use serin_engine::environment::{Ask, Asking, Canary, Refused};
use serin_model::{
    EnvironmentName, FreezeWindow, HoldId, MidRun, Overriding, Reason, RunId, WindowTime,
};
use serin_runtime::environment::{EnvironmentRequest, Want, windows};
use serin_runtime::ports::Fence;
use serin_runtime::share::Sharing;
use serin_sim::installation::{name, topology};
use serin_sim::scenario::Acting;
use serin_sim::world::BEGIN;
use serin_sim::{Command, Ended, Fault, Faults, Report, Scenario, Sim};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The seed whose healthy run says when things happen.
const SEED: u64 = 1;

/// The canary's share after its stage.
const AFTER: u64 = 50;

fn healthy() -> Report {
    proven(&Scenario { seed: SEED, ..Scenario::default() })
}

fn environment(text: &str) -> EnvironmentName {
    name(text)
}

fn request(want: Want) -> EnvironmentRequest {
    EnvironmentRequest { by: "mira".to_owned(), why: "patching".to_owned(), want }
}

fn hold(mid_run: MidRun) -> EnvironmentRequest {
    request(Want::PlaceHold { fleet: None, until: None, mid_run })
}

fn share(percent: u32, over: u64) -> EnvironmentRequest {
    let over = Duration::from_secs(over);
    request(Want::SetShare { fleet: name("canary"), percent, over })
}

/// A world with a run in it, and a controller.
async fn begun() -> (Sim, RunId, Acting) {
    let sim = Sim::new(SEED, Faults::default());
    let run = sim.start().await.unwrap();
    let acting = sim.adopt(&run, 1).await.unwrap().expect("nobody kills it");
    (sim, run, acting)
}

/// Drives a run; something is asked of an environment at a time. Returns how the run ended, and what was answered.
async fn asked_at(
    sim: &Sim,
    acting: &mut Acting,
    at: Duration,
    (of, request): (&str, EnvironmentRequest),
) -> (Ended, String) {
    let of = environment(of);
    let began = Instant::now();
    let (_terminal, commands) = mpsc::channel(1);
    let asking = async {
        tokio::time::sleep_until(began + at).await;
        let command = sim.send(&of, &request).await.unwrap();
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if let Some(answer) = sim.answered(command).await.unwrap() {
                return answer;
            }
        }
    };
    let answered = async {
        tokio::time::timeout(Duration::from_hours(1), asking)
            .await
            .unwrap_or_else(|_| "nobody answered".to_owned())
    };
    tokio::join!(acting.controller.drive(commands), answered)
}

/// The canary's share by weight, in tenths of a percent, from backend to backend.
async fn canary(sim: &Sim) -> Vec<u64> {
    let (ports, topology) = (sim.ports(), topology());
    let environment = &topology.environments[&environment("production")];
    let sharing = Sharing { ports: &ports, environment, fleet: &name("canary") };
    let parts = sharing.look().await.unwrap();
    parts.iter().map(|part| part.tenths().unwrap()).collect()
}

fn clean(sim: &Sim) -> Report {
    let report = sim.report();
    assert_eq!(report.violations, Vec::<String>::new(), "{:#?}", report.trace);
    report
}

#[test]
fn a_hold_that_says_halt_halts_the_run_at_once_and_every_host_goes_back() {
    let at = time_of(&healthy(), "began 3/web-02.gstg/drain") + Duration::from_millis(100);
    block_on(async {
        let (sim, _, mut acting) = begun().await;
        let request = ("staging", hold(MidRun::Halt));
        let (ended, answer) = asked_at(&sim, &mut acting, at, request).await;
        assert_eq!(answer, "accepted: h-1");
        assert!(matches!(ended, Ended::Halted(Reason::Held(_))), "{ended:?}");
        assert_eq!(acting.controller.run().out_of_service(), []);
        let report = clean(&sim);
        assert_eq!(began_after(&report, "web-02.gstg/install", at), Vec::<String>::new());
    });
}

#[test]
fn a_hold_in_a_later_environment_stops_the_run_at_the_guard_there_until_it_is_lifted() {
    block_on(async {
        let (sim, run, mut acting) = begun().await;
        let production = environment("production");
        let ask = |ask| Asking { by: "mira".to_owned(), why: "patching".to_owned(), ask };
        let place = Ask::PlaceHold { fleet: None, until: None, mid_run: MidRun::NextStage };
        let now = sim.ports().clock.now();
        let mut moment = sim.moment(&production).await.unwrap();
        assert_eq!(moment.ask(ask(place), now).await.unwrap().refused, None);
        moment.end().await.unwrap();

        let (_terminal, commands) = mpsc::channel(1);
        let ended = acting.controller.drive(commands).await;
        let Ended::Halted(reason) = &ended else { panic!("{ended:?}") };
        let text = "production/h-1: mira holds production until it is lifted: patching";
        assert_eq!(reason.to_string(), text);
        let report = clean(&sim);
        let migrated = began_after(&report, "5/deploy-01.gprd", Duration::ZERO);
        assert_eq!(migrated, Vec::<String>::new(), "nothing begins in production");
        drop(acting);

        let mut moment = sim.moment(&production).await.unwrap();
        moment.ask(ask(Ask::LiftHold(HoldId(1))), now).await.unwrap();
        moment.end().await.unwrap();
        let mut acting = sim.adopt(&run, 2).await.unwrap().unwrap();
        let resume = Command::Resume { by: "mira".to_owned(), why: "patched".to_owned() };
        acting.controller.ask(resume).await.unwrap().unwrap();
        let (_terminal, commands) = mpsc::channel(1);
        let ended = acting.controller.drive(commands).await;
        assert!(matches!(ended, Ended::Finished), "{ended:?}");
        clean(&sim);
    });
}

fn window(begins: Duration, mid_run: MidRun) -> FreezeWindow {
    let from = BEGIN.plus(begins);
    let when = WindowTime::Once { from, to: from.plus(Duration::from_hours(1)) };
    FreezeWindow { reason: "nobody is on call".to_owned(), when, mid_run }
}

async fn driven(sim: &Sim, run: &RunId) -> Ended {
    let mut acting = sim.adopt(run, 1).await.unwrap().expect("nobody kills it");
    let (_terminal, commands) = mpsc::channel(1);
    acting.controller.drive(commands).await
}

#[test]
fn a_freeze_window_that_begins_in_mid_run_halts_it_at_once_or_at_the_next_guard() {
    let at = time_of(&healthy(), "began 3/web-02.gstg/drain");
    for (mid_run, step) in [(MidRun::Halt, "3/"), (MidRun::NextStage, "4/")] {
        block_on(async {
            let sim = Sim::new(SEED, Faults::default());
            let sim = sim.freezing(environment("staging"), window(at, mid_run));
            let run = sim.start().await.unwrap();
            let ended = driven(&sim, &run).await;
            let Ended::Halted(reason) = &ended else { panic!("{mid_run}: {ended:?}") };
            assert!(reason.to_string().starts_with("a freeze window (serin.toml) holds staging"));
            let report = clean(&sim);
            let last = report.trace.iter().rfind(|line| line.contains("began ")).unwrap();
            assert!(last.contains(&format!("began {step}")), "{mid_run}: {last}");
        });
    }
}

#[test]
fn a_run_that_was_let_through_a_window_goes_on_in_it() {
    block_on(async {
        let sim = Sim::new(SEED, Faults::default());
        let window = window(Duration::ZERO, MidRun::Halt);
        let sim = sim.freezing(environment("staging"), window);
        let run = sim.start().await.unwrap();
        let staging = environment("staging");
        let plan = sim.plan(&BTreeSet::new()).await.unwrap();
        let held = windows::on(&plan.topology.environments[&staging], sim.ports().clock.now());
        assert_eq!(held.len(), 1);
        let mut moment = sim.moment(&staging).await.unwrap();
        let want = Want::StartRun {
            run: Some(run.clone()),
            pipeline: name("to-canary"),
            version: name("16.2.0-ee.0"),
            held,
            over: Some(Overriding::OnePerson),
            second: None,
        };
        let asking = request(want).asking(Ok(Canary { percent: 0 }));
        let decided = moment.ask(asking, sim.ports().clock.now()).await.unwrap();
        assert_eq!(decided.refused, None);
        moment.end().await.unwrap();
        assert!(matches!(driven(&sim, &run).await, Ended::Finished));
        clean(&sim);
    });
}

#[test]
fn a_share_that_is_asked_for_while_a_run_acts_is_told_by_its_controller() {
    let at = time_of(&healthy(), "began 5/deploy-01.gprd/install");
    block_on(async {
        let (sim, _, mut acting) = begun().await;
        let request = ("production", share(10, 0));
        let (ended, answer) = asked_at(&sim, &mut acting, at, request).await;
        assert!(matches!(ended, Ended::Finished), "{ended:?}");
        assert!(answer.starts_with("accepted: production/canary is meant to get 10%"), "{answer}");
        assert!(answer.contains("lb-02.gprd:web") || answer.contains("lb-02:web"), "{answer}");
        let report = clean(&sim);
        let zero = time_of(&report, "began 6/canary/set-share.before");
        assert!(time_of(&report, "is meant to get 10%") < zero);
        // Its own stage set it to zero and then to what the configuration says.
        let shares = canary(&sim).await;
        assert!(shares.iter().all(|tenths| (AFTER..AFTER + 15).contains(tenths)), "{shares:?}");
    });
}

#[test]
fn a_share_is_refused_while_the_run_changes_the_canary() {
    let healthy = healthy();
    for step in ["began 6/web-cny-01.gprd/drain", "began 6/web-cny-02.gprd/activate"] {
        let at = time_of(&healthy, step);
        block_on(async {
            let (sim, _, mut acting) = begun().await;
            let request = ("production", share(10, 0));
            let (ended, answer) = asked_at(&sim, &mut acting, at, request).await;
            assert!(matches!(ended, Ended::Finished), "{ended:?}");
            let expected =
                "refused: run r-1 is changing canary: its share stays zero until that is over";
            assert_eq!(answer, expected);
            let report = clean(&sim);
            let attempted = report.appends.iter().find(|made| made.contains("Attempted")).unwrap();
            assert!(attempted.contains("SetShare") && attempted.contains("Refused"), "{attempted}");
        });
    }
}

#[test]
fn a_share_that_is_being_told_when_the_canary_is_to_be_changed_does_not_outlive_the_zero() {
    let zero = time_of(&healthy(), "began 6/canary/set-share.before");
    let step = if crate::soak() { 10 } else { 90 };
    for before in (0..900).step_by(step) {
        block_on(async {
            let (sim, _, mut acting) = begun().await;
            let at = zero - Duration::from_millis(before);
            let request = ("production", share(10, 0));
            let (ended, _) = asked_at(&sim, &mut acting, at, request).await;
            assert!(matches!(ended, Ended::Finished), "{before} ms before: {ended:?}");
            clean(&sim);
        });
    }
}

#[test]
fn a_share_is_refused_for_a_fleet_that_is_no_canary_and_above_a_hundred() {
    block_on(async {
        let sim = Sim::new(SEED, Faults::default());
        let topology = topology();
        let production = environment("production");
        let ports = sim.ports();
        let mut moment = sim.moment(&production).await.unwrap();
        for (fleet, percent, refused) in [
            ("main", 5, Refused::NotACanary(name("main"))),
            ("nobody", 5, Refused::NoSuchFleet(name("nobody"))),
            ("canary", 101, Refused::TooMuch(101)),
        ] {
            let environment = &topology.environments[&production];
            let fleet = name(fleet);
            let sharing = Sharing { ports: &ports, environment, fleet: &fleet };
            let seen = sharing.canary(percent).await;
            let over = Duration::ZERO;
            let want = request(Want::SetShare { fleet: fleet.clone(), percent, over });
            let decided = moment.ask(want.asking(seen), ports.clock.now()).await.unwrap();
            assert_eq!(decided.refused, Some(refused));
        }
        assert!(moment.stream().state.shares.is_empty());
    });
}

#[test]
fn a_canary_that_serves_alone_keeps_its_traffic() {
    let died = |host: &str| {
        let host = name(host);
        (Duration::from_secs(1), Fault::HostDies { host, back_after: None })
    };
    block_on(async {
        let main = ["web-01.gprd", "web-02.gprd", "api-01.gprd"].map(died);
        let sim = Sim::new(SEED, Faults { at: main.to_vec(), ..Faults::default() });
        tokio::time::sleep(Duration::from_mins(1)).await;
        let (ports, topology) = (sim.ports(), topology());
        let environment = &topology.environments[&environment("production")];
        let sharing = Sharing { ports: &ports, environment, fleet: &name("canary") };
        let before = canary(&sim).await;
        let refused = sharing.set(Fence(1), 0).await.unwrap_err().to_string();
        assert!(refused.contains("before canary gets nothing"), "{refused}");
        assert_eq!(canary(&sim).await, before);
    });
}

#[test]
fn a_ramp_goes_on_under_the_next_controller() {
    let at = time_of(&healthy(), "began 5/deploy-01.gprd/install");
    block_on(async {
        let (sim, run, mut acting) = begun().await;
        let handle = acting.process();
        let (_terminal, commands) = mpsc::channel(1);
        let began = Instant::now();
        let production = environment("production");
        {
            let driving = std::pin::pin!(acting.controller.drive(commands));
            let dies = async {
                tokio::time::sleep_until(began + at).await;
                sim.send(&production, &share(80, 60)).await.unwrap();
                tokio::time::sleep(Duration::from_secs(15)).await;
            };
            tokio::select! {
                ended = driving => panic!("it ended before it was killed: {ended:?}"),
                () = dies => handle.kill(),
            }
        }
        let before = sim.report().trace.len();
        let mut acting = sim.adopt(&run, 2).await.unwrap().unwrap();
        let (_terminal, commands) = mpsc::channel(1);
        let ended = acting.controller.drive(commands).await;
        assert!(matches!(ended, Ended::Finished), "{ended:?}");
        let report = clean(&sim);
        let told = |line: &&String| line.contains("production/canary is meant to get");
        let later: Vec<&String> = report.trace[before..].iter().filter(told).collect();
        assert!(later.len() >= 2, "the second controller went on: {later:?}");
    });
}
