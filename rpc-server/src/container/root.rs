// SPDX-License-Identifier: Apache-2.0
//! The container's root as a descriptor. Every path of the container is resolved beneath it by the
//! kernel (`RESOLVE_IN_ROOT`), so that no symbolic link, `..` or rename leads out of it.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, ResolveFlag, open};
use nix::sys::stat::{FileStat, Mode, SFlag, fchmod, fstat, mkdirat};
use outrigger_protocol::mount::Propagation;
use outrigger_protocol::node::FileMode;
use outrigger_protocol::path::ContainerPath;
use outrigger_protocol::request::Rootfs;

use super::mounts::propagation_bits;
use crate::error::{Context, OpError, Result};
use crate::open::open_beneath;
use crate::sys::mount::{self, Extent, MountAttrs};

/// How often a missing path is created while others remove it.
const TRIES: usize = 16;
/// Permissions of directories that a mount needs and nobody described.
const DIRECTORY: u32 = 0o755;

/// The container's root directory.
pub(super) struct Root {
    fd: OwnedFd,
}

/// The type of a file, from its status.
pub(super) fn file_type(status: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(status.st_mode & SFlag::S_IFMT.bits())
}

impl Root {
    /// Opens the root; in a mount namespace of our own it becomes a mount there.
    pub(super) fn set_up(request: &Rootfs, own_mounts: bool) -> Result<Self> {
        let path = request.path.as_path();
        if !own_mounts {
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let fd =
                open(path, flags, Mode::empty()).during(|| format!("root {}", request.path))?;
            return Ok(Self { fd });
        }
        isolate(request.propagation)?;
        let target = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
            .during(|| format!("root {}", request.path))?;
        let status = fstat(&target).during(|| format!("stat {}", request.path))?;
        if file_type(&status) != SFlag::S_IFDIR {
            return Err(OpError::os(format!("root {}", request.path), Errno::ENOTDIR));
        }
        let fd = mount::clone_fd(target.as_fd(), Extent::Tree)
            .during(|| format!("open_tree({})", request.path))?;
        mount::attach(fd.as_fd(), target.as_fd())
            .during(|| format!("bind {} on itself", request.path))?;
        Ok(Self { fd })
    }

