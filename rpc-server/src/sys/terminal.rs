// SPDX-License-Identifier: Apache-2.0
//! Pseudo-terminals by descriptor: `ioctl_tty(2)`.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use libc::c_int;
use nix::errno::Errno;

use super::{descriptor::owned, outcome};

/// `TIOCSPTLCK` 0: lets the terminal end of a pseudo-terminal be opened.
pub(crate) fn unlock(master: BorrowedFd<'_>) -> Result<(), Errno> {
    let unlocked: c_int = 0;
    // SAFETY: the ioctl reads one int.
    outcome(
        unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const unlocked) }.into(),
    )
    .map(drop)
}

/// `TIOCGPTPEER`: opens the terminal end itself, not whatever lies at its path.
pub(crate) fn open_peer(master: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: the ioctl takes a number.
    owned(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) }.into())
}

/// `TIOCSWINSZ`
pub(crate) fn set_size(terminal: BorrowedFd<'_>, rows: u16, columns: u16) -> Result<(), Errno> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the ioctl reads one winsize.
    outcome(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }.into())
        .map(drop)
}

/// `TIOCSCTTY`: makes the terminal the controlling one of this session.
pub(crate) fn make_controlling(terminal: BorrowedFd<'_>) -> Result<(), Errno> {
    let steal: c_int = 0;
    // SAFETY: the ioctl takes a number.
    outcome(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, steal) }.into()).map(drop)
}
