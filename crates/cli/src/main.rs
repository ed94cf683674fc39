//! `serin`: the operator's command. It parses words, calls the runtime, and shows what happened; it decides nothing.

mod args;
mod commands;
mod context;
mod failure;
mod journal;
mod show;

use clap::Parser;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = args::Arguments::parse();
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
