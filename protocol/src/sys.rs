// SPDX-License-Identifier: Apache-2.0
#![allow(unsafe_code)]

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Takes ownership of a descriptor that recvmsg(2) has just installed.
pub(crate) fn received(fd: RawFd) -> OwnedFd {
    // SAFETY: the kernel made this descriptor for this process with SCM_RIGHTS; the caller passes each
    // received number here exactly once, so nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}
