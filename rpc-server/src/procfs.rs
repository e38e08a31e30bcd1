// SPDX-License-Identifier: Apache-2.0
//! A procfs that nothing can have tampered with.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag, open, readlinkat};
use nix::sys::stat::Mode;
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use crate::error::{Context, OpError, Result};
use crate::open::open_beneath;
use crate::sys::mount;

/// An open procfs root.
pub(crate) struct Procfs(OwnedFd);

impl Procfs {
    /// A procfs of this process' pid namespace: one of our own, mounted nowhere; where that is not
    /// permitted, the one at /proc, verified to be one.
    pub(crate) fn open() -> Result<Self> {
        match Self::detached() {
            Ok(fd) => Ok(Self(fd)),
            Err(Errno::EPERM | Errno::ENOSYS) => Self::mounted(),
            Err(e) => Err(OpError::os("fsopen(\"proc\")", e)),
        }
    }

    fn detached() -> Result<OwnedFd, Errno> {
        let fs = mount::fsopen(c"proc")?;
        mount::fsconfig_create(fs.as_fd())?;
        mount::fsmount(fs.as_fd(), 0)
    }

    /// The procfs at /proc.
    pub(crate) fn mounted() -> Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = open("/proc", flags, Mode::empty()).during(|| "open(\"/proc\")")?;
        let kind = fstatfs(&fd).during(|| "fstatfs(\"/proc\")")?.filesystem_type();
        if kind != PROC_SUPER_MAGIC {
            return Err(OpError::refused("/proc is not a procfs"));
        }
        Ok(Self(fd))
    }

    /// Opens a file of it, never one that is mounted over or linked to.
    pub(crate) fn file(&self, path: &str, flags: OFlag) -> Result<OwnedFd> {
        let resolve = ResolveFlag::RESOLVE_BENEATH
            | ResolveFlag::RESOLVE_NO_SYMLINKS
            | ResolveFlag::RESOLVE_NO_XDEV;
        open_beneath(&self.0, path, flags, resolve).during(|| format!("open(\"/proc/{path}\")"))
    }

    /// What a link of it says, such as one of a namespace.
    pub(crate) fn link(&self, path: &str) -> Result<OsString> {
        readlinkat(&self.0, path).during(|| format!("readlink(\"/proc/{path}\")"))
    }

    /// Writes a file of it in one piece.
    pub(crate) fn write(&self, path: &str, value: &[u8]) -> Result<()> {
        let file = self.file(path, OFlag::O_WRONLY)?;
        let operation = || format!("write(\"/proc/{path}\", \"{}\")", value.escape_ascii());
        let written = nix::unistd::write(&file, value).during(operation)?;
        if written == value.len() { Ok(()) } else { Err(OpError::os(operation(), Errno::EIO)) }
    }

    /// Reads a file of it, at most `most` bytes.
    pub(crate) fn read(&self, path: &str, most: usize) -> Result<Vec<u8>> {
        let file = self.file(path, OFlag::O_RDONLY)?;
        let mut content = vec![0; most];
        let length =
            nix::unistd::read(&file, &mut content).during(|| format!("read(\"/proc/{path}\")"))?;
        content.truncate(length);
        Ok(content)
    }
}
