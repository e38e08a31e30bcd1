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

#[cfg(test)]
mod tests {
    use outrigger_protocol::mount::{MountAttr, Propagation, PropagationKind};
    use outrigger_protocol::path::HostPath;
    use serde_json::{Value, json};

    use super::super::tests::{config, plan, problems, root, with};
    use super::*;

    /// The mounts of a plan whose config has these.
    fn mounts(entries: Value) -> Vec<Mount> {
        let plan = plan(with("/mounts", entries), &root()).unwrap();
        let mounts = plan.container.into_iter().filter_map(|r| match r {
            ContainerRequest::Mount(m) => Some(m),
            _ => None,
        });
        mounts.collect()
    }

    fn bind_of(entry: &Value) -> BindMount {
        match mounts(json!([entry])).pop() {
            Some(Mount::Bind(bind)) => bind,
            other => panic!("{other:?}"),
        }
    }

    fn new_of(entry: &Value) -> NewMount {
        match mounts(json!([entry])).pop() {
            Some(Mount::New(new)) => new,
            other => panic!("{other:?}"),
        }
    }

    fn set(attrs: MountAttr) -> AttrChange {
        AttrChange { set: attrs, ..AttrChange::default() }
    }

    #[test]
    fn bind_mount_has_all_that_its_options_say() {
        let bind = bind_of(&json!({"destination": "/a/../b/", "type": "tmpfs", "source": "data",
            "options": ["rbind", "ro", "nosuid", "rro", "rshared"]}));
        let expected = BindMount {
            target: ContainerPath::new("/b").unwrap(),
            source: HostPath::new("/bundle/data").unwrap(),
            recursive: true,
            attrs: set(MountAttr::RDONLY.union(MountAttr::NOSUID)),
            recursive_attrs: set(MountAttr::RDONLY),
            propagation: Some(Propagation { kind: PropagationKind::Shared, recursive: true }),
        };
        assert_eq!(bind, expected);
    }

    #[test]
    fn bind_mount_is_known_by_option_or_type() {
        for entry in [
            json!({"destination": "/x", "source": "/s", "options": ["bind"]}),
            json!({"destination": "x", "source": "/s", "type": "bind"}),
            json!({"destination": "/x", "source": "/s", "type": "none", "options": []}),
            json!({"destination": "/x", "source": "/s", "type": ""}),
            json!({"destination": "/x", "source": "/s"}),
            json!({"destination": "/x", "source": "/s", "type": "proc", "options": ["bind"]}),
        ] {
            let bind = bind_of(&entry);
            assert_eq!(bind.target.as_bytes(), b"/x");
            assert_eq!(bind.source.as_bytes(), b"/s");
            assert!(!bind.recursive && bind.attrs.is_empty() && bind.propagation.is_none());
        }
    }

    #[test]
    fn new_file_system_has_the_options_of_the_config_and_no_others() {
        let new = new_of(&json!({"destination": "/t", "type": "tmpfs", "source": "shm",
            "options": ["nosuid", "mode=1777", "size=64k", "sync", "rro", "rrw", "private"]}));
        assert_eq!(new.fs, FsType::Tmpfs);
        assert_eq!(new.source, Some(MountWord::new("shm").unwrap()));
        let clear = MountAttr::RDONLY;
        assert_eq!(new.attrs, AttrChange { set: MountAttr::NOSUID, clear, atime: None });
        let options: Vec<_> = new.options.iter().map(|o| (&o.name, &o.value)).collect();
        let name = |n: &str| OptionName::new(n).unwrap();
        let value = |v: &str| Some(MountWord::new(v).unwrap());
        let expected =
            [(name("mode"), value("1777")), (name("size"), value("64k")), (name("sync"), None)];
        assert_eq!(options, expected.iter().map(|(n, v)| (n, v)).collect::<Vec<_>>());
        for (typ, fs) in [
            ("proc", FsType::Proc),
            ("sysfs", FsType::Sysfs),
            ("devpts", FsType::Devpts),
            ("mqueue", FsType::Mqueue),
        ] {
            let new = new_of(&json!({"destination": "/x", "type": typ}));
            assert_eq!((new.fs, new.source, new.options.iter().count()), (fs, None, 0));
        }
    }

