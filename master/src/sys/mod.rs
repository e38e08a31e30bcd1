// SPDX-License-Identifier: Apache-2.0
//! System calls that nix does not have or that are unsafe to make; the only unsafe code of the master.
#![allow(unsafe_code)]

pub(crate) mod memfd;
pub(crate) mod pidfd;
pub(crate) mod privilege;
pub(crate) mod signal;
pub(crate) mod spawn;
pub(crate) mod terminal;

use libc::c_long;
use nix::errno::Errno;

/// A system call's result: -1 means that errno says why.
fn outcome(ret: c_long) -> Result<c_long, Errno> {
    if ret == -1 { Err(Errno::last()) } else { Ok(ret) }
}

/// Takes ownership of the descriptor that a system call has just returned.
fn owned(ret: c_long) -> Result<std::os::fd::OwnedFd, Errno> {
    let fd = i32::try_from(outcome(ret)?).map_err(|_| Errno::EOVERFLOW)?;
    // SAFETY: the calls that end here return a new descriptor of this process, which nothing else owns.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) })
}

/// Takes ownership of the descriptor that `F_DUPFD_CLOEXEC` has just returned.
pub(crate) fn duplicated(fd: std::os::fd::RawFd) -> std::os::fd::OwnedFd {
    // SAFETY: the caller passes the number of a descriptor that it has just made and nothing owns.
    unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) }
}
