// SPDX-License-Identifier: Apache-2.0
//! Mounts as descriptors: Linux 5.2 and, for `mount_setattr`, 5.12.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use libc::{c_int, c_uint};
use nix::NixPath;
use nix::errno::Errno;

use super::{descriptor::owned, outcome};

const OPEN_TREE_CLONE: c_uint = 1;
const OPEN_TREE_CLOEXEC: c_uint = libc::O_CLOEXEC.cast_unsigned();
const AT_RECURSIVE: c_uint = 0x8000;
const AT_EMPTY_PATH: c_uint = libc::AT_EMPTY_PATH.cast_unsigned();
const FSOPEN_CLOEXEC: c_uint = 1;
const FSMOUNT_CLOEXEC: c_uint = 1;
const FSCONFIG_SET_FLAG: c_uint = 0;
const FSCONFIG_SET_STRING: c_uint = 1;
const FSCONFIG_CMD_CREATE: c_uint = 6;
const MOVE_MOUNT_F_EMPTY_PATH: c_uint = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: c_uint = 0x40;

/// Whether a call is about one mount or also all below it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    Single,
    Tree,
}

impl Extent {
    pub(crate) fn recursive(recursive: bool) -> Self {
        if recursive { Self::Tree } else { Self::Single }
    }

    fn flag(self) -> c_uint {
        if self == Self::Tree { AT_RECURSIVE } else { 0 }
    }
}

/// `open_tree(2)`: a detached copy of the mount at a path of the current mount namespace.
pub(crate) fn clone_path(path: &(impl NixPath + ?Sized), extent: Extent) -> Result<OwnedFd, Errno> {
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | extent.flag();
    path.with_nix_path(|path| {
        // SAFETY: the path is a NUL-terminated string that outlives the call.
        owned(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })
    })?
}

/// `open_tree(2)`: a detached copy of the mount at an open file of the current mount namespace.
pub(crate) fn clone_fd(fd: BorrowedFd<'_>, extent: Extent) -> Result<OwnedFd, Errno> {
    let flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | extent.flag();
    // SAFETY: the path is the empty string constant.
    owned(unsafe { libc::syscall(libc::SYS_open_tree, fd.as_raw_fd(), c"".as_ptr(), flags) })
}

/// `move_mount(2)`: attaches a detached mount on top of an open file.
pub(crate) fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: both paths are the empty string constant.
    outcome(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            target.as_raw_fd(),
            c"".as_ptr(),
            MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
        )
    })
    .map(drop)
}

/// `struct mount_attr`
#[repr(C)]
#[derive(Default, Clone, Copy)]
pub(crate) struct MountAttrs {
    pub(crate) set: u64,
    pub(crate) clear: u64,
    pub(crate) propagation: u64,
    pub(crate) userns: u64,
}

/// `mount_setattr(2)` on an open mount.
pub(crate) fn setattr(
    mount: BorrowedFd<'_>,
    extent: Extent,
    attrs: MountAttrs,
) -> Result<(), Errno> {
    // SAFETY: the path is the empty string constant; the structure is valid for its size.
    outcome(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            AT_EMPTY_PATH | extent.flag(),
            &raw const attrs,
            size_of::<MountAttrs>(),
        )
    })
    .map(drop)
}

/// fsopen(2)
pub(crate) fn fsopen(name: &CStr) -> Result<OwnedFd, Errno> {
    // SAFETY: the name is a NUL-terminated string that outlives the call.
    owned(unsafe { libc::syscall(libc::SYS_fsopen, name.as_ptr(), FSOPEN_CLOEXEC) })
}

/// fsconfig(2): an option without a value.
pub(crate) fn fsconfig_flag(fs: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    fsconfig(fs, FSCONFIG_SET_FLAG, Some(name), None)
}

/// fsconfig(2): an option with a value.
pub(crate) fn fsconfig_string(fs: BorrowedFd<'_>, name: &CStr, value: &CStr) -> Result<(), Errno> {
    fsconfig(fs, FSCONFIG_SET_STRING, Some(name), Some(value))
}

/// fsconfig(2): make the file system.
pub(crate) fn fsconfig_create(fs: BorrowedFd<'_>) -> Result<(), Errno> {
    fsconfig(fs, FSCONFIG_CMD_CREATE, None, None)
}

fn fsconfig(
    fs: BorrowedFd<'_>,
    command: c_uint,
    name: Option<&CStr>,
    value: Option<&CStr>,
) -> Result<(), Errno> {
    let pointer = |s: Option<&CStr>| s.map_or(std::ptr::null(), CStr::as_ptr);
    let aux: c_int = 0;
    // SAFETY: name and value are null where the command takes none, else NUL-terminated strings that
    // outlive the call.
    outcome(unsafe {
        let (name, value) = (pointer(name), pointer(value));
        libc::syscall(libc::SYS_fsconfig, fs.as_raw_fd(), command, name, value, aux)
    })
    .map(drop)
}

/// fsmount(2): the file system's mount, detached, with `MOUNT_ATTR_*` flags.
pub(crate) fn fsmount(fs: BorrowedFd<'_>, attrs: u64) -> Result<OwnedFd, Errno> {
    let attrs = c_uint::try_from(attrs).map_err(|_| Errno::EINVAL)?;
    // SAFETY: the call takes numbers only.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, fs.as_raw_fd(), FSMOUNT_CLOEXEC, attrs) })
}

/// `pivot_root(".", ".")`: the working directory becomes the root, with the old root on top of it.
pub(crate) fn pivot_to_working_directory() -> Result<(), Errno> {
    // SAFETY: both paths are constants.
    outcome(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) }).map(drop)
}
