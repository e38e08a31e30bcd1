// SPDX-License-Identifier: Apache-2.0
//! Mounts of type `cgroup` and `cgroup2`: the container sees its own cgroup and what is below it.

use outrigger_protocol::ContainerRequest;
use outrigger_protocol::cgroup::{CgroupVersion, CreateCgroup};
use outrigger_protocol::mount::{
    AttrChange, BindMount, FsOption, FsOptions, FsType, Mount, MountAttr, NewMount, Propagation,
    Remount,
};
use outrigger_protocol::node::Symlink;
use outrigger_protocol::path::{
    ContainerPath, HostPath, Invalid, LinkTarget, MountWord, OptionName,
};
use outrigger_protocol::request::NamespaceType;

use super::Inputs;
use super::mounts::{CgroupMount, Step, merge, new_mount, refuse_words};
use super::problems::Problems;
use crate::cgroup;
use crate::cgroup::layout::Hierarchy;

/// Plans one such mount.
pub(super) fn plan(
    step: Step<'_>,
    kind: CgroupMount,
    inputs: &Inputs<'_>,
    cgroup: Option<&CreateCgroup>,
    out: &mut Vec<ContainerRequest>,
    problems: &mut Problems,
) {
    let hierarchies = &inputs.host.cgroups;
    let unified = hierarchies.iter().find(|h| h.version == CgroupVersion::V2);
    let has_v1 = hierarchies.iter().any(|h| h.version == CgroupVersion::V1);
    match unified {
        // A new mount shows the root of the cgroup namespace: without one, all of the host.
        Some(_)
            if (kind == CgroupMount::Unified || !has_v1)
                && inputs.spawn.namespaces.is_new(NamespaceType::Cgroup) =>
        {
            let mount = new_mount(step, FsType::Cgroup2, inputs.spawn, problems);
            out.extend(mount.map(|m| ContainerRequest::Mount(Mount::New(m))));
        }
        Some(unified) if kind == CgroupMount::Unified || !has_v1 => {
            refuse_words(step.index, &step.words, "a bound cgroup", problems);
            let tree = Tree::new(step, cgroup);
            let bind = tree.bind(tree.target.clone(), unified);
            out.extend(problems.check(format_args!("mounts[{}]", tree.index), bind));
        }
        None if kind == CgroupMount::Unified => problems.add(
            format_args!("mounts[{}].type", step.index),
            "cgroup2 is what this host has not; take type cgroup",
        ),
        _ => {
            refuse_words(step.index, &step.words, "a tree of version 1 cgroups", problems);
            let tree = Tree::new(step, cgroup);
            let requests = tree.version_1(hierarchies);
            let field = format_args!("mounts[{}]", tree.index);
            out.extend(problems.check(field, requests).unwrap_or_default());
        }
    }
}

/// A cgroup mount that is put together from parts.
struct Tree<'a> {
    index: usize,
    target: ContainerPath,
    attrs: AttrChange,
    propagation: Option<Propagation>,
    cgroup: Option<&'a CreateCgroup>,
}

impl<'a> Tree<'a> {
    fn new(step: Step<'_>, cgroup: Option<&'a CreateCgroup>) -> Self {
        Self {
            index: step.index,
            target: step.target,
            attrs: merge(step.words.attrs, step.words.recursive_attrs),
            propagation: step.words.propagation,
            cgroup,
        }
    }

    /// As hosts lay it out: a small tmpfs with a directory for each hierarchy.
    fn version_1(&self, hierarchies: &[Hierarchy]) -> Result<Vec<ContainerRequest>, Invalid> {
        let mut requests = vec![self.tmpfs()?];
        for hierarchy in hierarchies.iter().filter(|h| h.version == CgroupVersion::V1) {
            let name = hierarchy.directory_name();
            requests.push(self.bind(self.below(name)?, hierarchy)?);
            // Programs look for a controller by its own name.
            for controller in name.split(',').filter(|c| *c != name) {
                requests.push(ContainerRequest::Symlink(Symlink {
                    path: self.below(controller)?,
                    target: LinkTarget::new(name)?,
                }));
            }
        }
        if MountAttr::RDONLY.difference(self.attrs.set).is_empty() {
            requests.push(self.make_read_only());
        }
        Ok(requests)
    }

