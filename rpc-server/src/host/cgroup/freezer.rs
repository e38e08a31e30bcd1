// SPDX-License-Identifier: Apache-2.0
//! Making all members of a cgroup stand still.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use outrigger_protocol::cgroup::{Cgroup, CgroupVersion, Cgroups};

use super::{open_cgroup, open_hierarchy, read, shown, write};
use crate::error::{Context, OpError, Result};

/// How long members may take to stand still: one of them may wait for a disk.
const FROZEN_WITHIN: Duration = Duration::from_secs(5);

/// A cgroup that can be frozen.
pub(super) struct Freezer<'a> {
    group: &'a Cgroup,
    dir: OwnedFd,
}

impl<'a> Freezer<'a> {
    /// The one among a container's cgroups: that of the version 1 controller, else that of version 2.
    pub(super) fn find(groups: &'a Cgroups) -> Result<Option<Self>> {
        let mut unified = None;
        for group in groups.iter() {
            let mount = open_hierarchy(group)?;
            let dir = open_cgroup(mount.as_fd(), group)?;
            let freezer = Self { group, dir };
            match (group.version, read(freezer.dir.as_fd(), freezer.control())) {
                (CgroupVersion::V1, Ok(_)) => return Ok(Some(freezer)),
                (CgroupVersion::V2, Ok(_)) => unified = Some(freezer),
                (_, Err(Errno::ENOENT)) => {}
                (_, Err(e)) => return Err(OpError::os(shown(group), e)),
            }
        }
        Ok(unified)
    }

    fn control(&self) -> &'static str {
        control(self.group.version)
    }

    /// Whether its members are to stand still.
    pub(super) fn is_frozen(&self) -> Result<bool> {
        let state = read(self.dir.as_fd(), self.control()).during(|| shown(self.group))?;
        Ok(!matches!(state.trim_ascii(), b"THAWED" | b"0"))
    }

    /// Freezes or thaws, and waits until that is done.
    pub(super) fn set(&self, frozen: bool) -> Result<()> {
        let dir = self.dir.as_fd();
        let operation = || {
            let verb = if frozen { "freeze" } else { "thaw" };
            format!("{verb} {}", shown(self.group))
        };
        let word = match (self.group.version, frozen) {
            (CgroupVersion::V1, true) => "FROZEN",
            (CgroupVersion::V1, false) => "THAWED",
            (CgroupVersion::V2, true) => "1",
            (CgroupVersion::V2, false) => "0",
        };
        let deadline = Instant::now().checked_add(FROZEN_WITHIN);
        let mut pause = Duration::from_micros(50);
        loop {
            // Written again and again: version 1 misses a process that was just being forked.
            write(dir, self.control(), word.as_bytes()).during(operation)?;
            if self.has_settled(frozen).during(operation)? {
                return Ok(());
            }
            if deadline.is_none_or(|d| Instant::now() > d) {
                if frozen {
                    let _ = thaw(dir, self.group.version);
                }
                return Err(OpError::os(operation(), Errno::ETIMEDOUT));
            }
            std::thread::sleep(pause);
            pause = pause.saturating_mul(2).min(Duration::from_millis(20));
        }
    }

    fn has_settled(&self, frozen: bool) -> Result<bool, Errno> {
        let dir = self.dir.as_fd();
        match self.group.version {
            CgroupVersion::V1 => {
                let wanted: &[u8] = if frozen { b"FROZEN" } else { b"THAWED" };
                Ok(read(dir, "freezer.state")?.trim_ascii() == wanted)
            }
            CgroupVersion::V2 => {
                let wanted: &[u8] = if frozen { b"frozen 1" } else { b"frozen 0" };
                let events = read(dir, "cgroup.events")?;
                Ok(events.split(|b| *b == b'\n').any(|line| line == wanted))
            }
        }
    }
}

fn control(version: CgroupVersion) -> &'static str {
    match version {
        CgroupVersion::V1 => "freezer.state",
        CgroupVersion::V2 => "cgroup.freeze",
    }
}

/// Lets the members of a cgroup go on, if it has a freezer: what is frozen cannot end.
pub(super) fn thaw(dir: BorrowedFd<'_>, version: CgroupVersion) -> Result<(), Errno> {
    let word = if version == CgroupVersion::V1 { "THAWED" } else { "0" };
    write(dir, control(version), word.as_bytes())
}

/// Freezes or thaws a container.
pub(crate) fn freeze(groups: &Cgroups, frozen: bool) -> Result<()> {
    match Freezer::find(groups)? {
        Some(freezer) => freezer.set(frozen),
        None => Err(OpError::refused("the container has no cgroup with a freezer")),
    }
}
