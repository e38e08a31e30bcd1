// SPDX-License-Identifier: Apache-2.0
//! Starting the container side.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::unshare;
use nix::sys::socket::{SockType, getsockopt, sockopt};
use nix::unistd::{Gid, Uid, pipe2, setresgid, setresuid};
use outrigger_protocol::identity::Id;
use outrigger_protocol::request::{NamespaceType, Spawn};

use super::cgroup::HeldCgroups;
use super::idmap::IdMaps;
use super::namespaces::Assignment;
use crate::container;
use crate::error::{Context, OpError, Result};
use crate::sys::clone::{Cloned, clone_sibling};
use crate::sys::{descriptor, pidfd};

/// How long a killed container side may take to be gone, in milliseconds.
const GONE_WITHIN: u16 = 10_000;

/// The container side, as the host side knows it.
pub(super) struct Spawned {
    pid: i32,
    pidfd: OwnedFd,
}

impl Spawned {
    /// A process that was just made.
    pub(super) fn new(pid: i32, pidfd: OwnedFd) -> Self {
        Self { pid, pidfd }
    }

    /// Its pid and another pidfd of it.
    pub(super) fn identity(&self) -> Result<(i32, OwnedFd)> {
        let pidfd = self.pidfd.try_clone().map_err(|_| OpError::os("dup(pidfd)", Errno::EMFILE))?;
        Ok((self.pid, pidfd))
    }

    /// Kills it and waits until it is gone, so that its cgroups can be removed. The master, or whoever
    /// inherits its children, collects the exit status.
    pub(super) fn kill(&self) {
        if pidfd::send_signal(self.pidfd.as_fd(), libc::SIGKILL).is_ok() {
            let mut gone = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
            // A process that cannot die yet keeps its cgroup; whoever deletes the container retries.
            let _ = poll(&mut gone, PollTimeout::from(GONE_WITHIN));
        }
    }
}

/// Refuses what cannot be the container side's socket.
pub(super) fn require_stream(socket: &OwnedFd) -> Result<()> {
    if getsockopt(socket, sockopt::SockType) == Ok(SockType::Stream) {
        return Ok(());
    }
    Err(OpError::refused("the container's socket is not a stream socket"))
}

/// Where the container side waits until it is where it belongs.
pub(super) struct Gate(OwnedFd);

/// The host side's end of a gate.
pub(super) struct Opener(OwnedFd);

impl Gate {
    /// A closed gate.
    pub(super) fn new() -> Result<(Self, Opener)> {
        let (gate, opener) = pipe2(OFlag::O_CLOEXEC).during(|| "pipe2")?;
        Ok((Self(gate), Opener(opener)))
    }

    /// Its descriptor.
    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Waits for the host side's word; if that died, this side has no reason to live.
    pub(super) fn wait(&self) -> Result<()> {
        let mut word = [0; 1];
        loop {
            match nix::unistd::read(&self.0, &mut word) {
                Ok(1) => return Ok(()),
                Ok(_) => return Err(OpError::refused("the host side is gone")),
                Err(Errno::EINTR) => {}
                Err(e) => return Err(OpError::os("read(gate)", e)),
            }
        }
    }
}

impl Opener {
    /// Lets the container side go on.
    pub(super) fn open(&self) -> Result<()> {
        nix::unistd::write(&self.0, b"!").during(|| "write(gate)").map(drop)
    }
}

/// Starts the container side in its namespaces and cgroups.
pub(super) fn spawn(request: &Spawn, socket: OwnedFd, cgroups: &HeldCgroups) -> Result<Spawned> {
    require_stream(&socket)?;
    let maps = IdMaps::of(request)?;
    if maps.is_some() != request.namespaces.is_new(NamespaceType::User) {
        return Err(OpError::refused("id maps belong to a new user namespace, and it needs them"));
    }
    let assignment = Assignment::new(&request.namespaces)?;
    for namespace in &assignment.before {
        namespace.enter()?;
    }
    let (gate, opener) = Gate::new()?;
    match clone(&assignment, cgroups)? {
        Cloned::Child => {
            let born = Born { request, assignment, socket, gate };
            born.run()
        }
        Cloned::Parent(pid, pidfd) => {
            let spawned = Spawned::new(pid, pidfd);
            let placed = cgroups
                .place(pid)
                .and_then(|()| maps.map_or(Ok(()), |maps| maps.write(pid)))
                .and_then(|()| opener.open());
            if let Err(e) = placed {
                spawned.kill();
                return Err(e);
            }
            Ok(spawned)
        }
    }
}

fn clone(assignment: &Assignment, cgroups: &HeldCgroups) -> Result<Cloned> {
    let flags = assignment.born_in.bits();
    match clone_sibling(flags, cgroups.unified()) {
        // An older kernel, or a filter: the process is moved into the cgroup at the gate.
        Err(Errno::ENOSYS | Errno::EPERM) if cgroups.unified().is_some() => {
            clone_sibling(flags, None)
        }
        outcome => outcome,
    }
    .map_err(|errno| {
        let hint = match errno {
            Errno::EPERM
                if assignment.born_in.contains(super::namespaces::flag(NamespaceType::User)) =>
            {
                " (user namespaces are not permitted here: see the sysctls \
                 kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns)"
            }
            Errno::ENOSPC | Errno::EUSERS => " (see the sysctls user.max_*_namespaces)",
            _ => "",
        };
        OpError::os(format!("clone3({:?}){hint}", assignment.born_in), errno)
    })
}

/// The container side before it serves.
struct Born<'a> {
    request: &'a Spawn,
    assignment: Assignment,
    socket: OwnedFd,
    gate: Gate,
}

impl Born<'_> {
    fn run(self) -> ! {
        let entered = self.enter();
        let settings = container::Settings {
            namespaces: self.request.namespaces.clone(),
            entered,
            joined: false,
        };
        drop(self.gate);
        container::run(self.socket, settings)
    }

    /// Comes to be where the request says. An error is told to the master in answer to its first
    /// request.
    fn enter(&self) -> Result<()> {
        let mut keep: Vec<BorrowedFd<'_>> = vec![self.socket.as_fd(), self.gate.as_fd()];
        keep.extend(self.assignment.inside.iter().map(super::namespaces::Joined::as_fd));
        // Above all the host side's socket: while a copy of it is open here, the master would not
        // notice that the host side has died.
        descriptor::close_all_but(&keep).during(|| "close_range")?;
        self.gate.wait()?;
        for namespace in &self.assignment.inside {
            namespace.enter()?;
        }
        if !self.assignment.unshared.is_empty() {
            unshare(self.assignment.unshared)
                .during(|| format!("unshare({:?})", self.assignment.unshared))?;
        }
        self.become_root()
    }

    /// In a user namespace of its own, files are made as its root, where it has one.
    fn become_root(&self) -> Result<()> {
        if self.request.gid_map.as_ref().is_some_and(|map| map.contains(Id::ROOT)) {
            let root = Gid::from_raw(0);
            setresgid(root, root, root).during(|| "setresgid(0)")?;
        }
        if self.request.uid_map.as_ref().is_some_and(|map| map.contains(Id::ROOT)) {
            let root = Uid::from_raw(0);
            setresuid(root, root, root).during(|| "setresuid(0)")?;
        }
        Ok(())
    }
}
