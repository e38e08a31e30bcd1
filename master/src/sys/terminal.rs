// SPDX-License-Identifier: Apache-2.0
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::winsize;
use nix::errno::Errno;

use super::outcome;

/// `TIOCGWINSZ`
pub(crate) fn size(terminal: BorrowedFd<'_>) -> Result<winsize, Errno> {
    let mut size = winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the ioctl writes one winsize.
    outcome(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) }.into())?;
    Ok(size)
}

/// `TIOCSWINSZ`
pub(crate) fn set_size(terminal: BorrowedFd<'_>, size: winsize) -> Result<(), Errno> {
    // SAFETY: the ioctl reads one winsize.
    outcome(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }.into())
        .map(drop)
}
