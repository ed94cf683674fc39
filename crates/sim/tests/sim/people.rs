//! What people ask in the middle: halt, resume, cancel.

use crate::{began_after, proven, succeeds_like, time_of};
use serin_sim::{AfterHalt, Command, Ending, Reason, Scenario};
use std::time::Duration;

fn halt_at(at: Duration, after_halt: AfterHalt) -> Scenario {
    let reason = Reason::Person { who: "sim".to_owned(), why: "lunch".to_owned() };
    Scenario { commands: vec![(at, Command::Halt(reason))], after_halt, ..Scenario::default() }
}

#[test]
fn a_halt_at_any_moment_leaves_no_host_out_and_a_resumed_run_succeeds() {
    let healthy = proven(&Scenario::default());
    let last = healthy.took.as_secs() - 10;
    let step = if crate::soak() { 5 } else { 50 };
    for second in (5..last).step_by(step) {
        let at = Duration::from_millis(second * 1_000 + 137);
        let report = proven(&halt_at(at, AfterHalt::Stop));
        let Ending::Halted(_, named) = &report.ending else { panic!("{:?}", report.ending) };
        assert!(named.is_empty(), "{named:?} stayed out");
        succeeds_like(&halt_at(at, AfterHalt::RepairAndResume), &healthy);
    }
}

#[test]
fn a_halt_while_a_host_drains_puts_it_back_without_touching_it() {
    let healthy = proven(&Scenario::default());
    let at = time_of(&healthy, "began 3/web-02.gstg/drain") + Duration::from_millis(100);
    let report = proven(&halt_at(at, AfterHalt::Stop));
    assert!(matches!(report.ending, Ending::Halted(..)), "{:?}", report.ending);
    assert_eq!(began_after(&report, "web-02.gstg/install", Duration::ZERO), Vec::<String>::new());
    assert_eq!(began_after(&report, "web-02.gstg/ready", Duration::ZERO).len(), 1);
}

#[test]
fn a_cancelled_run_gives_its_environment_back() {
    let healthy = proven(&Scenario::default());
    let at = time_of(&healthy, "began 3/web-02.gstg/install");
    let report = proven(&halt_at(at, AfterHalt::Cancel));
    assert_eq!(report.ending, Ending::Cancelled);
    let left = report.trace.iter().any(|line| line.contains("EnvironmentLeft"));
    assert!(left, "{:?}", report.trace.last());
}
