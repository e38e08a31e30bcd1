// SPDX-License-Identifier: Apache-2.0
//! Namespaces to make and namespaces to join.

use std::os::fd::{AsFd, OwnedFd};

use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;
use nix::sys::statfs::{FsType, fstatfs};
use outrigger_protocol::path::HostPath;
use outrigger_protocol::request::{NamespaceType, Namespaces};

use crate::error::{Context, OpError, Result};

/// `NSFS_MAGIC`
const NSFS: FsType = FsType(0x6e73_6673);

/// The `CLONE_NEW*` flag of a type.
pub(super) fn flag(kind: NamespaceType) -> CloneFlags {
    match kind {
        NamespaceType::User => CloneFlags::CLONE_NEWUSER,
        NamespaceType::Cgroup => CloneFlags::CLONE_NEWCGROUP,
        NamespaceType::Ipc => CloneFlags::CLONE_NEWIPC,
        NamespaceType::Uts => CloneFlags::CLONE_NEWUTS,
        NamespaceType::Network => CloneFlags::CLONE_NEWNET,
        NamespaceType::Pid => CloneFlags::CLONE_NEWPID,
        NamespaceType::Mount => CloneFlags::CLONE_NEWNS,
    }
}

/// The name of its file in /proc/PID/ns.
pub(super) fn file_name(kind: NamespaceType) -> &'static str {
    match kind {
        NamespaceType::User => "user",
        NamespaceType::Cgroup => "cgroup",
        NamespaceType::Ipc => "ipc",
        NamespaceType::Uts => "uts",
        NamespaceType::Network => "net",
        NamespaceType::Pid => "pid",
        NamespaceType::Mount => "mnt",
    }
}

/// A namespace of somebody else, open.
pub(super) struct Joined {
    kind: NamespaceType,
    path: HostPath,
    file: OwnedFd,
}

impl Joined {
    fn open(kind: NamespaceType, path: &HostPath) -> Result<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = open(path.as_path(), flags, Mode::empty())
            .during(|| format!("open {} namespace {path}", kind.name()))?;
        let fs = fstatfs(&file).during(|| format!("fstatfs({path})"))?.filesystem_type();
        if fs != NSFS {
            return Err(OpError::refused(format!("{path} is not a namespace")));
        }
        Ok(Self { kind, path: path.clone(), file })
    }

    /// Enters it; the kernel refuses one of another type.
    pub(super) fn enter(&self) -> Result<()> {
        setns(&self.file, flag(self.kind))
            .during(|| format!("join {} namespace {}", self.kind.name(), self.path))
    }

    /// Its descriptor.
    pub(super) fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Who does what about the namespaces of a container.
pub(super) struct Assignment {
    /// For clone3(2).
    pub(super) born_in: CloneFlags,
    /// The host side joins them before, so that the container side inherits them.
    pub(super) before: Vec<Joined>,
    /// The container side joins them first thing: user, then mount.
    pub(super) inside: Vec<Joined>,
    /// The container side makes them first thing: those that must belong to a user namespace joined,
    /// and the cgroup namespace, whose root is the cgroup that the process is in by then.
    pub(super) unshared: CloneFlags,
}

impl Assignment {
    /// Opens what is to be joined and distributes the work.
    pub(super) fn new(namespaces: &Namespaces) -> Result<Self> {
        let mut assignment = Self {
            born_in: CloneFlags::empty(),
            before: Vec::new(),
            inside: Vec::new(),
            unshared: CloneFlags::empty(),
        };
        let foreign_user = namespaces.get(NamespaceType::User).is_some_and(|n| n.path.is_some());
        for kind in NamespaceType::ALL {
            let Some(namespace) = namespaces.get(kind) else { continue };
            match &namespace.path {
                Some(path) => {
                    let joined = Joined::open(kind, path)?;
                    if matches!(kind, NamespaceType::User | NamespaceType::Mount) {
                        assignment.inside.push(joined);
                    } else {
                        assignment.before.push(joined);
                    }
                }
                None if kind == NamespaceType::Cgroup => assignment.unshared |= flag(kind),
                // A pid namespace takes children only: it is made by the clone in any case.
                None if foreign_user && kind != NamespaceType::Pid => {
                    assignment.unshared |= flag(kind);
                }
                None => assignment.born_in |= flag(kind),
            }
        }
        Ok(assignment)
    }
}