    fn below(&self, name: &str) -> Result<ContainerPath, Invalid> {
        let path = [self.target.as_bytes(), b"/", name.as_bytes()].concat();
        ContainerPath::new(path)
    }

    /// Writable, until the directories are in it.
    fn tmpfs(&self) -> Result<ContainerRequest, Invalid> {
        let mode = FsOption { name: OptionName::new("mode")?, value: Some(MountWord::new("755")?) };
        let set = self.attrs.set.difference(MountAttr::RDONLY);
        Ok(ContainerRequest::Mount(Mount::New(NewMount {
            target: self.target.clone(),
            fs: FsType::Tmpfs,
            source: Some(MountWord::new("tmpfs")?),
            options: FsOptions::try_from(vec![mode]).unwrap_or_default(),
            attrs: AttrChange { set: set.union(HARMLESS), ..self.attrs },
            propagation: self.propagation,
        })))
    }

    /// The container's cgroup of one hierarchy.
    fn bind(
        &self,
        target: ContainerPath,
        hierarchy: &Hierarchy,
    ) -> Result<ContainerRequest, Invalid> {
        Ok(ContainerRequest::Mount(Mount::Bind(BindMount {
            target,
            source: HostPath::new(cgroup::directory(hierarchy, self.cgroup))?,
            recursive: false,
            attrs: AttrChange { set: self.attrs.set.union(HARMLESS), ..self.attrs },
            recursive_attrs: AttrChange::default(),
            propagation: self.propagation,
        })))
    }

    fn make_read_only(&self) -> ContainerRequest {
        ContainerRequest::Mount(Mount::Remount(Remount {
            target: self.target.clone(),
            attrs: AttrChange { set: MountAttr::RDONLY, ..AttrChange::default() },
            recursive_attrs: AttrChange::default(),
            propagation: None,
        }))
    }
}

