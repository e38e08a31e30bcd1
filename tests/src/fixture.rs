// SPDX-License-Identifier: Apache-2.0
//! What the hostile tests stand on: the helper's program and a root directory of their own.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// The helper under test: `OUTRIGGER_BIN_DIR`, or where cargo builds it beside the tests.
///
/// # Panics
/// It is not there.
#[must_use]
pub fn helper_program() -> PathBuf {
    let directory = std::env::var_os("OUTRIGGER_BIN_DIR").map_or_else(
        || {
            let test = std::env::current_exe().unwrap();
            test.ancestors().nth(2).unwrap().to_owned()
        },
        PathBuf::from,
    );
    let program = directory.join("outrigger-helper");
    assert!(program.exists(), "{} is missing: build it first", program.display());
    program
}

/// Whether the test may make namespaces without a user namespace; says so if not.
#[must_use]
pub fn is_root(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("SKIP {test}: needs root");
    }
    root
}

/// Ends a test with a word where it is not run by root.
#[macro_export]
macro_rules! needs_root {
    () => {
        if !$crate::fixture::is_root(::std::thread::current().name().unwrap_or("a test")) {
            return;
        }
    };
}

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
        let directory = tempfile::Builder::new().prefix("outrigger-root").tempdir().unwrap();
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
