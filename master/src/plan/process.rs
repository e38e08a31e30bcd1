// SPDX-License-Identifier: Apache-2.0
//! `process`: who it is, what it may do, its arguments and environment.

use oci_spec::runtime::{self as oci, LinuxCapabilities, PosixRlimit, PosixRlimitType};
use outrigger_protocol::ContainerRequest;
use outrigger_protocol::identity::{Id, IdMap};
use outrigger_protocol::node::{FileMode, Mkdir};
use outrigger_protocol::path::ContainerPath;
use outrigger_protocol::process::{
    Capabilities, CapabilitySet, MAX_STRINGS, OomScoreAdj, Process, Resource, Rlimit, StringList,
    Strings,
};
use outrigger_protocol::reply::Mode;

use super::problems::Problems;
use super::{Inputs, paths};

/// How much of the arguments or the environment goes into one request.
const PIECE: usize = 32 * 1024;
/// Permissions of a working directory that is made.
const DIRECTORY: u32 = 0o755;
/// File mode creation mask where the config has none, as runc's.
const UMASK: u32 = 0o022;

/// Makes the working directory where the image has none, as runc does.
pub(super) fn working_directory(
    process: &oci::Process,
    out: &mut Vec<ContainerRequest>,
    problems: &mut Problems,
) {
    let Some(path) = cwd(process, problems) else { return };
    if path == ContainerPath::root() {
        return;
    }
    let mode = FileMode::new(DIRECTORY);
    out.extend(mode.map(|mode| ContainerRequest::Mkdir(Mkdir { path, mode })));
}

fn cwd(process: &oci::Process, problems: &mut Problems) -> Option<ContainerPath> {
    problems.check(format_args!("process.cwd"), paths::absolute(process.cwd()))
}

/// The size of the terminal that the config asks for.
pub(super) fn console_size(process: &oci::Process) -> Option<(u16, u16)> {
    let size = process.console_size()?;
    let cells = |n: u64| u16::try_from(n).ok().filter(|n| *n > 0);
    Some((cells(size.height())?, cells(size.width())?))
}

/// Plans the process.
pub(super) fn plan(
    inputs: &Inputs<'_>,
    process: Option<&oci::Process>,
    out: &mut Vec<ContainerRequest>,
    problems: &mut Problems,
) {
    let Some(process) = process else { return };
    let arguments = process.args().as_deref().unwrap_or_default();
    if arguments.first().is_none_or(String::is_empty) {
        problems.add("process.args", "is empty; name the program to run");
    }
    strings("process.args", StringList::Arguments, arguments, out, problems);
    let environment = process.env().as_deref().unwrap_or_default();
    strings("process.env", StringList::Environment, environment, out, problems);
    out.extend(identity(inputs, process, problems).map(ContainerRequest::Process));
}

fn identity(
    inputs: &Inputs<'_>,
    process: &oci::Process,
    problems: &mut Problems,
) -> Option<Process> {
    let user = process.user();
    let (uids, gids) = (&inputs.spawn.uid_map, &inputs.spawn.gid_map);
    let uid = problems.check(format_args!("process.user.uid"), mapped(user.uid(), uids));
    let gid = problems.check(format_args!("process.user.gid"), mapped(user.gid(), gids));
    let groups = groups(inputs, user, problems);
    let umask = u16::try_from(user.umask().unwrap_or(UMASK)).ok().filter(|m| *m <= 0o777);
    let umask = umask.ok_or("has bits above 0777");
    let umask = problems.check(format_args!("process.user.umask"), umask);
    let oom_score_adj = process.oom_score_adj().map(|value| {
        OomScoreAdj::new(value.into()).ok_or_else(|| format!("{value} is not from -1000 to 1000"))
    });
    let oom_score_adj =
        problems.check(format_args!("process.oomScoreAdj"), oom_score_adj.transpose());
    let rlimits = rlimits(process.rlimits().as_deref().unwrap_or_default(), problems);
    // Said already where the working directory is made; without mounts this is the only place.
    let cwd = paths::absolute(process.cwd()).ok();
    Some(Process {
        uid: uid?,
        gid: gid?,
        groups: groups?,
        umask: umask?,
        cwd: cwd?,
        // As with runc a process whose config lists none has none.
        capabilities: Some(capabilities(process.capabilities().as_ref(), problems)?),
        rlimits,
        no_new_privileges: process.no_new_privileges() == Some(true),
        oom_score_adj: oom_score_adj?,
        terminal: process.terminal() == Some(true),
        dies_with_master: inputs.options.dies_with_master,
    })
}

