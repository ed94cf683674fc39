//! `serin share` and `serin drift`, on a real HAProxy.

use crate::support::World;

const REASON: &[&str] = &["--reason", "try it"];

fn share(world: &World, words: &[&str]) -> crate::support::Said {
    world.serin(&[&["share", "production/canary"], words, REASON].concat())
}

fn weight(world: &World, server: &str) -> String {
    let said = world.haproxy(&format!("get weight {server}"));
    said.split(' ').next().unwrap().to_owned()
}

#[test]
fn a_share_is_set_shown_and_kept() {
    let world = World::with_haproxy("roundrobin");
    world.serin(&["share", "production/canary"]).is(0, &["nobody has said", "33.3%"]);
    let said = share(&world, &["10%"]);
    said.is(0, &["meant to get 10% now", "lb-01", "web", "10.3%", "no request came in 3 s"]);
    // 10 of 100 with two servers of 100: 200 * 10 / 90, rounded up.
    assert_eq!(weight(&world, "web/web-cny-01"), "23");
    assert_eq!(weight(&world, "canary_web/web-cny-01"), "100", "its own backend is not shared");
    world.serin(&["share", "production/canary"]).is(0, &["meant to get 10% (mira: try it)"]);
    world.serin(&["status"]).is(0, &["canary is meant to get 10% of traffic, says mira"]);
    let shown = world.serin(&["--json", "share", "production/canary"]);
    shown.is(0, &["\"intended_percent\":10", "\"computed_tenths\":103"]);
}

#[test]
fn a_share_that_cannot_be_is_refused_and_nothing_is_told() {
    let world = World::with_haproxy("roundrobin");
    share(&world, &["101%"]).is(4, &["101% is more than all traffic"]);
    share(&world, &["2.5%"]).is(4, &["not a whole percentage"]);
    share(&world, &["-5%"]).is(2, &[]);
    world.serin(&["share", "production/canary", "5%"]).is(4, &["without a reason"]);
    let main = world.serin(&["share", "production/main", "5%", "--reason", "x"]);
    main.is(4, &["main is not a canary"]);
    world.serin(&["share", "production", "5%", "--reason", "x"]).is(4, &["not one fleet"]);
    world.haproxy("set server web/web-cny-01 state maint");
    share(&world, &["5%"]).is(4, &["canary has no server that is UP in lb-01:web"]);
    assert_eq!(weight(&world, "web/web-cny-01"), "100");
    world.serin(&["share", "production/canary"]).is(0, &["nobody has said"]);
}

#[test]
fn a_backend_that_takes_no_weights_is_named() {
    let world = World::with_haproxy("static-rr");
    share(&world, &["5%"]).is(4, &["lb-01:web (balance static-rr) cannot be given weights"]);
    // A hash of the request may or may not take them: HAProxy says so itself.
    let world = World::with_haproxy("source");
    let said = share(&world, &["5%"]);
    assert_ne!(said.code, 0, "{said:?}");
    assert!(said.err.contains("static LB algorithm"), "{said:?}");
}

#[test]
fn a_ramp_stays_in_the_foreground_until_it_is_done() {
    let world = World::with_haproxy("roundrobin");
    share(&world, &["0%"]).is(0, &["meant to get 0% now"]);
    let said = share(&world, &["20%", "--over", "20s"]);
    said.is(0, &["on its way from 0% to 20%", "meant to get 10% now", "meant to get 20% now"]);
    assert_eq!(weight(&world, "web/web-cny-01"), "50");
}

#[test]
fn a_ramp_whose_process_died_goes_on_where_it_is_by_then() {
    let world = World::with_haproxy("roundrobin");
    share(&world, &["0%"]).is(0, &[]);
    let words = ["share", "production/canary", "20%", "--over", "20s", "--reason", "slowly"];
    let mut first = world.start(&words);
    while !world.serin(&["history", "production"]).out.contains("goes from 0% to 20%") {}
    first.kill().unwrap();
    first.wait().unwrap();
    let said = world.serin(&words);
    said.is(0, &["on its way from 0% to 20%", "meant to get 20% now"]);
    assert_eq!(weight(&world, "web/web-cny-01"), "50");
    let history = world.serin(&["history", "production"]).out;
    assert_eq!(history.matches("goes from 0% to 20%").count(), 1, "it began once: {history}");
    assert_eq!(history.matches("asks to give canary 20%").count(), 2, "{history}");
}

#[test]
fn drift_is_found_and_put_right() {
    let world = World::with_haproxy("roundrobin");
    // Staging has no HAProxy here: what cannot be compared is no agreement.
    world.serin(&["drift"]).is(9, &["staging: lb-01 could not be compared"]);
    let production = |said: &crate::support::Said| {
        said.out.lines().filter(|line| line.starts_with("production")).map(str::to_owned).collect()
    };
    let drift =
        |words: &[&str]| -> Vec<String> { production(&world.serin(&[&["drift"], words].concat())) };
    assert_eq!(drift(&[]), Vec::<String>::new());
    share(&world, &["10%"]).is(0, &[]);
    assert_eq!(drift(&[]), Vec::<String>::new());

    world.haproxy("set server web/web-cny-01 weight 100");
    world.haproxy("set server web/web-02 state drain");
    let found = drift(&[]);
    assert_eq!(
        found,
        [
            "production: lb-01:web/web-02 is told drain, and no run has its host out of service",
            "production: canary is meant to get 10%: lb-01:web/web-cny-01 has weight 100, not 12",
        ]
    );
    let fixed = drift(&["--fix"]);
    assert_eq!(fixed.last().unwrap(), "production: put right", "{fixed:?}");
    assert_eq!(weight(&world, "web/web-cny-01"), "23");
    assert_eq!(drift(&[]), Vec::<String>::new());

    // A server that comes back makes another weight of the same share, which is told as well.
    world.haproxy("set server web/web-02 state maint");
    world.haproxy("set server web/web-cny-01 weight 12");
    assert_eq!(drift(&[]).len(), 1);
    assert_eq!(drift(&["--fix"]).last().unwrap(), "production: put right");
    assert_eq!(weight(&world, "web/web-cny-01"), "23");
}
