// SPDX-License-Identifier: Apache-2.0
use std::ffi::CStr;

use libc::{c_int, c_ulong};
use nix::errno::Errno;
use outrigger_protocol::process::{Resource, Rlimit};

use super::outcome;

fn prctl(operation: c_int, value: c_ulong) -> Result<(), Errno> {
    let zero: c_ulong = 0;
    // SAFETY: the operations of this file take numbers, or (PR_SET_NAME) the address of a string that
    // outlives the call.
    outcome(unsafe { libc::prctl(operation, value, zero, zero, zero) }.into()).map(drop)
}

/// `PR_SET_NO_NEW_PRIVS`
pub(crate) fn set_no_new_privs() -> Result<(), Errno> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
}

/// `PR_SET_PDEATHSIG`: the signal for this process when its parent dies; 0 for none.
pub(crate) fn set_parent_death_signal(signal: c_int) -> Result<(), Errno> {
    prctl(libc::PR_SET_PDEATHSIG, c_ulong::try_from(signal).map_err(|_| Errno::EINVAL)?)
}

/// `PR_SET_DUMPABLE`: whether other processes of the same user may look into this one.
pub(crate) fn set_dumpable(dumpable: bool) -> Result<(), Errno> {
    prctl(libc::PR_SET_DUMPABLE, dumpable.into())
}

/// `PR_SET_NAME`: what ps(1) shows, at most 15 bytes.
pub(crate) fn set_name(name: &CStr) -> Result<(), Errno> {
    prctl(libc::PR_SET_NAME, name.as_ptr().addr() as c_ulong)
}

/// Gives every signal its default action and unblocks all: what the caller and the language's
/// runtime have set would otherwise be inherited by the container.
pub(crate) fn reset_signals() -> Result<(), Errno> {
    // `struct sigaction` as the kernel has it, all zero: SIG_DFL, no flags, an empty mask of 8 bytes.
    let default = [0_u64; 4];
    for signal in 1..=64 {
        let (old, size) = (std::ptr::null_mut::<u64>(), 8_usize);
        // SAFETY: the structure is valid for reading and no handler is installed. The C library's
        // function would not touch the two signals that it keeps for itself. SIGKILL and SIGSTOP
        // cannot be set, which is no error: they have their default action.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), old, size) };
    }
    nix::sys::signal::SigSet::empty().thread_set_mask()
}

/// setrlimit(2) of this process.
pub(crate) fn setrlimit(limit: Rlimit) -> Result<(), Errno> {
    let resource = match limit.resource {
        Resource::As => libc::RLIMIT_AS,
        Resource::Core => libc::RLIMIT_CORE,
        Resource::Cpu => libc::RLIMIT_CPU,
        Resource::Data => libc::RLIMIT_DATA,
        Resource::Fsize => libc::RLIMIT_FSIZE,
        Resource::Locks => libc::RLIMIT_LOCKS,
        Resource::Memlock => libc::RLIMIT_MEMLOCK,
        Resource::Msgqueue => libc::RLIMIT_MSGQUEUE,
        Resource::Nice => libc::RLIMIT_NICE,
        Resource::Nofile => libc::RLIMIT_NOFILE,
        Resource::Nproc => libc::RLIMIT_NPROC,
        Resource::Rss => libc::RLIMIT_RSS,
        Resource::Rtprio => libc::RLIMIT_RTPRIO,
        Resource::Rttime => libc::RLIMIT_RTTIME,
        Resource::Sigpending => libc::RLIMIT_SIGPENDING,
        Resource::Stack => libc::RLIMIT_STACK,
    };
    let value = libc::rlimit { rlim_cur: limit.soft, rlim_max: limit.hard };
    // SAFETY: the structure outlives the call.
    outcome(unsafe { libc::setrlimit(resource, &raw const value) }.into()).map(drop)
}

/// setdomainname(2)
pub(crate) fn setdomainname(name: &[u8]) -> Result<(), Errno> {
    // SAFETY: the pointer is valid for the length given.
    outcome(unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) }.into()).map(drop)
}
