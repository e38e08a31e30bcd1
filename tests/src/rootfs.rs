// SPDX-License-Identifier: Apache-2.0
//! Roots of containers, made of nothing but the host's static busybox.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};

use tempfile::TempDir;

const BUSYBOX: &str = "/bin/busybox";

/// A root directory that bundles share, removed when dropped.
#[derive(Debug)]
pub struct Rootfs {
    directory: TempDir,
}

impl Rootfs {
    /// The one that all bundles of this process share which do not change it. Once no bundle uses it, it
    /// is removed.
    #[must_use]
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Rootfs>> = Mutex::new(Weak::new());
        // A test that failed while building it has left nothing behind.
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(rootfs) = shared.upgrade() {
            return rootfs;
        }
        let rootfs = Arc::new(Self::new());
        *shared = Arc::downgrade(&rootfs);
        rootfs
    }

    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("outrigger-test-rootfs").tempdir().unwrap();
        furnish(directory.path());
        Self { directory }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Makes an empty directory a root.
pub(crate) fn furnish(root: &Path) {
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
    for name in ["bin", "dev", "etc", "mnt", "proc", "root", "sys", "tmp", "usr", "var"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\n").unwrap();
    fs::copy(BUSYBOX, root.join("bin/busybox")).expect("busybox-static is installed");
    let list = Command::new(BUSYBOX).arg("--list").output().unwrap();
    for name in String::from_utf8(list.stdout).unwrap().lines() {
        if name != "busybox" {
            symlink("busybox", root.join("bin").join(name)).unwrap();
        }
    }
}

/// A directory for a test to play in, that other users may enter; removed when dropped.
#[must_use]
pub fn playground() -> TempDir {
    let directory = tempfile::Builder::new().prefix("outrigger-test-dir").tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    directory
}