fn mapped(id: u32, map: &Option<IdMap>) -> Result<Id, String> {
    let id = Id::new(id).ok_or_else(|| format!("{id} is not an id"))?;
    match map {
        Some(map) if !map.contains(id) => {
            Err(format!("{} is not mapped; add it to the mappings of the user namespace", id.get()))
        }
        _ => Ok(id),
    }
}

/// The supplementary groups; the inner `None` where an ordinary user who maps only its own group may
/// not set any, `user_namespaces(7)`.
#[allow(clippy::option_option, reason = "the outer one: the config is wrong")]
fn groups(
    inputs: &Inputs<'_>,
    user: &oci::User,
    problems: &mut Problems,
) -> Option<Option<Vec<Id>>> {
    let listed = user.additional_gids().as_deref().unwrap_or_default();
    let own_only = inputs.spawn.gid_map.as_ref().is_some_and(
        |map| matches!(map.ranges(), [r] if r.size() == 1 && r.host() == inputs.host.egid),
    );
    if inputs.host.mode == Mode::Rootless && own_only {
        if listed.is_empty() {
            return Some(None);
        }
        problems.add(
            "process.user.additionalGids",
            "cannot be set where only the own group is mapped; get a range in /etc/subgid, and map it",
        );
        return None;
    }
    let mut groups = Vec::with_capacity(listed.len());
    for (i, gid) in listed.iter().enumerate() {
        let field = format_args!("process.user.additionalGids[{i}]");
        groups.push(problems.check(field, mapped(*gid, &inputs.spawn.gid_map))?);
    }
    Some(Some(groups))
}

fn capabilities(sets: Option<&LinuxCapabilities>, problems: &mut Problems) -> Option<Capabilities> {
    let Some(sets) = sets else { return Some(Capabilities::default()) };
    let bits = |set: &Option<oci::Capabilities>| {
        let numbers = set.iter().flatten().map(|c| number(*c));
        CapabilitySet(numbers.fold(0, |bits, n| bits | 1 << n))
    };
    let (permitted, inheritable) = (bits(sets.permitted()), bits(sets.inheritable()));
    // capabilities(7): what is not both permitted and inheritable cannot be ambient. Configs that list
    // more are common (runc's own default was one) and runc runs them.
    let listed = bits(sets.ambient());
    let ambient = CapabilitySet(listed.0 & permitted.0 & inheritable.0);
    if ambient != listed {
        log::debug!("process.capabilities.ambient: only what is permitted and inheritable is set");
    }
    let effective = bits(sets.effective());
    if effective.0 & !permitted.0 != 0 {
        problems.add(
            "process.capabilities.effective",
            "has capabilities that are not permitted; add them to process.capabilities.permitted",
        );
        return None;
    }
    Some(Capabilities {
        bounding: bits(sets.bounding()),
        effective,
        inheritable,
        permitted,
        ambient,
    })
}