    #[test]
    fn odd_mount_is_told_by_its_field() {
        for (entry, says) in [
            (json!({"destination": "", "type": "tmpfs"}), "destination: is empty"),
            (json!({"destination": "/", "type": "tmpfs"}), "destination: is the container's root"),
            (json!({"destination": "/x/..", "type": "tmpfs"}), "destination: is the container's"),
            (json!({"destination": "/a\u{0}", "type": "tmpfs"}), "destination: has a NUL byte"),
            (json!({"destination": "/x", "type": "bind"}), "source: is empty"),
            (json!({"destination": "/x", "type": "ext4"}), "type: file system \"ext4\""),
            (json!({"destination": "/x", "type": "overlay"}), "type: file system \"overlay\""),
            (
                json!({"destination": "/x", "source": "/s", "options": ["bind", "silly", "sync"]}),
                "options: \"silly\" is not an option of a bind mount; remove it; \
                 mounts[0].options: \"sync\" is not an option",
            ),
            (
                json!({"destination": "/x", "source": "/s", "options": ["bind", "remount"]}),
                "options: \"remount\" is not supported yet",
            ),
            (
                json!({"destination": "/x", "type": "tmpfs", "options": ["Size=1"]}),
                "options: \"Size=1\" is no option, its name",
            ),
            (
                json!({"destination": "/x", "type": "tmpfs", "options": ["size="]}),
                "options: \"size=\" has a value that is empty",
            ),
            (
                json!({"destination": "/x", "type": "tmpfs", "options": vec!["a"; 65]}),
                "options: 65 mount options, more than 64",
            ),
        ] {
            let text = problems(with("/mounts", json!([entry])));
            assert!(text.starts_with(&format!("mounts[0].{says}")), "{text}");
        }
    }

    #[test]
    fn file_system_shows_a_namespace_of_the_container() {
        let mut config = config();
        config["linux"] = json!({
            "namespaces": [{"type": "mount"}, {"type": "user"}],
            "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 5}],
            "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 5}],
        });
        for (typ, namespace) in [("proc", "pid"), ("sysfs", "network"), ("mqueue", "ipc")] {
            config["mounts"] = json!([{"destination": "/x", "type": typ}]);
            let text = problems(config.clone());
            assert!(text.starts_with("mounts[0].type: the kernel mounts"), "{text}");
            assert!(text.contains(&format!("{typ} in a user namespace")), "{text}");
            assert!(text.contains(&format!("with a {namespace} namespace")), "{text}");
        }
        config["mounts"] = json!([{"destination": "/x", "type": "tmpfs", "options": ["gid=4"]}]);
        plan(config.clone(), &root()).unwrap();
        config["mounts"] = json!([{"destination": "/x", "type": "devpts", "options": ["gid=5"]}]);
        let text = problems(config);
        assert!(text.contains("mounts[0].options: \"gid=5\" names an id that linux.gidMappings"));
    }

    #[test]
    fn what_is_in_dev_is_what_was_mounted_last() {
        let dev = |entries: &[(&str, &str, &[&str])]| {
            let mut dev = Dev::default();
            for (target, typ, options) in entries {
                let options: Vec<String> = options.iter().map(|o| (*o).to_owned()).collect();
                let entry = json!({"destination": target, "type": typ, "source": "/s"});
                let entry: Entry = serde_json::from_value(entry).unwrap();
                dev.note(&Step {
                    index: 0,
                    entry: &entry,
                    target: ContainerPath::new(*target).unwrap(),
                    words: options::parse(&options),
                });
            }
            (dev.is_bound, dev.has_terminals)
        };
        let (tmpfs, devpts) = (("/dev", "tmpfs", &[][..]), ("/dev/pts", "devpts", &[][..]));
        let (bind, rbind) = (("/dev", "bind", &["bind"][..]), ("/dev", "bind", &["rbind"][..]));
        assert_eq!(dev(&[tmpfs, devpts]), (false, true));
        assert_eq!(dev(&[devpts, tmpfs]), (false, false));
        assert_eq!(dev(&[tmpfs]), (false, false));
        assert_eq!(dev(&[bind]), (true, false));
        assert_eq!(dev(&[rbind]), (true, true));
        assert_eq!(dev(&[bind, ("/dev/pts", "none", &["bind"])]), (true, true));
        assert_eq!(dev(&[rbind, tmpfs]), (false, false));
        assert_eq!(dev(&[rbind, ("/dev/pts", "tmpfs", &[])]), (true, false));
    }
}
