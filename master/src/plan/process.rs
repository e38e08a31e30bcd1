// SPDX-License-Identifier: Apache-2.0
//! `process`: who it is, what it may do, its arguments and environment.

use std::collections::HashSet;

use oci_spec::runtime::{self as oci, PosixRlimit, PosixRlimitType};
use outrigger_protocol::ContainerRequest;
use outrigger_protocol::identity::{Id, IdMap};
use outrigger_protocol::node::{FileMode, Mkdir};
use outrigger_protocol::path::ContainerPath;
use outrigger_protocol::process::{
    MAX_GROUPS, MAX_STRINGS, OomScoreAdj, Process, Resource, Rlimit, StringList, Strings,
};
use outrigger_protocol::reply::Mode;

use super::problems::Problems;
use super::{Inputs, capabilities, paths};

/// How much of the arguments or the environment goes into one request.
const PIECE: usize = 32 * 1024;
/// Permissions of a working directory that is made.
const DIRECTORY: u32 = 0o755;
/// File mode creation mask where the config has none, as runc's.
const UMASK: u32 = 0o022;

/// Makes the working directory where the image has none, as runc does. One that is no path is told
/// about where the process is planned.
pub(super) fn working_directory(process: &oci::Process, out: &mut Vec<ContainerRequest>) {
    let path = paths::absolute(process.cwd()).ok();
    let Some(path) = path.filter(|path| *path != ContainerPath::root()) else { return };
    let mode = FileMode::new(DIRECTORY);
    out.extend(mode.map(|mode| ContainerRequest::Mkdir(Mkdir { path, mode })));
}

