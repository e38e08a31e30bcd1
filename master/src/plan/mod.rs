// SPDX-License-Identifier: Apache-2.0
//! From a config and the host's facts to the requests that make the container.
//!
//! Planning touches nothing and needs no privilege: the same input gives the same plan. What depends on
//! the root's content is left to the helper, which looks at it through a descriptor.

mod capabilities;
mod cgroup_mount;
mod devices;
mod exec;
mod features;
mod mounts;
mod namespaces;
mod options;
mod paths;
mod problems;
mod process;
mod readable;
mod seccomp;
mod sysctl;
mod table;
mod unsupported;

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use oci_spec::runtime::{Linux, Mount, Process, Spec};
use outrigger_protocol::cgroup::CreateCgroup;
use outrigger_protocol::limits::Setting;
use outrigger_protocol::mount::{Propagation, PropagationKind};
use outrigger_protocol::path::{HostPath, UtsName};
use outrigger_protocol::reply::Mode;
use outrigger_protocol::request::{Chroot, Console, NamespaceType, Rootfs, Spawn};
use outrigger_protocol::{ContainerKind, ContainerRequest, phase};
use serde::Serialize;

use crate::cgroup;
use crate::host::Host;
pub(crate) use exec::ExecPlan;
pub(crate) use features::features;
pub(crate) use problems::Problems;

/// What the command line says about a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// Its name.
    pub(crate) id: String,
    /// Whether its process is killed when the master dies.
    pub(crate) dies_with_master: bool,
    /// Rows and columns of the caller's terminal, if they are to be the container's.
    pub(crate) console_size: Option<(u16, u16)>,
}

/// What will be asked of the helper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Plan {
    /// The container's root on the host, absolute.
    pub(crate) rootfs: PathBuf,
    /// The cgroups, if any are made.
    pub(crate) cgroup: Option<CreateCgroup>,
    /// What is written to them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) limits: Vec<Setting>,
    /// The namespaces.
    pub(crate) spawn: Spawn,
    /// What the container side does, in order, from the root to the process.
    #[serde(serialize_with = "readable::serialize")]
    pub(crate) container: Vec<ContainerRequest>,
}

/// What the parts of a plan are made from.
struct Inputs<'a> {
    spec: &'a Spec,
    bundle: &'a Path,
    host: &'a Host,
    spawn: &'a Spawn,
    options: &'a Options,
}

impl Inputs<'_> {
    fn mounts(&self) -> &[Mount] {
        self.spec.mounts().as_deref().unwrap_or_default()
    }

    fn linux(&self) -> Option<&Linux> {
        self.spec.linux().as_ref()
    }

    fn has(&self, namespace: NamespaceType) -> bool {
        self.spawn.namespaces.get(namespace).is_some()
    }
}

impl Plan {
    /// Plans the container of a bundle.
    ///
    /// # Errors
    /// Everything in the config that cannot be carried out.
    pub(crate) fn new(
        spec: &Spec,
        bundle: &Path,
        host: &Host,
        options: &Options,
    ) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        unsupported::refuse(spec, &mut problems);
        let spawn = namespaces::spawn(spec.linux().as_ref(), host.mode, &mut problems);
        let inputs = Inputs { spec, bundle, host, spawn: &spawn, options };
        let cgroup = cgroup::plan(spec.linux().as_ref(), host, &options.id, &mut problems);
        let limits = cgroup::limits(spec.linux().as_ref(), host, cgroup.as_ref(), &mut problems);
        let rootfs = root_path(&inputs, &mut problems);
        let process = process(&inputs, &mut problems);
        let mut container = Vec::with_capacity(64 + inputs.mounts().len());
        if let Some(rootfs) = &rootfs {
            container.push(open_root(&inputs, rootfs, &mut problems));
        }
        names(&inputs, &mut container, &mut problems);
        sysctl::plan(&inputs, &mut container, &mut problems);
        if inputs.has(NamespaceType::Mount) {
            furnish(&inputs, cgroup.as_ref(), process, &mut container, &mut problems);
        } else {
            without_mounts(&inputs, &mut container, &mut problems);
        }
        seccomp::plan(&inputs, &mut container, &mut problems);
        process::plan(&inputs, process, &mut container, &mut problems);
        refuse_excess(&container, &mut problems);
        match rootfs {
            Some(rootfs) if problems.is_empty() => {
                let rootfs = rootfs.as_path().to_owned();
                Ok(Self { rootfs, cgroup, limits, spawn, container })
            }
            _ => Err(problems),
        }
    }

    /// The plan as JSON.
    pub(crate) fn to_json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).context("encode the plan")
    }

    /// The plan as a table for people.
    pub(crate) fn to_table(&self) -> String {
        table::render(self)
    }
}

