// SPDX-License-Identifier: Apache-2.0
use std::os::fd::OwnedFd;

use libc::{c_uint, pid_t};
use nix::errno::Errno;

use super::owned;

/// `pidfd_open(2)`
pub(crate) fn open(pid: pid_t) -> Result<OwnedFd, Errno> {
    let flags: c_uint = 0;
    // SAFETY: the call takes numbers only.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, flags) })
}
