// SPDX-License-Identifier: Apache-2.0
//! Starting a container side in a container that exists, for `exec`.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::unistd::{Gid, Uid, setresgid, setresuid};
use outrigger_protocol::request::{Join, NamespaceType, Namespaces};

use super::cgroup::HeldCgroups;
use super::spawn::{Gate, Spawned, require_stream};
use super::{namespaces, signal};
use crate::container;
use crate::error::{Context, OpError, Result};
use crate::procfs::Procfs;
use crate::sys::clone::{Cloned, clone_sibling};
use crate::sys::{descriptor, process as sys};

/// Starts the container side in the namespaces and cgroups of a process proven to be the one meant.
pub(super) fn join(request: &Join, socket: OwnedFd) -> Result<Spawned> {
    require_stream(&socket)?;
    let member = Member::find(request)?;
    let cgroups = HeldCgroups::open(&request.cgroups)?;
    if let Some(value) = request.oom_score_adj {
        // Inherited by the new process, which could not write its own once it is hidden.
        let file = format!("{}/oom_score_adj", std::process::id());
        Procfs::mounted()?.write(&file, value.get().to_string().as_bytes())?;
    }
    // The new process is seen by those in the container before it has lost its privileges. None of
    // them may look into it, and what the kernel calls its files is not theirs.
    sys::set_dumpable(false).during(|| "prctl(PR_SET_DUMPABLE)")?;
    let inside = member.enter_pid_namespace()?;
    let (gate, opener) = Gate::new()?;
    match clone(&cgroups)? {
        Cloned::Child => Born { member, inside, socket, gate }.run(),
        Cloned::Parent(pid, pidfd) => {
            let spawned = Spawned::new(pid, pidfd);
            match cgroups.place(pid).and_then(|()| opener.open()) {
                Ok(()) => Ok(spawned),
                Err(e) => {
                    spawned.kill();
                    Err(e)
                }
            }
        }
    }
}

fn clone(cgroups: &HeldCgroups) -> Result<Cloned> {
    match clone_sibling(0, cgroups.unified()) {
        // An older kernel, a filter, or a cgroup whose members have made cgroups of their own.
        Err(Errno::ENOSYS | Errno::EPERM | Errno::EBUSY) if cgroups.unified().is_some() => {
            clone_sibling(0, None)
        }
        outcome => outcome,
    }
    .map_err(|errno| match errno {
        // A pid namespace whose first process has ended takes no more.
        Errno::ENOMEM => OpError::refused("the container has ended"),
        _ => OpError::os("clone3", errno),
    })
}

/// A process of the container.
struct Member {
    pidfd: OwnedFd,
    /// The namespaces that it has and we have not.
    foreign: CloneFlags,
}

impl Member {
    fn find(request: &Join) -> Result<Self> {
        let pidfd = signal::open_identified(request.pid, request.start_time)?;
        let procfs = Procfs::mounted()?;
        let mut foreign = CloneFlags::empty();
        for kind in NamespaceType::ALL {
            let name = namespaces::file_name(kind);
            let theirs = procfs.link(&format!("{}/ns/{name}", request.pid))?;
            if theirs != procfs.link(&format!("{}/ns/{name}", std::process::id()))? {
                foreign |= namespaces::flag(kind);
            }
        }
        if !foreign.contains(CloneFlags::CLONE_NEWNS) {
            return Err(OpError::refused(
                "the container has no mount namespace of its own, so that its root cannot be found",
            ));
        }
        // The pid may have changed hands meanwhile; what is entered is what the pidfd stands for, and
        // that fails if its process has ended.
        Ok(Self { pidfd, foreign })
    }

    /// Enters the namespaces that the new process is born in, and returns those that it enters itself.
    fn enter_pid_namespace(&self) -> Result<CloneFlags> {
        let pid = self.foreign & CloneFlags::CLONE_NEWPID;
        if pid.is_empty() {
            return Ok(self.foreign);
        }
        match setns(&self.pidfd, pid) {
            // An ordinary user has the right only as the owner of the user namespace, from within it.
            Err(Errno::EPERM) if self.foreign.contains(CloneFlags::CLONE_NEWUSER) => {
                let both = pid | CloneFlags::CLONE_NEWUSER;
                self.enter(both)?;
                Ok(self.foreign.difference(both))
            }
            outcome => {
                outcome.during(|| format!("setns({pid:?})"))?;
                Ok(self.foreign.difference(pid))
            }
        }
    }

    fn enter(&self, flags: CloneFlags) -> Result<()> {
        setns(&self.pidfd, flags).during(|| format!("setns({flags:?})"))
    }
}

/// The container side before it serves.
struct Born {
    member: Member,
    inside: CloneFlags,
    socket: OwnedFd,
    gate: Gate,
}

impl Born {
    fn run(self) -> ! {
        let entered = self.enter();
        let Self { socket, .. } = self;
        let namespaces = Namespaces::default();
        container::run(socket, container::Settings { namespaces, entered, joined: true })
    }

    /// Comes to be in the container, at its root. An error is told to the master in answer to its first
    /// request.
    fn enter(&self) -> Result<()> {
        let keep = [self.socket.as_fd(), self.gate.as_fd(), self.member.pidfd.as_fd()];
        descriptor::close_all_but(&keep).during(|| "close_range")?;
        self.gate.wait()?;
        // One call: whoever owns the user namespace has the rights over the others in it. Root and
        // working directory are those of the mount namespace afterwards.
        self.member.enter(self.inside)?;
        if self.member.foreign.contains(CloneFlags::CLONE_NEWUSER) {
            become_root()?;
        }
        Ok(())
    }
}

/// Becomes the root of the user namespace, where that has one.
fn become_root() -> Result<()> {
    let (gid, uid) = (Gid::from_raw(0), Uid::from_raw(0));
    let unless_unmapped = |outcome| match outcome {
        Err(Errno::EINVAL) => Ok(()),
        outcome => outcome,
    };
    unless_unmapped(setresgid(gid, gid, gid)).during(|| "setresgid(0)")?;
    unless_unmapped(setresuid(uid, uid, uid)).during(|| "setresuid(0)")
}
