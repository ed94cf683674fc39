//! Measures one URL: `cargo run -p serin-traffic --example measure -- http://127.0.0.1:8080 200 10
//! 'GET /' 'GET /slow weight=1'` sends 200 requests a second for 10 seconds.
//!
//! It shows the library alone; `serin traffic` is the tool. Progress goes to stderr, the summary as
//! text to stderr and as JSON to stdout.

use std::error::Error;
use std::io::{Write, stderr, stdout};
use std::time::Duration;

use serin_traffic::{BaseUrl, Endpoint, Profile, Progress, run_observed};
use tokio::sync::watch;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().ok_or_else(|| format!("{what} is missing"));
    let bases = next("URL")?.split(',').map(str::parse::<BaseUrl>).collect::<Result<_, _>>()?;
    let rate: f64 = next("rate")?.parse()?;
    let seconds: f64 = next("seconds")?.parse()?;
    let endpoints = arguments.map(|text| text.parse::<Endpoint>()).collect::<Result<_, _>>()?;
    let mut profile = Profile::new(rate, bases, endpoints);
    profile.duration = Some(Duration::try_from_secs_f64(seconds)?);

    let (sender, mut progress) = watch::channel(Progress::default());
    let shown = tokio::spawn(async move {
        while progress.changed().await.is_ok() {
            let line = progress.borrow_and_update().to_string();
            writeln!(stderr(), "{line}")?;
        }
        Ok::<(), std::io::Error>(())
    });
    let interrupted = async { drop(tokio::signal::ctrl_c().await) };
    let summary = run_observed(&profile, interrupted, sender).await?;
    shown.await??;
    write!(stderr(), "{summary}")?;
    serde_json::to_writer_pretty(stdout(), &summary)?;
    Ok(())
}