    /// The root directory of this process, which has joined a container.
    pub(super) fn current() -> Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self { fd: open("/", flags, Mode::empty()).during(|| "open(\"/\")")? })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Makes the root's own mount read-only, not what is mounted in it.
    pub(super) fn make_readonly(&self) -> Result<()> {
        let attrs = MountAttrs { set: libc::MOUNT_ATTR_RDONLY, ..MountAttrs::default() };
        mount::setattr(self.as_fd(), Extent::Single, attrs).during(|| "mount_setattr(/, ro)")
    }

    /// Opens a path that exists.
    pub(super) fn open(&self, path: &ContainerPath, flags: OFlag) -> Result<OwnedFd> {
        self.resolve(path, flags)?.during(|| format!("open {path}"))
    }

    /// Opens a path; `None` if it does not exist.
    pub(super) fn find(&self, path: &ContainerPath) -> Result<Option<OwnedFd>> {
        match self.resolve(path, OFlag::O_PATH)? {
            Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
            found => found.map(Some).during(|| format!("open {path}")),
        }
    }

    /// Opens the directory that holds a path, creating it if missing, and splits off the name.
    pub(super) fn parent<'a>(&self, path: &'a ContainerPath) -> Result<(OwnedFd, &'a Path)> {
        let (parent, name) =
            path.split_last().ok_or_else(|| OpError::refused("/ is the root itself"))?;
        Ok((self.directory(&parent)?, Path::new(OsStr::from_bytes(name))))
    }

    /// Opens a directory, creating it and its parents if missing.
    pub(super) fn directory(&self, path: &ContainerPath) -> Result<OwnedFd> {
        self.directory_with(path, None)
    }

    /// The same; one that is created gets these permissions.
    pub(super) fn directory_with(
        &self,
        path: &ContainerPath,
        mode: Option<FileMode>,
    ) -> Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let mode = Mode::from_bits_truncate(mode.map_or(DIRECTORY, FileMode::bits));
        for _ in 0..TRIES {
            match self.resolve(path, flags)? {
                Err(Errno::ENOENT) => {}
                found => return found.during(|| format!("open {path}")),
            }
            let (parent, name) =
                path.split_last().ok_or_else(|| OpError::os("open /", Errno::ENOENT))?;
            let parent = self.directory(&parent)?;
            let name = Path::new(OsStr::from_bytes(name));
            match mkdirat(&parent, name, mode) {
                // Opened by its name in the directory it was made in: no look-up of the path again.
                Ok(()) => {
                    let resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS;
                    return open_beneath(&parent, name, flags, resolve)
                        .during(|| format!("open {path}"));
                }
                Err(Errno::EEXIST) => {}
                Err(e) => return Err(OpError::os(format!("mkdir {path}"), e)),
            }
        }
        Err(OpError::refused(format!("{path} is a symbolic link to nothing")))
    }

    /// Opens a file of any type but directory; an empty regular one is created if missing.
    pub(super) fn file(&self, path: &ContainerPath, mode: FileMode) -> Result<OwnedFd> {
        for _ in 0..TRIES {
            if let Some(found) = self.find(path)? {
                return Ok(found);
            }
            let (parent, name) = self.parent(path)?;
            // O_EXCL does not follow a link, not even one to nothing.
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
            match open_beneath(&parent, name, flags, ResolveFlag::RESOLVE_BENEATH) {
                Ok(fd) => {
                    let mode = Mode::from_bits_truncate(mode.bits());
                    fchmod(&fd, mode).during(|| format!("chmod {path}"))?;
                    return Ok(fd);
                }
                Err(Errno::EEXIST) => {}
                Err(e) => return Err(OpError::os(format!("create {path}"), e)),
            }
        }
        Err(OpError::refused(format!("{path} is a symbolic link to nothing")))
    }

    /// One look-up. An image whose /proc, /sys or /dev is a symbolic link is refused, for what is
    /// mounted or made there would be somewhere else; elsewhere links are followed inside the root.
    fn resolve(&self, path: &ContainerPath, flags: OFlag) -> Result<Result<OwnedFd, Errno>> {
        let beneath = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
        let relative = relative(path);
        let Some(first) = path.components().next().filter(|c| is_kernel_directory(c)) else {
            return Ok(open_beneath(&self.fd, relative, flags, beneath));
        };
        let strict = beneath | ResolveFlag::RESOLVE_NO_SYMLINKS;
        let found = open_beneath(&self.fd, relative, flags, strict);
        if !matches!(found, Err(Errno::ELOOP)) {
            return Ok(found);
        }
        let first_path = Path::new(OsStr::from_bytes(first));
        let directory = OFlag::O_PATH | OFlag::O_DIRECTORY;
        if first != b"dev" || open_beneath(&self.fd, first_path, directory, strict).is_err() {
            let what = if first == b"dev" { "/dev" } else { "part of it" };
            return Err(OpError::refused(format!(
                "{path}: {what} is a symbolic link in the container's root, which is not followed"
            )));
        }
        Ok(open_beneath(&self.fd, relative, flags, beneath))
    }
}

/// Directories whose content is the kernel's.
fn is_kernel_directory(name: &[u8]) -> bool {
    matches!(name, b"proc" | b"sys" | b"dev")
}

/// The path as openat2(2) takes it below the root.
fn relative(path: &ContainerPath) -> &Path {
    let bytes = path.as_bytes().strip_prefix(b"/").unwrap_or_default();
    Path::new(OsStr::from_bytes(if bytes.is_empty() { b"." } else { bytes }))
}

/// Before the first mount: nothing mounted here may reach the host.
fn isolate(propagation: Propagation) -> Result<()> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let host = open("/", flags, Mode::empty()).during(|| "open(\"/\")")?;
    let attrs =
        MountAttrs { propagation: propagation_bits(propagation.kind), ..MountAttrs::default() };
    mount::setattr(host.as_fd(), Extent::recursive(propagation.recursive), attrs)
        .during(|| format!("mount_setattr(/, {propagation:?})"))
}
