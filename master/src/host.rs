// SPDX-License-Identifier: Apache-2.0
//! What a plan must know about the host, read once and with few system calls.

use std::io;
use std::path::Path;

use nix::unistd::{getegid, geteuid};
use oci_spec::runtime::Spec;
use outrigger_protocol::reply::Mode;

use crate::cgroup;
use crate::cgroup::layout::{self, Hierarchy};

/// The facts. A plan depends on these and on the config alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    /// The user that containers run for.
    pub(crate) euid: u32,
    /// Its group.
    pub(crate) egid: u32,
    /// Whether it is root, be it of a user namespace only.
    pub(crate) mode: Mode,
    /// Whether it lives in the host's own user namespace. Device rules and cgroups that are not
    /// delegated are for the root of that one only.
    pub(crate) in_initial_user_namespace: bool,
    /// Whether its user namespace lets anybody set groups; new ones in it inherit that.
    pub(crate) may_set_groups: bool,
    /// The cgroup hierarchies that are mounted.
    pub(crate) cgroups: Vec<Hierarchy>,
}

/// The inode of the first user namespace is the same on every kernel (`PROC_USER_INIT_INO`).
const INITIAL_USER_NAMESPACE: &str = "user:[4026531837]";

impl Host {
    /// Reads the facts.
    ///
    /// # Errors
    /// A file of /proc cannot be read.
    pub(crate) fn read() -> io::Result<Self> {
        let euid = geteuid();
        let in_initial_user_namespace =
            std::fs::read_link("/proc/self/ns/user")? == Path::new(INITIAL_USER_NAMESPACE);
        let may_set_groups = in_initial_user_namespace
            || std::fs::read("/proc/self/setgroups").is_ok_and(|word| word != b"deny\n");
        let mut host = Self {
            euid: euid.as_raw(),
            egid: getegid().as_raw(),
            mode: if euid.is_root() { Mode::Root } else { Mode::Rootless },
            in_initial_user_namespace,
            may_set_groups,
            cgroups: Vec::new(),
        };
        host.cgroups = layout::read(host.is_privileged())?;
        Ok(host)
    }

    /// Looks up which part of the container's cgroups exists already, so that removal leaves it.
    /// A config whose cgroup path cannot be used is left for the plan to refuse.
    pub(crate) fn probe_cgroups(&mut self, spec: &Spec, id: &str) {
        let privileged = self.is_privileged();
        if spec.linux().as_ref().is_some_and(|l| l.resources().is_some()) {
            self.probe_controllers();
        }
        let Ok(place) = cgroup::Place::from_spec(spec.linux().as_ref()) else { return };
        if place == cgroup::Place::Default {
            return;
        }
        for hierarchy in self.cgroups.iter_mut().filter(|h| h.writable) {
            if let Some(path) = place.path(hierarchy, id, privileged) {
                hierarchy.existing = hierarchy.count_existing(&path);
            }
        }
    }

    /// Looks up which controllers of version 2 there are.
    pub(crate) fn probe_controllers(&mut self) {
        let privileged = self.is_privileged();
        for hierarchy in self.cgroups.iter_mut().filter(|h| h.writable) {
            hierarchy.probe_controllers(privileged);
        }
    }

    /// Whether it is root of the host itself.
    pub(crate) fn is_privileged(&self) -> bool {
        self.mode == Mode::Root && self.in_initial_user_namespace
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_of_this_host_are_consistent() {
        let host = Host::read().unwrap();
        assert_eq!(host.mode == Mode::Root, host.euid == 0);
        for hierarchy in &host.cgroups {
            let own = hierarchy.own.strip_prefix("/").unwrap();
            assert!(hierarchy.mount.join(own).join("cgroup.procs").exists(), "{hierarchy:?}");
        }
    }

    #[test]
    fn existing_cgroups_are_looked_up_for_a_given_path_only() {
        let spec = |json| serde_json::from_value::<Spec>(json).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("parent")).unwrap();
        std::fs::create_dir(dir.path().join("outrigger")).unwrap();
        let host = Host {
            euid: 0,
            egid: 0,
            mode: Mode::Root,
            in_initial_user_namespace: true,
            may_set_groups: true,
            cgroups: vec![Hierarchy {
                version: outrigger_protocol::cgroup::CgroupVersion::V2,
                name: String::new(),
                mount: dir.path().to_owned(),
                own: "/".into(),
                writable: true,
                existing: 0,
                available: Vec::new(),
            }],
        };
        for (linux, expected) in [
            (serde_json::json!({}), 0),
            (serde_json::json!({"cgroupsPath": "/parent/c"}), 1),
            (serde_json::json!({"cgroupsPath": "parent/c"}), 1),
            (serde_json::json!({"cgroupsPath": "/other/c"}), 0),
        ] {
            let mut host = host.clone();
            host.probe_cgroups(
                &spec(serde_json::json!({"ociVersion": "1.0.2", "linux": linux})),
                "c",
            );
            assert_eq!(host.cgroups[0].existing, expected, "{linux}");
        }
    }
}