/// The size of the terminal that the config asks for. Engines write 0 by 0 for none.
pub(super) fn console_size(process: &oci::Process, problems: &mut Problems) -> Option<(u16, u16)> {
    let size = process.console_size()?;
    let cells = (u16::try_from(size.height()), u16::try_from(size.width()));
    let (Ok(rows), Ok(columns)) = cells else {
        problems.add("process.consoleSize", "is larger than a terminal can be, 65535 by 65535");
        return None;
    };
    Some((rows, columns)).filter(|size| *size != (0, 0))
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
    let arguments: Vec<_> = arguments.iter().map(String::as_str).enumerate().collect();
    strings("process.args", StringList::Arguments, &arguments, out, problems);
    let environment = environment(process.env().as_deref().unwrap_or_default(), problems);
    strings("process.env", StringList::Environment, &environment, out, problems);
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
    let capabilities = capabilities::plan(process.capabilities().as_ref(), problems);
    let rlimits = rlimits(process.rlimits().as_deref().unwrap_or_default(), problems);
    let cwd = problems.check(format_args!("process.cwd"), paths::absolute(process.cwd()));
    Some(Process {
        uid: uid?,
        gid: gid?,
        groups: groups?,
        umask: umask?,
        cwd: cwd?,
        // As with runc a process whose config lists none has none.
        capabilities: Some(capabilities?),
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

/// The supplementary groups; the inner `None` leaves them, where an ordinary user may not or perhaps may
/// not set any, `user_namespaces(7)`.
#[allow(clippy::option_option, reason = "the outer one: the config is wrong")]
fn groups(
    inputs: &Inputs<'_>,
    user: &oci::User,
    problems: &mut Problems,
) -> Option<Option<Vec<Id>>> {
    const FIELD: &str = "process.user.additionalGids";
    let listed = user.additional_gids().as_deref().unwrap_or_default();
    let denied = !inputs.host.may_set_groups;
    if denied || (inputs.host.mode == Mode::Rootless && !may_set_groups(inputs)) {
        if listed.is_empty() {
            return Some(None);
        }
        if denied || inputs.spawn.gid_map.is_some() {
            problems.add(
                FIELD,
                "cannot be set where only the own group is mapped; get a range in /etc/subgid, and \
                 map it",
            );
            return None;
        }
    }
    if listed.len() > MAX_GROUPS {
        problems.add(FIELD, format!("has {} groups, more than {MAX_GROUPS}", listed.len()));
        return None;
    }
    let mut groups = Vec::with_capacity(listed.len());
    for (i, gid) in listed.iter().enumerate() {
        let field = format_args!("{FIELD}[{i}]");
        groups.push(problems.check(field, mapped(*gid, &inputs.spawn.gid_map))?);
    }
    Some(Some(groups))
}

/// Who maps only the own group must give up setgroups(2) for the namespace. How one that is joined was
/// made is not known.
fn may_set_groups(inputs: &Inputs<'_>) -> bool {
    let Some(map) = &inputs.spawn.gid_map else { return false };
    !matches!(map.ranges(), [r] if r.size() == 1 && r.host() == inputs.host.egid)
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

/// The variables with their places in the config. Of two values of one name the later is in force, as
/// with runc: programs would take the first.
fn environment<'a>(listed: &'a [String], problems: &mut Problems) -> Vec<(usize, &'a str)> {
    let mut seen = HashSet::with_capacity(listed.len());
    let mut kept = Vec::with_capacity(listed.len());
    for (i, variable) in listed.iter().enumerate().rev() {
        match variable.split_once('=') {
            Some((name, _)) if !name.is_empty() => {
                if seen.insert(name) {
                    kept.push((i, variable.as_str()));
                }
            }
            // Its text may be a secret.
            _ => problems.add(format_args!("process.env[{i}]"), "is no variable; write NAME=value"),
        }
    }
    kept.reverse();
    kept
}

/// A list of strings in pieces that fit into requests.
fn strings(
    field: &str,
    list: StringList,
    strings: &[(usize, &str)],
    out: &mut Vec<ContainerRequest>,
    problems: &mut Problems,
) {
    let mut bytes = Vec::with_capacity(strings.iter().map(|(_, s)| s.len() + 1).sum());
    for (i, string) in strings {
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn later_value_of_a_variable_is_in_force() {
        let listed = ["A=1", "B=2", "A=3", "C=", "B=x=y"].map(str::to_owned);
        let mut problems = Problems::default();
        let kept = environment(&listed, &mut problems);
        assert_eq!(kept, [(2, "A=3"), (3, "C="), (4, "B=x=y")]);
        assert!(problems.is_empty());
    }

    #[test]
    fn text_that_is_no_variable_is_told_by_its_place_only() {
        let listed = ["A=1", "secret", "=secret"].map(str::to_owned);
        let mut problems = Problems::default();
        environment(&listed, &mut problems);
        assert_eq!(
            problems.to_string(),
            "process.env[2]: is no variable; write NAME=value; \
             process.env[1]: is no variable; write NAME=value"
        );
    }

    #[test]
    fn every_limit_of_the_config_is_known() {
        let listed: Vec<PosixRlimit> = Resource::ALL
            .iter()
            .map(|r| json!({"type": r.name(), "soft": 1, "hard": u64::MAX}))
            .map(|limit| serde_json::from_value(limit).unwrap())
            .collect();
        let mut problems = Problems::default();
        let limits = rlimits(&listed, &mut problems);
        assert!(problems.is_empty(), "{problems}");
        let expected = Resource::ALL.map(|resource| Rlimit { resource, soft: 1, hard: u64::MAX });
        assert_eq!(limits, expected);
    }

    #[test]
    fn size_of_the_terminal_is_rows_and_columns() {
        let size = |height: u64, width: u64| {
            let process = json!({"user": {}, "cwd": "/",
                "consoleSize": {"height": height, "width": width}});
            let process: oci::Process = serde_json::from_value(process).unwrap();
            let mut problems = Problems::default();
            (console_size(&process, &mut problems), problems.is_empty())
        };
        assert_eq!(size(24, 80), (Some((24, 80)), true));
        assert_eq!(size(0, 0), (None, true));
        assert_eq!(size(65536, 80), (None, false));
    }
}
