// SPDX-License-Identifier: Apache-2.0
//! The two vocabularies. Who checks what: the bounds of every operand are checked while decoding, the
//! order by the phase table, the meaning by the handler of the helper.

use serde::{Deserialize, Serialize};

use crate::cgroup::{Cgroups, CreateCgroup, RemoveCgroup};
use crate::identity::IdMap;
use crate::kind::vocabulary;
use crate::limits::{Freeze, SignalCgroup, SignalEach, UpdateCgroup};
use crate::mount::{Mount, Propagation};
use crate::node::{Mkdir, Mknod, Symlink, Touch};
use crate::path::{ContainerPath, HostPath, RelativePath, SysctlValue, UtsName};
use crate::process::{OomScoreAdj, Process, Strings};
use crate::seccomp::Filter;

vocabulary! {
    /// What the host side takes.
    HostRequest,
    /// Kinds of [`HostRequest`].
    HostKind {
        /// The first request of a conversation.
        Hello(Hello),
        /// Create the container's cgroups.
        CreateCgroup(CreateCgroup),
        /// Start the container side. One descriptor: its end of the master's socket. Replied to with
        /// [`crate::Reply::Spawned`] once it is in its namespaces and cgroups and its ids are mapped.
        Spawn(Spawn),
        /// Leave the container to itself: from here on the end of the conversation undoes nothing.
        Commit,
        /// Send a signal to a process proven to be the one meant.
        Signal(Signal),
        /// Remove a container's cgroups.
        RemoveCgroup(RemoveCgroup),
        /// Set limits of a container's cgroups.
        UpdateCgroup(UpdateCgroup),
        /// Make the members of a container's cgroups stand still, or go on.
        Freeze(Freeze),
        /// Send a signal to all members of a container's cgroups.
        SignalCgroup(SignalCgroup),
        /// Send a signal to some processes proven to be those meant.
        SignalEach(SignalEach),
        /// Start a container side in a container that exists. Descriptor and reply as for `Spawn`; what it
        /// takes is [`crate::phase::JOINED`].
        Join(Join),
    }
}

vocabulary! {
    /// What the container side takes.
    ContainerRequest,
    /// Kinds of [`ContainerRequest`].
    ContainerKind {
        /// The first request of a conversation.
        Hello(Hello),
        /// Open the container's root, and in a mount namespace of its own make it a mount.
        Rootfs(Rootfs),
        /// Make or change a mount.
        Mount(Mount),
        /// Make a directory.
        Mkdir(Mkdir),
        /// Make an empty file.
        Touch(Touch),
        /// Make a symbolic link.
        Symlink(Symlink),
        /// Make a device or a named pipe.
        Mknod(Mknod),
        /// Make a pseudo-terminal in the container's devpts and put it on /dev/console (not in a container
        /// that was joined: there that is the first process'). Replied to with [`crate::Reply::Console`] and the master end as a descriptor.
        Console(Console),
        /// Hide a path; one that does not exist is skipped.
        MaskPath(ContainerPath),
        /// Make a path read-only with all below it; one that does not exist is skipped.
        ReadonlyPath(ContainerPath),
        /// Set the host name of the container's own UTS namespace.
        SetHostname(UtsName),
        /// Set the NIS domain name of the container's own UTS namespace.
        SetDomainname(UtsName),
        /// Write a kernel parameter of one of the container's own namespaces.
        Sysctl(Sysctl),
        /// Set the loopback interface of the container's own network namespace up.
        LoopbackUp,
        /// Make the container's root the root directory.
        Chroot(Chroot),
        /// Make the root's mount read-only.
        ReadonlyRoot,
        /// A piece of the process' arguments or environment.
        Strings(Strings),
        /// The filter of the process' system calls, installed as late as its privileges allow.
        Seccomp(Filter),
        /// What the process is apart from these.
        Process(Process),
        /// Become everything but the program itself.
        Ready,
        /// Leave the container to itself: the conversation ends with the reply and its end undoes nothing
        /// any more. One descriptor, a listening socket: whoever connects there and sends a byte starts
        /// the program.
        Wait,
        /// Start the program. A reply comes only if that fails; the end of the conversation without
        /// one means that the program runs.
        Start,
    }
}

