// SPDX-License-Identifier: Apache-2.0
//! Mounts that a test makes itself, where nobody else sees them.

use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::rootfs::playground;

/// Runs a closure in a mount namespace of its own, whose mounts are shared among copies of them but not
/// with the host. What it starts is in it too. It gets a directory to play in.
pub fn in_private_mounts<T: Send>(test: impl FnOnce(&Path) -> T + Send) -> T {
    // Removed when the mounts in it are gone with their namespace.
    let directory = playground();
    let run = || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        for kind in [MsFlags::MS_PRIVATE, MsFlags::MS_SHARED] {
            mount(None::<&str>, "/", None::<&str>, kind | MsFlags::MS_REC, None::<&str>).unwrap();
        }
        test(directory.path())
    };
    // A namespace is a thread's; the one that the test runs in may have others to run.
    std::thread::scope(|scope| match scope.spawn(run).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Mounts a tmpfs on a directory.
pub fn mount_tmpfs(directory: &Path) {
    std::fs::create_dir_all(directory).unwrap();
    mount(Some("test"), directory, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
}

/// Mounts one directory on another.
pub fn mount_bind(source: &Path, target: &Path) {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
}

/// A mount as `/proc/PID/mountinfo` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    /// Where.
    pub target: String,
    /// The options of the mount.
    pub options: Vec<String>,
    /// The file system's type.
    pub kind: String,
    /// The options of the file system.
    pub fs_options: Vec<String>,
}

/// Reads a mountinfo table.
#[must_use]
pub fn parse(table: &str) -> Vec<Mounted> {
    table.lines().map(parse_line).collect()
}

fn parse_line(line: &str) -> Mounted {
    let (left, right) = line.split_once(" - ").unwrap();
    let (left, right): (Vec<_>, Vec<_>) = (left.split(' ').collect(), right.split(' ').collect());
    let list = |options: &str| options.split(',').map(str::to_owned).collect();
    Mounted {
        target: left[4].to_owned(),
        options: list(left[5]),
        kind: right[0].to_owned(),
        fs_options: list(right[2]),
    }
}

/// The last mount on a target.
#[track_caller]
#[must_use]
pub fn mounted_on(table: &[Mounted], target: &str) -> Mounted {
    let found = table.iter().rfind(|m| m.target == target);
    found.unwrap_or_else(|| panic!("nothing on {target}: {table:#?}")).clone()
}

impl Mounted {
    /// Asserts that it has all these options, those of the file system included.
    #[track_caller]
    pub fn assert_has(&self, options: &[&str]) {
        for option in options {
            let has = self.options.iter().chain(&self.fs_options).any(|o| o == option);
            assert!(has, "{option} is not among the options of {self:?}");
        }
    }
}