/// Nothing in a cgroup tree is a program or a device.
const HARMLESS: MountAttr = MountAttr::NOSUID.union(MountAttr::NODEV).union(MountAttr::NOEXEC);

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::{config, hierarchy, plan, root, user};
    use super::super::{Plan, table};
    use super::*;
    use crate::host::Host;

    fn request(typ: &str, options: &[&str], has_namespace: bool) -> Value {
        let mut config = config();
        config["mounts"] =
            json!([{"destination": "/cg", "type": typ, "source": "cgroup", "options": options}]);
        let mut namespaces = vec!["mount", "user"];
        namespaces.extend(has_namespace.then_some("cgroup"));
        let namespaces = namespaces.into_iter().map(|n| json!({ "type": n }));
        config["linux"]["namespaces"] = namespaces.collect();
        let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
        config
    }

    /// The requests that a cgroup mount makes, in the words of the table.
    fn shown(config: Value, host: &Host) -> Vec<String> {
        let plan = plan(config, host).unwrap();
        let of_cgroup = |r: &&ContainerRequest| match r {
            ContainerRequest::Mount(_) => true,
            ContainerRequest::Symlink(s) => s.path.as_bytes().starts_with(b"/cg"),
            _ => false,
        };
        let requests = plan.container.iter().filter(of_cgroup).cloned().collect();
        let table = table::render(&Plan { cgroup: None, container: requests, ..plan });
        let rows = table.lines().filter(|l| l.contains("/cg")).map(|l| l[19..].to_owned());
        rows.collect()
    }

    fn v2() -> Host {
        let unified = hierarchy(CgroupVersion::V2, "", "/sys/fs/cgroup");
        Host { cgroups: vec![unified], ..root() }
    }

    #[test]
    fn version_1_is_laid_out_as_on_a_host() {
        let config = request("cgroup", &["ro", "nosuid", "nodev", "noexec", "relatime"], true);
        assert_eq!(
            shown(config, &root()),
            [
                "/cg tmpfs (nosuid,nodev,noexec,relatime, mode=755)",
                "/cg/devices bind of /sys/fs/cgroup/devices/outrigger/c \
                 (ro,nosuid,nodev,noexec,relatime)",
                "/cg/cpu,cpuacct bind of /sys/fs/cgroup/cpu,cpuacct/outrigger/c \
                 (ro,nosuid,nodev,noexec,relatime)",
                "/cg/cpu -> cpu,cpuacct",
                "/cg/cpuacct -> cpu,cpuacct",
                "/cg changed (ro)",
            ]
        );
    }

    #[test]
    fn writable_tree_is_not_made_read_only() {
        let rows = shown(request("cgroup", &[], false), &root());
        assert!(rows.iter().all(|row| !row.contains("(ro")), "{rows:?}");
        assert!(rows.iter().all(|row| row.contains("nosuid,nodev,noexec") || row.contains("->")));
    }

    #[test]
    fn named_hierarchy_has_its_bare_name() {
        let systemd = hierarchy(CgroupVersion::V1, "name=systemd", "/sys/fs/cgroup/systemd");
        let host = Host { cgroups: vec![systemd], ..root() };
        let rows = shown(request("cgroup", &[], false), &host);
        let bind = "/cg/systemd bind of /sys/fs/cgroup/systemd/outrigger/c (nosuid,nodev,noexec)";
        assert_eq!(rows[1..], [bind]);
    }

    #[test]
    fn version_2_is_mounted_in_a_cgroup_namespace_and_bound_without_one() {
        for typ in ["cgroup", "cgroup2"] {
            assert_eq!(
                shown(request(typ, &["ro", "nosuid", "nsdelegate"], true), &v2()),
                ["/cg cgroup2 (ro,nosuid, nsdelegate)"]
            );
            assert_eq!(
                shown(request(typ, &["rw"], false), &v2()),
                ["/cg bind of /sys/fs/cgroup/outrigger/c (rw,nosuid,nodev,noexec)"]
            );
        }
        let unified = "/cg bind of /sys/fs/cgroup/unified/outrigger/c (nosuid,nodev,noexec)";
        assert_eq!(shown(request("cgroup2", &[], false), &root()), [unified]);
    }

    #[test]
    fn without_a_cgroup_of_its_own_it_sees_that_of_its_caller() {
        assert_eq!(
            shown(request("cgroup", &["ro"], false), &user()),
            ["/cg bind of /sys/fs/cgroup/user (ro,nosuid,nodev,noexec)"]
        );
    }

    #[test]
    fn host_without_cgroups_has_an_empty_tree() {
        let host = Host { cgroups: vec![], ..root() };
        assert_eq!(
            shown(request("cgroup", &["ro"], false), &host),
            ["/cg tmpfs (nosuid,nodev,noexec, mode=755)", "/cg changed (ro)"]
        );
    }

    #[test]
    fn what_cannot_be_shown_is_told() {
        let v1 = Host { cgroups: vec![root().cgroups.remove(0)], ..root() };
        for (host, typ, options, says) in [
            (&v1, "cgroup2", &[][..], "mounts[0].type: cgroup2 is what this host has not"),
            (
                &v1,
                "cgroup",
                &["xattr"][..],
                "mounts[0].options: \"xattr\" is not an option of a tree",
            ),
            (
                &v2(),
                "cgroup",
                &["xattr"][..],
                "mounts[0].options: \"xattr\" is not an option of a bound",
            ),
        ] {
            let text = plan(request(typ, options, false), host).unwrap_err().to_string();
            assert!(text.starts_with(says), "{text}");
        }
    }
}
