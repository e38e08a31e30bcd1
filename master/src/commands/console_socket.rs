// SPDX-License-Identifier: Apache-2.0
use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

/// Sends the master end of the container's terminal to whoever listens on the console socket.
pub(super) fn send(socket: Option<&Path>, console: &Option<OwnedFd>) -> Result<()> {
    let (socket, console) = match (socket, console) {
        (None, None) => return Ok(()),
        (Some(socket), Some(console)) => (socket, console),
        (None, Some(_)) => bail!(
            "process.terminal is true: without a foreground process the terminal needs --console-socket"
        ),
        (Some(_), None) => bail!("--console-socket is given, but process.terminal is false"),
    };
    let context = || format!("console socket {}", socket.display());
    let stream = UnixStream::connect(socket).with_context(context)?;
    let fds = [console.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&fds)];
    let name = [IoSlice::new(b"/dev/ptmx")];
    sendmsg::<()>(stream.as_raw_fd(), &name, &rights, MsgFlags::MSG_NOSIGNAL, None)
        .with_context(context)?;
    Ok(())
}
