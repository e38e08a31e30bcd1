// SPDX-License-Identifier: Apache-2.0
//! Giving up privilege for good.

use libc::{c_int, c_ulong};
use nix::errno::Errno;

use super::outcome;

#[repr(C)]
struct Header {
    version: u32,
    pid: c_int,
}

/// One half (32 capabilities) of the three sets, as `struct __user_cap_data_struct`.
#[repr(C)]
#[derive(Default, Clone, Copy, PartialEq, Eq)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const VERSION_3: u32 = 0x2008_0522;

/// Gives up every capability, and with `PR_SET_NO_NEW_PRIVS` the way to any: not even execve(2) by
/// user 0 brings one back.
///
/// # Errors
/// The kernel refused, or the capabilities are still there.
pub(crate) fn drop_capabilities() -> Result<(), Errno> {
    let zero: c_ulong = 0;
    let one: c_ulong = 1;
    // SAFETY: the operation takes numbers only.
    outcome(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, one, zero, zero, zero) }.into())?;
    let mut header = Header { version: VERSION_3, pid: 0 };
    let none = [Half::default(); 2];
    // SAFETY: version 3 reads two structures, and there are two.
    outcome(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, none.as_ptr()) })?;
    let mut left = [Half { effective: 1, permitted: 1, inheritable: 1 }; 2];
    // SAFETY: version 3 writes two structures, and there is room for two.
    outcome(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, left.as_mut_ptr()) })?;
    if left == none { Ok(()) } else { Err(Errno::EPERM) }
}
