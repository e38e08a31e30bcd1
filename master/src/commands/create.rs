// SPDX-License-Identifier: Apache-2.0
use anyhow::{Context, Result};

use super::{console_socket, pid_file, refuse_unsupported};
use crate::cli::{CreateArgs, Global};
use crate::launch::{Gate, Launched, launch, undo};

/// `create`: everything but the program; the process waits for `start`.
pub(crate) fn create(global: &Global, args: &CreateArgs) -> Result<()> {
    refuse_unsupported(global, &args.launch)?;
    let launched = launch(global.root.as_deref(), &args.launch, Gate::Socket, false)?;
    hand_over(launched, args)
}

/// Gives the container to the caller, and to itself.
fn hand_over(launched: Launched, args: &CreateArgs) -> Result<()> {
    let Launched { mut helper, side, container, pid, console, listener, .. } = launched;
    let outcome = console_socket::send(args.launch.console_socket.as_deref(), &console)
        .and_then(|()| pid_file::write(args.launch.pid_file.as_deref(), pid))
        // Until the container side is told to wait it ends with this process: if the host side is
        // dead, nothing is left.
        .and_then(|()| helper.host.commit())
        .and_then(|()| side.wait(&listener.context("there is no start socket")?));
    outcome.map_err(|e| undo(helper, &container, e))
}
