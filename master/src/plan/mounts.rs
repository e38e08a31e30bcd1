// SPDX-License-Identifier: Apache-2.0
//! `mounts`, in the order of the config.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use oci_spec::runtime::Mount as Entry;
use outrigger_protocol::ContainerRequest;
use outrigger_protocol::identity::{Id, IdMap};
use outrigger_protocol::mount::{
    AttrChange, BindMount, FsOption, FsOptions, FsType, Mount, NewMount,
};
use outrigger_protocol::path::{ContainerPath, MountWord, OptionName};
use outrigger_protocol::request::{NamespaceType, Spawn};

use super::options::{self, Words};
use super::problems::Problems;
use super::{Inputs, cgroup_mount, paths};
use outrigger_protocol::cgroup::CreateCgroup;

/// What the mounts make of /dev, for the steps that furnish it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Dev {
    /// It is a directory of the host.
    pub(super) is_bound: bool,
    /// It has pseudo-terminals.
    pub(super) has_terminals: bool,
}

/// A mount of the config on its way to a request.
pub(super) struct Step<'a> {
    /// Its place in the config, to name it.
    pub(super) index: usize,
    pub(super) entry: &'a Entry,
    pub(super) target: ContainerPath,
    pub(super) words: Words<'a>,
}

/// Plans all mounts.
pub(super) fn plan(
    inputs: &Inputs<'_>,
    cgroup: Option<&CreateCgroup>,
    out: &mut Vec<ContainerRequest>,
    problems: &mut Problems,
) -> Dev {
    let mut dev = Dev::default();
    for (index, entry) in inputs.mounts().iter().enumerate() {
        let Some(target) = target(index, entry, problems) else { continue };
        let words = options::parse(entry.options().as_deref().unwrap_or_default());
        for wrong in &words.wrong {
            problems.add(format_args!("mounts[{index}].options"), wrong.as_str());
        }
        let step = Step { index, entry, target, words };
        dev.note(&step);
        match kind(&step) {
            Kind::Bind => bind(step, inputs.bundle, out, problems),
            Kind::New(fs) => new(step, fs, inputs.spawn, out, problems),
            Kind::Cgroup(version) => {
                cgroup_mount::plan(step, version, inputs, cgroup, out, problems);
            }
            Kind::Unknown(typ) => problems.add(
                format_args!("mounts[{index}].type"),
                format!(
                    "file system {typ:?} is not supported; take one of bind, cgroup, cgroup2, \
                     devpts, mqueue, proc, sysfs, tmpfs"
                ),
            ),
        }
    }
    dev
}

fn target(index: usize, entry: &Entry, problems: &mut Problems) -> Option<ContainerPath> {
    let field = format_args!("mounts[{index}].destination");
    let target = problems.check(field, paths::container(entry.destination()))?;
    if target == ContainerPath::root() {
        problems.add(field, "is the container's root, which is what root.path says; remove it");
        return None;
    }
    Some(target)
}

impl Dev {
    /// A later mount on a directory hides what an earlier one made of it.
    fn note(&mut self, step: &Step<'_>) {
        let is_bind = matches!(kind(step), Kind::Bind);
        match step.target.as_bytes() {
            b"/dev" => {
                self.is_bound = is_bind;
                self.has_terminals = is_bind && step.words.bind == Some(true);
            }
            b"/dev/pts" => {
                self.has_terminals = is_bind || matches!(kind(step), Kind::New(FsType::Devpts));
            }
            _ => {}
        }
    }
}

/// Which hierarchies a cgroup mount is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CgroupMount {
    /// Those that the host has: type `cgroup`.
    Any,
    /// The unified one: type `cgroup2`.
    Unified,
}

enum Kind<'a> {
    Bind,
    New(FsType),
    Cgroup(CgroupMount),
    Unknown(&'a str),
}

fn kind<'a>(step: &Step<'a>) -> Kind<'a> {
    if step.words.bind.is_some() {
        return Kind::Bind;
    }
    match step.entry.typ().as_deref().unwrap_or_default() {
        "" | "bind" | "none" => Kind::Bind,
        "proc" => Kind::New(FsType::Proc),
        "sysfs" => Kind::New(FsType::Sysfs),
        "tmpfs" => Kind::New(FsType::Tmpfs),
        "devpts" => Kind::New(FsType::Devpts),
        "mqueue" => Kind::New(FsType::Mqueue),
        "cgroup" => Kind::Cgroup(CgroupMount::Any),
        "cgroup2" => Kind::Cgroup(CgroupMount::Unified),
        other => Kind::Unknown(other),
    }
}

