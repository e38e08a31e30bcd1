// SPDX-License-Identifier: Apache-2.0
use libc::{c_uint, c_ushort};
use nix::errno::Errno;
use outrigger_protocol::seccomp::Filter;

use super::outcome;

/// `struct sock_fprog`
#[repr(C)]
struct Program {
    length: c_ushort,
    filter: *const u64,
}

/// seccomp(2), `SECCOMP_SET_MODE_FILTER`: from here on every system call of this process goes through the
/// filter.
pub(crate) fn install(filter: &Filter) -> Result<(), Errno> {
    let instructions = filter.instructions();
    let length = c_ushort::try_from(instructions.len()).map_err(|_| Errno::E2BIG)?;
    let program = Program { length, filter: instructions.as_ptr() };
    let operation: c_uint = libc::SECCOMP_SET_MODE_FILTER;
    let flags: c_uint = filter.flags().bits();
    // SAFETY: the program's instructions are 8 bytes each, like `struct sock_filter`, and outlive the
    // call; the kernel copies and checks them.
    outcome(unsafe { libc::syscall(libc::SYS_seccomp, operation, flags, &raw const program) })
        .map(drop)
}
