// SPDX-License-Identifier: Apache-2.0
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use libc::{c_int, c_long, c_uint};
use nix::errno::Errno;

use super::{outcome, small};

/// Takes ownership of the descriptor that a system call has just returned.
pub(super) fn owned(ret: c_long) -> Result<OwnedFd, Errno> {
    let fd = small(ret)?;
    // SAFETY: the calls that end here return a new descriptor of this process, which nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes the descriptor that the parent left at a fixed number.
///
/// To be called once for a number.
pub(crate) fn inherited(fd: RawFd) -> Result<OwnedFd, Errno> {
    // SAFETY: F_GETFD takes no pointer.
    outcome(c_long::from(unsafe { libc::fcntl(fd, libc::F_GETFD) }))?;
    // SAFETY: it is open (just checked) and main() is the only caller, once, before any other
    // descriptor was made.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes ownership of the descriptor that accept4(2) has just returned.
pub(crate) fn accepted(fd: RawFd) -> OwnedFd {
    // SAFETY: the caller passes the number of a descriptor that it has just received and nothing owns.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// `close_range(2)` from `first` on to the last, with `CLOSE_RANGE_*` flags.
pub(crate) fn close_range(first: RawFd, last: RawFd, flags: c_uint) -> Result<(), Errno> {
    let (Ok(first), Ok(last)) = (c_uint::try_from(first), c_uint::try_from(last)) else {
        return Err(Errno::EBADF);
    };
    // SAFETY: the call takes numbers only. Descriptors that it closes are not owned by any value that
    // is used afterwards: callers close what the parent left behind.
    outcome(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) }).map(drop)
}

/// Closes all descriptors but stdin, stdout, stderr and those of `keep`.
pub(crate) fn close_all_but(keep: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut keep: Vec<RawFd> = keep.iter().map(AsRawFd::as_raw_fd).collect();
    keep.sort_unstable();
    let mut first = 3;
    for fd in keep {
        if fd > first {
            close_range(first, fd.saturating_sub(1), 0)?;
        }
        first = first.max(fd.saturating_add(1));
    }
    close_range(first, c_int::MAX, 0)
}

/// Marks all descriptors from 3 on to be closed by execve(2).
pub(crate) fn close_on_exec() -> Result<(), Errno> {
    match close_range(3, c_int::MAX, libc::CLOSE_RANGE_CLOEXEC) {
        // Before Linux 5.11 the flag is unknown. Nothing below needs these descriptors then but the
        // start socket, and all that the helper opens are O_CLOEXEC already.
        Err(Errno::EINVAL) => Ok(()),
        outcome => outcome,
    }
}
