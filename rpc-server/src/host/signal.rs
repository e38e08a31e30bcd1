// SPDX-License-Identifier: Apache-2.0
//! Signals for a process that is proven to be the one meant.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use outrigger_protocol::limits::SignalEach;
use outrigger_protocol::request::Signal;

use crate::error::{Context, OpError, Result};
use crate::procfs::Procfs;
use crate::sys::pidfd;

/// Sends a signal, unless the pid belongs to another process by now.
pub(super) fn send(request: Signal) -> Result<()> {
    let Signal { pid, start_time, signal } = request;
    if pid <= 0 || !(1..=64).contains(&signal) {
        return Err(OpError::refused(format!("signal {signal} for process {pid}")));
    }
    let process = open_identified(pid, start_time)?;
    pidfd::send_signal(process.as_fd(), signal).during(|| format!("kill({pid}, {signal})"))
}

/// Sends a signal to each of some processes; one that is gone needs none.
pub(super) fn send_each(request: &SignalEach) -> Result<()> {
    let signal = request.signal;
    for &(pid, start_time) in request.processes.iter() {
        match send(Signal { pid, start_time, signal }) {
            Err(e) if e.is(Errno::ESRCH) => {}
            outcome => outcome?,
        }
    }
    Ok(())
}

/// A pidfd of the process that has this pid *and* started then.
pub(super) fn open_identified(pid: i32, start_time: u64) -> Result<OwnedFd> {
    let gone = || OpError::os(format!("process {pid}"), Errno::ESRCH);
    let process = pidfd::open(pid).during(|| format!("process {pid}"))?;
    // The pidfd was opened first: if the start time matches now, it is the process meant.
    let stat = Procfs::mounted()?.read(&format!("{pid}/stat"), 4096).map_err(|_| gone())?;
    if start_time_of(&stat) == Some(start_time) { Ok(process) } else { Err(gone()) }
}

/// Field 22 of /proc/PID/stat. The second field, the name, may hold blanks and parentheses.
fn start_time_of(stat: &[u8]) -> Option<u64> {
    let after_name = stat.iter().rposition(|b| *b == b')')?.checked_add(2)?;
    let rest = std::str::from_utf8(stat.get(after_name..)?).ok()?;
    rest.split(' ').nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_time_is_found_behind_any_name() {
        let fields = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        for name in ["sh", "a b", ") S 1 2", "((", "))"] {
            let stat = format!("42 ({name}) {fields}");
            assert_eq!(start_time_of(stat.as_bytes()), Some(4711), "{name}");
        }
        assert_eq!(start_time_of(b"42 (sh) S 1"), None);
        assert_eq!(start_time_of(b""), None);
    }
}
