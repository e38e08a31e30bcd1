// SPDX-License-Identifier: Apache-2.0
//! Becoming the process: limits while there is privilege to raise them, then the identity, then the
//! loss of everything that the process may not have.

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{
    Gid, Uid, fchdir, getresgid, getresuid, setgroups, setresgid, setresuid, setsid,
};
use outrigger_protocol::process::{Capabilities, Process};
use outrigger_protocol::seccomp::Filter;

use super::console::Terminal;
use super::root::Root;
use crate::error::{Context, OpError, Result};
use crate::sys::capability::{self, Sets};
use crate::sys::{descriptor, process as sys, seccomp};

/// Capabilities that a 64-bit set can hold.
const CAPABILITIES: u32 = 64;

/// Makes this process what the config's process is, all but the program.
///
/// A filter is installed while there is still the privilege to do so; the calls that follow it here must
/// be among those that it allows.
pub(super) fn apply(
    process: &Process,
    root: &Root,
    terminal: Option<Terminal>,
    filter: Option<&Filter>,
) -> Result<()> {
    if process.terminal != terminal.is_some() {
        return Err(OpError::refused("the process wants a terminal exactly if one was made"));
    }
    sys::set_dumpable(false).during(|| "prctl(PR_SET_DUMPABLE)")?;
    for limit in &process.rlimits {
        let (name, soft, hard) = (limit.resource.name(), limit.soft, limit.hard);
        sys::setrlimit(*limit).during(|| format!("setrlimit({name}, {soft}, {hard})"))?;
    }
    setsid().during(|| "setsid")?;
    if let Some(terminal) = terminal {
        terminal.take(process.uid)?;
    }
    let changed_directory = change_directory(root, process);
    let available = capability::get().during(|| "capget")?.permitted;
    if let Some(wanted) = &process.capabilities {
        limit_bounding_set(wanted)?;
        capability::keep(true).during(|| "prctl(PR_SET_KEEPCAPS)")?;
    }
    become_user(process)?;
    // As runc has it: a directory that only the user may enter is tried again as the user.
    changed_directory.or_else(|_| change_directory(root, process))?;
    if let Some(filter) = filter {
        install(filter, available)?;
    }
    if let Some(wanted) = &process.capabilities {
        set_capabilities(wanted, available)?;
    }
    if process.no_new_privileges {
        sys::set_no_new_privs().during(|| "prctl(PR_SET_NO_NEW_PRIVS)")?;
    }
    umask(Mode::from_bits_truncate(process.umask.into()));
    sys::reset_signals().during(|| "sigprocmask")?;
    descriptor::close_on_exec().during(|| "close_range(CLOSE_RANGE_CLOEXEC)")?;
    // Set again, since the change of identity has cleared it.
    sys::set_parent_death_signal(libc::SIGKILL).during(|| "prctl(PR_SET_PDEATHSIG)")
}

fn change_directory(root: &Root, process: &Process) -> Result<()> {
    let cwd = &process.cwd;
    // No magic link: a working directory on the host is not what the config can mean.
    let directory = root.open(cwd, OFlag::O_PATH | OFlag::O_DIRECTORY)?;
    fchdir(&directory).during(|| format!("chdir {cwd}"))
}

fn become_user(process: &Process) -> Result<()> {
    let (uid, gid) = (Uid::from_raw(process.uid.get()), Gid::from_raw(process.gid.get()));
    if let Some(groups) = &process.groups {
        let groups: Vec<Gid> = groups.iter().map(|g| Gid::from_raw(g.get())).collect();
        setgroups(&groups).during(|| format!("setgroups({groups:?})"))?;
    }
    setresgid(gid, gid, gid).during(|| format!("setresgid({gid})"))?;
    setresuid(uid, uid, uid).during(|| format!("setresuid({uid})"))?;
    let uids = getresuid().during(|| "getresuid")?;
    let gids = getresgid().during(|| "getresgid")?;
    if [uids.real, uids.effective, uids.saved] != [uid; 3]
        || [gids.real, gids.effective, gids.saved] != [gid; 3]
    {
        return Err(OpError::refused(format!("could not become user {uid} and group {gid}")));
    }
    Ok(())
}

/// Installs the filter of a process that may gain privileges later, which takes `CAP_SYS_ADMIN`.
fn install(filter: &Filter, available: u64) -> Result<()> {
    // The change of identity has kept the permitted set and emptied the effective one.
    let sets = Sets { effective: available, permitted: available, inheritable: 0 };
    capability::set(sets).during(|| format!("capset({sets:x?})"))?;
    seccomp::install(filter).map_err(|errno| {
        let hint = if errno == Errno::EACCES {
            " (without CAP_SYS_ADMIN only with process.noNewPrivileges)"
        } else {
            ""
        };
        OpError::os(format!("seccomp{hint}"), errno)
    })
}

/// Drops from the bounding set what the config does not list.
fn limit_bounding_set(wanted: &Capabilities) -> Result<()> {
    for number in (0..CAPABILITIES).filter(|n| !wanted.bounding.contains(*n)) {
        match capability::bounding_has(number) {
            // The first number that the kernel does not know: there are no more.
            Err(Errno::EINVAL) => break,
            Ok(false) => {}
            Ok(true) => capability::bounding_drop(number)
                .during(|| format!("prctl(PR_CAPBSET_DROP, {number})"))?,
            Err(e) => return Err(OpError::os(format!("prctl(PR_CAPBSET_READ, {number})"), e)),
        }
    }
    Ok(())
}

/// Sets the process' capabilities to those wanted, as far as this process has them to give.
fn set_capabilities(wanted: &Capabilities, available: u64) -> Result<()> {
    let permitted = wanted.permitted.0 & available;
    let sets = Sets {
        effective: wanted.effective.0 & permitted,
        permitted,
        inheritable: wanted.inheritable.0 & available,
    };
    capability::set(sets).during(|| format!("capset({sets:x?})"))?;
    if capability::get().during(|| "capget")? != sets {
        return Err(OpError::refused("capset did not set the capabilities"));
    }
    capability::ambient_clear().during(|| "prctl(PR_CAP_AMBIENT_CLEAR_ALL)")?;
    let ambient = wanted.ambient.0 & sets.permitted & sets.inheritable;
    for number in (0..CAPABILITIES).filter(|n| ambient.checked_shr(*n).is_some_and(|b| b & 1 == 1))
    {
        capability::ambient_raise(number)
            .during(|| format!("prctl(PR_CAP_AMBIENT_RAISE, {number})"))?;
    }
    Ok(())
}
