// SPDX-License-Identifier: Apache-2.0
//! The processes of a container, as the kernel lists them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::state::State;

/// The pids of all of a container's processes, in ascending order.
pub(crate) fn of(state: &State) -> Result<Vec<i32>> {
    let mut pids = match state.cgroups.iter().next() {
        // All of its cgroups have the same members.
        Some(group) => {
            let dir = group.mount.as_path().join(group.path.as_path());
            in_cgroup(&dir).with_context(|| format!("read cgroup {}", dir.display()))?
        }
        None => in_pid_namespace(state)?,
    };
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

/// Those in a cgroup and in those below it. One that is gone has none.
fn in_cgroup(dir: &Path) -> io::Result<Vec<i32>> {
    let text = match fs::read_to_string(dir.join("cgroup.procs")) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        // A threaded cgroup has its processes listed above.
        Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => String::new(),
        text => text?,
    };
    let mut pids: Vec<i32> = text.lines().filter_map(|line| line.parse().ok()).collect();
    for entry in fs::read_dir(dir)?.flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            pids.extend(in_cgroup(&entry.path())?);
        }
    }
    Ok(pids)
}

fn pid_namespace(process: &str) -> io::Result<PathBuf> {
    fs::read_link(format!("/proc/{process}/ns/pid"))
}

/// The pid namespace of the container's first process.
fn own(state: &State) -> Result<PathBuf> {
    let process = state.process.context("container not running")?;
    pid_namespace(&process.pid.to_string())
        .with_context(|| format!("look up the pid namespace of process {}", process.pid))
}

/// Whether the container has a pid namespace of its own.
pub(crate) fn has_own_pid_namespace(state: &State) -> Result<bool> {
    Ok(own(state)? != pid_namespace("self").context("/proc/self/ns/pid")?)
}

fn in_pid_namespace(state: &State) -> Result<Vec<i32>> {
    if !has_own_pid_namespace(state)? {
        bail!(
            "the container has neither a cgroup nor a pid namespace of its own: its processes cannot \
             be told from others"
        );
    }
    let namespace = own(state)?;
    let names = fs::read_dir("/proc").context("/proc")?.flatten().map(|e| e.file_name());
    let pids = names.filter_map(|n| n.to_str().and_then(|n| n.parse::<i32>().ok()));
    // Those of others cannot be looked up, nor be ours.
    let is_member = |pid: &i32| pid_namespace(&pid.to_string()).is_ok_and(|n| n == namespace);
    Ok(pids.filter(is_member).collect())
}