fn bind(step: Step<'_>, bundle: &Path, out: &mut Vec<ContainerRequest>, problems: &mut Problems) {
    let Step { index, entry, target, words } = step;
    refuse_words(index, &words, "a bind mount", problems);
    let source = entry.source().as_deref().unwrap_or_else(|| Path::new(""));
    let source = paths::host(bundle, source);
    let Some(source) = problems.check(format_args!("mounts[{index}].source"), source) else {
        return;
    };
    out.push(ContainerRequest::Mount(Mount::Bind(BindMount {
        target,
        source,
        recursive: words.bind == Some(true),
        attrs: words.attrs,
        recursive_attrs: words.recursive_attrs,
        propagation: words.propagation,
    })));
}

/// Notes the words that are neither attributes nor propagation, for a mount that takes no others.
pub(super) fn refuse_words(index: usize, words: &Words<'_>, what: &str, problems: &mut Problems) {
    for word in &words.file_system {
        problems.add(
            format_args!("mounts[{index}].options"),
            format!("{word:?} is not an option of {what}; remove it"),
        );
    }
}

fn new(
    step: Step<'_>,
    fs: FsType,
    spawn: &Spawn,
    out: &mut Vec<ContainerRequest>,
    problems: &mut Problems,
) {
    if let Some(namespace) = governing(fs)
        && spawn.namespaces.get(NamespaceType::User).is_some()
        && spawn.namespaces.get(namespace).is_none()
    {
        problems.add(
            format_args!("mounts[{}].type", step.index),
            format!(
                "the kernel mounts {} in a user namespace only together with a {} namespace; add \
                 that to linux.namespaces, or bind the host's",
                fs.name(),
                namespace.name()
            ),
        );
    }
    out.extend(
        new_mount(step, fs, spawn, problems).map(|m| ContainerRequest::Mount(Mount::New(m))),
    );
}

/// The namespace whose content a file system shows, and whose owner alone may mount it.
fn governing(fs: FsType) -> Option<NamespaceType> {
    match fs {
        FsType::Proc => Some(NamespaceType::Pid),
        FsType::Sysfs => Some(NamespaceType::Network),
        FsType::Mqueue => Some(NamespaceType::Ipc),
        FsType::Cgroup2 => Some(NamespaceType::Cgroup),
        FsType::Tmpfs | FsType::Devpts => None,
    }
}

/// The mount of a new file system, with the options of the config and no others.
pub(super) fn new_mount(
    step: Step<'_>,
    fs: FsType,
    spawn: &Spawn,
    problems: &mut Problems,
) -> Option<NewMount> {
    let Step { index, entry, target, words } = step;
    let source = entry.source().as_ref().map(|s| s.as_os_str().as_bytes());
    let source = source.filter(|s| !s.is_empty()).map(MountWord::new).transpose();
    let source = problems.check(format_args!("mounts[{index}].source"), source);
    let options = fs_options(index, &words.file_system, spawn, problems);
    Some(NewMount {
        target,
        fs,
        source: source?,
        options: options?,
        // Nothing is mounted below a new mount.
        attrs: merge(words.attrs, words.recursive_attrs),
        propagation: words.propagation,
    })
}

pub(super) fn merge(first: AttrChange, then: AttrChange) -> AttrChange {
    AttrChange {
        set: first.set.difference(then.clear).union(then.set),
        clear: first.clear.difference(then.set).union(then.clear),
        atime: then.atime.or(first.atime),
    }
}

fn fs_options(
    index: usize,
    words: &[&str],
    spawn: &Spawn,
    problems: &mut Problems,
) -> Option<FsOptions> {
    let mut options = Vec::with_capacity(words.len());
    for word in words {
        let option = fs_option(word).and_then(|o| owner_is_mapped(&o, spawn).map(|()| o));
        let option = option.map_err(|why| format!("{word:?} {why}"));
        options.extend(problems.check(format_args!("mounts[{index}].options"), option));
    }
    problems.check(format_args!("mounts[{index}].options"), FsOptions::try_from(options))
}

fn fs_option(word: &str) -> Result<FsOption, String> {
    let (name, value) = word.split_once('=').map_or((word, None), |(n, v)| (n, Some(v)));
    let name = OptionName::new(name).map_err(|e| format!("is no option, its name {e}"))?;
    let value = value.map(MountWord::new).transpose();
    let value = value.map_err(|e| format!("has a value that {e}"))?;
    Ok(FsOption { name, value })
}

/// The kernel says only EINVAL to an owner that its user namespace does not know.
fn owner_is_mapped(option: &FsOption, spawn: &Spawn) -> Result<(), String> {
    let (map, field): (&Option<IdMap>, _) = match option.name.as_bytes() {
        b"uid" => (&spawn.uid_map, "linux.uidMappings"),
        b"gid" => (&spawn.gid_map, "linux.gidMappings"),
        _ => return Ok(()),
    };
    let value = option.value.as_ref().and_then(|v| std::str::from_utf8(v.as_bytes()).ok());
    let id = value.and_then(|v| v.parse().ok()).and_then(Id::new);
    match (map, id) {
        (Some(map), Some(id)) if !map.contains(id) => {
            Err(format!("names an id that {field} does not map; remove it or map the id"))
        }
        _ => Ok(()),
    }
}
