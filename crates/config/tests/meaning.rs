//! What a file that is right comes to: servers, recipes, defaults, paths.

use serin_config::{Config, ConfigError, Jobs, Journal, Login, Postgres, load, parse};
use serin_model::{
    AccountKind, BuildKind, Environment, MidRun, Overriding, PersonRole, Pipeline, Quiet,
    ShareSpec, StageSpec, Weekday, WhenBusy, WindowTime, WorkSpec,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

const BASE: &str = include_str!("base.toml");
const GITLAB: &str = include_str!("../../../examples/gitlab.toml");

fn read(text: &str) -> Config {
    parse(text, Path::new("/etc/serin/serin.toml")).expect("a file that is right")
}

fn without_pipelines(text: &str) -> &str {
    text.split_once("[[pipelines").expect("pipelines").0
}

/// The servers of a host, in one line each; `?` marks a backend that may be empty.
fn servers(config: &Config, environment: &str, host: &str) -> Vec<String> {
    let environment = environment.parse().expect("a name");
    let host = config.topology.host(&environment, &host.parse().expect("a name")).expect("a host");
    let shown = |may: bool| if may { "?" } else { "" };
    host.servers.iter().map(|server| format!("{server}{}", shown(server.may_be_empty))).collect()
}

/// A recipe, one stage a line.
fn recipe(pipeline: &Pipeline) -> String {
    let stage = |stage: &StageSpec| {
        let work = match &stage.work {
            WorkSpec::Migrations => "migrations".to_owned(),
            WorkSpec::PostDeploymentMigrations => "post-deployment migrations".to_owned(),
            WorkSpec::Patch | WorkSpec::DeployHost => "deploy host".to_owned(),
            WorkSpec::Roles(roles) => format!("{roles:?}"),
        };
        let exposure = stage.exposure.as_ref().map_or(String::new(), |exposure| {
            let (requests, watch) = (exposure.requests, exposure.watch.as_secs());
            format!(
                " {} at {}% for {requests} requests, {watch}s",
                exposure.fleet, exposure.percent
            )
        });
        let share = match stage.share {
            ShareSpec::Keep => "",
            ShareSpec::ZeroThenAfterCanary => " share",
            ShareSpec::Zero => " share to zero",
        };
        format!(
            "{} {}/{} {work}{share}{exposure} qa {:?} bake {}s\n",
            stage.number,
            stage.environment,
            stage.fleet,
            stage.qa,
            stage.bake.as_secs()
        )
    };
    pipeline.stages.iter().map(stage).collect()
}

#[test]
fn a_host_has_a_server_in_every_backend_of_its_roles_on_every_load_balancer() {
    let config = read(GITLAB);
    assert_eq!(
        servers(&config, "production", "web-07.gprd"),
        ["lb-01:web/web-07", "lb-02:web/web-07"]
    );
    assert_eq!(
        servers(&config, "production", "api-cny-01.gprd"),
        [
            "lb-01:api/api-cny-01",
            "lb-01:canary_api/api-cny-01?",
            "lb-02:api/api-cny-01",
            "lb-02:canary_api/api-cny-01?",
        ]
    );
    assert_eq!(servers(&config, "production", "sidekiq-01.gprd"), [""; 0]);
}

#[test]
fn only_a_backend_of_one_host_or_of_a_canary_may_be_empty() {
    let config = read(GITLAB);
    assert_eq!(servers(&config, "staging", "api-01.gstg"), ["lb-01:api/api-01?"]);
    assert_eq!(servers(&config, "staging", "web-01.gstg"), ["lb-01:web/web-01"]);
}

#[test]
fn a_server_is_named_as_its_role_says() {
    let named = BASE.replace("backends = [\"web\"]", "backends = [\"web\"]\nserver = \"s-{host}\"");
    assert_eq!(servers(&read(&named), "staging", "web-02.gstg"), ["lb-01:web/s-web-02.gstg"]);
}

#[test]
fn the_built_in_pipelines_are_the_nine_stages() {
    let config = read(without_pipelines(GITLAB));
    let pipelines: Vec<_> = config.pipelines.values().collect();
    insta::assert_snapshot!(recipe(pipelines[0]), @r#"
    1 staging/main migrations qa [] bake 300s
    2 staging/main [gitaly] qa [smoke] bake 300s
    3 staging/main [api, git, sidekiq, web] qa [smoke] bake 300s
    4 staging/main post-deployment migrations qa [] bake 300s
    5 production/main migrations qa [smoke] bake 300s
    6 production/canary [api, git, web] share qa [canary] bake 300s
    "#);
    insta::assert_snapshot!(recipe(pipelines[1]), @r#"
    7 production/main [gitaly] canary at 5% for 1000 requests, 600s qa [smoke] bake 300s
    8 production/main [api, git, sidekiq, web] qa [smoke] bake 300s
    9 production/main post-deployment migrations qa [] bake 300s
    "#);
    assert_eq!(pipelines.len(), 2);
}

#[test]
fn the_written_pipelines_of_the_example_differ_from_the_built_in_ones_in_their_gates_only() {
    let of = |text: &str| {
        let mut config = read(text);
        for stage in config.pipelines.values_mut().flat_map(|pipeline| &mut pipeline.stages) {
            stage.bake = Duration::ZERO;
            (stage.exposure, stage.approval) = (None, None);
            if let WorkSpec::Roles(roles) = &mut stage.work {
                roles.sort();
            }
        }
        config.pipelines
    };
    assert_eq!(of(GITLAB), of(without_pipelines(GITLAB)));
}

#[test]
fn built_in_stages_without_work_leave_gaps() {
    let plain = without_pipelines(BASE)
        .replace("gitlab-omnibus", "plain")
        .replace("[repository]", "[defaults]\nbake = \"0s\"\n[repository]");
    insta::assert_snapshot!(recipe(&read(&plain).pipelines.pop_first().expect("one").1), @r#"
    3 staging/main [web] qa [] bake 0s
    6 production/canary [web] share qa [canary] bake 0s
    "#);
}

#[test]
fn nothing_is_built_in_without_a_canary() {
    let config = read(&without_pipelines(BASE).replace("fleets.canary.", "fleets.second."));
    assert!(config.pipelines.is_empty());
}

#[test]
fn people_have_accounts_and_roles_and_jobs_are_as_the_file_says() {
    let with = |people: &str| read(&BASE.replace("[package]", &format!("{people}\n[package]")));
    let config = with(
        "[people.ada]\nunix = [\"ada\", \"alovelace\"]\nslack = [\"U1\"]\n\
         roles = { \"*\" = \"viewer\", production = \"release-manager\" }",
    );
    let ada = &config.people.0[&"ada".parse().unwrap()];
    assert_eq!(ada.accounts[&AccountKind::Unix].len(), 2);
    assert_eq!(ada.accounts[&AccountKind::Slack], ["U1".to_owned()].into());
    assert_eq!(ada.role_in(&"staging".parse().unwrap()), Some(PersonRole::Viewer));
    let production = ada.role_in(&"production".parse().unwrap());
    assert_eq!(production, Some(PersonRole::ReleaseManager));

    assert!(read(BASE).people.0.is_empty());
    assert_eq!(read(BASE).jobs, Jobs::Unproven);
    assert_eq!(with("[gitlab]\ntrust_variables = true").jobs, Jobs::Trusted);
    let api = "https://gitlab.example.com/api/v4";
    let verified =
        with(&format!("[gitlab]\napi = \"{api}/\"\nverify_jobs = true\nprojects = [42]"));
    assert_eq!(verified.jobs, Jobs::Verified { api: api.to_owned(), projects: [42].into() });
}

#[test]
fn a_journal_in_a_database_keeps_what_is_of_this_machine_in_a_folder_here() {
    let with = |journal: &str| read(&BASE.replace("[package]", &format!("{journal}\n[package]")));
    let config = with("[journal]\npostgres = { host = \"db-01\" }");
    let wanted = Postgres {
        host: "db-01".to_owned(),
        port: 5432,
        database: "serin".to_owned(),
        user: "serin".to_owned(),
        password_file: None,
        ca_file: None,
        unencrypted: false,
    };
    assert_eq!(config.journal, Journal::Postgres(wanted.clone()));
    assert_eq!(config.state, Path::new("/var/lib/serin"));
    let config = with(
        "[journal]\nstate = \"here\"\n[journal.postgres]\nhost = \"/run/postgresql\"\n\
         port = 5433\ndatabase = \"cd\"\nuser = \"me\"\npassword_file = \"word\"\nunencrypted = true",
    );
    let wanted = Postgres {
        host: "/run/postgresql".to_owned(),
        port: 5433,
        database: "cd".to_owned(),
        user: "me".to_owned(),
        password_file: Some(config.path.with_file_name("word")),
        unencrypted: true,
        ..wanted
    };
    assert_eq!(config.journal, Journal::Postgres(wanted));
    assert_eq!(config.state, config.path.with_file_name("here"));
    let config = with("[journal]\npath = \"of/serin.db\"");
    assert_eq!(config.state, config.path.with_file_name("of"));
}

#[test]
fn what_is_left_out_has_the_documented_default() {
    let config = read(BASE);
    assert_eq!(config.journal, Journal::File(PathBuf::from("/var/lib/serin/journal.db")));
    assert_eq!(config.state, Path::new("/var/lib/serin"));
    assert_eq!(config.ssh.max_connecting, 16);
    assert_eq!(config.ssh.connect_timeout, Duration::from_secs(10));
    assert!(config.ssh.sudo);
    let staging = config.topology.environments.values().last().expect("staging");
    let lb = staging.load_balancers.values().next().expect("a load balancer");
    assert_eq!(lb.socket, "/run/haproxy/admin.sock");
    assert_eq!(lb.master_socket.as_deref(), Some("/run/haproxy-master.sock"));
    let deploy = config.topology.roles.values().next().expect("deploy");
    assert_eq!((&deploy.quiet, deploy.healthy_for), (&Quiet::None, Duration::from_secs(5)));
}

#[test]
fn a_path_starts_at_the_folder_of_the_file() {
    let config = read(GITLAB);
    assert_eq!(config.repository.keyring, Path::new("/etc/serin/keys/packages.gpg"));
    assert_eq!(config.ssh.config, Some(PathBuf::from("/etc/serin/ssh_config")));
}

#[test]
fn the_first_pattern_that_fits_decides_the_kind() {
    let repository = read(GITLAB).repository;
    let kind = |version: &str| repository.kind_of(&version.parse().expect("a version"));
    assert_eq!(kind("13.1.1+rnightly.159756.b2b5f05e-0"), BuildKind::Nightly);
    assert_eq!(kind("13.1.0-rc42.ee.0"), BuildKind::Candidate);
    assert_eq!(kind("13.1.0-ee.0"), BuildKind::Official);
    assert_eq!(kind("13.1.0-ce.0"), BuildKind::Unknown);
    let down = repository.downgrades.as_ref().expect("a list");
    assert_eq!(
        down.iter().copied().collect::<Vec<_>>(),
        [BuildKind::Candidate, BuildKind::Official]
    );
    assert_eq!(read(BASE).repository.downgrades, None, "any kind may");
}

#[test]
fn a_changed_profile_keeps_what_is_not_written() {
    let changed = BASE.replace(
        "[repository]",
        "[profile]\ncheck_config = []\nrunning_version = [\"v\", \"{service}\"]\n\
         [profile.migrations]\nstatus = [\"s\"]\n[repository]",
    );
    let (plain, changed) = (read(BASE).topology.profile, read(&changed).topology.profile);
    let migrations = (plain.migrations.expect("some"), changed.migrations.expect("some"));
    assert_eq!(changed.check_config, None);
    assert_eq!(changed.running_version.expect("one").to_string(), "v {service}");
    assert_eq!(migrations.1.status.to_string(), "s");
    assert_eq!(migrations.0.regular, migrations.1.regular);
    assert_eq!(plain.restart, changed.restart);
}

#[test]
fn a_profile_knows_the_packages_contents_and_the_file_may_change_that() {
    let contents = |profile: &str| {
        let changed = BASE.replace("[repository]", &format!("[profile]\n{profile}\n[repository]"));
        read(&changed).contents
    };
    let known = read(GITLAB).contents;
    assert_eq!(known.manifest.as_deref(), Some("/opt/gitlab/version-manifest.json"));
    assert_eq!(known.patch_roots, ["/opt/gitlab/embedded/service/gitlab-rails"]);
    let changed = contents("manifest = \"none\"\npatch_roots = [\"/srv/a/\", \"/srv/b\"]");
    assert_eq!(
        (changed.manifest, changed.patch_roots),
        (None, vec!["/srv/a".into(), "/srv/b".into()])
    );
    for bad in ["/", "srv", "/srv/../etc", "/srv//a", "/./srv"] {
        let text = BASE
            .replace("[repository]", &format!("[profile]\npatch_roots = [{bad:?}]\n[repository]"));
        assert!(parse(&text, Path::new("serin.toml")).is_err(), "{bad} was accepted");
    }
}

#[test]
fn a_repository_is_read_by_a_user_or_by_apts_own_file() {
    let with = |url: &str, keys: &str| {
        let text = BASE.replace("https://packages.example.com\"", &format!("{url}\"\n{keys}"));
        parse(&text, Path::new("/etc/serin/serin.toml"))
    };
    let https = "https://packages.example.com";
    let login = |keys: &str| with(https, keys).expect("right").repository.login;
    let password_file = PathBuf::from("/etc/serin/secret");
    let user = "user = \"release\"\npassword_file = \"secret\"";
    assert_eq!(login(user), Some(Login::User { user: "release".to_owned(), password_file }));
    let file = "/etc/apt/auth.conf.d/a.conf";
    assert_eq!(login(&format!("auth_conf = {file:?}")), Some(Login::AuthConf(file.into())));
    assert_eq!(login(""), None);
    assert!(with("http://127.0.0.1:8080", user).is_ok());
    for (url, keys) in [
        ("http://packages.example.com", user),
        ("http://127.example.com", user),
        ("http://127.0.0.1@packages.example.com", user),
        (https, "user = \"release\""),
        (https, "password_file = \"secret\""),
        (https, "user = \"a\"\npassword_file = \"b\"\nauth_conf = \"c\""),
        (https, "user = \"\"\npassword_file = \"b\""),
    ] {
        assert!(with(url, keys).is_err(), "{url} {keys} was accepted");
    }
}

#[test]
fn an_embargo_hides_some_versions_and_not_every_number() {
    let with = |pattern: &str| {
        let keys = format!("embargo = [{pattern:?}]\nembargo_readers = [\"alice\"]\nsuite =");
        parse(&BASE.replacen("suite =", &keys, 1), Path::new("serin.toml"))
    };
    let repository = with("*+security*").expect("right").repository;
    assert_eq!((repository.embargo.len(), repository.embargo_readers), (1, vec!["alice".into()]));
    for bad in ["*", "", "*1*", "**-*"] {
        assert!(with(bad).is_err(), "{bad} was accepted");
    }
}

#[test]
fn a_file_is_loaded_or_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("serin.toml");
    assert!(load(&path).expect_err("nothing there").to_string().contains("serin.toml"));
    std::fs::write(&path, BASE).expect("written");
    assert_eq!(load(&path).expect("right").repository.keyring, folder.path().join("packages.gpg"));
    std::fs::write(&path, "colour = 1").expect("written");
    let wrong = load(&path).expect_err("wrong");
    assert!(matches!(&wrong, ConfigError::Wrong(all) if all.all().len() == 5), "{wrong}");
}

#[test]
fn ten_thousand_hosts_are_read() {
    let many = BASE.replace("web-[01:04].gprd", "web-[0001:9990].gprd");
    let config = read(&many);
    let hosts = config.topology.environments.values().flat_map(Environment::hosts).count();
    assert_eq!(hosts, 9995);
    let too_many = BASE.replace("web-[01:04].gprd", "web-[0001:9999].gprd");
    assert!(parse(&too_many, Path::new("serin.toml")).is_err());
}

#[test]
fn a_freeze_window_is_read_as_it_is_written_and_a_holiday_may_lie_over_weekends() {
    let production = |text: &str| {
        let mut config = read(text);
        config.topology.environments.remove(&"production".parse().expect("a name")).expect("it")
    };
    let environment = production(BASE);
    let [weekly, once] = environment.freeze.as_slice() else { panic!("{:?}", environment.freeze) };
    let zone = "Europe/Berlin".to_owned();
    let days = vec![Weekday::Friday, Weekday::Saturday];
    assert_eq!(weekly.when, WindowTime::Weekly { days, from: 1080, to: 480, zone });
    assert_eq!((weekly.mid_run, once.mid_run), (MidRun::NextStage, MidRun::Halt));
    let WindowTime::Once { from, to } = once.when else { panic!("{:?}", once.when) };
    let (from, to) = (from.utc().to_string(), to.utc().to_string());
    assert_eq!((from.as_str(), to.as_str()), ("2026-12-23 18:00 UTC", "2027-01-04 08:00 UTC"));
    assert_eq!(environment.overriding, Overriding::OnePerson);
    let two = format!("{BASE}\n[environments.production.policy]\nsecond_person = true\n");
    assert_eq!(production(&two).overriding, Overriding::SecondPerson);
}

#[test]
fn what_a_new_build_does_while_others_are_busy_is_read_and_has_a_default() {
    let when_busy = |text: &str| read(text).promotion.when_busy;
    assert_eq!(when_busy(BASE), WhenBusy::QueueLatest);
    for (word, expected) in [
        ("skip", WhenBusy::Skip),
        ("queue_latest", WhenBusy::QueueLatest),
        ("supersede", WhenBusy::Supersede),
    ] {
        let text = format!("{BASE}\n[promotion]\nwhen_busy = \"{word}\"\n");
        assert_eq!(when_busy(&text), expected, "{word}");
    }
    let text = format!("{BASE}\n[promotion]\nwhen_busy = \"queue\"\n");
    let wrong = parse(&text, Path::new("serin.toml")).expect_err("no such word").to_string();
    assert!(wrong.contains("queue_latest"), "{wrong}");
}
