// SPDX-License-Identifier: Apache-2.0
use std::ffi::{CStr, c_char};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use libc::pid_t;
use nix::errno::Errno;

/// Starts a program with no arguments, an empty environment, and `socket` as its descriptor `at`; stdin,
/// stdout and stderr are ours. `socket` must have another number than `at`.
pub(crate) fn spawn(
    file: &CStr,
    name: &CStr,
    socket: BorrowedFd<'_>,
    at: RawFd,
) -> Result<pid_t, Errno> {
    let mut actions = Actions::new()?;
    actions.dup2(socket, at)?;
    let argv: [*mut c_char; 2] = [name.as_ptr().cast_mut(), std::ptr::null_mut()];
    let environment: [*mut c_char; 1] = [std::ptr::null_mut()];
    let mut pid: pid_t = 0;
    // SAFETY: argv and environment are null-terminated arrays of strings that outlive the call, as do
    // the file actions.
    let error = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            file.as_ptr(),
            actions.0.as_ptr(),
            std::ptr::null(),
            argv.as_ptr(),
            environment.as_ptr(),
        )
    };
    if error == 0 { Ok(pid) } else { Err(Errno::from_raw(error)) }
}

struct Actions(Box<MaybeUninit<libc::posix_spawn_file_actions_t>>);

impl Actions {
    fn new() -> Result<Self, Errno> {
        let mut actions = Box::new(MaybeUninit::uninit());
        // SAFETY: the call initialises what it is given.
        let error = unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) };
        if error == 0 { Ok(Self(actions)) } else { Err(Errno::from_raw(error)) }
    }

    fn dup2(&mut self, from: BorrowedFd<'_>, to: RawFd) -> Result<(), Errno> {
        let actions = self.0.as_mut_ptr();
        // SAFETY: the actions are initialised.
        let error =
            unsafe { libc::posix_spawn_file_actions_adddup2(actions, from.as_raw_fd(), to) };
        if error == 0 { Ok(()) } else { Err(Errno::from_raw(error)) }
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: initialised by `new`, destroyed once.
        unsafe { libc::posix_spawn_file_actions_destroy(self.0.as_mut_ptr()) };
    }
}
