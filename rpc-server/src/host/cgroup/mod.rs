// SPDX-License-Identifier: Apache-2.0
//! Making, entering and removing cgroups, always beneath the hierarchy's own mount.

mod freezer;
mod members;
mod settings;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, ResolveFlag, open, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, fstatfs};
use nix::unistd::{AccessFlags, UnlinkatFlags, faccessat, unlinkat};
use outrigger_protocol::cgroup::{Cgroup, CgroupVersion, Cgroups, CreateCgroup};

use super::devices;
use crate::error::{Context, OpError, Result};
use crate::open::open_beneath;
pub(super) use freezer::freeze;
pub(super) use members::signal_all;
pub(super) use settings::update;

/// How often making a cgroup is tried while others remove its empty parents.
const TRIES: usize = 64;
/// How long processes may take to leave a cgroup after they were killed.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// The cgroups made in this conversation.
#[derive(Default)]
pub(super) struct HeldCgroups(Vec<HeldCgroup>);

struct HeldCgroup {
    group: Cgroup,
    dir: OwnedFd,
}

impl HeldCgroups {
    /// Makes all of a container's cgroups; [`Self::remove`] undoes also what a failure leaves.
    pub(super) fn create(&mut self, request: &CreateCgroup) -> Result<()> {
        for group in request.groups.iter() {
            let mount = open_hierarchy(group)?;
            make(mount.as_fd(), group)?;
            let dir = open_cgroup(mount.as_fd(), group)?;
            self.0.push(HeldCgroup { group: group.clone(), dir });
            match group.version {
                CgroupVersion::V1 => inherit_cpuset(mount.as_fd(), group)?,
                CgroupVersion::V2 => settings::hand_all_down(mount.as_fd(), group),
            }
        }
        if let Some(rules) = &request.devices {
            devices::restrict(rules, self.0.iter().map(|c| (c.group.version, c.dir.as_fd())))?;
        }
        Ok(())
    }

    /// Opens a container's cgroups that exist.
    pub(super) fn open(groups: &Cgroups) -> Result<Self> {
        let held = groups.iter().map(|group| {
            let mount = open_hierarchy(group)?;
            let dir = open_cgroup(mount.as_fd(), group)?;
            Ok(HeldCgroup { group: group.clone(), dir })
        });
        held.collect::<Result<_>>().map(Self)
    }

    /// The one in the unified hierarchy, for `CLONE_INTO_CGROUP`.
    pub(super) fn unified(&self) -> Option<BorrowedFd<'_>> {
        self.0.iter().find(|c| c.group.version == CgroupVersion::V2).map(|c| c.dir.as_fd())
    }

    /// Moves a process into all of them.
    pub(super) fn place(&self, pid: i32) -> Result<()> {
        for held in &self.0 {
            write(held.dir.as_fd(), "cgroup.procs", pid.to_string().as_bytes()).map_err(|e| {
                OpError::os(format!("{}: cgroup.procs: {pid}", shown(&held.group)), e)
            })?;
        }
        Ok(())
    }

    /// Removes them.
    pub(super) fn remove(self) {
        for held in self.0 {
            // Rolling back goes on whatever happens; `delete` tells what could not be removed.
            let _ = remove_one(&held.group);
        }
    }
}

/// Removes a container's cgroups with the processes still in them.
pub(super) fn remove(groups: &Cgroups) -> Result<()> {
    // What one hierarchy freezes cannot leave the others, so no one is waited for before all were
    // emptied.
    for group in groups.iter() {
        kill_members(group);
    }
    // Every one is tried; the first failure is told.
    let outcomes: Vec<Result<()>> = groups.iter().map(remove_one).collect();
    outcomes.into_iter().collect()
}

/// Kills and thaws the members of a cgroup that cannot be removed as it is. Failures show in the removal.
fn kill_members(group: &Cgroup) {
    let Ok(mount) = open_hierarchy(group) else { return };
    if unlinkat(mount.as_fd(), group.path.as_path(), UnlinkatFlags::RemoveDir) == Err(Errno::EBUSY)
        && let Ok(dir) = open_cgroup(mount.as_fd(), group)
    {
        empty(dir.as_fd(), group.version);
    }
}

fn shown(group: &Cgroup) -> String {
    format!("cgroup {}/{}", group.mount, group.path)
}

/// Opens a hierarchy's mount point and verifies that it is one, and of which version.
fn open_hierarchy(group: &Cgroup) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let fd = open(group.mount.as_path(), flags, Mode::empty())
        .during(|| format!("open({})", group.mount))?;
    let kind = fstatfs(&fd).during(|| format!("fstatfs({})", group.mount))?.filesystem_type();
    let expected = match group.version {
        CgroupVersion::V1 => CGROUP_SUPER_MAGIC,
        CgroupVersion::V2 => CGROUP2_SUPER_MAGIC,
    };
    if kind != expected {
        let (mount, version) = (&group.mount, group.version);
        return Err(OpError::refused(format!("{mount} is not a cgroup hierarchy ({version:?})")));
    }
    Ok(fd)
}

fn open_cgroup(mount: BorrowedFd<'_>, group: &Cgroup) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    let resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    open_beneath(mount, group.path.as_path(), flags, resolve).during(|| shown(group))
}

/// Makes a cgroup and its missing parents. One that exists is taken if nobody is in it.
fn make(mount: BorrowedFd<'_>, group: &Cgroup) -> Result<()> {
    let path = group.path.as_path();
    for _ in 0..TRIES {
        match mkdirat(mount, path, Mode::from_bits_truncate(0o755)) {
            Ok(()) => return Ok(()),
            Err(Errno::EEXIST) => return require_empty(mount, group),
            Err(Errno::ENOENT) => make_parents(mount, path).during(|| shown(group))?,
            Err(e) => return Err(OpError::os(format!("mkdir {}", shown(group)), e)),
        }
    }
    Err(OpError::os(format!("mkdir {}", shown(group)), Errno::EBUSY))
}

