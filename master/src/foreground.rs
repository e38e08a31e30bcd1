// SPDX-License-Identifier: Apache-2.0
//! Standing in for a container's process in the foreground: pass signals and terminal input on, wait
//! for its end, return its exit status.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

use crate::terminal::Relay;

/// Signals that are not passed on: the kernel sends them about ourselves.
const OWN: [Signal; 9] = [
    Signal::SIGCHLD,
    Signal::SIGURG,
    Signal::SIGPIPE,
    Signal::SIGSEGV,
    Signal::SIGBUS,
    Signal::SIGILL,
    Signal::SIGFPE,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
];

/// Takes over the signals that are meant for the container's process. To be made before it starts, so
/// that none is lost.
pub(crate) struct Signals(SignalFd);

impl Signals {
    pub(crate) fn take_over() -> Result<Self> {
        let mut mask = SigSet::all();
        for signal in OWN {
            mask.remove(signal);
        }
        mask.thread_block().context("sigprocmask")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self(SignalFd::with_flags(&mask, flags).context("signalfd")?))
    }

    /// The signals that have arrived, by number.
    fn arrived(&self) -> Result<Vec<i32>> {
        let mut numbers = Vec::new();
        while let Some(info) = self.0.read_signal().context("read signalfd")? {
            numbers.push(i32::try_from(info.ssi_signo)?);
        }
        Ok(numbers)
    }
}

/// Waits for the end of a child, passing signals on by `send`, and its terminal if it has one.
///
/// The exit status is that of a shell: the process' own, or 128 and the number of the signal that
/// killed it.
pub(crate) fn wait(
    pidfd: &OwnedFd,
    signals: &Signals,
    mut relay: Option<Relay>,
    mut send: impl FnMut(i32),
) -> Result<u8> {
    loop {
        let stdin = io::stdin();
        let mut fds = vec![
            PollFd::new(pidfd.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.0.as_fd(), PollFlags::POLLIN),
        ];
        if let Some(relay) = &relay {
            fds.extend(relay.poll_fds(stdin.as_fd()));
        }
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e).context("poll"),
        }
        let events: Vec<PollFlags> =
            fds.iter().map(|f| f.revents().unwrap_or(PollFlags::empty())).collect();
        drop(fds);
        if let (Some(relay), [_, _, stdin, console]) = (&mut relay, events.as_slice()) {
            relay.pump(*stdin, *console)?;
        }
        for signal in signals.arrived()? {
            match &relay {
                Some(relay) if signal == Signal::SIGWINCH as i32 => relay.resize(),
                _ => send(signal),
            }
        }
        if events.first().is_some_and(|e| !e.is_empty()) {
            if let Some(relay) = &mut relay {
                relay.drain()?;
            }
            return exit_status(pidfd);
        }
    }
}

fn exit_status(pidfd: &OwnedFd) -> Result<u8> {
    let id = Id::PIDFd(pidfd.as_fd());
    match waitid(id, WaitPidFlag::WEXITED).context("waitid")? {
        WaitStatus::Exited(_, code) => Ok(u8::try_from(code & 0xff)?),
        WaitStatus::Signaled(_, signal, _) => Ok(128 + u8::try_from(signal as i32)?),
        status => bail!("waitid: unexpected {status:?}"),
    }
}
