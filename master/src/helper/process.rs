// SPDX-License-Identifier: Apache-2.0
//! Starting the helper, and the end of the master's own privilege.

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use std::os::fd::{AsFd, RawFd};

use super::client::{HostSide, socket_pair};
use super::executable::Executable;
use crate::sys::{privilege, signal, spawn};

/// Where the helper expects its end of the socket.
const SOCKET: RawFd = 3;

/// The host side of the helper, running. Dropping it ends the conversation and waits until the helper is
/// gone: what was not committed is undone then.
pub(crate) struct Helper {
    /// The conversation with it.
    pub(crate) host: HostSide,
    // Dropped after the conversation, whose end is what ends the process.
    process: Process,
}

struct Process(Option<Pid>);

impl Process {
    /// Waits for its end; whether it came to that by itself.
    fn wait(&mut self) -> bool {
        let Some(pid) = self.0.take() else { return true };
        loop {
            match waitpid(pid, None) {
                Err(Errno::EINTR) => {}
                status => return matches!(status, Ok(WaitStatus::Exited(..))),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.wait();
    }
}

impl Helper {
    /// Starts the helper and then gives up every capability: from here on this process only reads,
    /// thinks and asks. Nothing that others have written may be read before.
    pub(crate) fn start() -> Result<Self> {
        signal::keep_exited_children().context("signal(SIGCHLD, SIG_DFL)")?;
        let executable = Executable::find()?;
        let (ours, theirs) = socket_pair()?;
        let pid = spawn::spawn(&executable.path, c"outrigger-helper", theirs.as_fd(), SOCKET)
            .with_context(|| format!("start helper {}", executable.path.to_string_lossy()))?;
        privilege::drop_capabilities().context("give up all capabilities")?;
        Ok(Self { host: HostSide::new(ours), process: Process(Some(Pid::from_raw(pid))) })
    }

    /// Ends the conversation. Whether the helper has come to its own end, and with it has undone what
    /// was not committed; if it was killed, it has not.
    pub(crate) fn finish(self) -> bool {
        let Self { host, mut process } = self;
        drop(host);
        process.wait()
    }
}
