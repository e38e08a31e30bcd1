// SPDX-License-Identifier: Apache-2.0
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_char, c_short};
use nix::errno::Errno;

use super::outcome;

/// `struct ifreq` for the flags ioctls, at its full size.
#[repr(C)]
struct InterfaceFlags {
    name: [c_char; libc::IFNAMSIZ],
    flags: c_short,
    padding: [u8; 22],
}

/// Sets the loopback interface up (netdevice(7), `SIOCSIFFLAGS`); any socket of the network namespace
/// will do.
pub(crate) fn loopback_up(socket: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut name = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(c"lo".to_bytes()) {
        *to = from.cast_signed();
    }
    let up = c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).map_err(|_| Errno::EINVAL)?;
    let request = InterfaceFlags { name, flags: up, padding: [0; 22] };
    // SAFETY: the structure has the size of `struct ifreq` and outlives the call.
    outcome(
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) }.into(),
    )
    .map(drop)
}
