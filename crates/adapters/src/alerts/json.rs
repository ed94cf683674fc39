//! Reads one JSON answer, and says in words why there is none.

use crate::http::{self, Answer};
use jiff::Timestamp;
use reqwest::{Client, Url};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The largest answer. Ten thousand alerts with long annotations have 20 MB.
const MAX_BODY: u64 = 32 << 20;

/// How far a server's clock may be from ours. Beyond it, an answer may be an old one that a cache has kept, and ages
/// say nothing.
const MAX_SKEW: Duration = Duration::from_mins(1);

/// An answer that was understood, and the server's own time of it.
#[derive(Debug)]
pub(super) struct Read<T> {
    pub(super) value: T,
    pub(super) date: Timestamp,
}

/// Reads and parses a path below a base address.
pub(super) async fn read<T: DeserializeOwned>(
    client: &Client,
    base: &str,
    path: &str,
    query: &[(&str, &str)],
) -> Result<Read<T>, String> {
    let failed = |why: String| format!("{path}: {why}");
    let answer = answer(client, base, path, query).await.map_err(failed)?;
    let date = fresh_date(&answer, http::now()).map_err(failed)?;
    if answer.content_type.starts_with("text/html") {
        return Err(failed("it answered with a web page; is a login page in between?".to_owned()));
    }
    let value = parse(&answer.body).map_err(failed)?;
    Ok(Read { value, date })
}

/// Parses the body of an answer.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body)
        .map_err(|error| format!("the answer is not what its API promises: {error}"))
}

/// Reads a path whose answer is only a status.
pub(super) async fn ready(client: &Client, base: &str, path: &str) -> Result<(), String> {
    let failed = |why: String| format!("{path}: {why}");
    let answer = answer(client, base, path, &[]).await.map_err(failed)?;
    fresh_date(&answer, http::now()).map(drop).map_err(failed)
}

async fn answer(
    client: &Client,
    base: &str,
    path: &str,
    query: &[(&str, &str)],
) -> Result<Answer, String> {
    let mut url: Url = format!("{}{path}", base.trim_end_matches('/'))
        .parse()
        .map_err(|error| format!("it is not an address: {error}"))?;
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    http::get(client, url, MAX_BODY).await.map_err(|error| error.to_string())
}

/// Returns the server's time of an answer if it was made just now.
fn fresh_date(answer: &Answer, now: Timestamp) -> Result<Timestamp, String> {
    let date = answer.date.ok_or("the answer has no date: nothing proves that it is fresh")?;
    let skew = date.duration_since(now).unsigned_abs();
    if answer.cached || skew > MAX_SKEW {
        return Err(format!(
            "the answer is {} s off Serin's clock: a clock is wrong, or a cache has kept it",
            skew.as_secs()
        ));
    }
    Ok(date)
}
