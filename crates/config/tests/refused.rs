//! Every refusal as a person reads it: one change to a file that is right, and what is said about it.
//!
//! The snapshots are reviewed as prose. Each change is made to `base.toml`, and a change that is not refused fails.

use serin_config::{Diagnostics, parse};
use std::fmt::Write as _;
use std::path::Path;

const BASE: &str = include_str!("base.toml");

/// A claim, and the changes (from, to) that break it.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)]);

fn refusal((claim, changes): &Case<'_>) -> Diagnostics {
    let changed = changes.iter().fold(BASE.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{claim}: {from:?} is not in base.toml");
        text.replacen(from, to, 1)
    });
    parse(&changed, Path::new("serin.toml")).expect_err(claim)
}

/// Compares with the snapshot of a name.
fn check(name: &str, cases: &[Case<'_>]) {
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!(name, shown(cases)));
}

fn shown(cases: &[Case<'_>]) -> String {
    let mut shown = String::new();
    for case in cases {
        let refusal = refusal(case);
        writeln!(shown, "━━ {}\n{refusal}\n", case.0).expect("a string takes text");
    }
    shown
}

#[test]
fn the_file_that_all_changes_are_made_to_is_right() {
    parse(BASE, Path::new("serin.toml")).unwrap_or_else(|refusal| panic!("{refusal}"));
}

#[test]
fn a_wrong_shape_is_refused() {
    check(
        "shape",
        &[
            ("it is TOML", &[("suite = \"bookworm\"", "suite = bookworm")]),
            ("a key is there once", &[("suite =", "url = \"x\"\nsuite =")]),
            ("texts can be shown", &[("\"bookworm\"", r#""book\u001b[31mworm""#)]),
            ("keys are known", &[("max_unavailable =", "max_unavailible =")]),
            ("tables are known", &[("[package]", "[colour]\nred = 1\n[package]")]),
            ("required keys are there", &[("keyring = \"packages.gpg\"\n", "")]),
            ("required tables are there", &[("[repository]", "[repositories]")]),
            ("types fit", &[("migrations = true", "migrations = \"yes\"")]),
            ("a value has a type that fits", &[("\"25%\"", "0.25")]),
            ("a word is one of few", &[("then = \"fail\"", "then = \"stop\"")]),
            ("quiet has its own words", &[("quiet = \"none\"", "quiet = \"nothing\"")]),
            (
                "everything that is wrong is said at once",
                &[
                    ("backends =", "backend ="),
                    ("quiet =", "quite ="),
                    ("stage = 1", "stage = \"1\""),
                ],
            ),
            ("alerts need a watchdog", &[("watchdog = ['alertname=\"Watchdog\"']\n", "")]),
        ],
    );
}

#[test]
fn a_wrong_value_is_refused() {
    check(
        "value",
        &[
            ("the profile exists", &[("gitlab-omnibus", "omnibus")]),
            ("names are names", &[("name = \"gitlab-ee\"", "name = \"gitlab ee\"")]),
            ("URLs are URLs", &[("https://packages.example.com", "packages.example.com")]),
            ("paths have no tilde", &[("\"packages.gpg\"", "\"~/packages.gpg\"")]),
            ("limits mean something", &[("\"25%\"", "\"0%\"")]),
            ("durations have a unit", &[("\"60s\"", "\"60\"")]),
            ("durations are not endless", &[("\"15m\"", "\"400h\"")]),
            ("shares are percentages", &[("\"5%\"", "\"5\"")]),
            ("placeholders are known", &[("\"set\", \"{fleet}\"", "\"set\", \"{flet}\"")]),
            ("commands have a program", &[("[\"sv\", \"stop\", \"chef-client\"]", "[]")]),
            ("matchers are matchers", &[("'env=\"gprd\"'", "'{env=\"gprd\"}'")]),
            ("an empty watchdog proves nothing", &[("['alertname=\"Watchdog\"']", "[]")]),
            ("numbers have bounds", &[("[package]", "[ssh]\nmax_connecting = 0\n[package]")]),
            ("a JUnit report has files", &[("report = \"rspec\"", "report = \"junit\"")]),
            (
                "what is wrong in several places is said at once",
                &[("\"60s\"", "\"soon\""), ("\"5%\"", "\"101%\""), ("\"15m\"", "\"-1m\"")],
            ),
        ],
    );
}

#[test]
fn a_wrong_journal_is_refused() {
    check(
        "journal",
        &[
            (
                "a journal is in one place",
                &[(
                    "[package]",
                    "[journal]\npath = \"a\"\npostgres = { host = \"db-01\" }\n[package]",
                )],
            ),
            (
                "a file has its state beside it",
                &[("[package]", "[journal]\nstate = \"a\"\n[package]")],
            ),
            (
                "a host is not a whole address",
                &[(
                    "[package]",
                    "[journal]\npostgres.host = \"postgres://me:secret@db-01/serin\"\n[package]",
                )],
            ),
            (
                "a password is in a file",
                &[(
                    "[package]",
                    "[journal]\npostgres = { host = \"a\", password = \"b\" }\n[package]",
                )],
            ),
            (
                "ports have bounds, and no TLS has no certificates",
                &[(
                    "[package]",
                    "[journal]\npostgres = { host = \"a\", port = 0, ca_file = \"b\", unencrypted = true }\n[package]",
                )],
            ),
        ],
    );
}

#[test]
fn wrong_deployments_are_refused() {
    const LIST: &str = "[[gitlab.deployments]]\nproject = \"a/b\"\ncomponent = \"c\"\n";
    let told = |more: &str| format!("{LIST}{more}\n[package]");
    let nowhere = told("environments = { production = \"gprd\" }");
    let elsewhere = format!(
        "[gitlab]\napi = \"http://ops.example.com\"\ntoken_file = \"\"\n{}",
        told("environments = { prodution = \"gprd\", \"production/canry\" = \"\" }")
    );
    check(
        "deployments",
        &[
            ("a GitLab is told, by a token", &[("[package]", &nowhere)]),
            (
                "places are known, and tokens are not sent in the clear",
                &[("[package]", &elsewhere)],
            ),
        ],
    );
}

#[test]
fn wrong_people_are_refused() {
    check(
        "people",
        &[
            ("somebody may do something", &[("[package]", "[people]\n[package]")]),
            (
                "two people are more than none",
                &[(
                    "[environments.production.config_management]",
                    "[environments.production.policy]\ntwo_people = true\n\
                     [environments.production.config_management]",
                )],
            ),
            (
                "a person is known by something",
                &[("[package]", "[people.ada]\nroles = { \"*\" = \"admin\" }\n[package]")],
            ),
            (
                "a person may do something, and where there is something",
                &[(
                    "[package]",
                    "[people.ada]\nunix = [\"ada\"]\nroles = {}\n\
                     [people.bob]\nunix = [\"\"]\nroles = { prodution = \"viewer\" }\n[package]",
                )],
            ),
            (
                "roles are known",
                &[(
                    "[package]",
                    "[people.ada]\nunix = [\"ada\"]\nroles = { \"*\" = \"root\" }\n[package]",
                )],
            ),
            (
                "an account is one person's",
                &[(
                    "[package]",
                    "[people.ada]\nunix = [\"ada\"]\nroles = { \"*\" = \"admin\" }\n\
                     [people.bob]\nunix = [\"ada\"]\nroles = { \"*\" = \"viewer\" }\n[package]",
                )],
            ),
            (
                "the configuration says which GitLab is asked",
                &[("[package]", "[gitlab]\nverify_jobs = true\nprojects = [0]\n[package]")],
            ),
            (
                "tokens are not sent in the clear, and a job is verified or trusted",
                &[(
                    "[package]",
                    "[gitlab]\napi = \"http://gitlab.example.com/api/v4\"\nverify_jobs = true\n\
                     trust_variables = true\n[package]",
                )],
            ),
            (
                "projects are of jobs that are verified",
                &[("[package]", "[gitlab]\nprojects = [42]\n[package]")],
            ),
        ],
    );
}

#[test]
fn a_wrong_inventory_is_refused() {
    check(
        "inventory",
        &[
            ("roles exist", &[("web = [\"web-[01:02].gstg\"]", "wbe = [\"web-[01:02].gstg\"]")]),
            ("ranges count up", &[("[01:02]", "[02:01]")]),
            ("ranges are bounded", &[("[01:04]", "[1:20000]")]),
            (
                "a host is named once for a role",
                &[("[01:04].gprd\"", "[01:04].gprd\", \"web-02.gprd\"")],
            ),
            ("a host is in one fleet", &[("web-cny-01.gprd", "web-04.gprd")]),
            ("a host is in one environment", &[("web-[01:02].gstg", "web-[01:02].gprd")]),
            ("a fleet has hosts", &[("{ web = [\"web-cny-01.gprd\"] }", "{}")]),
            ("servers have different names", &[("[01:02].gstg", "[01:02].gstg\", \"web-01.b")]),
            (
                "servers have a load balancer",
                &[("load_balancers.lb-01.host = \"lb-01.gstg\"\n", "")],
            ),
            ("a load balancer is in one environment", &[("lb-01.gstg", "lb-01.gprd")]),
            ("a canary's backend is its own", &[("\"canary_web\"", "\"web\"")]),
            ("one role runs migrations", &[("services =", "migrations = true\nservices =")]),
            ("there is one deploy host", &[("deploy-01.gprd\"]", "deploy-[01:02].gprd\"]")]),
            ("a role without servers says how it goes quiet", &[("quiet = \"none\"\n", "")]),
            (
                "a role without servers has nothing to drain",
                &[("backends = [\"web\"]", "quiet = \"none\"")],
            ),
            ("the record is of each fleet", &[("\"get\", \"{fleet}\"", "\"get\"")]),
            (
                "the record is on a host",
                &[("record.host = \"deploy-01.gprd\"", "record.host = \"chef\"")],
            ),
            ("the version is recorded", &[(", \"{version}\"]", "]")]),
        ],
    );
}

#[test]
fn a_wrong_pipeline_is_refused() {
    check(
        "pipeline",
        &[
            (
                "the environment exists",
                &[("environment = \"production\"", "environment = \"prod\"")],
            ),
            ("the fleet exists", &[("fleet = \"canary\"", "fleet = \"cny\"")]),
            ("the QA suite exists", &[("qa = [\"canary\"]", "qa = [\"smoke\"]")]),
            ("a stage of roles names them", &[("roles = [\"web\"]\n", "")]),
            (
                "the roles have hosts there",
                &[("roles = [\"web\"]", "roles = [\"web\", \"deploy\"]")],
            ),
            ("stages are numbered upwards", &[("stage = 2", "stage = 1")]),
            (
                "post-deployment migrations come last",
                &[("work = \"migrations\"", "work = \"post-deployment-migrations\"")],
            ),
            ("migrations have a deploy host", &[("deploy = [\"deploy-01.gprd\"], ", "")]),
            ("migrations have a deploy role", &[("migrations = true\n", "")]),
            (
                "migrations are in the profile",
                &[("profile = \"gitlab-omnibus\"", "profile = \"plain\"")],
            ),
            (
                "migrations in the profile are complete",
                &[
                    ("profile = \"gitlab-omnibus\"", "profile = \"plain\""),
                    ("[repository]", "[profile.migrations]\nregular = [\"migrate\"]\n[repository]"),
                ],
            ),
            (
                "a canary proves the build for others, not for itself",
                &[(
                    "share = \"zero",
                    "exposure = { fleet = \"canary\", share = \"5%\" }\nshare = \"zero",
                )],
            ),
            (
                "a proof needs traffic, a fleet that is there, and time",
                &[(
                    "share = \"zero",
                    "exposure = { fleet = \"cny\", share = \"0%\", requests = 0, watch = \"2h\", deadline = \"1h\" }\n\
                     share = \"zero",
                )],
            ),
            ("an approval says what for", &[("bake = \"15m\"", "approval = \"\"")]),
            (
                "derived pipelines are not written",
                &[("[[pipelines.to-canary]]", "[[pipelines.rollback]]")],
            ),
            ("only a canary has a share", &[("fleet = \"canary\"", "fleet = \"main\"")]),
            (
                "migrations have no share",
                &[(
                    "work = \"migrations\"",
                    "work = \"migrations\"\nshare = \"zero-then-after-canary\"",
                )],
            ),
            (
                "migrations have no roles",
                &[("work = \"migrations\"", "work = \"migrations\"\nroles = []")],
            ),
            (
                "migrations run where the deploy host is",
                &[("work = \"migrations\"", "fleet = \"canary\"\nwork = \"migrations\"")],
            ),
        ],
    );
}

#[test]
fn a_wrong_chat_is_refused() {
    check(
        "chat",
        &[
            (
                "whoever is told can be told",
                &[(
                    "[package]",
                    "[[chat.notify]]\nto = \"slack:#releases\"\n[[chat.notify]]\nto = \"mattermost:town\"\n\
                     [[chat.notify]]\nto = \"webhook:pager\"\n[[chat.notify]]\nto = \"#releases\"\n[package]",
                )],
            ),
            (
                "channels, events and environments are there",
                &[(
                    "[package]",
                    "[chat.slack]\nsigning_secret_file = \"a\"\nbot_token_file = \"b\"\n\
                     [[chat.notify]]\nto = \"slack:#a b\"\nenvironments = [\"prod\"]\n[package]",
                )],
            ),
            (
                "an event is one of few",
                &[(
                    "[package]",
                    "[[chat.notify]]\nto = \"webhook:a\"\nevents = [\"failed\"]\n[package]",
                )],
            ),
            (
                "secrets are not sent in the clear",
                &[(
                    "[package]",
                    "[chat.mattermost]\nurl = \"http://chat.example.com\"\ntoken_files = []\n\
                     [chat.slack]\nsigning_secret_file = \"a\"\nurl = \"http://x.example\"\n\
                     [chat.webhooks.a]\nurl = \"http://x.example\"\ntoken_file = \"b\"\n[package]",
                )],
            ),
        ],
    );
}

/// Where a window can be put before another one.
const END: &str = "[[environments.production.freeze]]\nreason = \"end";

#[test]
fn a_wrong_freeze_window_is_refused() {
    check(
        "freeze",
        &[
            ("a window says why", &[("\"nobody is on call\"", "\" \"")]),
            ("days are days", &[("\"fri\"", "\"friday\"")]),
            ("a day is there once", &[("\"fri\", \"sat\"", "\"fri\", \"fri\"")]),
            ("a weekly window has days", &[("[\"fri\", \"sat\"]", "[]")]),
            ("a weekly window has times of day", &[("from = \"18:00\"", "from = \"6pm\"")]),
            ("only the end of a day is 24:00", &[("from = \"18:00\"", "from = \"24:00\"")]),
            ("a window without days has dates", &[("days = [\"fri\", \"sat\"]\n", "")]),
            ("time zones are known", &[("Europe/Berlin", "Europe/Berlim")]),
            ("a weekly window is not empty", &[("to = \"08:00\"", "to = \"18:00\"")]),
            (
                "a window that comes once is not empty",
                &[("from = \"2026-12-23T18:00\"", "from = \"2027-01-04T08:00\"")],
            ),
            (
                "a window ends",
                &[
                    (
                        "[\"fri\", \"sat\"]",
                        "[\"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\", \"sun\"]",
                    ),
                    ("from = \"18:00\"", "from = \"00:00\""),
                    ("to = \"08:00\"", "to = \"24:00\""),
                ],
            ),
            ("mid_run is one of two", &[("mid_run = \"halt\"", "mid_run = \"stop\"")]),
            (
                "weekly windows do not overlap",
                &[(
                    END,
                    "[[environments.production.freeze]]\nreason = \"another\"\ndays = [\"sat\"]\n\
                     from = \"07:59\"\nto = \"09:00\"\nzone = \"Europe/Berlin\"\n\
                     [[environments.production.freeze]]\nreason = \"end",
                )],
            ),
            (
                "nor do they where their zones differ",
                &[(
                    END,
                    "[[environments.production.freeze]]\nreason = \"another\"\ndays = [\"fri\"]\n\
                     from = \"11:00\"\nto = \"13:00\"\nzone = \"America/New_York\"\n\
                     [[environments.production.freeze]]\nreason = \"end",
                )],
            ),
            (
                "nor around the end of a week",
                &[
                    ("days = [\"fri\", \"sat\"]", "days = [\"sun\"]"),
                    (
                        END,
                        "[[environments.production.freeze]]\nreason = \"another\"\ndays = [\"mon\"]\n\
                         from = \"06:00\"\nto = \"09:00\"\nzone = \"Europe/Berlin\"\n\
                         [[environments.production.freeze]]\nreason = \"end",
                    ),
                ],
            ),
            (
                "windows that come once do not overlap",
                &[(
                    END,
                    "[[environments.production.freeze]]\nreason = \"another\"\n\
                     from = \"2027-01-03T00:00\"\nto = \"2027-01-05T00:00\"\n\
                     [[environments.production.freeze]]\nreason = \"end",
                )],
            ),
        ],
    );
}

#[test]
fn a_position_is_a_line_and_a_column_from_one() {
    let refusal = refusal(&("", &[("max_unavailable =", "max_unavailible =")]));
    let positions: Vec<_> = refusal.all().iter().map(|one| refusal.position(one)).collect();
    assert_eq!(positions, [(16, 1)]);
}

#[test]
fn a_page_of_refusals_ends() {
    let keys: Vec<String> = (0..40).map(|key| format!("colour{key} = 1\n")).collect();
    let refusal =
        parse(&(keys.concat() + BASE), Path::new("serin.toml")).expect_err("unknown keys");
    assert_eq!(refusal.all().len(), 40);
    assert!(refusal.to_string().ends_with("... and 10 more"), "{refusal}");
}

#[test]
fn no_damage_to_a_file_makes_reading_or_showing_panic() {
    let read = |text: &str| {
        if let Err(refusal) = parse(text, Path::new("serin.toml")) {
            assert!(!refusal.all().is_empty() && refusal.to_string().contains("serin.toml:"));
        }
    };
    let lines: Vec<&str> = BASE.split_inclusive('\n').collect();
    for index in 0..lines.len() {
        let (before, rest) = lines.split_at(index);
        let (line, after) = rest.split_at(1);
        read(&before.concat());
        read(&[&before.concat(), "", &after.concat()].concat());
        for (from, to) in [("= \"", "= \"é{x}\u{301}"), ("\"]", ""), ("\"", "'"), ("[", "[[")] {
            let line = line.concat().replacen(from, to, 1);
            read(&[before.concat(), line, after.concat()].concat());
        }
    }
}