/// Opens a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`crate::VERSION`]
    pub version: u16,
}

impl Hello {
    /// The greeting of this version.
    #[must_use]
    pub fn new() -> Self {
        Self { version: crate::VERSION }
    }
}

impl Default for Hello {
    fn default() -> Self {
        Self::new()
    }
}

/// A namespace, namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "namespaces(7) documents each")]
pub enum NamespaceType {
    User,
    Cgroup,
    Ipc,
    Uts,
    Network,
    Pid,
    Mount,
}

impl NamespaceType {
    /// All of them, in the order in which they are joined.
    pub const ALL: [Self; 7] =
        [Self::User, Self::Cgroup, Self::Ipc, Self::Uts, Self::Network, Self::Pid, Self::Mount];

    /// The name in the config.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Cgroup => "cgroup",
            Self::Ipc => "ipc",
            Self::Uts => "uts",
            Self::Network => "network",
            Self::Pid => "pid",
            Self::Mount => "mount",
        }
    }
}

/// A namespace that the container side gets; one that is not listed stays the host's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Namespace {
    /// Which.
    pub kind: NamespaceType,
    /// The file of the one to join; `None` for a new one.
    pub path: Option<HostPath>,
}

/// The namespaces of a container, each type at most once.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<Namespace>", into = "Vec<Namespace>")]
pub struct Namespaces(Vec<Namespace>);

impl Namespaces {
    /// In the order given.
    pub fn iter(&self) -> std::slice::Iter<'_, Namespace> {
        self.0.iter()
    }

    /// The one of a type.
    #[must_use]
    pub fn get(&self, kind: NamespaceType) -> Option<&Namespace> {
        self.0.iter().find(|n| n.kind == kind)
    }

    /// Whether a new one of a type is made.
    #[must_use]
    pub fn is_new(&self, kind: NamespaceType) -> bool {
        self.get(kind).is_some_and(|n| n.path.is_none())
    }
}

impl TryFrom<Vec<Namespace>> for Namespaces {
    type Error = String;

    fn try_from(list: Vec<Namespace>) -> Result<Self, String> {
        for kind in NamespaceType::ALL {
            if list.iter().filter(|n| n.kind == kind).count() > 1 {
                return Err(format!("namespace {} is given twice", kind.name()));
            }
        }
        Ok(Self(list))
    }
}

impl From<Namespaces> for Vec<Namespace> {
    fn from(namespaces: Namespaces) -> Self {
        namespaces.0
    }
}

/// Starts the container side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spawn {
    /// Its namespaces.
    pub namespaces: Namespaces,
    /// User ids of its new user namespace.
    pub uid_map: Option<IdMap>,
    /// Group ids of its new user namespace.
    pub gid_map: Option<IdMap>,
}

/// Starts a container side beside a process that is in a container already, in all its namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// A process of the container.
    pub pid: i32,
    /// Its start time, as in [`Signal`].
    pub start_time: u64,
    /// The container's cgroups, which exist.
    pub cgroups: Cgroups,
    /// What the new process is born with.
    pub oom_score_adj: Option<OomScoreAdj>,
}

/// A signal for a process proven by its start time, so that a reused pid is never hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// The process.
    pub pid: i32,
    /// Its start time in clock ticks since boot, field 22 of /proc/PID/stat.
    pub start_time: u64,
    /// The signal's number, 1 to 64.
    pub signal: i32,
}

/// The container's root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rootfs {
    /// The directory on the host, opened with the caller's credentials.
    pub path: HostPath,
    /// Propagation of all mounts of a new mount namespace, set before anything is mounted in it.
    pub propagation: Propagation,
}

/// A pseudo-terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Console {
    /// Rows and columns, if they are to be set.
    pub size: Option<(u16, u16)>,
}

/// A kernel parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sysctl {
    /// Its file below /proc/sys.
    pub file: RelativePath,
    /// Its value.
    pub value: SysctlValue,
}

/// How the root directory changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Chroot {
    /// `pivot_root(2)`; the host's file system is gone afterwards.
    Pivot,
    /// chroot(2), for a container without a mount namespace of its own; only for root.
    Chroot,
}
