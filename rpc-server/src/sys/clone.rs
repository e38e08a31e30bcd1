// SPDX-License-Identifier: Apache-2.0
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use libc::{c_int, c_long, pid_t};
use nix::errno::Errno;

use super::outcome;

/// `struct clone_args` of Linux 5.7, which libc has for some targets only.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_PIDFD: u64 = 0x1000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Which of the two processes goes on after [`clone_sibling`].
pub(crate) enum Cloned {
    /// The caller; the new process and a pidfd of it.
    Parent(pid_t, OwnedFd),
    /// The new process.
    Child,
}

/// Makes a copy of this process with the given `CLONE_NEW*` flags, as a child of this process' own
/// parent (`CLONE_PARENT`), born in a version 2 cgroup if one is given.
///
/// Without clone3(2) (or where an outer seccomp filter hides it) clone(2) is used, which knows no
/// cgroup: `Errno::ENOSYS` comes back then if one was asked for, before anything was made.
pub(crate) fn clone_sibling(
    namespaces: c_int,
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Cloned, Errno> {
    let mut pidfd: c_int = -1;
    let namespaces = u64::from(namespaces.cast_unsigned());
    let parent = u64::from(libc::CLONE_PARENT.cast_unsigned());
    let mut args = CloneArgs {
        flags: namespaces | parent | CLONE_PIDFD,
        pidfd: (&raw mut pidfd).addr() as u64,
        ..CloneArgs::default()
    };
    if let Some(fd) = cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = u64::from(fd.as_raw_fd().cast_unsigned());
    }
    // SAFETY: the structure is valid for its size; `pidfd` outlives the call. No memory is shared
    // (no CLONE_VM) and this process has one thread, so the copy may run any code.
    let ret = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) };
    match outcome(ret) {
        Err(Errno::ENOSYS | Errno::EPERM) if cgroup.is_none() => {
            returned(clone_before_clone3(namespaces | parent, &mut pidfd), pidfd)
        }
        _ => returned(ret, pidfd),
    }
}

/// clone(2) with the raw argument order of x86-64 and of arm64: flags, stack, `parent_tid`, …
fn clone_before_clone3(flags: u64, pidfd: &mut c_int) -> c_long {
    let flags = flags | CLONE_PIDFD | u64::from(libc::SIGCHLD.cast_unsigned());
    let null = 0_u64;
    // SAFETY: as above; a null stack means that the copy goes on with a copy of this one. clone(2)
    // stores the pidfd where `parent_tid` points.
    unsafe { libc::syscall(libc::SYS_clone, flags, null, &raw mut *pidfd, null, null) }
}

fn returned(ret: c_long, pidfd: RawFd) -> Result<Cloned, Errno> {
    match outcome(ret)? {
        0 => Ok(Cloned::Child),
        pid => {
            let pid = pid_t::try_from(pid).map_err(|_| Errno::EOVERFLOW)?;
            // SAFETY: the kernel stored a new descriptor there for this process alone.
            Ok(Cloned::Parent(pid, unsafe { OwnedFd::from_raw_fd(pidfd) }))
        }
    }
}
