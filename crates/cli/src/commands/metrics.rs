//! `serin metrics`: what there is to say about environments now, printed or told to the Pushgateway.

use crate::args::Metrics;
use crate::context::Context;
use crate::failure::{Code, Failure, chain};
use crate::metrics::telling::{gateway, look, push};
use crate::show::line;
use serin_adapters::pushgateway::text;

pub(crate) async fn run(context: &Context, what: &Metrics) -> Result<Code, Failure> {
    let gateway = match (what.push, gateway(context)) {
        (false, _) => None,
        (true, Some(gateway)) => {
            Some(gateway.map_err(|error| Failure::new(Code::Refused, chain(&error)))?)
        }
        (true, None) => {
            return Err(Failure::new(Code::Refused, "the configuration names no Pushgateway")
                .hint("write [pushgateway] with its url; see docs/metrics.md"));
        }
    };
    let ports = context.ports()?;
    let topology = &context.config.topology;
    for environment in topology.environments.values() {
        let page = look(&ports, topology, environment, context.journal.as_ref()).await;
        match &gateway {
            None => line(text(&page.gauges).trim_end()),
            Some(gateway) => {
                push(gateway, &page).await.map_err(|error| {
                    let what = format!("the Pushgateway cannot be told: {}", chain(&error));
                    Failure::new(Code::Error, what)
                        .hint("nothing depends on it: the next push says everything anew")
                })?;
                context.say(format!("{}: told", environment.name));
            }
        }
    }
    Ok(Code::Done)
}
