// SPDX-License-Identifier: Apache-2.0
//! Thin wrappers over the system calls that nix does not have. Each is one call, named after it; the
//! only unsafe code of the helper is here.
#![allow(unsafe_code)]

pub(crate) mod bpf;
pub(crate) mod capability;
pub(crate) mod clone;
pub(crate) mod descriptor;
pub(crate) mod mount;
pub(crate) mod net;
pub(crate) mod pidfd;
pub(crate) mod process;
pub(crate) mod seccomp;
pub(crate) mod spawn;
pub(crate) mod terminal;

use libc::{c_int, c_long};
use nix::errno::Errno;

/// A system call's result: -1 means that errno says why.
fn outcome(ret: c_long) -> Result<c_long, Errno> {
    if ret == -1 { Err(Errno::last()) } else { Ok(ret) }
}

/// The same for a call that returns a descriptor or another small number.
fn small(ret: c_long) -> Result<c_int, Errno> {
    outcome(ret).and_then(|n| c_int::try_from(n).map_err(|_| Errno::EOVERFLOW))
}
