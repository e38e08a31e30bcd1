// SPDX-License-Identifier: Apache-2.0
//! The host side: it stays in the host's namespaces, makes cgroups and the container side, and undoes
//! both when the conversation ends before the commit.

mod cgroup;
mod devices;
mod idmap;
mod join;
mod namespaces;
mod signal;
mod spawn;

use std::os::fd::OwnedFd;
use std::process::ExitCode;

use nix::unistd::geteuid;
use outrigger_protocol::frame::FrameKind;
use outrigger_protocol::reply::Mode;
use outrigger_protocol::request::Hello;
use outrigger_protocol::{Channel, HostKind, HostRequest, Reply};

use crate::error::{OpError, Result};
use crate::server::{Answer, Side, serve};
use cgroup::HeldCgroups;
use spawn::Spawned;

/// Serves the master on this socket until one of them has had enough.
pub(crate) fn run(socket: OwnedFd) -> ExitCode {
    let mut channel = Channel::new(socket, FrameKind::Reply, FrameKind::Host);
    let mut session = Session::default();
    let ended = serve(&mut channel, &mut session);
    session.end();
    if ended.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What the host side holds on to during a conversation.
#[derive(Default)]
struct Session {
    cgroups: HeldCgroups,
    container: Option<Spawned>,
    committed: bool,
}

impl Session {
    /// Takes charge of the container side.
    fn spawned(&mut self, spawned: Spawned) -> Result<Answer> {
        let (pid, pidfd) = spawned.identity()?;
        self.container = Some(spawned);
        Ok(Answer::with_fd(Reply::Spawned { pid }, pidfd))
    }

    /// Rolls back what was not committed.
    fn end(self) {
        if self.committed {
            return;
        }
        if let Some(container) = self.container {
            container.kill();
        }
        self.cgroups.remove();
    }
}

/// The container side's socket.
fn required(socket: Option<OwnedFd>) -> Result<OwnedFd> {
    socket.ok_or_else(|| OpError::refused("the request came without the container's socket"))
}

/// Answers a greeting.
pub(crate) fn hello(greeting: Hello) -> Result<Answer> {
    if greeting.version != outrigger_protocol::VERSION {
        return Err(OpError::refused(format!(
            "the master speaks protocol version {}, this helper {}: install both from one build",
            greeting.version,
            outrigger_protocol::VERSION
        )));
    }
    Ok(Answer::reply(Reply::Hello(mode())))
}

/// The helper's power, found out by itself.
fn mode() -> Mode {
    if geteuid().is_root() { Mode::Root } else { Mode::Rootless }
}

impl Side for Session {
    type Request = HostRequest;
    type Kind = HostKind;

    fn kind(request: &HostRequest) -> HostKind {
        request.kind()
    }

    fn perform(&mut self, request: HostRequest, mut fds: Vec<OwnedFd>) -> Result<Answer> {
        let takes_socket = matches!(request.kind(), HostKind::Spawn | HostKind::Join);
        let socket = if takes_socket { fds.pop() } else { None };
        if !fds.is_empty() {
            return Err(OpError::refused("the request came with a descriptor too many"));
        }
        match request {
            HostRequest::Hello(greeting) => hello(greeting),
            HostRequest::CreateCgroup(request) => {
                self.cgroups.create(&request)?;
                Ok(Answer::done())
            }
            HostRequest::Spawn(request) => {
                let spawned = spawn::spawn(&request, required(socket)?, &self.cgroups)?;
                self.spawned(spawned)
            }
            HostRequest::Join(request) => {
                let spawned = join::join(&request, required(socket)?)?;
                self.spawned(spawned)
            }
            HostRequest::Commit => {
                self.committed = true;
                Ok(Answer { last: true, ..Answer::done() })
            }
            HostRequest::Signal(request) => {
                signal::send(request)?;
                Ok(Answer::done())
            }
            HostRequest::RemoveCgroup(request) => {
                cgroup::remove(&request.groups)?;
                Ok(Answer::done())
            }
            HostRequest::UpdateCgroup(request) => {
                cgroup::update(&request)?;
                Ok(Answer::done())
            }
            HostRequest::Freeze(request) => {
                cgroup::freeze(&request.groups, request.frozen)?;
                Ok(Answer::done())
            }
            HostRequest::SignalEach(request) => {
                signal::send_each(&request)?;
                Ok(Answer::done())
            }
            HostRequest::SignalCgroup(request) => {
                cgroup::signal_all(&request.groups, request.signal)?;
                Ok(Answer::done())
            }
        }
    }
}
