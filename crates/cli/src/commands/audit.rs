//! `serin audit`: who asked for what, and whether the trail is what was written.

use crate::args::{Audit, AuditCommand};
use crate::context::Context;
use crate::failure::{Code, Failure, chain};
use crate::show::{date, line, print, table};
use serin_model::{PersonName, Proof};
use serin_runtime::audit::{self, Asker, Head, Outcome, Told, TrailError};

pub(crate) async fn run(context: &Context, asked: Audit) -> Result<Code, Failure> {
    if let Some(AuditCommand::Verify { head }) = asked.command {
        return verify(context, head.as_ref()).await;
    }
    let entries =
        audit::read(context.journal.as_ref()).await.map_err(|error| unreadable(&error))?;
    let now = context.clock.now();
    let mut told = audit::story(&entries);
    told.retain(|one| {
        asked.since.is_none_or(|since| now.since(one.at) <= since)
            && asked.person.as_ref().is_none_or(|person| one.who.person.as_ref() == Some(person))
            && asked.door.is_none_or(|door| one.who.identity.door == door)
    });
    let shown = told.len().saturating_sub(asked.limit);
    let told = told.split_off(shown);
    if context.json() {
        told.iter().map(object).for_each(|object| line(object.to_string()));
    } else if told.is_empty() {
        line("nothing of that kind was asked");
    } else {
        show(&told);
    }
    Ok(Code::Done)
}

fn show(told: &[Told]) {
    let mut rows = table(&["RECORD", "WHEN", "WHO", "DOOR", "KNOWN AS", "ENDED", "ASKED"]);
    for Told { number, at, who, words, reason: _, process: _, outcome } in told {
        let Asker { identity, person } = who;
        let proof = match identity.proof {
            Proof::Verified => String::new(),
            Proof::Unverified | Proof::Trusted => format!(" ({})", identity.proof),
        };
        rows.add_row([
            number.to_string(),
            date(*at),
            person.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            identity.door.to_string(),
            format!("{}{proof}", identity.subject),
            ended(outcome),
            words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
        ]);
    }
    print(&rows);
}

fn ended(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Open => "no end recorded".to_owned(),
        Outcome::Refused(why) => format!("REFUSED: {why}"),
        Outcome::Ended(0, _) => "done".to_owned(),
        Outcome::Ended(code, _) => format!("exit code {code}"),
    }
}

/// Shows a word so that it is clear where it begins and ends.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=%+~@,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

fn object(told: &Told) -> serde_json::Value {
    let Told { number, at, who, words, reason, process, outcome } = told;
    let (state, code, why) = match outcome {
        Outcome::Open => ("open", None, None),
        Outcome::Refused(why) => ("refused", None, Some(why)),
        Outcome::Ended(code, _) => ("ended", Some(*code), None),
    };
    serde_json::json!({
        "record": number,
        "at": at.as_millis(),
        "person": who.person.as_ref().map(PersonName::as_str),
        "door": who.identity.door,
        "subject": who.identity.subject,
        "proof": who.identity.proof,
        "words": words,
        "reason": reason,
        "machine": process.machine,
        "pid": process.pid,
        "outcome": state,
        "code": code,
        "why": why,
    })
}

async fn verify(context: &Context, seen: Option<&Head>) -> Result<Code, Failure> {
    let records = context.journal.read_trail(0).await?;
    let head = audit::verify(&records, seen).map_err(|broken| {
        Failure::new(Code::Journal, chain(&broken)).hint(
            "what it says can be trusted up to there, if at all; keep the journal as it is, and find out who could write it",
        )
    })?;
    if context.json() {
        let object = serde_json::json!({
            "records": head.number, "head": head.to_string(), "against": seen.map(Head::to_string),
        });
        line(object.to_string());
        return Ok(Code::Done);
    }
    line(match (seen, head.number) {
        (Some(seen), _) => format!(
            "all {} record(s) hang together, and {} is among them",
            head.number, seen.number
        ),
        (None, _) => format!("all {} record(s) hang together", head.number),
    });
    line(format!("the head is {head}"));
    if seen.is_none() {
        line(
            "note it elsewhere: only against a head that was noted does it show when the end is cut off (--head N:HASH)",
        );
    }
    Ok(Code::Done)
}

fn unreadable(error: &TrailError) -> Failure {
    Failure::new(Code::Journal, chain(error)).hint("`serin audit verify` says what is wrong")
}
