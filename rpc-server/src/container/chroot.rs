// SPDX-License-Identifier: Apache-2.0
//! Making the container's root the root directory.

use nix::mount::{MntFlags, umount2};
use nix::unistd::{chdir, fchdir, geteuid};
use outrigger_protocol::request::Chroot;

use super::root::Root;
use crate::error::{Context, OpError, Result};
use crate::sys::mount;

/// Changes the root directory. Without a mount namespace (`own_mounts` says why not) only chroot(2) is
/// possible, which keeps nobody in who has the capability for it, so only root gets it.
pub(super) fn chroot(root: &Root, how: Chroot, own_mounts: Result<()>) -> Result<()> {
    fchdir(root.as_fd()).during(|| "fchdir(root)")?;
    match how {
        Chroot::Pivot => {
            own_mounts?;
            mount::pivot_to_working_directory().during(|| "pivot_root(\".\", \".\")")?;
            // The old root lies on top of the new one now; with it goes all of the host.
            umount2(".", MntFlags::MNT_DETACH).during(|| "umount(old root)")?;
        }
        Chroot::Chroot if own_mounts.is_ok() => {
            return Err(OpError::refused(
                "a container with a mount namespace changes root by pivot",
            ));
        }
        Chroot::Chroot if !geteuid().is_root() => {
            return Err(OpError::refused("only root runs a container without a mount namespace"));
        }
        Chroot::Chroot => nix::unistd::chroot(".").during(|| "chroot(root)")?,
    }
    chdir("/").during(|| "chdir(\"/\")")
}
