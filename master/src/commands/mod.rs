// SPDX-License-Identifier: Apache-2.0
//! One file a command: arguments, calls into the parts, output.

mod console_socket;
mod create;
mod delete;
mod events;
mod exec;
mod features;
mod kill;
mod list;
mod pause;
mod pid_file;
mod plan;
mod ps;
mod report;
mod run;
mod spec;
mod start;
mod state;
mod update;

use std::io::{self, Write};

use anyhow::{Context, Result, bail};

use crate::cli::{Cli, Command, Global, LaunchArgs};

/// Carries a command out. Returns the program's exit status.
pub(crate) fn dispatch(cli: &Cli) -> Result<u8> {
    let global = &cli.global;
    match &cli.command {
        Command::State(args) => state::state(global, args)?,
        Command::List(args) => list::list(global, args)?,
        Command::Spec(args) => spec::spec(args)?,
        Command::Create(args) => create::create(global, args)?,
        Command::Run(args) => return run::run(global, args),
        Command::Exec(args) => return exec::exec(global, args),
        Command::Start(args) => start::start(global, args)?,
        Command::Kill(args) => kill::kill(global, args)?,
        Command::Delete(args) => delete::delete(global, args)?,
        Command::Pause(args) => pause::pause(global, args)?,
        Command::Resume(args) => pause::resume(global, args)?,
        Command::Ps(args) => ps::ps(global, args)?,
        Command::Events(args) => events::events(global, args)?,
        Command::Update(args) => update::update(global, args)?,
        Command::Features => features::features()?,
        Command::Plan(args) => plan::plan(args)?,
    }
    Ok(0)
}

/// The exit status of a command that failed. That of `exec` is told from those of ordinary programs.
pub(crate) fn failure(cli: &Cli) -> u8 {
    if matches!(cli.command, Command::Exec(_)) { 255 } else { 1 }
}

/// Refuses what was asked for and is not there, rather than do something else.
fn refuse_unsupported(global: &Global, launch: &LaunchArgs) -> Result<()> {
    if global.systemd_cgroup {
        bail!("--systemd-cgroup: not supported yet: cgroups are made directly");
    }
    if launch.no_pivot {
        bail!("--no-pivot: not supported: the root is changed by pivot_root(2)");
    }
    if launch.preserve_fds > 0 {
        bail!("--preserve-fds: not supported yet: stdin, stdout and stderr are passed on");
    }
    Ok(())
}

/// Prints a command's whole output.
fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("write to stdout")
}
