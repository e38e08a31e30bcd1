// SPDX-License-Identifier: Apache-2.0
//! Values for control files.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use outrigger_protocol::cgroup::{Cgroup, CgroupVersion};
use outrigger_protocol::limits::{Missing, Setting, UpdateCgroup};
use outrigger_protocol::path::{ControlFile, ControlValue};

use super::{open_cgroup, open_hierarchy, read, shown, write};
use crate::error::{Context, OpError, Result};

/// Writes all settings of a request.
pub(crate) fn update(request: &UpdateCgroup) -> Result<()> {
    let groups: Vec<&Cgroup> = request.groups.iter().collect();
    // What the kernel refuses because of another value that is still to be written, such as a limit above
    // the old limit of memory and swap, is written again after all others.
    let mut refused = Vec::new();
    for setting in request.settings.iter() {
        let group = groups.get(usize::from(setting.group)).copied().ok_or_else(|| {
            let Setting { field, group, .. } = setting;
            OpError::refused(format!("{field}: is for cgroup {group}, which the request has not"))
        })?;
        match set(group, setting) {
            Ok(()) => {}
            Err(Outcome::Invalid(_)) => refused.push((group, setting)),
            Err(Outcome::Failed(e)) => return Err(e),
        }
    }
    for (group, setting) in refused {
        set(group, setting).map_err(|outcome| match outcome {
            Outcome::Invalid(e) | Outcome::Failed(e) => e,
        })?;
    }
    Ok(())
}

/// Why a setting was not written.
enum Outcome {
    /// The kernel finds that the value does not go with the others.
    Invalid(OpError),
    Failed(OpError),
}

fn set(group: &Cgroup, setting: &Setting) -> Result<(), Outcome> {
    let Setting { file, value, missing, .. } = setting;
    match write_to(group, setting, file, value)? {
        Written::Yes => Ok(()),
        Written::NoSuchFile(refusal) => match missing {
            Missing::Refuse => Err(Outcome::Failed(refusal)),
            Missing::Skip => Ok(()),
            Missing::Instead(file, value) => match write_to(group, setting, file, value)? {
                Written::Yes => Ok(()),
                Written::NoSuchFile(refusal) => Err(Outcome::Failed(refusal)),
            },
        },
    }
}

enum Written {
    Yes,
    NoSuchFile(OpError),
}

fn write_to(
    group: &Cgroup,
    setting: &Setting,
    file: &ControlFile,
    value: &ControlValue,
) -> Result<Written, Outcome> {
    let field = &setting.field;
    let operation = || format!("{field}: write \"{value}\" to {file} of {}", shown(group));
    let mount = open_hierarchy(group).map_err(Outcome::Failed)?;
    if group.version == CgroupVersion::V2 {
        let handed = hand_down(mount.as_fd(), group, file.controller());
        match handed.map_err(|e| Outcome::Failed(e.within(format!("{field}: "))))? {
            Handed::Down => {}
            Handed::Absent if setting.missing == Missing::Skip => return Ok(Written::Yes),
            Handed::Absent => {
                let (mount, controller) = (&group.mount, file.controller());
                return Err(Outcome::Failed(OpError::refused(format!(
                    "{field}: there is no controller {controller} in {mount}"
                ))));
            }
        }
    }
    let dir = open_cgroup(mount.as_fd(), group).map_err(Outcome::Failed)?;
    let name = String::from_utf8_lossy(file.as_bytes());
    match write(dir.as_fd(), &name, value.as_bytes()) {
        Ok(()) => Ok(Written::Yes),
        Err(Errno::ENOENT) => Ok(Written::NoSuchFile(OpError::os(operation(), Errno::ENOENT))),
        Err(e @ Errno::EINVAL) => Err(Outcome::Invalid(OpError::os(operation(), e))),
        Err(e) => Err(Outcome::Failed(OpError::os(operation(), e))),
    }
}

/// Hands every controller down to a new cgroup as far as that is possible, so that engines find its
/// statistics. Where a parent has processes of its own it is not, which matters to limits only.
pub(super) fn hand_all_down(mount: BorrowedFd<'_>, group: &Cgroup) {
    let words = |level: &Path, file: &str| {
        let content = read(mount, &level.join(file).to_string_lossy()).unwrap_or_default();
        let text = String::from_utf8_lossy(&content).into_owned();
        text.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let mut levels: Vec<&Path> = group.path.as_path().ancestors().skip(1).collect();
    levels.reverse();
    for level in levels {
        // The kernel would take some controllers there all the same, and make it the root of a threaded
        // subtree, in which no process can be put any more.
        if level != Path::new("") && !words(level, "cgroup.procs").is_empty() {
            return;
        }
        let handed = words(level, "cgroup.subtree_control");
        let missing: Vec<String> = words(level, "cgroup.controllers")
            .into_iter()
            .filter(|controller| !handed.contains(controller))
            .map(|controller| format!("+{controller}"))
            .collect();
        let path = level.join("cgroup.subtree_control");
        let hand = |words: &str| write(mount, &path.to_string_lossy(), words.as_bytes());
        if !missing.is_empty() && hand(&missing.join(" ")).is_err() {
            // One that cannot be handed down keeps no other back.
            for word in &missing {
                let _ = hand(word);
            }
        }
    }
}

enum Handed {
    Down,
    Absent,
}

/// Sees to it that a cgroup of the unified hierarchy has a controller: from the mount down to its parent
/// each hands it on.
fn hand_down(mount: BorrowedFd<'_>, group: &Cgroup, controller: &str) -> Result<Handed> {
    let has = |level: &Path, file: &str| -> Result<bool> {
        let path = level.join(file);
        let content = read(mount, &path.to_string_lossy())
            .during(|| format!("read {}/{}", group.mount, path.display()))?;
        Ok(content.split(u8::is_ascii_whitespace).any(|word| word == controller.as_bytes()))
    };
    if has(group.path.as_path(), "cgroup.controllers")? {
        return Ok(Handed::Down);
    }
    if !has(Path::new(""), "cgroup.controllers")? {
        return Ok(Handed::Absent);
    }
    let mut levels: Vec<&Path> = group.path.as_path().ancestors().skip(1).collect();
    levels.reverse();
    for level in levels {
        if has(level, "cgroup.subtree_control")? {
            continue;
        }
        let members = level.join("cgroup.procs");
        let members = read(mount, &members.to_string_lossy())
            .during(|| format!("read {}/{}", group.mount, members.display()))?;
        if level != Path::new("") && !members.is_empty() {
            return Err(OpError::refused(format!(
                "cgroup {}/{} has processes of its own, so it cannot hand the controller \
                 {controller} down: choose another linux.cgroupsPath",
                group.mount,
                level.display()
            )));
        }
        let path = level.join("cgroup.subtree_control");
        let word = format!("+{controller}");
        write(mount, &path.to_string_lossy(), word.as_bytes())
            .during(|| format!("write \"{word}\" to {}/{}", group.mount, path.display()))?;
    }
    Ok(Handed::Down)
}