/// The kernel's number, linux/capability.h.
fn number(capability: oci::Capability) -> u32 {
    use oci::Capability as C;
    match capability {
        C::Chown => 0,
        C::DacOverride => 1,
        C::DacReadSearch => 2,
        C::Fowner => 3,
        C::Fsetid => 4,
        C::Kill => 5,
        C::Setgid => 6,
        C::Setuid => 7,
        C::Setpcap => 8,
        C::LinuxImmutable => 9,
        C::NetBindService => 10,
        C::NetBroadcast => 11,
        C::NetAdmin => 12,
        C::NetRaw => 13,
        C::IpcLock => 14,
        C::IpcOwner => 15,
        C::SysModule => 16,
        C::SysRawio => 17,
        C::SysChroot => 18,
        C::SysPtrace => 19,
        C::SysPacct => 20,
        C::SysAdmin => 21,
        C::SysBoot => 22,
        C::SysNice => 23,
        C::SysResource => 24,
        C::SysTime => 25,
        C::SysTtyConfig => 26,
        C::Mknod => 27,
        C::Lease => 28,
        C::AuditWrite => 29,
        C::AuditControl => 30,
        C::Setfcap => 31,
        C::MacOverride => 32,
        C::MacAdmin => 33,
        C::Syslog => 34,
        C::WakeAlarm => 35,
        C::BlockSuspend => 36,
        C::AuditRead => 37,
        C::Perfmon => 38,
        C::Bpf => 39,
        C::CheckpointRestore => 40,
    }
}

fn rlimits(listed: &[PosixRlimit], problems: &mut Problems) -> Vec<Rlimit> {
    let mut limits: Vec<Rlimit> = Vec::with_capacity(listed.len());
    for (i, limit) in listed.iter().enumerate() {
        let resource = resource(limit.typ());
        if limits.iter().any(|l| l.resource == resource) {
            problems.add(
                format_args!("process.rlimits[{i}].type"),
                format!("{} is given twice; remove one", resource.name()),
            );
        }
        if limit.soft() > limit.hard() {
            problems.add(
                format_args!("process.rlimits[{i}].soft"),
                format!("{} is above the hard limit {}", limit.soft(), limit.hard()),
            );
        }
        limits.push(Rlimit { resource, soft: limit.soft(), hard: limit.hard() });
    }
    limits
}

fn resource(typ: PosixRlimitType) -> Resource {
    use PosixRlimitType as T;
    match typ {
        T::RlimitCpu => Resource::Cpu,
        T::RlimitFsize => Resource::Fsize,
        T::RlimitData => Resource::Data,
        T::RlimitStack => Resource::Stack,
        T::RlimitCore => Resource::Core,
        T::RlimitRss => Resource::Rss,
        T::RlimitNproc => Resource::Nproc,
        T::RlimitNofile => Resource::Nofile,
        T::RlimitMemlock => Resource::Memlock,
        T::RlimitAs => Resource::As,
        T::RlimitLocks => Resource::Locks,
        T::RlimitSigpending => Resource::Sigpending,
        T::RlimitMsgqueue => Resource::Msgqueue,
        T::RlimitNice => Resource::Nice,
        T::RlimitRtprio => Resource::Rtprio,
        T::RlimitRttime => Resource::Rttime,
    }
}

/// A list of strings in pieces that fit into requests.
fn strings(
    field: &str,
    list: StringList,
    strings: &[String],
    out: &mut Vec<ContainerRequest>,
    problems: &mut Problems,
) {
    let mut bytes = Vec::with_capacity(strings.iter().map(|s| s.len() + 1).sum());
    for (i, string) in strings.iter().enumerate() {
        if string.as_bytes().contains(&0) {
            problems.add(format_args!("{field}[{i}]"), "has a NUL byte; remove it");
        }
        bytes.extend_from_slice(string.as_bytes());
        bytes.push(0);
    }
    if bytes.len() > MAX_STRINGS {
        problems.add(field, format!("has {} bytes, more than {MAX_STRINGS}", bytes.len()));
        return;
    }
    out.extend(
        bytes
            .chunks(PIECE)
            .map(|piece| ContainerRequest::Strings(Strings { list, piece: piece.to_vec() })),
    );
}
