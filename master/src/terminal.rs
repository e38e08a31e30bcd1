// SPDX-License-Identifier: Apache-2.0
//! The caller's terminal and the container's, and what goes between them.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags};
use nix::sys::termios::{self, SetArg, Termios};

use crate::sys;

/// How much is passed on at once.
const PIECE: usize = 16 * 1024;

/// Puts the caller's terminal into raw mode, and back when it is dropped.
struct RawMode {
    saved: Option<Termios>,
}

impl RawMode {
    fn enter() -> Result<Self> {
        let stdin = io::stdin();
        let Ok(saved) = termios::tcgetattr(stdin.as_fd()) else {
            // Not a terminal: there is no mode to change.
            return Ok(Self { saved: None });
        };
        let mut raw = saved.clone();
        termios::cfmakeraw(&mut raw);
        termios::tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &raw).context("set raw mode")?;
        Ok(Self { saved: Some(saved) })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        if let Some(saved) = &self.saved {
            // A terminal that is gone has no mode to restore.
            let _ = termios::tcsetattr(io::stdin().as_fd(), SetArg::TCSADRAIN, saved);
        }
    }
}

/// Passes what is typed to the container's terminal and what that shows to the caller's.
pub(crate) struct Relay {
    console: OwnedFd,
    _raw: RawMode,
    stdin_open: bool,
    console_open: bool,
    /// Typed, and not taken by the container's terminal yet.
    pending: Vec<u8>,
}

impl Relay {
    /// Starts with the master end of the container's terminal.
    pub(crate) fn new(console: OwnedFd) -> Result<Self> {
        let flags = fcntl(&console, FcntlArg::F_GETFL).context("fcntl(F_GETFL)")?;
        let flags = OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK;
        fcntl(&console, FcntlArg::F_SETFL(flags)).context("fcntl(F_SETFL)")?;
        let relay = Self {
            console,
            _raw: RawMode::enter()?,
            stdin_open: true,
            console_open: true,
            pending: Vec::new(),
        };
        relay.resize();
        Ok(relay)
    }

    /// Gives the container's terminal the size of the caller's, if the caller has one.
    pub(crate) fn resize(&self) {
        for caller in [io::stdin().as_fd(), io::stdout().as_fd()] {
            if let Ok(size) = sys::terminal::size(caller) {
                // A terminal that is closing needs no size.
                let _ = sys::terminal::set_size(self.console.as_fd(), size);
                return;
            }
        }
    }

    /// What to wait for: stdin, then the container's terminal.
    pub(crate) fn poll_fds<'a>(&'a self, stdin: BorrowedFd<'a>) -> [PollFd<'a>; 2] {
        let reads_stdin = self.stdin_open && self.pending.is_empty();
        let mut console = PollFlags::empty();
        console.set(PollFlags::POLLIN, self.console_open);
        console.set(PollFlags::POLLOUT, self.console_open && !self.pending.is_empty());
        [
            PollFd::new(stdin, if reads_stdin { PollFlags::POLLIN } else { PollFlags::empty() }),
            PollFd::new(self.console.as_fd(), console),
        ]
    }

    /// Passes on what can be passed on without waiting.
    pub(crate) fn pump(&mut self, stdin: PollFlags, console: PollFlags) -> Result<()> {
        if self.stdin_open && !stdin.is_empty() && self.pending.is_empty() {
            self.read_stdin()?;
        }
        self.write_console();
        if self.console_open && !(console - PollFlags::POLLOUT).is_empty() {
            self.show_once()?;
        }
        Ok(())
    }

    /// Shows what the container has left behind in its terminal.
    pub(crate) fn drain(&mut self) -> Result<()> {
        while self.console_open && self.show_once()? {}
        Ok(())
    }

    fn read_stdin(&mut self) -> Result<()> {
        let mut piece = vec![0; PIECE];
        match io::stdin().lock().read(&mut piece) {
            Ok(0) => self.stdin_open = false,
            Ok(length) => {
                piece.truncate(length);
                self.pending = piece;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // A terminal that was hung up.
            Err(e) if e.raw_os_error() == Some(Errno::EIO as i32) => self.stdin_open = false,
            Err(e) => return Err(e).context("read stdin"),
        }
        Ok(())
    }

    fn write_console(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        match nix::unistd::write(&self.console, &self.pending) {
            Ok(length) => drop(self.pending.drain(..length)),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // Nobody reads any more.
            Err(_) => self.pending.clear(),
        }
    }

    /// Shows one piece; whether there may be more.
    fn show_once(&mut self) -> Result<bool> {
        let mut piece = [0; PIECE];
        match nix::unistd::read(&self.console, &mut piece) {
            Ok(length @ 1..) => {
                write_all(io::stdout().as_fd(), &piece[..length]).context("write stdout")?;
                Ok(true)
            }
            Err(Errno::EAGAIN) => Ok(false),
            Err(Errno::EINTR) => Ok(true),
            // EIO: nobody has the terminal end open any more.
            Ok(_) | Err(_) => {
                self.console_open = false;
                Ok(false)
            }
        }
    }
}

fn write_all(fd: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match nix::unistd::write(fd, bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                // A caller's terminal in non-blocking mode: wait for it.
                let mut room = [PollFd::new(fd, PollFlags::POLLOUT)];
                let _ = nix::poll::poll(&mut room, nix::poll::PollTimeout::NONE);
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
