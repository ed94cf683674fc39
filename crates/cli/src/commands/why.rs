//! `serin why`: everything that blocks now.

use crate::context::Context;
use crate::failure::{Code, Failure};
use crate::show::line;
use serin_engine::Status;
use serin_model::Verdict;
use serin_runtime::{
    alerts::{Tolerated, judge},
    records,
};
use std::collections::BTreeSet;

pub(crate) async fn run(context: &Context) -> Result<Code, Failure> {
    let mut blocks = Vec::new();
    for (environment, id) in context.journal.claims().await? {
        let (run, _) = records::load(context.journal.as_ref(), &id).await?;
        blocks.push(format!("{environment} belongs to run {id}: {}", super::look::state(&run)));
        if let Status::Halted(_) = run.status {
            blocks.push(format!("  serin resume {id} --reason …, or serin cancel {id} --reason …"));
        } else if !run.plan.actors.is_one() {
            blocks.push(format!("  {}", super::look::acting(context, &id, &run).await?));
        }
        let out = run.out_of_service();
        blocks.extend(
            out.iter().map(|host| format!("  {} is out of service: {}", host.host, host.why)),
        );
    }
    let now = context.clock.now();
    for environment in context.config.topology.environments.values() {
        let held = super::hold::on(context, environment, now).await?;
        blocks.extend(held.iter().map(ToString::to_string));
    }
    let ports = context.ports()?;
    for (name, environment) in &context.config.topology.environments {
        let Some(source) = &environment.alerts else { continue };
        let reading = ports.alerts.read(source).await;
        match judge(&reading, &BTreeSet::new(), Tolerated::default()).verdict {
            Verdict::Pass => {}
            Verdict::Fail(reason) | Verdict::Inconclusive(reason) => {
                blocks.push(format!("{name}: {reason}"));
            }
        }
    }
    if context.json() {
        line(serde_json::to_string(&blocks).unwrap_or_default());
    } else if blocks.is_empty() {
        line(
            "nothing blocks: every environment is free, nothing holds one, and no alert that counts is firing",
        );
    } else {
        blocks.iter().for_each(line);
    }
    Ok(if blocks.is_empty() { Code::Done } else { Code::Blocked })
}
