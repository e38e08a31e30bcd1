// SPDX-License-Identifier: Apache-2.0
//! `linux.namespaces`, `linux.uidMappings`, `linux.gidMappings`.

use std::os::unix::ffi::OsStrExt;

use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespace, LinuxNamespaceType};
use outrigger_protocol::identity::{IdMap, IdRange, MAX_MAP};
use outrigger_protocol::path::HostPath;
use outrigger_protocol::reply::Mode;
use outrigger_protocol::request::{Namespace, NamespaceType, Namespaces, Spawn};

use super::problems::Problems;

/// What the container side is born into.
pub(super) fn spawn(linux: Option<&Linux>, mode: Mode, problems: &mut Problems) -> Spawn {
    let listed = linux.and_then(|l| l.namespaces().as_deref()).unwrap_or_default();
    let namespaces = namespaces(listed, problems);
    if mode == Mode::Rootless && namespaces.get(NamespaceType::User).is_none() {
        problems.add(
            "linux.namespaces",
            "has no user namespace, without which an ordinary user cannot run a container; \
             add {\"type\": \"user\"} or make the config with `outrigger spec --rootless`",
        );
    }
    let mut map = |field, lines: Option<&[LinuxIdMapping]>| {
        let lines = lines.unwrap_or_default();
        match namespaces.get(NamespaceType::User) {
            // One that is joined has its maps already; the config may describe them.
            Some(Namespace { path: Some(_), .. }) => None,
            Some(Namespace { path: None, .. }) => id_map(field, lines, problems),
            None => {
                if !lines.is_empty() {
                    problems.add(field, "needs a user namespace; add one to linux.namespaces");
                }
                None
            }
        }
    };
    let uid_map = map("linux.uidMappings", linux.and_then(|l| l.uid_mappings().as_deref()));
    let gid_map = map("linux.gidMappings", linux.and_then(|l| l.gid_mappings().as_deref()));
    Spawn { namespaces, uid_map, gid_map }
}

fn namespaces(listed: &[LinuxNamespace], problems: &mut Problems) -> Namespaces {
    let mut list: Vec<Namespace> = Vec::with_capacity(listed.len());
    for (i, namespace) in listed.iter().enumerate() {
        let Some(kind) = kind(namespace.typ()) else {
            problems.unsupported(format_args!("linux.namespaces[{i}].type: time"));
            continue;
        };
        if list.iter().any(|n| n.kind == kind) {
            problems.add(
                format_args!("linux.namespaces[{i}]"),
                format!("is a second {} namespace; remove one of them", kind.name()),
            );
            continue;
        }
        // Engines write an empty path for a new namespace.
        let given = namespace.path().as_ref().map(|p| p.as_os_str().as_bytes());
        let path = match given.filter(|p| !p.is_empty()) {
            None => None,
            Some(path) => {
                let field = format_args!("linux.namespaces[{i}].path");
                if kind == NamespaceType::Mount {
                    problems.add(
                        field,
                        "joins a mount namespace, in which the container's mounts would change \
                         what others see; this is not supported yet, remove the path",
                    );
                }
                problems.check(field, HostPath::new(path))
            }
        };
        list.push(Namespace { kind, path });
    }
    list.sort_unstable_by_key(|n| n.kind);
    Namespaces::try_from(list).unwrap_or_default()
}

fn kind(typ: LinuxNamespaceType) -> Option<NamespaceType> {
    Some(match typ {
        LinuxNamespaceType::Mount => NamespaceType::Mount,
        LinuxNamespaceType::Cgroup => NamespaceType::Cgroup,
        LinuxNamespaceType::Uts => NamespaceType::Uts,
        LinuxNamespaceType::Ipc => NamespaceType::Ipc,
        LinuxNamespaceType::User => NamespaceType::User,
        LinuxNamespaceType::Pid => NamespaceType::Pid,
        LinuxNamespaceType::Network => NamespaceType::Network,
        LinuxNamespaceType::Time => return None,
    })
}

fn id_map(field: &str, lines: &[LinuxIdMapping], problems: &mut Problems) -> Option<IdMap> {
    if lines.is_empty() {
        problems.add(
            field,
            "is missing, but a new user namespace needs it; add for example \
             [{\"containerID\": 0, \"hostID\": 1000, \"size\": 1}]",
        );
        return None;
    }
    if lines.len() > MAX_MAP {
        problems.add(field, format!("has {} lines, but the kernel takes {MAX_MAP}", lines.len()));
        return None;
    }
    let mut ranges = Vec::with_capacity(lines.len());
    for (i, line) in lines.iter().enumerate() {
        let range = IdRange::new(line.container_id(), line.host_id(), line.size());
        let range = range.ok_or("is empty or goes beyond the largest id, 4294967294");
        ranges.extend(problems.check(format_args!("{field}[{i}]"), range));
    }
    if ranges.len() < lines.len() {
        return None;
    }
    refuse_overlap(field, &ranges, "containerID", IdRange::container, problems);
    refuse_overlap(field, &ranges, "hostID", IdRange::host, problems);
    IdMap::try_from(ranges).ok()
}

