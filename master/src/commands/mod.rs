// SPDX-License-Identifier: Apache-2.0
//! One file a command: arguments, calls into the parts, output.

mod list;
mod report;
mod spec;
mod state;

use std::io::{self, Write};

use anyhow::{Context, Result, bail};

use crate::cli::{Cli, Command};

/// Carries a command out. Returns the program's exit status.
pub(crate) fn dispatch(cli: &Cli) -> Result<u8> {
    let global = &cli.global;
    match &cli.command {
        Command::State(args) => state::state(global, args)?,
        Command::List(args) => list::list(global, args)?,
        Command::Spec(args) => spec::spec(args)?,
        Command::Create(_)
        | Command::Run(_)
        | Command::Start(_)
        | Command::Kill(_)
        | Command::Delete(_)
        | Command::Plan(_) => bail!("not built in"),
    }
    Ok(0)
}

/// Prints a command's whole output.
fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("write to stdout")
}
