// SPDX-License-Identifier: Apache-2.0
//! One well-formed request of every kind, and nothing in any of them that would harm the host.

use outrigger_protocol::cgroup::{Cgroups, CreateCgroup, RemoveCgroup};
use outrigger_protocol::identity::Id;
use outrigger_protocol::limits::{
    Freeze, Processes, Settings, SignalCgroup, SignalEach, UpdateCgroup,
};
use outrigger_protocol::mount::{
    AttrChange, FsOptions, FsType, Mount, MountAttr, NewMount, Propagation, PropagationKind,
};
use outrigger_protocol::node::{DeviceNumber, FileMode, Mkdir, Mknod, NodeKind, Symlink, Touch};
use outrigger_protocol::path::{
    ContainerPath, HostPath, LinkTarget, MountWord, RelativePath, SysctlValue, UtsName,
};
use outrigger_protocol::process::{Process, StringList, Strings};
use outrigger_protocol::request::{
    Chroot, Console, Hello, Join, Namespace, NamespaceType, Namespaces, Rootfs, Signal, Spawn,
    Sysctl,
};
use outrigger_protocol::seccomp::{Filter, FilterFlags};
use outrigger_protocol::{ContainerKind, ContainerRequest, HostKind, HostRequest};

/// A path in the container.
///
/// # Panics
/// It is not one.
#[must_use]
pub fn inside(path: &str) -> ContainerPath {
    ContainerPath::new(path).unwrap()
}

/// The request that makes these namespaces, all new.
///
/// # Panics
/// One is listed twice.
#[must_use]
pub fn spawn(kinds: &[NamespaceType]) -> Spawn {
    let list: Vec<Namespace> =
        kinds.iter().map(|kind| Namespace { kind: *kind, path: None }).collect();
    Spawn { namespaces: Namespaces::try_from(list).unwrap(), uid_map: None, gid_map: None }
}

/// A host-side request of the given kind.
#[must_use]
pub fn host(kind: HostKind) -> HostRequest {
    match kind {
        HostKind::Hello => HostRequest::Hello(Hello::new()),
        HostKind::CreateCgroup => {
            HostRequest::CreateCgroup(CreateCgroup { groups: Cgroups::default(), devices: None })
        }
        HostKind::Spawn => HostRequest::Spawn(spawn(&[NamespaceType::Mount, NamespaceType::Pid])),
        HostKind::Commit => HostRequest::Commit,
        // No process has started at tick 0: nothing is ever hit.
        HostKind::Signal => HostRequest::Signal(Signal { pid: 1, start_time: 0, signal: 9 }),
        HostKind::RemoveCgroup => {
            HostRequest::RemoveCgroup(RemoveCgroup { groups: Cgroups::default() })
        }
        HostKind::UpdateCgroup => HostRequest::UpdateCgroup(UpdateCgroup {
            groups: Cgroups::default(),
            settings: Settings::default(),
        }),
        // There is no freezer and no member where there is no cgroup: both are refused.
        HostKind::Freeze => {
            HostRequest::Freeze(Freeze { groups: Cgroups::default(), frozen: true })
        }
        HostKind::SignalCgroup => {
            HostRequest::SignalCgroup(SignalCgroup { groups: Cgroups::default(), signal: 9 })
        }
        HostKind::SignalEach => {
            HostRequest::SignalEach(SignalEach { processes: Processes::default(), signal: 9 })
        }
        HostKind::Join => HostRequest::Join(Join {
            pid: 1,
            start_time: 0,
            cgroups: Cgroups::default(),
            oom_score_adj: None,
        }),
    }
}

/// A container-side request of the given kind, for a container whose root is `root`.
///
/// # Panics
/// `root` is not an absolute path.
#[must_use]
pub fn container(kind: ContainerKind, root: &str) -> ContainerRequest {
    let mode = FileMode::new(0o755).unwrap();
    match kind {
        ContainerKind::Hello => ContainerRequest::Hello(Hello::new()),
        ContainerKind::Rootfs => ContainerRequest::Rootfs(Rootfs {
            path: HostPath::new(root).unwrap(),
            propagation: Propagation { kind: PropagationKind::Private, recursive: true },
        }),
        ContainerKind::Mount => ContainerRequest::Mount(tmpfs("/tmpfs")),
        ContainerKind::Mkdir => ContainerRequest::Mkdir(Mkdir { path: inside("/made"), mode }),
        ContainerKind::Touch => ContainerRequest::Touch(Touch { path: inside("/touched"), mode }),
        ContainerKind::Symlink => ContainerRequest::Symlink(Symlink {
            path: inside("/link"),
            target: LinkTarget::new("made").unwrap(),
        }),
        ContainerKind::Mknod => ContainerRequest::Mknod(Mknod {
            path: inside("/null"),
            kind: NodeKind::Character,
            device: DeviceNumber { major: 1, minor: 3 },
            mode,
            uid: Id::ROOT,
            gid: Id::ROOT,
            stand_in: None,
        }),
        ContainerKind::Console => ContainerRequest::Console(Console { size: None }),
        ContainerKind::MaskPath => ContainerRequest::MaskPath(inside("/masked")),
        ContainerKind::ReadonlyPath => ContainerRequest::ReadonlyPath(inside("/readonly")),
        ContainerKind::SetHostname => {
            ContainerRequest::SetHostname(UtsName::new("sample").unwrap())
        }
        ContainerKind::SetDomainname => {
            ContainerRequest::SetDomainname(UtsName::new("sample").unwrap())
        }
        ContainerKind::Sysctl => ContainerRequest::Sysctl(Sysctl {
            file: RelativePath::new("net/ipv4/ip_forward").unwrap(),
            value: SysctlValue::new("1").unwrap(),
        }),
        ContainerKind::LoopbackUp => ContainerRequest::LoopbackUp,
        ContainerKind::Chroot => ContainerRequest::Chroot(Chroot::Pivot),
        ContainerKind::ReadonlyRoot => ContainerRequest::ReadonlyRoot,
        ContainerKind::Strings => ContainerRequest::Strings(Strings {
            list: StringList::Arguments,
            piece: b"/program\0".to_vec(),
        }),
        // BPF_RET | BPF_K: SECCOMP_RET_ALLOW
        ContainerKind::Seccomp => ContainerRequest::Seccomp(
            Filter::new(FilterFlags::default(), vec![0x7fff_0000_0000_0006]).unwrap(),
        ),
        ContainerKind::Process => ContainerRequest::Process(process()),
        ContainerKind::Ready => ContainerRequest::Ready,
        ContainerKind::Wait => ContainerRequest::Wait,
        ContainerKind::Start => ContainerRequest::Start,
    }
}

/// A new tmpfs.
///
/// # Panics
/// `target` is no path of a container.
#[must_use]
pub fn tmpfs(target: &str) -> Mount {
    Mount::New(NewMount {
        target: inside(target),
        fs: FsType::Tmpfs,
        source: Some(MountWord::new("tmpfs").unwrap()),
        options: FsOptions::default(),
        attrs: AttrChange { set: MountAttr::NOSUID, ..AttrChange::default() },
        propagation: None,
    })
}

/// The superuser in `/`, with what capabilities there are.
#[must_use]
pub fn process() -> Process {
    Process {
        uid: Id::ROOT,
        gid: Id::ROOT,
        groups: None,
        umask: 0o022,
        cwd: ContainerPath::root(),
        capabilities: None,
        rlimits: Vec::new(),
        no_new_privileges: true,
        oom_score_adj: None,
        terminal: false,
        dies_with_master: true,
    }
}