/// The kernel says only EINVAL to ranges that overlap.
fn refuse_overlap(
    field: &str,
    ranges: &[IdRange],
    side: &str,
    first: fn(&IdRange) -> u32,
    problems: &mut Problems,
) {
    let mut sorted: Vec<_> = ranges.iter().enumerate().collect();
    sorted.sort_by_key(|(_, r)| first(r));
    for pair in sorted.windows(2) {
        if let [(a, low), (b, high)] = pair
            && first(high) - first(low) < low.size()
        {
            let (a, b) = (a.min(b), a.max(b));
            problems.add(
                format_args!("{field}[{b}]"),
                format!("overlaps {field}[{a}] in {side}; an id may be in one line only"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_protocol::identity::Id;
    use serde_json::json;

    fn spawn_of(linux: &serde_json::Value, mode: Mode) -> (Spawn, String) {
        let linux: Linux = serde_json::from_value(linux.clone()).unwrap();
        let mut problems = Problems::default();
        let spawn = spawn(Some(&linux), mode, &mut problems);
        (spawn, problems.to_string())
    }

    fn refusal(linux: &serde_json::Value) -> String {
        spawn_of(linux, Mode::Root).1
    }

    #[test]
    fn namespaces_are_new_or_joined() {
        let (spawn, problems) = spawn_of(
            &json!({"namespaces": [
                {"type": "pid"},
                {"type": "network", "path": "/run/netns/x"},
                {"type": "ipc", "path": ""},
            ]}),
            Mode::Root,
        );
        assert_eq!(problems, "");
        assert!(spawn.namespaces.is_new(NamespaceType::Pid));
        assert!(spawn.namespaces.is_new(NamespaceType::Ipc));
        let net = spawn.namespaces.get(NamespaceType::Network).unwrap();
        assert_eq!(net.path, Some(HostPath::new("/run/netns/x").unwrap()));
        assert!(spawn.namespaces.get(NamespaceType::Mount).is_none());
    }

    #[test]
    fn bad_namespaces_are_named() {
        for (namespaces, expected) in [
            (json!([{"type": "time"}]), "linux.namespaces[0].type: time: is not supported yet"),
            (
                json!([{"type": "pid"}, {"type": "pid"}]),
                "linux.namespaces[1]: is a second pid namespace",
            ),
            (
                json!([{"type": "pid", "path": "ns/pid"}]),
                "linux.namespaces[0].path: is not an absolute path",
            ),
            (
                json!([{"type": "mount", "path": "/proc/1/ns/mnt"}]),
                "linux.namespaces[0].path: joins a mount namespace",
            ),
        ] {
            let text = refusal(&json!({ "namespaces": namespaces }));
            assert!(text.starts_with(expected), "{text}");
        }
    }

    #[test]
    fn ordinary_user_needs_a_user_namespace() {
        let (_, problems) = spawn_of(&json!({"namespaces": [{"type": "pid"}]}), Mode::Rootless);
        assert!(problems.starts_with("linux.namespaces: has no user namespace"), "{problems}");
        assert!(problems.contains("outrigger spec --rootless"), "{problems}");
    }

    #[test]
    fn new_user_namespace_has_maps() {
        let line = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
        let user = json!([{"type": "user"}]);
        let (spawn, problems) = spawn_of(
            &json!({"namespaces": user, "uidMappings": line, "gidMappings": line}),
            Mode::Rootless,
        );
        assert_eq!(problems, "");
        assert!(spawn.uid_map.unwrap().contains(Id::ROOT));
        assert!(spawn.gid_map.unwrap().contains(Id::ROOT));
        let text = refusal(&json!({ "namespaces": user }));
        assert!(text.contains("linux.uidMappings: is missing"), "{text}");
        assert!(text.contains("linux.gidMappings: is missing"), "{text}");
    }

    #[test]
    fn maps_belong_to_a_new_user_namespace() {
        let line = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
        let text = refusal(&json!({ "uidMappings": line }));
        assert_eq!(text, "linux.uidMappings: needs a user namespace; add one to linux.namespaces");
        let joined = json!([{"type": "user", "path": "/proc/7/ns/user"}]);
        let (spawn, problems) =
            spawn_of(&json!({"namespaces": joined, "uidMappings": line}), Mode::Root);
        assert_eq!((spawn.uid_map, problems.as_str()), (None, ""));
    }

    #[test]
    fn bad_map_line_is_named() {
        let map = |lines: &[(u32, u32, u32)]| {
            let lines: Vec<_> = lines
                .iter()
                .map(|(c, h, n)| json!({"containerID": c, "hostID": h, "size": n}))
                .collect();
            let good = json!([{"containerID": 0, "hostID": 0, "size": 10}]);
            let user = json!([{"type": "user"}]);
            refusal(&json!({"namespaces": user, "uidMappings": lines, "gidMappings": good}))
        };
        assert_eq!(map(&[(0, 1000, 1), (1, 5000, 100), (101, 0, 1)]), "");
        let wrong = "is empty or goes beyond the largest id, 4294967294";
        assert_eq!(map(&[(0, 0, 1), (1, 1, 0)]), format!("linux.uidMappings[1]: {wrong}"));
        assert_eq!(map(&[(u32::MAX, 0, 1)]), format!("linux.uidMappings[0]: {wrong}"));
        let advice = "an id may be in one line only";
        assert_eq!(
            map(&[(0, 1000, 2), (1, 5000, 100)]),
            format!("linux.uidMappings[1]: overlaps linux.uidMappings[0] in containerID; {advice}")
        );
        assert_eq!(
            map(&[(10, 1000, 2), (0, 900, 101)]),
            format!(
                "linux.uidMappings[1]: overlaps linux.uidMappings[0] in containerID; {advice}; \
                 linux.uidMappings[1]: overlaps linux.uidMappings[0] in hostID; {advice}"
            )
        );
        let many: Vec<_> = (0..341).map(|i| (i, i, 1)).collect();
        assert_eq!(map(&many), "linux.uidMappings: has 341 lines, but the kernel takes 340");
    }
}
