// SPDX-License-Identifier: Apache-2.0
//! A plan for people: what is asked of the helper, a line each.

use std::fmt::Write;

use outrigger_protocol::ContainerRequest;
use outrigger_protocol::cgroup::{CgroupVersion, DeviceRule, Devices};
use outrigger_protocol::mount::{Atime, AttrChange, Mount, MountAttr, Propagation};
use outrigger_protocol::process::StringList;

use super::Plan;
use crate::cgroup::ShownRule;

/// Renders the whole plan.
pub(super) fn render(plan: &Plan) -> String {
    let mut rows: Vec<(&'static str, String)> = Vec::new();
    if let Some(cgroup) = &plan.cgroup {
        for group in cgroup.groups.iter() {
            let version = if group.version == CgroupVersion::V1 { "v1" } else { "v2" };
            rows.push(("CreateCgroup", format!("{version} {}/{}", group.mount, group.path)));
        }
        match &cgroup.devices {
            Some(Devices::Rules(rules)) => {
                rows.push(("", devices(rules)));
            }
            Some(Devices::Program(program)) => {
                rows.push(("", format!("devices: a program of {} instructions", program.len())));
            }
            None => {}
        }
    }
    for (i, limit) in plan.limits.iter().enumerate() {
        let request = if i == 0 { "UpdateCgroup" } else { "" };
        rows.push((request, format!("{} = {}", limit.file, limit.value)));
    }
    let namespaces: Vec<String> = plan
        .spawn
        .namespaces
        .iter()
        .map(|n| {
            n.path.as_ref().map_or_else(
                || n.kind.name().to_owned(),
                |path| format!("{} of {path}", n.kind.name()),
            )
        })
        .collect();
    rows.push(("Spawn", format!("namespaces: {}", namespaces.join(", "))));
    for (what, map) in [("users", &plan.spawn.uid_map), ("groups", &plan.spawn.gid_map)] {
        for range in map.iter().flat_map(|m| m.ranges()) {
            let (inside, outside, size) = (range.container(), range.host(), range.size());
            rows.push(("", format!("{what}: {size} from {inside} are the host's from {outside}")));
        }
    }
    rows.extend(plan.container.iter().map(|r| (r.kind().name(), describe(r))));
    rows.push(("Ready", "the program is found, all but it is in place".to_owned()));
    let mut out = String::new();
    for (i, (request, what)) in rows.iter().enumerate() {
        let _ = writeln!(out, "{:>3}  {request:<14}{what}", i + 1);
    }
    out
}

/// The first rule is for all devices, the others are exceptions from it.
fn devices(rules: &[DeviceRule]) -> String {
    let all = rules.first().is_some_and(|rule| rule.allow);
    let exceptions: Vec<_> = rules.iter().skip(1).map(|r| ShownRule(r).to_string()).collect();
    let verdict = if all { "all" } else { "none" };
    if exceptions.is_empty() {
        return format!("devices: {verdict}");
    }
    format!("devices: {verdict} but {}", exceptions.join(", "))
}

fn describe(request: &ContainerRequest) -> String {
    match request {
        ContainerRequest::Hello(hello) => format!("version {}", hello.version),
        ContainerRequest::Rootfs(r) => {
            format!("{}, mounts {}", r.path, propagation(Some(r.propagation)))
        }
        ContainerRequest::Mount(m) => mount(m),
        ContainerRequest::Mkdir(r) => format!("{} mode {:04o}", r.path, r.mode.bits()),
        ContainerRequest::Touch(r) => format!("{} mode {:04o}", r.path, r.mode.bits()),
        ContainerRequest::Symlink(r) => format!("{} -> {}", r.path, r.target),
        ContainerRequest::Mknod(r) => format!(
            "{} {:?} {}:{} mode {:04o} owner {}:{}",
            r.path,
            r.kind,
            r.device.major,
            r.device.minor,
            r.mode.bits(),
            r.uid.get(),
            r.gid.get()
        ),
        ContainerRequest::Console(c) => c.size.map_or_else(
            || "a terminal on /dev/console".to_owned(),
            |(rows, columns)| format!("a terminal of {rows}x{columns} on /dev/console"),
        ),
        ContainerRequest::MaskPath(path) | ContainerRequest::ReadonlyPath(path) => path.to_string(),
        ContainerRequest::SetHostname(name) | ContainerRequest::SetDomainname(name) => {
            name.to_string()
        }
        ContainerRequest::Sysctl(s) => format!("{} = {}", s.file, s.value),
        ContainerRequest::LoopbackUp => "lo".to_owned(),
        ContainerRequest::Chroot(how) => format!("by {how:?}"),
        ContainerRequest::ReadonlyRoot => "/".to_owned(),
        ContainerRequest::Strings(s) => {
            let what = match s.list {
                StringList::Arguments => "arguments",
                StringList::Environment => "environment",
            };
            let text: Vec<String> = s
                .piece
                .split(|b| *b == 0)
                .filter(|word| !word.is_empty())
                .map(|word| word.escape_ascii().to_string())
                .collect();
            format!("{what}: {}", text.join(" "))
        }
        ContainerRequest::Seccomp(filter) => {
            format!("system calls: a filter of {} instructions", filter.instructions().len())
        }
        ContainerRequest::Process(p) => {
            let no_new_privileges = if p.no_new_privileges { ", no new privileges" } else { "" };
            let permitted = p.capabilities.map_or(0, |c| c.permitted.0.count_ones());
            format!(
                "user {}:{} in {}, umask {:03o}, {permitted} capabilities, {} limits{no_new_privileges}",
                p.uid.get(),
                p.gid.get(),
                p.cwd,
                p.umask,
                p.rlimits.len(),
            )
        }
        ContainerRequest::Ready | ContainerRequest::Wait | ContainerRequest::Start => String::new(),
    }
}

fn mount(mount: &Mount) -> String {
    match mount {
        Mount::New(m) => {
            let options: Vec<String> = m
                .options
                .iter()
                .map(|o| match &o.value {
                    Some(value) => format!("{}={value}", o.name),
                    None => o.name.to_string(),
                })
                .collect();
            let words = words(&[
                &change(&m.attrs).join(","),
                &options.join(","),
                &propagation(m.propagation),
            ]);
            format!("{} {}{words}", m.target, m.fs.name())
        }
        Mount::Bind(m) => {
            let depth = if m.recursive { "rbind" } else { "bind" };
            let recursive = change(&m.recursive_attrs).join(",");
            let recursive =
                if recursive.is_empty() { recursive } else { format!("all: {recursive}") };
            let words =
                words(&[&change(&m.attrs).join(","), &recursive, &propagation(m.propagation)]);
            format!("{} {depth} of {}{words}", m.target, m.source)
        }
        Mount::Remount(m) => {
            let words =
                words(&[&change(&m.attrs).join(","), &change(&m.recursive_attrs).join(",")]);
            format!("{} changed{words}", m.target)
        }
    }
}

fn words(parts: &[&str]) -> String {
    let set: Vec<&str> = parts.iter().copied().filter(|p| !p.is_empty()).collect();
    if set.is_empty() { String::new() } else { format!(" ({})", set.join(", ")) }
}

/// The words of mount(8) for a change.
pub(super) fn change(change: &AttrChange) -> Vec<&'static str> {
    let names = [
        (MountAttr::RDONLY, "ro", "rw"),
        (MountAttr::NOSUID, "nosuid", "suid"),
        (MountAttr::NODEV, "nodev", "dev"),
        (MountAttr::NOEXEC, "noexec", "exec"),
        (MountAttr::NODIRATIME, "nodiratime", "diratime"),
        (MountAttr::NOSYMFOLLOW, "nosymfollow", "symfollow"),
    ];
    let has = |attrs: MountAttr, bit: MountAttr| bit.difference(attrs).is_empty();
    let mut list = Vec::new();
    for (bit, set, cleared) in names {
        if has(change.set, bit) {
            list.push(set);
        } else if has(change.clear, bit) {
            list.push(cleared);
        }
    }
    list.extend(change.atime.map(|a| match a {
        Atime::Relatime => "relatime",
        Atime::Noatime => "noatime",
        Atime::Strictatime => "strictatime",
    }));
    list
}

fn propagation(propagation: Option<Propagation>) -> String {
    propagation.map_or_else(String::new, |p| {
        let recursive = if p.recursive { "r" } else { "" };
        format!("{recursive}{:?}", p.kind).to_lowercase()
    })
}
