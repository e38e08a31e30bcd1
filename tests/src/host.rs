// SPDX-License-Identifier: Apache-2.0
//! What a container must leave as it was.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long the kernel may take to be rid of what was killed.
const SETTLED_WITHIN: Duration = Duration::from_secs(2);

/// The host at one moment.
#[derive(Debug)]
pub struct Host {
    mounts: BTreeSet<String>,
    name: String,
    devices: BTreeSet<PathBuf>,
}

impl Host {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        Self { mounts: mounts(), name: host_name(), devices: devices() }
    }

    /// Asserts that the host is as it was, and that nothing is left of a container.
    #[track_caller]
    pub fn assert_untouched_by(&self, id: &str) {
        assert_soon_empty("mounts", || mounts().difference(&self.mounts).cloned().collect());
        let lost: Vec<_> = self.mounts.difference(&mounts()).cloned().collect();
        assert!(lost.is_empty(), "mounts are gone: {lost:?}");
        assert_soon_empty("processes", || processes(id));
        assert_soon_empty("cgroups", || {
            cgroups(id).iter().map(|c| c.display().to_string()).collect()
        });
        assert_eq!(host_name(), self.name);
        assert_eq!(devices(), self.devices);
    }
}

/// Asserts that nothing of a kind is left soon. What other processes have for a moment only does not
/// count.
#[track_caller]
pub fn assert_soon_empty(kind: &str, find: impl Fn() -> BTreeSet<String>) {
    let deadline = Instant::now() + SETTLED_WITHIN;
    let mut left = find();
    while !left.is_empty() {
        assert!(Instant::now() < deadline, "{kind} are left: {left:#?}");
        std::thread::sleep(Duration::from_millis(5));
        left = left.intersection(&find()).cloned().collect();
    }
}

/// Waits until something holds; a failure after ten seconds.
#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "it does not come to that: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The mounts, but for those of others in the places where everybody has their own things.
fn mounts() -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    table.lines().filter(|line| !is_others(line)).map(str::to_owned).collect()
}

fn is_others(line: &str) -> bool {
    let shared = ["/tmp/", "/var/tmp/", "/home/", "/run/", "/mnt/", "/media/"];
    let target = line.split(' ').nth(4).unwrap();
    // runc mounts its own program for a moment while it creates a container, in its state directory:
    // that of another test may be seen.
    (line.contains("/usr/sbin/runc") && line.contains("/runc."))
        || (shared.iter().any(|place| target.starts_with(place))
            && !line.contains("outrigger-test-"))
}

fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap()
}

/// The entries of /dev, which the host's own programs hardly change.
fn devices() -> BTreeSet<PathBuf> {
    fs::read_dir("/dev").unwrap().map(|e| e.unwrap().path()).collect()
}

/// The cgroups, in all hierarchies, whose name has the id in it.
#[must_use]
pub fn cgroups(id: &str) -> BTreeSet<PathBuf> {
    let named = |path: &Path| path.file_name().is_some_and(|n| n.to_string_lossy().contains(id));
    cgroup_trees(id).into_iter().filter(|path| named(path)).collect()
}

/// The same with all below them.
#[must_use]
pub fn cgroup_trees(id: &str) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    find_directories(Path::new("/sys/fs/cgroup"), id, &mut found);
    found
}

fn find_directories(directory: &Path, id: &str, found: &mut BTreeSet<PathBuf>) {
    // Cgroups come and go while we look.
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            let path = entry.path();
            if path.to_string_lossy().contains(id) {
                found.insert(path.clone());
            }
            find_directories(&path, id, found);
        }
    }
}

/// Lets the processes of a cgroup go on, if they were stopped.
pub fn thaw(cgroup: &Path) {
    for (file, word) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
        if cgroup.join(file).exists() {
            let _ = fs::write(cgroup.join(file), word);
        }
    }
}

/// The processes that have the id in their cgroup, arguments or environment; those that have ended
/// but for the word to their parent do not count.
#[must_use]
pub fn processes(id: &str) -> BTreeSet<String> {
    let us = std::process::id().to_string();
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.bytes().all(|b| b.is_ascii_digit()) || name == us || is_zombie(&name) {
            continue;
        }
        let mentions = |file: &str| {
            let content = fs::read(entry.path().join(file)).unwrap_or_default();
            String::from_utf8_lossy(&content).contains(id)
        };
        if mentions("cgroup") || mentions("cmdline") || mentions("environ") {
            found.insert(name);
        }
    }
    found
}

/// Whether a process has ended but for the word to its parent, or altogether.
#[must_use]
pub fn is_zombie(pid: &str) -> bool {
    !matches!(process_state(pid), Some(state) if !"ZX".contains(state))
}

/// The letter of a process' state.
#[must_use]
pub fn process_state(pid: &str) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// A field of `/proc/PID/status`.
#[must_use]
pub fn status_field(pid: i32, field: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = status.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':'))?;
    Some(value.trim().to_owned())
}

/// The session of a process.
#[must_use]
pub fn session(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(3)?.parse().ok()
}
