// SPDX-License-Identifier: Apache-2.0
//! `outrigger`, the master: reads the bundle, plans, keeps the state, and asks the helper for what needs
//! privilege.

mod accounts;
mod bundle;
mod cgroup;
mod cli;
mod commands;
mod container;
mod exec;
mod file;
mod foreground;
mod helper;
mod host;
mod launch;
mod log;
mod plan;
mod seccomp;
mod sys;
mod terminal;
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
            ExitCode::from(commands::failure(&cli))
        }
    }
}
