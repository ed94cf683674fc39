//! `serin gitlab deployments`: tells GitLab what it could not be told while runs went.

use crate::context::Context;
use crate::failure::{Code, Failure};
use crate::gitlab::telling::gitlab;
use crate::show::line;
use serin_runtime::records;
use std::collections::BTreeSet;

/// How many runs are looked at, newest first: of each place, the last that brought something there.
const LAST: usize = 20;

pub(crate) async fn run(context: &Context) -> Result<Code, Failure> {
    let Some(gitlab) = gitlab(context)? else {
        return Err(Failure::new(Code::Refused, "the configuration names no GitLab that is told")
            .hint("write [[gitlab.deployments]]; see docs/gitlab.md"));
    };
    let ports = context.ports()?;
    let runs = context.journal.runs().await?;
    let (mut told, mut failed) = (0, 0);
    let mut newer = BTreeSet::new();
    for summary in runs.iter().take(LAST) {
        let (run, _) = records::load(context.journal.as_ref(), &summary.id).await?;
        let done = gitlab.tell(&ports, (&summary.id, &run), &mut newer).await;
        told += done.lines.len();
        failed += done.failed.len();
        done.lines.iter().for_each(line);
        for why in &done.failed {
            line(format!("NOT TOLD  {why}"));
        }
    }
    if told + failed == 0 {
        line("GitLab knows everything");
    }
    Ok(if failed == 0 { Code::Done } else { Code::Error })
}
