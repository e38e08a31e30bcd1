// SPDX-License-Identifier: Apache-2.0
//! The container's terminal.

use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat, major, makedev};
use nix::sys::statfs::{FsType, fstatfs};
use nix::unistd::{Uid, dup2_stderr, dup2_stdin, dup2_stdout, fchown};
use outrigger_protocol::identity::Id;
use outrigger_protocol::node::FileMode;
use outrigger_protocol::path::ContainerPath;
use outrigger_protocol::request::Console;

use super::root::{Root, file_type};
use crate::error::{Context, OpError, Result};
use crate::sys::mount::{self, Extent};
use crate::sys::terminal;

/// `DEVPTS_SUPER_MAGIC`
const DEVPTS: FsType = FsType(0x1cd1);
/// Major device number of pseudo-terminals' terminal ends (`UNIX98_PTY_SLAVE_MAJOR`).
const PTS_MAJOR: u64 = 136;

fn path(path: &str) -> Result<ContainerPath> {
    ContainerPath::new(path).map_err(|e| OpError::refused(e.to_string()))
}

/// The terminal end of a pseudo-terminal in the container's devpts.
pub(super) struct Terminal(OwnedFd);

impl Terminal {
    /// Makes a pseudo-terminal. Both ends are taken from the file system itself, never from a path that the
    /// image, or a process of the container, could have prepared.
    pub(super) fn open(root: &Root, request: Console) -> Result<(Self, OwnedFd)> {
        let master = root.open(&path("/dev/pts/ptmx")?, OFlag::O_RDWR | OFlag::O_NOCTTY)?;
        let status = fstat(&master).during(|| "stat /dev/pts/ptmx")?;
        let fs = fstatfs(&master).during(|| "fstatfs(/dev/pts)")?.filesystem_type();
        if fs != DEVPTS || file_type(&status) != SFlag::S_IFCHR || status.st_rdev != makedev(5, 2) {
            return Err(OpError::refused("/dev/pts/ptmx is not that of a devpts file system"));
        }
        terminal::unlock(master.as_fd()).during(|| "ioctl(TIOCSPTLCK)")?;
        let slave = terminal::open_peer(master.as_fd()).during(|| "ioctl(TIOCGPTPEER)")?;
        let status = fstat(&slave).during(|| "stat terminal")?;
        if major(status.st_rdev) != PTS_MAJOR {
            return Err(OpError::refused("the terminal is not a pseudo-terminal"));
        }
        if let Some((rows, columns)) = request.size {
            terminal::set_size(slave.as_fd(), rows, columns).during(|| "ioctl(TIOCSWINSZ)")?;
        }
        Ok((Self(slave), master))
    }

    /// Puts its terminal end on /dev/console.
    pub(super) fn put_on_console(&self, root: &Root) -> Result<()> {
        let mode = FileMode::new(0o600).ok_or_else(|| OpError::refused("mode"))?;
        let console = root.file(&path("/dev/console")?, mode)?;
        let copy =
            mount::clone_fd(self.0.as_fd(), Extent::Single).during(|| "open_tree(terminal)")?;
        mount::attach(copy.as_fd(), console.as_fd()).during(|| "bind terminal on /dev/console")
    }

    /// Makes it this session's controlling terminal, owned by the process' user, and its stdin, stdout
    /// and stderr.
    pub(super) fn take(self, owner: Id) -> Result<()> {
        terminal::make_controlling(self.0.as_fd()).during(|| "ioctl(TIOCSCTTY)")?;
        fchown(&self.0, Some(Uid::from_raw(owner.get())), None)
            .during(|| format!("chown(terminal, {})", owner.get()))?;
        dup2_stdin(&self.0).during(|| "dup2(terminal, 0)")?;
        dup2_stdout(&self.0).during(|| "dup2(terminal, 1)")?;
        dup2_stderr(&self.0).during(|| "dup2(terminal, 2)")
    }
}
