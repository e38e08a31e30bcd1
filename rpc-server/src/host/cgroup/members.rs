// SPDX-License-Identifier: Apache-2.0
//! The processes in a cgroup and in those below it.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use outrigger_protocol::cgroup::{CgroupVersion, Cgroups};

use super::freezer::Freezer;
use super::{open_cgroup, open_hierarchy, read_whole, shown, write};
use crate::error::{Context, OpError, Result};
use crate::sys::pidfd;

/// Sends a signal to every member of a container's cgroups.
pub(crate) fn signal_all(groups: &Cgroups, signal: i32) -> Result<()> {
    if !(1..=64).contains(&signal) {
        return Err(OpError::refused(format!("signal {signal}")));
    }
    // All its hierarchies have the same members; version 2 can kill them in one go.
    let group = groups
        .iter()
        .max_by_key(|g| g.version == CgroupVersion::V2)
        .ok_or_else(|| OpError::refused("the container has no cgroup"))?;
    let mount = open_hierarchy(group)?;
    let dir = open_cgroup(mount.as_fd(), group)?;
    if signal == libc::SIGKILL && write(dir.as_fd(), "cgroup.kill", b"1").is_ok() {
        return thaw_killed(groups);
    }
    // While they stand still none can fork a process that the signal would miss.
    let freezer = Freezer::find(groups)?;
    let is_frozen = freezer.as_ref().map_or(Ok(false), Freezer::is_frozen)?;
    if let Some(freezer) = &freezer {
        freezer.set(true)?;
    }
    let outcome = signal_members(dir.as_fd(), signal).during(|| shown(group));
    if let Some(freezer) = freezer.filter(|_| !is_frozen || signal == libc::SIGKILL) {
        freezer.set(false)?;
    }
    outcome
}

/// Version 1 lets nothing end that is frozen.
fn thaw_killed(groups: &Cgroups) -> Result<()> {
    match Freezer::find(groups)? {
        Some(freezer) if freezer.is_frozen()? => freezer.set(false),
        _ => Ok(()),
    }
}

/// Sends a signal to the members of a cgroup and of those below.
pub(super) fn signal_members(dir: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    for name in below(dir) {
        if let Ok(child) = open_child(dir, &name) {
            signal_members(child.as_fd(), signal)?;
        }
    }
    for pid in members(dir)? {
        let Ok(process) = pidfd::open(pid) else { continue };
        // Opened first, seen in the cgroup again after that: it is a member, not a reused pid.
        if members(dir)?.contains(&pid) {
            let _ = pidfd::send_signal(process.as_fd(), signal);
        }
    }
    Ok(())
}

/// The names of the cgroups right below.
pub(super) fn below(dir: BorrowedFd<'_>) -> Vec<CString> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let entries = openat(dir, ".", flags, Mode::empty()).and_then(nix::dir::Dir::from_fd);
    let Ok(mut entries) = entries else { return Vec::new() };
    let is_cgroup = |e: &nix::dir::Entry| {
        e.file_type() == Some(nix::dir::Type::Directory)
            && !matches!(e.file_name().to_bytes(), b"." | b"..")
    };
    entries.iter().flatten().filter(is_cgroup).map(|e| e.file_name().to_owned()).collect()
}

/// One of them.
pub(super) fn open_child(dir: BorrowedFd<'_>, name: &CString) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(dir, name.as_c_str(), flags, Mode::empty())
}

fn members(dir: BorrowedFd<'_>) -> Result<Vec<i32>, Errno> {
    let content = match read_whole(dir, "cgroup.procs") {
        // A threaded cgroup has its processes listed above.
        Err(Errno::EOPNOTSUPP) => return Ok(Vec::new()),
        content => content?,
    };
    let numbers = content.split(|b| *b == b'\n').filter_map(|l| std::str::from_utf8(l).ok());
    Ok(numbers.filter_map(|n| n.parse().ok()).filter(|pid| *pid > 0).collect())
}