/// The helper takes only so many requests of a kind.
fn refuse_excess(container: &[ContainerRequest], problems: &mut Problems) {
    for rule in phase::CONTAINER {
        let count = container.iter().filter(|r| r.kind() == rule.kind).count();
        if u32::try_from(count).is_ok_and(|count| count <= rule.most) {
            continue;
        }
        let field = match rule.kind {
            ContainerKind::Mount => "mounts",
            ContainerKind::Mknod => "linux.devices",
            ContainerKind::MaskPath => "linux.maskedPaths",
            ContainerKind::ReadonlyPath => "linux.readonlyPaths",
            ContainerKind::Sysctl => "linux.sysctl",
            _ => "config.json",
        };
        let name = rule.kind.name();
        problems.add(field, format!("makes {count} requests {name}, more than {}", rule.most));
    }
}

fn root_path(inputs: &Inputs<'_>, problems: &mut Problems) -> Option<HostPath> {
    let Some(root) = inputs.spec.root() else {
        problems
            .add("root", "is missing; say where the container's files are: {\"path\": \"rootfs\"}");
        return None;
    };
    let path = paths::clean_host(inputs.bundle, root.path());
    let path = problems.check(format_args!("root.path"), path)?;
    if path.as_bytes() == b"/" {
        problems.add("root.path", "is the host's own root; name a directory below it");
        return None;
    }
    Some(path)
}

/// The process of the config; there is no container without one.
fn process<'a>(inputs: &Inputs<'a>, problems: &mut Problems) -> Option<&'a Process> {
    let process = inputs.spec.process().as_ref();
    if process.is_none() {
        problems.add("process", "is missing; say what is to run");
    }
    process
}

fn open_root(inputs: &Inputs<'_>, path: &HostPath, problems: &mut Problems) -> ContainerRequest {
    let word = inputs.linux().and_then(|l| l.rootfs_propagation().as_deref());
    let kind = match word.unwrap_or_default() {
        "private" | "rprivate" => PropagationKind::Private,
        // As runc's default: what the host mounts later can be seen in a bind mount that asks for it.
        "" | "slave" | "rslave" => PropagationKind::Slave,
        other => {
            problems.add(
                "linux.rootfsPropagation",
                format!("{other:?} is not supported yet; take private or slave"),
            );
            PropagationKind::Private
        }
    };
    let propagation = Propagation { kind, recursive: true };
    ContainerRequest::Rootfs(Rootfs { path: path.clone(), propagation })
}

/// Host name, domain name and the loopback interface.
fn names(inputs: &Inputs<'_>, out: &mut Vec<ContainerRequest>, problems: &mut Problems) {
    let mut name = |field: &str, value: &Option<String>, make: fn(UtsName) -> ContainerRequest| {
        let Some(value) = value.as_deref().filter(|v| !v.is_empty()) else { return };
        if !inputs.has(NamespaceType::Uts) {
            problems.add(field, "needs a uts namespace, or it would be the host's; add one");
            return;
        }
        let value = UtsName::new(value);
        out.extend(problems.check(format_args!("{field}"), value).map(make));
    };
    name("hostname", inputs.spec.hostname(), ContainerRequest::SetHostname);
    name("domainname", inputs.spec.domainname(), ContainerRequest::SetDomainname);
    if inputs.spawn.namespaces.is_new(NamespaceType::Network) {
        out.push(ContainerRequest::LoopbackUp);
    }
}