fn make_parents(mount: BorrowedFd<'_>, path: &Path) -> Result<(), Errno> {
    let mut parents: Vec<&Path> = path.ancestors().skip(1).collect();
    parents.reverse();
    for parent in parents.into_iter().filter(|p| !p.as_os_str().is_empty()) {
        match mkdirat(mount, parent, Mode::from_bits_truncate(0o755)) {
            // Somebody else removed or made it meanwhile: the caller tries again.
            Ok(()) | Err(Errno::EEXIST | Errno::ENOENT) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn require_empty(mount: BorrowedFd<'_>, group: &Cgroup) -> Result<()> {
    let dir = open_cgroup(mount, group)?;
    let members = read(dir.as_fd(), "cgroup.procs").during(|| shown(group))?;
    if members.is_empty() {
        return Ok(());
    }
    let members = members.escape_ascii().to_string().replace("\\n", " ");
    Err(OpError::refused(format!(
        "{} exists and has the processes {}: choose another linux.cgroupsPath",
        shown(group),
        members.trim_end()
    )))
}

/// A version 1 cpuset takes no process before it has processors and memory nodes: it gets its
/// parent's, and the parents made with it likewise.
fn inherit_cpuset(mount: BorrowedFd<'_>, group: &Cgroup) -> Result<()> {
    let mut levels: Vec<&Path> = group.path.as_path().ancestors().collect();
    levels.reverse();
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let root = faccessat(mount, file, AccessFlags::F_OK, AtFlags::empty());
        if root.is_err() {
            return Ok(());
        }
        let mut above = read(mount, file).during(|| format!("{}/{file}", group.mount))?;
        for level in levels.iter().filter(|l| !l.as_os_str().is_empty()) {
            let path = level.join(file);
            let name = path.to_string_lossy();
            let operation = || format!("cgroup {}/{name}", group.mount);
            let own = read(mount, &name).during(operation)?;
            if own.trim_ascii().is_empty() {
                write(mount, &name, above.trim_ascii()).during(operation)?;
            } else {
                above = own;
            }
        }
    }
    Ok(())
}

fn write(dir: BorrowedFd<'_>, file: &str, value: &[u8]) -> Result<(), Errno> {
    let fd = openat(dir, file, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    nix::unistd::write(&fd, value).map(drop)
}

/// The whole content of a small file.
fn read(dir: BorrowedFd<'_>, file: &str) -> Result<Vec<u8>, Errno> {
    let fd = openat(dir, file, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut content = vec![0; 4096];
    let length = nix::unistd::read(&fd, &mut content)?;
    content.truncate(length);
    Ok(content)
}

/// The whole content of a file that may be long.
fn read_whole(dir: BorrowedFd<'_>, file: &str) -> Result<Vec<u8>, Errno> {
    let fd = openat(dir, file, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut content = Vec::new();
    let mut piece = vec![0; 4096];
    loop {
        let length = nix::unistd::read(&fd, &mut piece)?;
        if length == 0 {
            return Ok(content);
        }
        content.extend_from_slice(piece.get(..length).unwrap_or_default());
    }
}

/// Removes a cgroup, what is below it, and its empty parents down to those that were there before.
fn remove_one(group: &Cgroup) -> Result<()> {
    if matches!(open(group.mount.as_path(), OFlag::O_PATH, Mode::empty()), Err(Errno::ENOENT)) {
        // The hierarchy is gone altogether, and the cgroup with it.
        return Ok(());
    }
    let mount = open_hierarchy(group)?;
    remove_with_members(mount.as_fd(), group)?;
    let depth = group.path.as_path().components().count();
    for parent in group.path.as_path().ancestors().skip(1) {
        let level = parent.components().count();
        if level == 0 || level >= depth || level <= usize::from(group.kept) {
            break;
        }
        if unlinkat(mount.as_fd(), parent, UnlinkatFlags::RemoveDir).is_err() {
            // Others use it.
            break;
        }
    }
    Ok(())
}

fn remove_with_members(mount: BorrowedFd<'_>, group: &Cgroup) -> Result<()> {
    let path = group.path.as_path();
    let deadline = Instant::now().checked_add(GONE_WITHIN);
    let mut pause = Duration::from_micros(100);
    loop {
        match unlinkat(mount, path, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::EBUSY) if deadline.is_none_or(|d| Instant::now() < d) => {
                if let Ok(dir) = open_cgroup(mount, group) {
                    empty(dir.as_fd(), group.version);
                }
                std::thread::sleep(pause);
                pause = pause.saturating_mul(2).min(Duration::from_millis(50));
            }
            Err(e) => return Err(OpError::os(format!("rmdir {}", shown(group)), e)),
        }
    }
}

/// Kills the members of a cgroup and of those below, and removes those below, as far as that is
/// possible at once; the caller tries again.
fn empty(dir: BorrowedFd<'_>, version: CgroupVersion) {
    for name in members::below(dir) {
        if let Ok(child) = members::open_child(dir, &name) {
            empty(child.as_fd(), version);
        }
        let _ = unlinkat(dir, name.as_c_str(), UnlinkatFlags::RemoveDir);
    }
    // cgroup.kill: version 2 since Linux 5.14. Failures show in the rmdir that is tried next.
    if write(dir, "cgroup.kill", b"1").is_err() {
        let _ = members::signal_members(dir, libc::SIGKILL);
        let _ = freezer::thaw(dir, version);
    }
}
