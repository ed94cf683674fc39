//! `serin doctor`: reaches everything that a run needs, and says what would stop it.

mod independence;

use crate::context::Context;
use crate::failure::{Code, Failure, chain};
use crate::metrics::telling;
use crate::secrets;
use crate::show::line;
use serin_config::Jobs;
use serin_model::{Environment, Observed, PackageState, Person, PersonRole, Verdict};
use serin_runtime::{
    alerts::{Tolerated, judge},
    perform::observe_environments,
    ports::Ports,
};
use std::collections::BTreeSet;

/// What was found; only problems stop a run.
#[derive(Default)]
struct Findings {
    json: bool,
    problems: usize,
}

impl Findings {
    fn good(&mut self, what: impl AsRef<str>) {
        self.say("ok", what.as_ref());
    }

    fn note(&mut self, what: impl AsRef<str>) {
        self.say("note", what.as_ref());
    }

    fn problem(&mut self, what: impl AsRef<str>) {
        self.problems += 1;
        self.say("PROBLEM", what.as_ref());
    }

    fn say(&self, kind: &str, what: &str) {
        if self.json {
            line(serde_json::json!({ "finding": kind.to_lowercase(), "text": what }).to_string());
        } else {
            line(format!("{kind:<8} {what}"));
        }
    }
}

pub(crate) async fn run(context: &Context) -> Result<Code, Failure> {
    let mut findings = Findings { json: context.json(), problems: 0 };
    findings.good(format!("{} is well-formed", context.config.path.display()));
    journal(context, &mut findings);
    people(context, &mut findings);
    repository(context, &mut findings).await;
    chats(context, &mut findings);
    let ports = context.ports()?;
    let topology = &context.config.topology;
    for environment in topology.environments.values() {
        let observed = observe_environments(&ports, topology, [environment]).await;
        hosts(context, environment, &observed, &mut findings);
        load_balancers(environment, &observed, &mut findings);
        alerts(&ports, environment, &mut findings).await;
        qa(environment, &mut findings);
    }
    independence::check(context, &mut findings).await;
    pushgateway(context, &mut findings).await;
    if !context.json() {
        line("");
        line(match findings.problems {
            0 => "nothing would stop a run".to_owned(),
            1 => "1 problem would stop a run".to_owned(),
            several => format!("{several} problems would stop a run"),
        });
    }
    Ok(if findings.problems == 0 { Code::Done } else { Code::Blocked })
}

/// It is open: what would keep it from being used has been refused.
fn journal(context: &Context, findings: &mut Findings) {
    let place = crate::journal::place(&context.config);
    let (Some(server), serin_config::Journal::Postgres(postgres)) =
        (&context.server, &context.config.journal)
    else {
        return findings.good(format!("{place} can be used"));
    };
    let kept = match server.standbys.as_str() {
        "" => "commits wait for its disk",
        _ => "commits wait for its disk and for standby servers",
    };
    findings.good(format!("{place} can be used: PostgreSQL {}, {kept}", server.version));
    if crate::journal::settings(&context.config, postgres).is_readable_on_the_way() {
        findings
            .note("the journal is unencrypted: what is sent can be read and changed on the way");
    }
}

/// A secret that cannot be read is noticed before somebody says something, or is to be told of a halt.
fn chats(context: &Context, findings: &mut Findings) {
    let chat = &context.config.chat;
    let slack = chat.slack.iter();
    let slack = slack.flat_map(|of| [Some(&of.signing_secret_file), of.bot_token_file.as_ref()]);
    let mattermost = chat.mattermost.iter();
    let mattermost = mattermost.flat_map(|of| of.token_files.iter().chain(&of.webhook_file));
    let webhooks = chat.webhooks.values().filter_map(|webhook| webhook.token_file.as_ref());
    let files: Vec<_> = slack.flatten().chain(mattermost).chain(webhooks).collect();
    let unread = files.iter().filter_map(|file| secrets::read(file).err());
    let unread: Vec<String> = unread.map(|failure| failure.what).collect();
    match (files.is_empty(), unread.is_empty()) {
        (true, _) => {}
        (false, true) => findings.good("the secrets of all chats can be read"),
        (false, false) => unread.iter().for_each(|why| findings.note(why)),
    }
}

/// Whether anybody is asked who they are, and what could be wrong with the answer.
fn people(context: &Context, findings: &mut Findings) {
    let people = &context.config.people;
    if people.0.is_empty() {
        findings
            .note("nobody is listed under [people]: whoever reaches the journal may do everything");
        return;
    }
    findings.good(format!("{} people are listed; nobody else may do anything", people.0.len()));
    match &context.config.jobs {
        Jobs::Trusted => findings.note(
            "`trust_variables`: whoever starts a CI job, or sets its variables, can be anybody who is listed",
        ),
        Jobs::Unproven | Jobs::Verified { .. } => {}
    }
    for name in context.config.topology.environments.keys() {
        let operates = |person: &Person| person.role_in(name) >= Some(PersonRole::Operator);
        if !people.0.values().any(operates) {
            findings.problem(format!("nobody may halt or resume a run in {name}"));
        }
    }
}

