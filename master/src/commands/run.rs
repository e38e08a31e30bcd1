// SPDX-License-Identifier: Apache-2.0
use anyhow::{Context, Result};
use outrigger_protocol::request::Signal;

use super::{console_socket, pid_file, refuse_unsupported};
use crate::cli::{Global, RunArgs};
use crate::container::state::ProcessIdentity;
use crate::foreground::{self, Signals};
use crate::launch::{Gate, Launched, abandon, launch, undo};
use crate::terminal::Relay;

/// `run`: create, start, and in the foreground wait and delete. Returns the exit status.
pub(crate) fn run(global: &Global, args: &RunArgs) -> Result<u8> {
    refuse_unsupported(global, &args.launch)?;
    // In the foreground the host side stays until the end: if this process is killed, it takes the
    // container and its cgroups along.
    let launched = launch(global.root.as_deref(), &args.launch, Gate::Master, !args.detach)?;
    if args.detach { detached(launched, args).map(|()| 0) } else { attached(launched, args) }
}

fn detached(launched: Launched, args: &RunArgs) -> Result<()> {
    let Launched { mut helper, side, container, pid, console, .. } = launched;
    let outcome = console_socket::send(args.launch.console_socket.as_deref(), &console)
        .and_then(|()| pid_file::write(args.launch.pid_file.as_deref(), pid))
        .and_then(|()| side.start())
        .and_then(|()| helper.host.commit());
    outcome.map_err(|e| undo(helper, &container, e))
}

fn attached(launched: Launched, args: &RunArgs) -> Result<u8> {
    let Launched { mut helper, side, container, state, pid, pidfd, console, .. } = launched;
    container.unlock();
    let ended = (|| {
        let identity = state.process.context("the container has no process")?;
        pid_file::write(args.launch.pid_file.as_deref(), pid)?;
        let signals = Signals::take_over()?;
        let relay = console.map(Relay::new).transpose()?;
        side.start()?;
        foreground::wait(&pidfd, &signals, relay, |number| {
            let ProcessIdentity { pid, start_time } = identity;
            // A process that has just ended takes no signal, and its end is what is waited for.
            let _ = helper.host.signal(Signal { pid, start_time, signal: number });
        })
    })();
    match ended {
        Ok(status) if args.keep => helper.host.commit().map(|()| status),
        Ok(status) => abandon(helper, &container).map(|()| status),
        Err(e) => Err(undo(helper, &container, e)),
    }
}
