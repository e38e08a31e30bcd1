// SPDX-License-Identifier: Apache-2.0
//! `outrigger`, the master: reads the bundle, plans, keeps the state, and asks the helper for what needs
//! privilege.

mod accounts;
#[allow(dead_code, unused_imports, reason = "used by the commands that make containers")]
mod bundle;
mod cli;
mod commands;
#[allow(dead_code, reason = "used by the commands that make containers")]
mod container;
mod file;
mod log;
mod usage;

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = match usage::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(early) => return early.print(),
    };
    let outcome = log::init(&cli.global).and_then(|()| commands::dispatch(&cli));
    match outcome {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            log::report(&error, &cli.global);
            ExitCode::FAILURE
        }
    }
}
