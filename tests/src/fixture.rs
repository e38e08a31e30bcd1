// SPDX-License-Identifier: Apache-2.0
//! What the hostile tests stand on: a root directory of their own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

/// An almost empty root directory for a container, removed when dropped.
#[derive(Debug)]
pub struct TempRoot {
    directory: TempDir,
}

impl TempRoot {
    /// Makes it.
    ///
    /// # Panics
    /// There is no room.
    #[must_use]
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("outrigger-test-root").tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["masked", "readonly", "tmpfs"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        Self { directory }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Puts a static program that ends at once into it.
    ///
    /// # Panics
    /// /bin/busybox is missing.
    pub fn add_program(&self, name: &str) {
        fs::copy("/bin/busybox", self.path().join(name)).unwrap();
    }
}

impl Default for TempRoot {
    fn default() -> Self {
        Self::new()
    }
}
