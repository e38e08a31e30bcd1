// SPDX-License-Identifier: Apache-2.0
use anyhow::Result;

use super::{console_socket, pid_file, refuse_unsupported};
use crate::cli::{CreateArgs, Global};
use crate::launch::{Gate, Launched, abandon, launch};

/// `create`: everything but the program; the process waits for `start`.
pub(crate) fn create(global: &Global, args: &CreateArgs) -> Result<()> {
    refuse_unsupported(global, &args.launch)?;
    let launched = launch(global.root.as_deref(), &args.launch, Gate::Socket, false)?;
    hand_over(launched, args)
}

/// Gives the container to the caller, and to itself.
fn hand_over(mut launched: Launched, args: &CreateArgs) -> Result<()> {
    let outcome = console_socket::send(args.launch.console_socket.as_deref(), &launched.console)
        .and_then(|()| pid_file::write(args.launch.pid_file.as_deref(), launched.pid))
        .and_then(|()| launched.helper.host.commit());
    match outcome {
        Ok(()) => {
            launched.helper.finish();
            Ok(())
        }
        Err(e) => {
            drop(launched.side);
            abandon(launched.helper, &launched.container);
            Err(e)
        }
    }
}
