//! `serin builds`: what the package repository has.

use crate::context::Context;
use crate::failure::{Code, Failure, chain};
use crate::show::{embargo, line, print, table};

pub(crate) async fn run(context: &Context, limit: usize) -> Result<Code, Failure> {
    let builds = context.repository()?.builds().await;
    let builds = builds.map_err(|error| Failure::new(Code::Refused, chain(&error)))?;
    embargo::learn(&builds);
    if context.json() {
        let builds: Vec<_> = builds.iter().take(limit).collect();
        line(serde_json::to_string(&builds).unwrap_or_default());
        return Ok(Code::Done);
    }
    if builds.is_empty() {
        let package = &context.config.topology.package;
        line(format!("the repository has no build of {package}"));
        return Ok(Code::Done);
    }
    let mut rows = table(&["VERSION", "KIND", "SIZE", "SHA-256"]);
    for build in builds.iter().take(limit) {
        rows.add_row([
            embargo::veiled(build.version.as_str()).into_owned(),
            build.kind.to_string(),
            format!("{:.1} MB", megabytes(build.size)),
            build.sha256.short().to_owned(),
        ]);
    }
    print(&rows);
    if builds.len() > limit {
        line(format!("… and {} older (--limit shows more)", builds.len() - limit));
    }
    Ok(Code::Done)
}

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "for reading only")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
