// SPDX-License-Identifier: Apache-2.0
//! Masked and read-only paths.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat, makedev};
use outrigger_protocol::mount::FsType;
use outrigger_protocol::path::ContainerPath;

use super::mounts::file_system;
use super::root::{Root, file_type};
use crate::error::{Context, OpError, Result};
use crate::sys::mount::{self, Extent, MountAttrs};

/// What masked paths are covered with: each is made once and cloned.
#[derive(Default)]
pub(super) struct Covers {
    /// An empty read-only directory, attached somewhere already.
    directory: Option<OwnedFd>,
    /// The host's null device, verified.
    null: Option<OwnedFd>,
}

impl Covers {
    /// Hides a path: a directory looks empty, anything else like the null device.
    pub(super) fn mask(&mut self, root: &Root, path: &ContainerPath) -> Result<()> {
        let Some(target) = root.find(path)? else { return Ok(()) };
        let status = fstat(&target).during(|| format!("stat {path}"))?;
        let cover = if file_type(&status) == SFlag::S_IFDIR {
            self.empty_directory(path)?
        } else {
            self.null_device(path)?
        };
        mount::attach(cover.as_fd(), target.as_fd()).during(|| format!("mask {path}"))?;
        if file_type(&status) == SFlag::S_IFDIR && self.directory.is_none() {
            self.directory = Some(cover);
        }
        Ok(())
    }

    fn empty_directory(&self, path: &ContainerPath) -> Result<OwnedFd> {
        if let Some(directory) = &self.directory {
            return mount::clone_fd(directory.as_fd(), Extent::Single)
                .during(|| format!("mask {path}: open_tree"));
        }
        let attrs = libc::MOUNT_ATTR_RDONLY
            | libc::MOUNT_ATTR_NOSUID
            | libc::MOUNT_ATTR_NODEV
            | libc::MOUNT_ATTR_NOEXEC;
        file_system(FsType::Tmpfs, Some(b"tmpfs"), std::iter::empty(), attrs)
            .map_err(|e| e.at(FsType::Tmpfs, path))
    }

    fn null_device(&mut self, path: &ContainerPath) -> Result<OwnedFd> {
        if self.null.is_none() {
            self.null = Some(open_null()?);
        }
        let null = self.null.as_ref().ok_or_else(|| OpError::refused("no null device"))?;
        mount::clone_fd(null.as_fd(), Extent::Single).during(|| format!("mask {path}: open_tree"))
    }
}

/// The host's null device: opened before the host is out of reach, and proven to be it.
fn open_null() -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let null = open("/dev/null", flags, Mode::empty()).during(|| "open(\"/dev/null\")")?;
    let status = fstat(&null).during(|| "stat /dev/null")?;
    if file_type(&status) != SFlag::S_IFCHR || status.st_rdev != makedev(1, 3) {
        return Err(OpError::refused("the host's /dev/null is not the null device"));
    }
    Ok(null)
}

/// Makes a path and all mounts below it read-only.
pub(super) fn make_readonly(root: &Root, path: &ContainerPath) -> Result<()> {
    let Some(target) = root.find(path)? else { return Ok(()) };
    let operation = || format!("make {path} read-only");
    let copy = mount::clone_fd(target.as_fd(), Extent::Tree).during(operation)?;
    let attrs = MountAttrs { set: libc::MOUNT_ATTR_RDONLY, ..MountAttrs::default() };
    match mount::setattr(copy.as_fd(), Extent::Tree, attrs) {
        Err(Errno::ENOSYS) => {
            return Err(OpError::refused(format!("{}: needs Linux 5.12", operation())));
        }
        outcome => outcome.during(operation)?,
    }
    mount::attach(copy.as_fd(), target.as_fd()).during(operation)
}
