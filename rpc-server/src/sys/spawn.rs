// SPDX-License-Identifier: Apache-2.0
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;

use libc::{c_char, c_int, pid_t, posix_spawn_file_actions_t};
use nix::errno::Errno;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

/// Runs a program with the given arguments, an empty environment and nothing as its stdin, stdout and
/// stderr, and waits for it: what it has to say is said by its exit status.
pub(crate) fn run(program: &CStr, arguments: &[CString]) -> Result<WaitStatus, Errno> {
    let mut argv: Vec<*mut c_char> = vec![program.as_ptr().cast_mut()];
    argv.extend(arguments.iter().map(|a| a.as_ptr().cast_mut()));
    argv.push(std::ptr::null_mut());
    let environment = [std::ptr::null_mut()];
    let silence = Silence::new()?;
    let mut pid: pid_t = 0;
    // SAFETY: argv and environment are null-terminated arrays of strings that outlive the call, as do
    // the file actions; no attributes are given.
    let error = unsafe {
        libc::posix_spawn(
            &raw mut pid,
            program.as_ptr(),
            silence.0.as_ptr(),
            std::ptr::null(),
            argv.as_ptr(),
            environment.as_ptr(),
        )
    };
    returned(error)?;
    loop {
        match waitpid(Pid::from_raw(pid), None) {
            Err(Errno::EINTR) => {}
            outcome => return outcome,
        }
    }
}

/// File actions that open the null device as descriptors 0, 1 and 2.
struct Silence(Box<MaybeUninit<posix_spawn_file_actions_t>>);

impl Silence {
    fn new() -> Result<Self, Errno> {
        let mut actions = Box::new(MaybeUninit::uninit());
        // SAFETY: the call initialises what it is given.
        returned(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        let mut silence = Self(actions);
        for fd in 0..=2 {
            let (actions, null) = (silence.0.as_mut_ptr(), c"/dev/null".as_ptr());
            // SAFETY: the actions are initialised; the path is a constant, which the call copies.
            returned(unsafe {
                libc::posix_spawn_file_actions_addopen(actions, fd, null, libc::O_RDWR, 0)
            })?;
        }
        Ok(silence)
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // SAFETY: initialised by `new`, destroyed once.
        unsafe { libc::posix_spawn_file_actions_destroy(self.0.as_mut_ptr()) };
    }
}

/// These calls return an error number, not -1.
fn returned(error: c_int) -> Result<(), Errno> {
    if error == 0 { Ok(()) } else { Err(Errno::from_raw(error)) }
}
