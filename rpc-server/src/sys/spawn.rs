// SPDX-License-Identifier: Apache-2.0
use std::ffi::{CStr, CString};

use libc::{c_char, pid_t};
use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

/// Runs a program with the given arguments and an empty environment and waits for it.
pub(crate) fn run(program: &CStr, arguments: &[CString]) -> Result<WaitStatus, Errno> {
    let mut argv: Vec<*mut c_char> = vec![program.as_ptr().cast_mut()];
    argv.extend(arguments.iter().map(|a| a.as_ptr().cast_mut()));
    argv.push(std::ptr::null_mut());
    let environment = [std::ptr::null_mut()];
    let mut pid: pid_t = 0;
    // SAFETY: argv and environment are null-terminated arrays of strings that outlive the call; no file
    // actions and no attributes are given.
    let error = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            program.as_ptr(),
            std::ptr::null(),
            std::ptr::null(),
            argv.as_ptr(),
            environment.as_ptr(),
        )
    };
    if error != 0 {
        return Err(Errno::from_raw(error));
    }
    loop {
        match waitpid(Pid::from_raw(pid), None) {
            Err(Errno::EINTR) => {}
            outcome => return outcome,
        }
    }
}
