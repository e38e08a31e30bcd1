// SPDX-License-Identifier: Apache-2.0
//! The processes that descend from the test, however they have been left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::host::assert_soon_empty;

/// While it lives, orphans below the test become its children, and no other test of this program that
/// has one goes on.
#[derive(Debug)]
pub struct Reaper(#[allow(dead_code, reason = "held")] MutexGuard<'static, ()>);

impl Reaper {
    /// Waits for its turn.
    #[must_use]
    pub fn new() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        // One that failed has left nothing that matters: what it left is killed.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        prctl::set_child_subreaper(true).unwrap();
        Self(turn)
    }

    /// Asserts that all processes that the test has started are gone.
    #[track_caller]
    pub fn assert_no_process_left(&self) {
        assert_soon_empty("processes", || {
            reap();
            descendants().iter().map(|pid| describe(*pid)).collect()
        });
    }
}

impl Default for Reaper {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        for pid in descendants() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        while !descendants().is_empty() {
            reap();
        }
    }
}

/// Takes note of the children that have ended.
fn reap() {
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            break;
        }
    }
}

/// All processes below this one.
fn descendants() -> BTreeSet<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        if let Some(parent) = parent_of(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = BTreeSet::new();
    let mut open = vec![i32::try_from(std::process::id()).unwrap()];
    while let Some(pid) = open.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            found.insert(*child);
            open.push(*child);
        }
    }
    found
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn describe(pid: i32) -> String {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    format!("{pid} {}", String::from_utf8_lossy(&arguments).replace('\0', " "))
}

/// The children of a process.
#[must_use]
pub fn children_of(pid: i32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}
