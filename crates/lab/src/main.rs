//! `serin-lab`, so far only as far as building a stand-in package.

mod package;

use std::path::PathBuf;

use clap::Parser;
use package::{Flaw, PackageSpec};

/// Builds a stand-in gitlab-ee package.
#[derive(Parser)]
struct Arguments {
    /// The package's version
    version: String,
    /// How it is broken
    #[arg(long)]
    flaw: Option<Flaw>,
    /// The program to put in
    #[arg(long)]
    standin: PathBuf,
    /// Where the package goes
    #[arg(long)]
    out: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let Arguments { version, flaw, standin, out } = Arguments::parse();
    let deb = package::build_deb(&PackageSpec { version, flaw }, &standin, &out)?;
    std::io::Write::write_all(&mut std::io::stdout(), format!("{}\n", deb.display()).as_bytes())?;
    Ok(())
}
