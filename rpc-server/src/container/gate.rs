// SPDX-License-Identifier: Apache-2.0
//! The barrier between create and start: a listening socket in the container's state directory.
//!
//! Whoever connects and sends a byte starts the program; whoever connects and goes away has only
//! asked whether it still waits. A program that cannot be executed is answered with the reason.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{SockFlag, accept4};

use super::program::Program;
use crate::sys::descriptor::accepted;

/// How many may be connected at once; further ones wait in the socket's queue.
const MOST: usize = 8;

/// Waits for the start and executes the program. Comes back only if that fails.
pub(super) fn wait(listener: OwnedFd, program: &Program) {
    let mut clients: Vec<OwnedFd> = Vec::new();
    loop {
        let events = if clients.len() < MOST { PollFlags::POLLIN } else { PollFlags::empty() };
        let mut polled = vec![PollFd::new(listener.as_fd(), events)];
        polled.extend(clients.iter().map(|c| PollFd::new(c.as_fd(), PollFlags::POLLIN)));
        match poll(&mut polled, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
        let is_ready = |p: &PollFd<'_>| p.revents().is_some_and(|r| !r.is_empty());
        let ready: Vec<bool> = polled.iter().map(is_ready).collect();
        drop(polled);
        let mut ready = ready.into_iter();
        let connecting = ready.next() == Some(true);
        let mut kept = Vec::new();
        for (client, ready) in clients.into_iter().zip(ready) {
            if !ready {
                kept.push(client);
            } else if let Ok(1..) = nix::unistd::read(&client, &mut [0; 1]) {
                // Whoever is told that the program runs must not find this socket listening still: at
                // execve(2) the two would be closed in any order.
                drop(listener);
                answer(&client, program);
                return;
            }
        }
        clients = kept;
        if connecting && let Ok(fd) = accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
            clients.push(accepted(fd));
        }
    }
}

/// Executes; success closes the connection without a word, as the descriptor is close-on-exec.
fn answer(client: &OwnedFd, program: &Program) {
    let reason = program.execute().to_string();
    let _ = nix::unistd::write(client, reason.as_bytes());
}
