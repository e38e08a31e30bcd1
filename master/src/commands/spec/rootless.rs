// SPDX-License-Identifier: Apache-2.0
//! What differs in a config for an ordinary user.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

use super::config::{Config, IdMapping, Namespace};
use crate::accounts::{self, SubIds};

/// What matters of the user.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    uid: u32,
    gid: u32,
    /// Subordinate user and group ids that the user may map.
    sub_ids: Option<(SubIds, SubIds)>,
    /// Whether the host has cgroups of version 2 and no others.
    unified_cgroups: bool,
}

impl Caller {
    pub(super) fn find(uid: u32, gid: u32) -> Self {
        // Only these programs may map more than the user's own ids.
        let programs = ["/usr/bin/newuidmap", "/usr/bin/newgidmap"];
        let sub_ids = programs
            .iter()
            .all(|p| is_program(Path::new(p)))
            .then(|| {
                accounts::sub_ids("/etc/subuid", uid).zip(accounts::sub_ids("/etc/subgid", uid))
            })
            .flatten();
        let cgroup = statfs("/sys/fs/cgroup").map(|fs| fs.filesystem_type());
        Self { uid, gid, sub_ids, unified_cgroups: cgroup == Ok(CGROUP2_SUPER_MAGIC) }
    }
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// Adds a user namespace and takes away what its root has no right to.
pub(super) fn adapt(config: &mut Config, caller: &Caller) {
    let linux = &mut config.linux;
    linux.namespaces.push(Namespace { r#type: "user" });
    linux.uid_mappings = map(caller.uid, caller.sub_ids.map(|(uids, _)| uids));
    linux.gid_mappings = map(caller.gid, caller.sub_ids.map(|(_, gids)| gids));
    // A user's cgroups are limited only where an administrator has delegated some.
    linux.resources = None;
    let tty = 5;
    if !linux.gid_mappings.iter().any(|m| (m.container..m.container + m.size).contains(&tty)) {
        for mount in &mut config.mounts {
            mount.options.retain(|option| *option != "gid=5");
        }
    }
    if !caller.unified_cgroups {
        config.mounts.retain(|mount| mount.r#type != "cgroup");
    }
}

/// The user as root and, if there are any, the subordinate ids from 1 on.
fn map(own: u32, sub_ids: Option<SubIds>) -> Vec<IdMapping> {
    let mut map = vec![IdMapping { container: 0, host: own, size: 1 }];
    map.extend(sub_ids.map(|ids| IdMapping {
        container: 1,
        host: ids.start,
        // The last id is none: it means "leave unchanged".
        size: ids.count.min(u32::MAX - 1),
    }));
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapted(sub_ids: Option<(SubIds, SubIds)>, unified_cgroups: bool) -> serde_json::Value {
        let mut config = Config::new();
        adapt(&mut config, &Caller { uid: 1000, gid: 100, sub_ids, unified_cgroups });
        let value = serde_json::to_value(config).unwrap();
        serde_json::from_value::<oci_spec::runtime::Spec>(value.clone()).unwrap();
        value
    }

    fn mount<'a>(config: &'a serde_json::Value, at: &str) -> Option<&'a serde_json::Value> {
        config["mounts"].as_array().unwrap().iter().find(|m| m["destination"] == at)
    }

    #[test]
    fn single_id_is_mapped_to_root() {
        let config = adapted(None, false);
        let own = |id| serde_json::json!([{ "containerID": 0, "hostID": id, "size": 1 }]);
        assert_eq!(config["linux"]["uidMappings"], own(1000));
        assert_eq!(config["linux"]["gidMappings"], own(100));
        let namespaces = config["linux"]["namespaces"].as_array().unwrap();
        assert_eq!(namespaces.len(), 7);
        assert!(namespaces.contains(&serde_json::json!({ "type": "user" })));
        assert!(config["linux"].get("resources").is_none());
        assert!(!mount(&config, "/dev/pts").unwrap().to_string().contains("gid=5"));
    }

    #[test]
    fn subordinate_ids_follow() {
        let ids = SubIds { start: 100_000, count: 65_536 };
        let config = adapted(Some((ids, SubIds { start: 7, count: 5 })), false);
        let second = serde_json::json!({ "containerID": 1, "hostID": 100_000, "size": 65_536 });
        assert_eq!(config["linux"]["uidMappings"][1], second);
        let second = serde_json::json!({ "containerID": 1, "hostID": 7, "size": 5 });
        assert_eq!(config["linux"]["gidMappings"][1], second);
        assert!(mount(&config, "/dev/pts").unwrap().to_string().contains("gid=5"));
        let config = adapted(Some((ids, SubIds { start: 7, count: 4 })), false);
        assert!(!mount(&config, "/dev/pts").unwrap().to_string().contains("gid=5"));
    }

    #[test]
    fn cgroups_are_mounted_where_version_2_is_alone() {
        assert!(mount(&adapted(None, true), "/sys/fs/cgroup").is_some());
        assert!(mount(&adapted(None, false), "/sys/fs/cgroup").is_none());
    }
}
