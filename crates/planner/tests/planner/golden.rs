//! A topology in five lines, and the plan that it gets.

use crate::installation::{Installation, of, running};
use crate::render;
use serin_model::{AdminState, DebVersion, PackageState};
use serin_planner::plan;

pub(crate) const SMALL: &str = "
staging lb-01
  main deploy-01 gitaly-01 web-01..02 sidekiq-01
production lb-01 lb-02
  main deploy-01 gitaly-01 web-01..04 api-01..02
  canary web-cny-01 api-cny-01
";

pub(crate) fn golden(name: &str, text: &str) {
    insta::with_settings!({
        snapshot_path => "../golden",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, { insta::assert_snapshot!(name, text) });
}

#[test]
fn a_build_goes_through_six_stages_in_the_order_of_the_design() {
    let installation = Installation::new(SMALL);
    let (plan, report) = plan(installation.request()).unwrap();
    golden("to_canary", &format!("{}\n{}", render::report(&report), render::plan(&plan)));
}

#[test]
fn a_fleet_that_is_half_done_is_finished_and_not_begun_again() {
    let mut installation = Installation::new(SMALL);
    let (whole, _) = plan(installation.request()).unwrap();
    // Stages 1 and 2 are done; stage 3 died after web-01.
    let done: Vec<u32> = vec![1, 2];
    for (stage, lane, step) in whole.steps() {
        let first = lane.subject.to_string() == "web-01.staging" && stage.number == 3;
        if done.contains(&stage.number) || first {
            installation.done(&stage.environment, &lane.subject, &step.action);
        }
    }
    installation.passed.extend(done);
    installation.set_admin(&of("web-02.staging"), AdminState::Drain);
    let (rest, report) = plan(installation.request()).unwrap();
    let text = format!("{}\n{}", render::report(&report), render::diff(&whole, &rest));
    golden("half_done", &text);
}

#[test]
fn the_report_says_in_words_what_is_out_of_the_ordinary() {
    let mut installation = Installation::new(SMALL);
    let newer: DebVersion = of("3.0");
    let host = installation.host("web-cny-01.production");
    host.package = PackageState::Installed(newer.clone());
    host.services.values_mut().for_each(|service| *service = running(&newer));
    installation.host("web-01.staging").package =
        PackageState::Broken { version: of("2.0"), state: "half-configured".to_owned() };
    installation.host("web-02.production").package =
        PackageState::Broken { version: of("2.0"), state: "unpacked".to_owned() };
    installation.servers("api-cny-01.production")[0].admin = AdminState::Drain;
    installation.environment("production").alerts = None;
    installation.build.kind = serin_model::BuildKind::Unknown;
    let (_, report) = plan(installation.request()).unwrap();
    golden("report", &render::report(&report));
}
