// SPDX-License-Identifier: Apache-2.0
//! Mounts: made detached, given their attributes, and only then attached, by descriptor.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{SFlag, fstat};
use outrigger_protocol::mount::{
    Atime, AttrChange, BindMount, FsOption, FsType, Mount, NewMount, Propagation, PropagationKind,
    Remount,
};
use outrigger_protocol::node::FileMode;
use outrigger_protocol::path::ContainerPath;

use super::root::{Root, file_type};
use crate::error::{Context, OpError, Result};
use crate::sys::mount::{self, Extent, MountAttrs};

/// Permissions of a file that is created to be mounted on.
const MOUNT_POINT: u32 = 0o644;

/// Makes or changes a mount.
pub(super) fn mount(root: &Root, request: &Mount) -> Result<()> {
    if *request.target() == ContainerPath::root() {
        return Err(OpError::refused("a mount on / would hide the container's root"));
    }
    match request {
        Mount::New(m) => new(root, m),
        Mount::Bind(m) => bind(root, m),
        Mount::Remount(m) => remount(root, m),
    }
}

fn new(root: &Root, request: &NewMount) -> Result<()> {
    let NewMount { target, fs, .. } = request;
    let target_fd = root.directory(target)?;
    let source = request.source.as_ref().map(|s| s.as_bytes());
    let attrs = request.attrs.set.difference(request.attrs.clear).bits()
        | request.attrs.atime.map_or(0, atime_bits);
    let fd =
        file_system(*fs, source, request.options.iter(), attrs).map_err(|e| e.at(*fs, target))?;
    mount::attach(fd.as_fd(), target_fd.as_fd())
        .during(|| format!("mount {} on {target}", fs.name()))?;
    set_propagation(fd.as_fd(), request.propagation, target)
}

fn bind(root: &Root, request: &BindMount) -> Result<()> {
    let BindMount { target, source, .. } = request;
    let extent = Extent::recursive(request.recursive);
    let fd = mount::clone_path(source.as_path(), extent)
        .during(|| format!("bind {source} on {target}"))?;
    let status = fstat(&fd).during(|| format!("stat {source}"))?;
    let target_fd = if file_type(&status) == SFlag::S_IFDIR {
        root.directory(target)?
    } else {
        let mode = FileMode::new(MOUNT_POINT).ok_or_else(|| OpError::refused("mode"))?;
        root.file(target, mode)?
    };
    change(fd.as_fd(), Extent::Tree, &request.recursive_attrs, target)?;
    change(fd.as_fd(), Extent::Single, &request.attrs, target)?;
    mount::attach(fd.as_fd(), target_fd.as_fd()).during(|| format!("bind {source} on {target}"))?;
    set_propagation(fd.as_fd(), request.propagation, target)
}

fn remount(root: &Root, request: &Remount) -> Result<()> {
    let fd = root.open(&request.target, OFlag::O_PATH)?;
    change(fd.as_fd(), Extent::Tree, &request.recursive_attrs, &request.target)?;
    change(fd.as_fd(), Extent::Single, &request.attrs, &request.target)?;
    set_propagation(fd.as_fd(), request.propagation, &request.target)
}

/// Why a file system could not be made.
pub(super) struct FsError {
    call: String,
    errno: Errno,
    /// What the file system itself says about it.
    message: Option<String>,
}

impl FsError {
    fn new(call: impl Into<String>, errno: Errno) -> Self {
        Self { call: call.into(), errno, message: None }
    }

    /// The error of a file system that was meant for `target`.
    pub(super) fn at(self, fs: FsType, target: &ContainerPath) -> OpError {
        let message = self.message.map(|m| format!(" ({m})")).unwrap_or_default();
        let operation = format!("mount {} on {target}: {}{message}", fs.name(), self.call);
        OpError::os(operation, self.errno)
    }
}

