// SPDX-License-Identifier: Apache-2.0
//! openat2(2) with its bounded retries.

use std::os::fd::{AsFd, OwnedFd};

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;

/// How often a look-up is tried that a concurrent rename or mount has disturbed.
const TRIES: usize = 128;

/// Opens a path below a directory under the restrictions of `resolve`.
pub(crate) fn open_beneath<P: ?Sized + NixPath>(
    dir: impl AsFd,
    path: &P,
    flags: OFlag,
    resolve: ResolveFlag,
) -> Result<OwnedFd, Errno> {
    let mode = if flags.contains(OFlag::O_CREAT) {
        Mode::from_bits_truncate(0o600)
    } else {
        Mode::empty()
    };
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).mode(mode).resolve(resolve);
    let mut outcome = Err(Errno::EAGAIN);
    for _ in 0..TRIES {
        outcome = openat2(dir.as_fd(), path, how);
        if !matches!(outcome, Err(Errno::EAGAIN | Errno::EINTR)) {
            break;
        }
    }
    outcome
}
