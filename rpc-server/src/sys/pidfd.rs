// SPDX-License-Identifier: Apache-2.0
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use libc::{c_int, c_uint, pid_t};
use nix::errno::Errno;

use super::{descriptor::owned, outcome};

/// `pidfd_open(2)`
pub(crate) fn open(pid: pid_t) -> Result<OwnedFd, Errno> {
    let flags: c_uint = 0;
    // SAFETY: the call takes numbers only.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, flags) })
}

/// `pidfd_send_signal(2)`
pub(crate) fn send_signal(pidfd: BorrowedFd<'_>, signal: c_int) -> Result<(), Errno> {
    let info = std::ptr::null::<libc::siginfo_t>();
    let flags: c_uint = 0;
    // SAFETY: a null siginfo means that the kernel fills it in as for kill(2).
    outcome(unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, info, flags)
    })
    .map(drop)
}