/// A new file system as a detached mount with `MOUNT_ATTR_*` bits.
pub(super) fn file_system<'a>(
    fs: FsType,
    source: Option<&[u8]>,
    options: impl Iterator<Item = &'a FsOption>,
    attrs: u64,
) -> Result<OwnedFd, FsError> {
    let word =
        |bytes: &[u8]| CString::new(bytes).map_err(|_| FsError::new("fsconfig", Errno::EINVAL));
    let context =
        mount::fsopen(&word(fs.name().as_bytes())?).map_err(|e| FsError::new("fsopen", e))?;
    let explained = |call: String, errno| FsError {
        message: last_message(context.as_fd()),
        ..FsError::new(call, errno)
    };
    if let Some(source) = source {
        mount::fsconfig_string(context.as_fd(), c"source", &word(source)?)
            .map_err(|e| explained("source".to_owned(), e))?;
    }
    for option in options {
        let name = word(option.name.as_bytes())?;
        match &option.value {
            None => mount::fsconfig_flag(context.as_fd(), &name)
                .map_err(|e| explained(format!("option {}", option.name), e))?,
            Some(value) => {
                mount::fsconfig_string(context.as_fd(), &name, &word(value.as_bytes())?)
                    .map_err(|e| explained(format!("option {}={value}", option.name), e))?;
            }
        }
    }
    mount::fsconfig_create(context.as_fd()).map_err(|e| explained("create".to_owned(), e))?;
    mount::fsmount(context.as_fd(), attrs).map_err(|e| FsError::new("fsmount", e))
}

/// What the file system has to say: fsopen(2) descriptors are read for messages.
fn last_message(context: BorrowedFd<'_>) -> Option<String> {
    let mut text = [0; 256];
    let mut last = None;
    while let Ok(length @ 1..) = nix::unistd::read(context, &mut text) {
        let message = text.get(..length).unwrap_or_default();
        last = Some(message.trim_ascii().escape_ascii().to_string());
    }
    last
}

/// Changes the attributes of an open mount.
fn change(
    fd: BorrowedFd<'_>,
    extent: Extent,
    change: &AttrChange,
    target: &ContainerPath,
) -> Result<()> {
    if change.is_empty() {
        return Ok(());
    }
    // The access-time rule is a field of several bits: it is cleared as a whole before it is set.
    let (atime, clear_atime) =
        change.atime.map_or((0, 0), |a| (atime_bits(a), libc::MOUNT_ATTR__ATIME));
    let attrs = MountAttrs {
        set: change.set.bits() | atime,
        clear: change.clear.bits() | clear_atime,
        ..MountAttrs::default()
    };
    mount::setattr(fd, extent, attrs).map_err(|errno| {
        let hint = if errno == Errno::EPERM && !change.clear.is_empty() {
            " (the source's own restrictions cannot be lifted here)"
        } else {
            ""
        };
        OpError::os(format!("mount_setattr({target}, {change:?}){hint}"), errno)
    })
}

fn set_propagation(
    fd: BorrowedFd<'_>,
    propagation: Option<Propagation>,
    target: &ContainerPath,
) -> Result<()> {
    let Some(propagation) = propagation else { return Ok(()) };
    let attrs =
        MountAttrs { propagation: propagation_bits(propagation.kind), ..MountAttrs::default() };
    mount::setattr(fd, Extent::recursive(propagation.recursive), attrs)
        .during(|| format!("mount_setattr({target}, {propagation:?})"))
}

fn atime_bits(atime: Atime) -> u64 {
    match atime {
        Atime::Relatime => libc::MOUNT_ATTR_RELATIME,
        Atime::Noatime => libc::MOUNT_ATTR_NOATIME,
        Atime::Strictatime => libc::MOUNT_ATTR_STRICTATIME,
    }
}

/// The `MS_*` bit of a propagation type.
pub(super) fn propagation_bits(kind: PropagationKind) -> u64 {
    match kind {
        PropagationKind::Private => libc::MS_PRIVATE,
        PropagationKind::Slave => libc::MS_SLAVE,
        PropagationKind::Shared => libc::MS_SHARED,
        PropagationKind::Unbindable => libc::MS_UNBINDABLE,
    }
}
