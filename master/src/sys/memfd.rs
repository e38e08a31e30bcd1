// SPDX-License-Identifier: Apache-2.0
use std::fs::File;
use std::os::fd::OwnedFd;

use libc::c_uint;
use nix::errno::Errno;

use super::owned;

/// `MFD_EXEC`, Linux 6.3
const MFD_EXEC: c_uint = 0x10;

/// `memfd_create(2)`: a file in memory that can be executed and sealed.
pub(crate) fn create_executable(name: &std::ffi::CStr) -> Result<File, Errno> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    create(name, flags | MFD_EXEC)
        .or_else(|e| if e == Errno::EINVAL { create(name, flags) } else { Err(e) })
        .map(File::from)
}

fn create(name: &std::ffi::CStr, flags: c_uint) -> Result<OwnedFd, Errno> {
    // SAFETY: the name is a NUL-terminated string that outlives the call.
    owned(unsafe { libc::syscall(libc::SYS_memfd_create, name.as_ptr(), flags) })
}
