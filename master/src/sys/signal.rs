// SPDX-License-Identifier: Apache-2.0
use nix::errno::Errno;
use nix::sys::signal::{SigHandler, Signal, signal};

/// Lets the kernel keep exited children for wait(2), whatever the caller has set.
pub(crate) fn keep_exited_children() -> Result<(), Errno> {
    // SAFETY: SIG_DFL is a valid action and no handler is installed.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }.map(drop)
}