/// Everything in the root, and the change to it.
fn furnish(
    inputs: &Inputs<'_>,
    cgroup: Option<&CreateCgroup>,
    process: Option<&Process>,
    out: &mut Vec<ContainerRequest>,
    problems: &mut Problems,
) {
    let dev = mounts::plan(inputs, cgroup, out, problems);
    if let Some(process) = process {
        process::working_directory(process, out);
    }
    devices::plan(inputs, dev.is_bound, out, problems);
    if let Some(process) = process.filter(|p| p.terminal() == Some(true)) {
        if !dev.has_terminals {
            problems.add(
                "process.terminal",
                "needs terminals in the container; mount a devpts on /dev/pts",
            );
        }
        let wanted = process::console_size(process, problems);
        let size = inputs.options.console_size.or(wanted);
        out.push(ContainerRequest::Console(Console { size }));
    }
    let lists = inputs.linux();
    let readonly = lists.and_then(|l| l.readonly_paths().as_deref()).unwrap_or_default();
    hidden("linux.readonlyPaths", readonly, ContainerRequest::ReadonlyPath, out, problems);
    let masked = lists.and_then(|l| l.masked_paths().as_deref()).unwrap_or_default();
    hidden("linux.maskedPaths", masked, ContainerRequest::MaskPath, out, problems);
    out.push(ContainerRequest::Chroot(Chroot::Pivot));
    if is_readonly(inputs.spec) {
        out.push(ContainerRequest::ReadonlyRoot);
    }
}

fn hidden(
    field: &str,
    list: &[String],
    make: fn(outrigger_protocol::path::ContainerPath) -> ContainerRequest,
    out: &mut Vec<ContainerRequest>,
    problems: &mut Problems,
) {
    for (i, path) in list.iter().enumerate() {
        let path = paths::absolute(Path::new(std::ffi::OsStr::from_bytes(path.as_bytes())));
        out.extend(problems.check(format_args!("{field}[{i}]"), path).map(make));
    }
}

fn is_readonly(spec: &Spec) -> bool {
    spec.root().as_ref().is_some_and(|r| r.readonly() == Some(true))
}

/// Without a mount namespace the container shares the host's mounts: nothing may be changed in them.
fn without_mounts(inputs: &Inputs<'_>, out: &mut Vec<ContainerRequest>, problems: &mut Problems) {
    const WHY: &str = "would change the host's mounts; add a mount namespace to linux.namespaces";
    if inputs.host.mode != Mode::Root {
        problems.add("linux.namespaces", "has no mount namespace, which only root can do without");
    }
    let linux = inputs.linux();
    let is_set = |list: Option<&[String]>| list.is_some_and(|l| !l.is_empty());
    let refused = [
        ("mounts", !inputs.mounts().is_empty()),
        ("linux.maskedPaths", is_set(linux.and_then(|l| l.masked_paths().as_deref()))),
        ("linux.readonlyPaths", is_set(linux.and_then(|l| l.readonly_paths().as_deref()))),
        ("linux.devices", linux.and_then(|l| l.devices().as_ref()).is_some_and(|d| !d.is_empty())),
        ("root.readonly", is_readonly(inputs.spec)),
        (
            "process.terminal",
            inputs.spec.process().as_ref().is_some_and(|p| p.terminal() == Some(true)),
        ),
    ];
    for (field, _) in refused.iter().filter(|(_, set)| *set) {
        problems.add(field, WHY);
    }
    out.push(ContainerRequest::Chroot(Chroot::Chroot));
}

#[cfg(test)]
mod tests;
