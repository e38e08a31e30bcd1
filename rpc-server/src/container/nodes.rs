// SPDX-License-Identifier: Apache-2.0
//! Directories, files, links and devices in the container's root.

use std::os::fd::AsFd;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, SFlag, fchmodat, fstat, fstatat, makedev, mknodat,
};
use nix::unistd::{Gid, Uid, fchownat, symlinkat};
use outrigger_protocol::node::{DeviceNumber, Mkdir, Mknod, NodeKind, Symlink, Touch};
use outrigger_protocol::path::HostPath;

use super::root::{Root, file_type};
use crate::error::{Context, OpError, Result};
use crate::sys::mount::{self, Extent};

/// Makes a directory.
pub(super) fn mkdir(root: &Root, request: &Mkdir) -> Result<()> {
    root.directory_with(&request.path, Some(request.mode)).map(drop)
}

/// Makes an empty file.
pub(super) fn touch(root: &Root, request: &Touch) -> Result<()> {
    root.file(&request.path, request.mode).map(drop)
}

/// Makes a symbolic link where nothing is.
pub(super) fn symlink(root: &Root, request: &Symlink) -> Result<()> {
    let (parent, name) = root.parent(&request.path)?;
    match symlinkat(request.target.as_path(), &parent, name) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(e) => Err(OpError::os(format!("symlink {} -> {}", request.path, request.target), e)),
    }
}

/// Makes a device or named pipe where nothing is.
pub(super) fn mknod(root: &Root, request: &Mknod) -> Result<()> {
    let kind = node_type(request.kind);
    let device = makedev(request.device.major.into(), request.device.minor.into());
    if request.device.major >= 1 << 12 || request.device.minor >= 1 << 20 {
        return Err(OpError::refused(format!(
            "{}: device {}",
            request.path,
            shown(request.device)
        )));
    }
    let (parent, name) = root.parent(&request.path)?;
    let mode = Mode::from_bits_truncate(request.mode.bits());
    match mknodat(&parent, name, kind, mode, device) {
        Ok(()) => finish(request, &parent, name),
        Err(Errno::EEXIST) => accept_existing(request, &parent, name),
        Err(Errno::EPERM) if request.stand_in.is_some() => stand_in(root, request),
        Err(e) => {
            let operation = format!("mknod {} {}", request.path, shown(request.device));
            Err(OpError::os(operation, e))
        }
    }
}

fn node_type(kind: NodeKind) -> SFlag {
    match kind {
        NodeKind::Character => SFlag::S_IFCHR,
        NodeKind::Block => SFlag::S_IFBLK,
        NodeKind::Fifo => SFlag::S_IFIFO,
    }
}

fn shown(device: DeviceNumber) -> String {
    format!("{}:{}", device.major, device.minor)
}

/// Owner and permissions, which mknod(2) does not set (owner) or not in full (a default ACL).
fn finish(request: &Mknod, parent: impl AsFd, name: &Path) -> Result<()> {
    let (uid, gid) = (request.uid.get(), request.gid.get());
    if (uid, gid) != (0, 0) {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        fchownat(&parent, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)
            .during(|| format!("chown {}", request.path))?;
        let mode = Mode::from_bits_truncate(request.mode.bits());
        fchmodat(&parent, name, mode, FchmodatFlags::FollowSymlink)
            .during(|| format!("chmod {}", request.path))?;
    }
    Ok(())
}

/// What exists is left as it is if it is the very device asked for.
fn accept_existing(request: &Mknod, parent: impl AsFd, name: &Path) -> Result<()> {
    let status = fstatat(&parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)
        .during(|| format!("stat {}", request.path))?;
    if is_device(&status, request) {
        return Ok(());
    }
    Err(OpError::refused(format!(
        "{} exists and is not the device {}: remove it from the image or the config",
        request.path,
        shown(request.device)
    )))
}

fn is_device(status: &FileStat, request: &Mknod) -> bool {
    let device = makedev(request.device.major.into(), request.device.minor.into());
    file_type(status) == node_type(request.kind)
        && (request.kind == NodeKind::Fifo || status.st_rdev == device)
}

/// In a user namespace that may not make devices the host's node is bound instead.
fn stand_in(root: &Root, request: &Mknod) -> Result<()> {
    let Some(source) = &request.stand_in else { return Ok(()) };
    let node = verified(source, request)?;
    let target = root.file(&request.path, request.mode)?;
    mount::attach(node.as_fd(), target.as_fd())
        .during(|| format!("bind {source} on {}", request.path))
}

/// A detached mount of the host's node; its number is what counts, not its name.
fn verified(source: &HostPath, request: &Mknod) -> Result<std::os::fd::OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let node = open(source.as_path(), flags, Mode::empty()).during(|| format!("open {source}"))?;
    let status = fstat(&node).during(|| format!("stat {source}"))?;
    if !is_device(&status, request) {
        return Err(OpError::refused(format!(
            "{source} is not the device {}",
            shown(request.device)
        )));
    }
    mount::clone_fd(node.as_fd(), Extent::Single).during(|| format!("open_tree({source})"))
}
