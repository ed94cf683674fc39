//! Twists: what goes wrong when something else has just begun. Incidents come at any time, and hardly ever in the few
//! seconds in which a run is halting; a twist waits for them.
//!
//! They are drawn apart from incidents, and numbered after them, so that a story's incidents stay what they were.

use super::story::{Asked, Incident};
use crate::faults::{Fault, Mishap, When};
use crate::installation::Setting;
use crate::random::Random;
use serin_engine::transitions::Cause;
use serin_model::{EnvironmentName, HostName};
use std::time::Duration;

/// The share of an exposure is the third that is set: none for the canary, what it gets afterwards, and then this.
const EXPOSES: u32 = 3;

/// How long a host must be away so that what it was in the middle of is given up: the engine asks for about two minutes.
const FOR_GOOD: Duration = Duration::from_secs(400);

/// Draws what is to go wrong together in a story; nothing, in most.
pub(super) fn drawn(seed: u64, setting: &Setting) -> Vec<Incident> {
    let mut random = Random::new(seed ^ 0x7157_7157);
    if random.one_in(5) {
        return Vec::new();
    }
    drawn_by(&mut random, setting).unwrap_or_default()
}

fn drawn_by(random: &mut Random, setting: &Setting) -> Option<Vec<Incident>> {
    let production = super::player::production();
    let environments = &setting.topology.environments;
    let lbs: Vec<HostName> = environments
        .get(&production)
        .into_iter()
        .flat_map(|e| e.load_balancers.values().map(|lb| lb.host.clone()))
        .collect();
    let lb = random.pick(&lbs)?.clone();
    // In the exposure, or at the guard that follows it.
    let soon = if random.one_in(2) { random.seconds(25, 45) } else { random.seconds(1, 40) };
    let alarm = |nth| {
        let fault = Fault::Alert {
            environment: production.clone(),
            about: None,
            lasts: Duration::from_secs(100),
        };
        upon((Cause::ShareSet, nth), soon, Mishap::Befalls(fault))
    };
    Some(match random.below(11) {
        0 => {
            let halt = Incident::Asked(random.seconds(10, 400), Asked::Halt);
            vec![halt, upon((Cause::HaltRequested, 1), Duration::ZERO, Mishap::Dies)]
        }
        1 | 8 | 9 => {
            let which = if random.one_in(2) {
                (Cause::WithdrawalStarted, Mishap::Dies)
            } else {
                (Cause::WithdrawalEnded, Mishap::DiesBefore)
            };
            vec![alarm(EXPOSES), upon((which.0, 1), Duration::ZERO, which.1)]
        }
        2 | 10 => {
            let lasts = if random.one_in(2) { FOR_GOOD } else { random.seconds(1, 60) };
            let cut = Mishap::Befalls(Fault::Cut { host: lb, lasts });
            vec![alarm(EXPOSES), upon((Cause::WithdrawalStarted, 1), Duration::ZERO, cut)]
        }
        3 => {
            let reload = Mishap::Befalls(Fault::Reload { host: lb });
            vec![alarm(1), upon((Cause::HaltRequested, 1), Duration::ZERO, reload)]
        }
        4 | 7 => {
            let at = random.seconds(2, 90);
            let deploys = |host: &&HostName| host.as_str().starts_with("deploy-");
            let hosts = environments.values().flat_map(|e| e.hosts().map(|(_, host)| &host.name));
            let hosts: Vec<HostName> = hosts.filter(deploys).cloned().collect();
            let host = random.pick(&hosts)?.clone();
            vec![Incident::Befalls(at, Fault::Cut { host, lasts: FOR_GOOD })]
        }
        5 => {
            // In the middle of drains, for so long that the run halts.
            let nth = u32::try_from(5 + random.below(60)).unwrap_or(5);
            let cut = Fault::Cut { host: lb, lasts: random.seconds(45, 100) };
            vec![upon((Cause::AttemptStarted, nth), Duration::ZERO, Mishap::Befalls(cut))]
        }
        _ => {
            let names: Vec<EnvironmentName> = environments.keys().cloned().collect();
            let name = random.pick(&names)?.clone();
            let at = random.seconds(10, 400);
            let then = at + Duration::from_millis(500);
            let (halt, hold) = (Asked::Halt, Asked::HoldNextStage(name));
            vec![Incident::Asked(at, halt), Incident::Asked(then, hold)]
        }
    })
}

fn upon((cause, nth): (Cause, u32), after: Duration, mishap: Mishap) -> Incident {
    Incident::When(When { cause, nth, after, mishap })
}
