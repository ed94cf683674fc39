//! `serin`: the operator's command. It parses words, calls the runtime, and shows what happened; it decides nothing.

mod args;
mod commands;
mod context;
mod failure;
mod journal;
mod metrics;
mod notify;
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
    match Box::pin(commands::run(arguments)).await {
        Ok(code) => code.into(),
        Err(failure) => {
            failure.print();
            failure.code.into()
        }
    }
}