async fn repository(context: &Context, findings: &mut Findings) {
    let builds = match context.repository() {
        Ok(repository) => repository.builds().await.map_err(|error| chain(&error)),
        Err(failure) => Err(failure.what),
    };
    match builds {
        Ok(builds) if builds.is_empty() => {
            findings.problem("the repository has no build of the package");
        }
        Ok(builds) => {
            findings.good(format!("the repository's signed index has {} build(s)", builds.len()));
        }
        Err(why) => findings.problem(why),
    }
}

fn hosts(
    context: &Context,
    environment: &Environment,
    observed: &Observed,
    findings: &mut Findings,
) {
    let mut good = 0;
    for (_, host) in environment.hosts() {
        let Some(seen) = observed.hosts.get(&host.name) else {
            let why = observed.unreachable.get(&host.name).map_or("not observed", String::as_str);
            findings.problem(why);
            continue;
        };
        good += 1;
        for file in &seen.missing_files {
            findings.problem(format!("{}: {file} is missing", host.name));
        }
        if let PackageState::Broken { .. } = &seen.package {
            findings.note(format!("{}: {}; the next run repairs it", host.name, seen.package));
        }
        let services = context.config.topology.roles_of(host).flat_map(|role| &role.services);
        for service in services {
            match seen.services.get(&service.name) {
                Some(seen) if seen.pid.is_some() => {}
                Some(_) => findings.note(format!("{}: {} is down", host.name, service.name)),
                None => findings
                    .problem(format!("{}: {} is not known to the host", host.name, service.name)),
            }
        }
    }
    findings.good(format!("{}: {good} host(s) answer", environment.name));
    let record = environment.config_management.as_ref().and_then(|cm| cm.record.as_ref());
    for fleet in environment.fleets.keys().filter(|_| record.is_some()) {
        if !observed.records.contains_key(&(environment.name.clone(), fleet.clone())) {
            findings.problem(format!(
                "{}: the version record of {fleet} cannot be read",
                environment.name
            ));
        }
    }
}

fn load_balancers(environment: &Environment, observed: &Observed, findings: &mut Findings) {
    for lb in environment.load_balancers.values() {
        if lb.unfenced {
            findings.note(format!(
                "{}: unfenced: an outdated controller could still change it",
                lb.host
            ));
        }
        match observed.load_balancers.get(&(environment.name.clone(), lb.name.clone())) {
            Some(seen) => findings.good(format!("{}: {} servers", lb.host, seen.servers.len())),
            None => findings
                .problem(observed.unreachable.get(&lb.host).map_or("not observed", String::as_str)),
        }
    }
    for (_, host) in environment.hosts() {
        for server in &host.servers {
            let lb = (environment.name.clone(), server.lb.clone());
            let Some(lb) = observed.load_balancers.get(&lb) else { continue };
            match lb.servers.get(&(server.backend.clone(), server.server.clone())) {
                Some(seen) if seen.up => {}
                Some(seen) => findings.note(format!("{server} is {}", seen.status)),
                None => findings.problem(format!("{server} does not exist")),
            }
        }
    }
}

async fn alerts(ports: &Ports, environment: &Environment, findings: &mut Findings) {
    let Some(source) = &environment.alerts else {
        findings.note(format!("{} has no alerts: nothing would watch a run", environment.name));
        return;
    };
    let reading = ports.alerts.read(source).await;
    match judge(&reading, &BTreeSet::new(), Tolerated::default()).verdict {
        Verdict::Pass => {
            findings.good(format!("{}: alerts are fresh, none that counts", environment.name));
        }
        Verdict::Fail(reason) | Verdict::Inconclusive(reason) => {
            findings.problem(format!("{}: {reason}", environment.name));
        }
    }
}

/// Runs do without it; but nobody would notice.
async fn pushgateway(context: &Context, findings: &mut Findings) {
    let Some(gateway) = telling::gateway(context) else { return };
    let ready = match gateway {
        Ok(gateway) => gateway.is_ready().await,
        Err(error) => Err(error),
    };
    match ready {
        Ok(()) => findings.good("the Pushgateway takes what it is told"),
        Err(why) => {
            findings.note(format!("the Pushgateway cannot be told: {why}; runs do without it"));
        }
    }
}

fn qa(environment: &Environment, findings: &mut Findings) {
    for suite in environment.qa.values() {
        let Some(program) = suite.command.arguments().next() else { continue };
        if program.contains('/') && !std::path::Path::new(program).exists() {
            findings.problem(format!(
                "{}: QA suite {}: there is no {program}",
                environment.name, suite.name
            ));
        }
    }
}
