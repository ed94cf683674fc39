//! `serin`: the operator's command. It parses words, calls the runtime, and shows what happened; it decides nothing.

mod args;
mod beside;
mod commands;
mod context;
mod failure;
mod gitlab;
mod journal;
mod metrics;
mod notify;
mod people;
mod secrets;
mod show;

use clap::Parser;
use std::process::ExitCode;

/// Ends as clap does; but clap quotes what was given as it came.
fn not_understood(error: &clap::Error) -> ! {
    let text = error.render().to_string();
    let plain = show::embargo::veiled(&text);
    if plain == text {
        error.exit();
    }
    #[expect(clippy::print_stderr, clippy::exit, reason = "the edge")]
    {
        eprint!("{plain}");
        std::process::exit(error.exit_code());
    }
}

/// Returns the words that were given. The record that a door has written comes before all others, so that nothing can stand
/// between it and the words that it is about.
fn words(arguments: &args::Arguments) -> Result<people::Words, failure::Failure> {
    let given = std::env::args_os().skip(1);
    let all: Vec<String> = given.map(|word| word.to_string_lossy().into_owned()).collect();
    let Some(asked) = arguments.asked else { return Ok(people::Words { all, asked: None }) };
    match all.as_slice() {
        [first, number, words @ ..]
            if first == people::trail::ASKED && *number == asked.to_string() =>
        {
            Ok(people::Words { all: words.to_vec(), asked: Some(asked) })
        }
        _ => Err(failure::Failure::new(failure::Code::Refused, "--asked does not come first")),
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = args::Arguments::try_parse().unwrap_or_else(|error| not_understood(&error));
    tracing_subscriber::fmt()
        .with_max_level(if arguments.verbose {
            tracing::Level::DEBUG
        } else {
            tracing::Level::WARN
        })
        .with_writer(|| show::embargo::Veiled(std::io::stderr()))
        .init();
    if arguments.asked.is_some() {
        // A session of its own: what ends the door, or its terminal, is not meant for this. It has one if this fails.
        rustix::process::setsid().map(drop).unwrap_or_default();
    }
    let ended = match words(&arguments) {
        Ok(words) => Box::pin(commands::run(arguments, words)).await,
        Err(failure) => Err(failure),
    };
    match ended {
        Ok(code) => code.into(),
        Err(failure) => {
            failure.print();
            failure.code.into()
        }
    }
}
