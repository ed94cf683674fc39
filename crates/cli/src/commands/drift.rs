//! `serin drift`: what load balancers have, compared with what was intended, and put right on request.

use super::asking::{no_moment, not_recorded};
use super::look::left_behind;
use crate::args::Drift;
use crate::context::Context;
use crate::failure::{Code, Failure};
use crate::show::line;
use serin_engine::Run;
use serin_engine::environment::{Ask, Asking, changes};
use serin_journal::Scope;
use serin_model::{Environment, Subject};
use serin_runtime::drift::{Comparing, Difference, Intended};
use serin_runtime::environment::{Moment, Stream};
use serin_runtime::ports::Ports;
use serin_runtime::records;
use std::time::Duration;

/// How often this process shows that it lives: three times in a lease's time to live.
const BEAT: Duration = Duration::from_secs(5);

pub(crate) async fn run(context: &Context, Drift { fix }: Drift) -> Result<Code, Failure> {
    let ports = context.ports()?;
    let mut objects = Vec::new();
    let mut left = 0;
    for environment in context.config.topology.environments.values() {
        let mut differences = differences(context, &ports, environment).await?;
        let mut failed = Vec::new();
        if fix && !differences.is_empty() {
            say(context, environment, &differences);
            failed = put_right(context, &ports, environment).await?;
            differences = self::differences(context, &ports, environment).await?;
            let fixed = if differences.is_empty() { "put right" } else { "still differs" };
            tell(context, format!("{}: {fixed}", environment.name));
        }
        left += differences.len();
        say(context, environment, &differences);
        for why in failed {
            tell(context, format!("  {why}"));
        }
        objects.extend(differences.iter().map(|difference| {
            serde_json::json!({
                "environment": environment.name.as_str(),
                "difference": difference.to_string(),
            })
        }));
    }
    if context.json() {
        line(serde_json::to_string(&objects).unwrap_or_default());
    } else if left == 0 {
        line("nothing differs: every load balancer has what was intended");
    }
    Ok(if left == 0 { Code::Done } else { Code::Blocked })
}

fn say(context: &Context, environment: &Environment, differences: &[Difference]) {
    for difference in differences {
        tell(context, format!("{}: {difference}", environment.name));
    }
}

fn tell(context: &Context, text: String) {
    if !context.json() {
        line(text);
    }
}

async fn differences(
    context: &Context,
    ports: &Ports,
    environment: &Environment,
) -> Result<Vec<Difference>, Failure> {
    let stream = Stream::read(context.journal.as_ref(), &environment.name).await?;
    let intended = &intended(context, environment).await?;
    let comparing = Comparing { ports, environment, state: &stream.state, intended };
    Ok(comparing.differences(context.clock.now()).await)
}

/// Asks the runs what they have out of service, and what they are changing.
async fn intended(context: &Context, environment: &Environment) -> Result<Intended, Failure> {
    let mut intended = Intended::default();
    // What a run left half changed is for the next run to put right, not for us to put into service.
    let left = left_behind(context, &environment.name).await?;
    intended.unsaid.extend(left.into_iter().map(|(_, host)| host.host));
    let claims = context.journal.claims().await?;
    let Some(id) = claims.get(&environment.name) else { return Ok(intended) };
    let (run, _) = records::load(context.journal.as_ref(), id).await?;
    let fleets = environment.fleets.keys();
    let changing = fleets.filter(|fleet| changes(&run, &environment.name, fleet));
    intended.changing.extend(changing.cloned());
    let holder = context.journal.holder(&Scope::Environment(environment.name.clone())).await?;
    let us = Context::settings().holder;
    let acts = holder.is_some_and(|(holder, dead)| !dead && holder != us);
    for host in run.out_of_service() {
        // Only a host that was changed is surely drained; and while somebody acts, none stays as it is.
        if host.changed && !acts {
            intended.out.insert(host.host);
        } else {
            intended.unsaid.insert(host.host);
        }
    }
    if acts {
        intended.unsaid.extend(at_work(&run));
    }
    Ok(intended)
}

/// Returns the hosts that a run works on at this moment.
fn at_work(run: &Run) -> Vec<serin_model::HostName> {
    let lanes = run.current().map_or(&[][..], |(_, _, lanes)| lanes);
    let host = |lane: &serin_model::Lane| match &lane.subject {
        Subject::Host(host) => Some(host.clone()),
        Subject::Fleet(_) | Subject::Environment => None,
    };
    lanes.iter().filter_map(host).collect()
}

/// Puts differences right under the environment's lease and fence, recorded first.
async fn put_right(
    context: &Context,
    ports: &Ports,
    environment: &Environment,
) -> Result<Vec<String>, Failure> {
    let taken = Moment::take(&context.journal, &environment.name, &Context::settings()).await;
    let mut moment = taken.map_err(|error| {
        no_moment(error).hint("a run that acts there keeps what it told load balancers by itself")
    })?;
    // Looked at again: nobody else acts there from now on.
    let differences = differences(context, ports, environment).await?;
    let found = differences.iter().map(ToString::to_string).collect();
    let why = "serin drift --fix".to_owned();
    let asking = Asking { by: context.by(), why, ask: Ask::FixDrift { found } };
    moment.ask(asking, context.clock.now()).await.map_err(not_recorded)?;
    let failed = match moment.raise(ports, environment).await {
        Ok(fence) => {
            let (state, intended) = (&moment.stream().state, &Intended::default());
            let comparing = Comparing { ports, environment, state, intended };
            let fixing = comparing.fix(fence, &differences);
            let failed = beating(context, &moment, fixing).await?;
            // Servers that take traffic again make another weight of the same share.
            let again = self::differences(context, ports, environment).await?;
            let failed = if failed.is_empty() && !again.is_empty() {
                beating(context, &moment, comparing.fix(fence, &again)).await?
            } else {
                failed
            };
            failed.iter().map(ToString::to_string).collect()
        }
        Err(error) => vec![error.to_string()],
    };
    moment.end().await?;
    Ok(failed)
}

/// Shows that this process lives while something takes its time.
async fn beating<T>(
    context: &Context,
    moment: &Moment,
    work: impl Future<Output = T>,
) -> Result<T, Failure> {
    let mut work = std::pin::pin!(work);
    loop {
        let next = context.clock.now().plus(BEAT);
        tokio::select! {
            done = &mut work => return Ok(done),
            () = context.clock.sleep_until(next) => {
                moment.beat().await.map_err(not_recorded)?;
            }
        }
    }
}
