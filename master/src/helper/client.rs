// SPDX-License-Identifier: Apache-2.0
//! The master's ends of the two conversations.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use outrigger_protocol::cgroup::{Cgroups, CreateCgroup, RemoveCgroup};
use outrigger_protocol::frame::FrameKind;
use outrigger_protocol::limits::{
    Freeze, MAX_PROCESSES, MAX_SETTINGS, Processes, Setting, Settings, SignalCgroup, SignalEach,
    UpdateCgroup,
};
use outrigger_protocol::request::{Hello, Join, Signal, Spawn};
use outrigger_protocol::{Channel, ContainerRequest, HostRequest, Message, ProtocolError, Reply};
use serde::Serialize;

/// Requests that may be unanswered at once. Their replies fit into the socket, so that neither end can
/// wait for the other to read.
const WINDOW: usize = 64;
/// Above any number that a started program is promised.
const FIRST_FREE: i32 = 10;

/// Two connected sockets, none of them at a number that a helper uses.
pub(crate) fn socket_pair() -> Result<(OwnedFd, OwnedFd)> {
    let (a, b) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
        .context("socketpair")?;
    Ok((a, away_from_fixed_numbers(b).context("fcntl(F_DUPFD_CLOEXEC)")?))
}

/// The same open file under a number that no started program gives a meaning.
pub(super) fn away_from_fixed_numbers(fd: OwnedFd) -> Result<OwnedFd, Errno> {
    let number = fcntl(&fd, FcntlArg::F_DUPFD_CLOEXEC(FIRST_FREE))?;
    drop(fd);
    Ok(crate::sys::duplicated(number))
}

/// One conversation: requests go out pipelined, replies come back in order.
struct Conversation {
    channel: Channel,
    next: u32,
    unanswered: VecDeque<u32>,
    replies: VecDeque<Message<Reply>>,
}

impl Conversation {
    fn new(socket: OwnedFd, sends: FrameKind) -> Self {
        Self {
            channel: Channel::new(socket, sends, FrameKind::Reply),
            next: 0,
            unanswered: VecDeque::new(),
            replies: VecDeque::new(),
        }
    }

    fn send<R: Serialize>(&mut self, request: &R, fds: &[BorrowedFd<'_>]) -> Result<()> {
        if self.unanswered.len() >= WINDOW {
            self.channel.flush().or_else(|e| self.explain(e))?;
            while self.unanswered.len() > WINDOW / 2 {
                let reply = self.receive()?;
                self.replies.push_back(reply);
            }
        }
        let number = self.next;
        self.channel.send(number, request, fds).or_else(|e| self.explain(e))?;
        self.unanswered.push_back(number);
        self.next += 1;
        Ok(())
    }

    /// A peer that hung up has usually said why before.
    fn explain(&mut self, error: ProtocolError) -> Result<()> {
        if matches!(error, ProtocolError::Closed) {
            while !self.unanswered.is_empty() {
                self.receive()?;
            }
        }
        Err(anyhow!(error).context("send a request to the helper"))
    }

    fn flush(&mut self) -> Result<()> {
        self.channel.flush().or_else(|e| self.explain(e))
    }

    /// The next reply from the wire.
    fn receive(&mut self) -> Result<Message<Reply>> {
        let message: Message<Reply> = match self.channel.receive() {
            Err(ProtocolError::Closed) => bail!("the helper ended without an answer"),
            outcome => outcome.context("receive a reply of the helper")?,
        };
        if let Reply::Failed(failure) = message.value {
            return Err(anyhow!(failure));
        }
        match self.unanswered.pop_front() {
            Some(expected) if expected == message.sequence => Ok(message),
            expected => Err(ProtocolError::Sequence {
                expected: expected.unwrap_or(self.next),
                received: message.sequence,
            }
            .into()),
        }
    }

    /// Waits for all replies. Each but `Done` is handed over.
    fn collect(&mut self, mut take: impl FnMut(Reply, Vec<OwnedFd>)) -> Result<()> {
        self.flush()?;
        while !self.unanswered.is_empty() {
            let reply = self.receive()?;
            self.replies.push_back(reply);
        }
        for message in self.replies.drain(..) {
            if message.value != Reply::Done {
                take(message.value, message.fds);
            }
        }
        Ok(())
    }
}

/// The container side as it was spawned.
pub(crate) struct Spawned {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
}

/// The conversation with the host side.
pub(crate) struct HostSide(Conversation);

impl HostSide {
    pub(super) fn new(socket: OwnedFd) -> Self {
        Self(Conversation::new(socket, FrameKind::Host))
    }

    /// Sends the requests that lead to a container side at the other end of `socket`. They are answered
    /// when [`Self::spawned`] asks.
    pub(crate) fn spawn(
        &mut self,
        cgroup: Option<&CreateCgroup>,
        limits: &[Setting],
        spawn: &Spawn,
        socket: &OwnedFd,
    ) -> Result<()> {
        self.0.send(&HostRequest::Hello(Hello::new()), &[])?;
        if let Some(cgroup) = cgroup {
            self.0.send(&HostRequest::CreateCgroup(cgroup.clone()), &[])?;
            self.send_limits(&cgroup.groups, limits)?;
        }
        self.0.send(&HostRequest::Spawn(spawn.clone()), &[socket.as_fd()])
    }

    /// Sends what is to be written to cgroups.
    fn send_limits(&mut self, groups: &Cgroups, limits: &[Setting]) -> Result<()> {
        for piece in limits.chunks(MAX_SETTINGS) {
            let settings = Settings::try_from(piece.to_vec()).map_err(|e| anyhow!(e))?;
            let request = UpdateCgroup { groups: groups.clone(), settings };
            self.0.send(&HostRequest::UpdateCgroup(request), &[])?;
        }
        Ok(())
    }

    /// Sets limits of a container's cgroups.
    pub(crate) fn update_cgroups(&mut self, groups: &Cgroups, limits: &[Setting]) -> Result<()> {
        self.greet()?;
        self.send_limits(groups, limits)?;
        self.0.collect(|_, _| ())
    }

    /// Freezes or thaws a container's processes.
    pub(crate) fn freeze(&mut self, groups: &Cgroups, frozen: bool) -> Result<()> {
        self.request(&HostRequest::Freeze(Freeze { groups: groups.clone(), frozen }))
    }

    /// Sends a signal to all processes in a container's cgroups.
    pub(crate) fn signal_cgroups(&mut self, groups: &Cgroups, signal: i32) -> Result<()> {
        self.request(&HostRequest::SignalCgroup(SignalCgroup { groups: groups.clone(), signal }))
    }

    /// Sends a signal to processes identified by their start times.
    pub(crate) fn signal_each(&mut self, processes: &[(i32, u64)], signal: i32) -> Result<()> {
        for piece in processes.chunks(MAX_PROCESSES) {
            let processes = Processes::try_from(piece.to_vec()).map_err(|e| anyhow!(e))?;
            self.request(&HostRequest::SignalEach(SignalEach { processes, signal }))?;
        }
        Ok(())
    }

    /// The same for a container side in a container that exists.
    pub(crate) fn join(&mut self, join: Join, socket: &OwnedFd) -> Result<()> {
        self.0.send(&HostRequest::Hello(Hello::new()), &[])?;
        self.0.send(&HostRequest::Join(join), &[socket.as_fd()])
    }

    /// Waits for the container side.
    pub(crate) fn spawned(&mut self) -> Result<Spawned> {
        let mut spawned = None;
        self.0.collect(|reply, mut fds| {
            if let (Reply::Spawned { pid }, Some(pidfd)) = (reply, fds.pop()) {
                spawned = Some(Spawned { pid, pidfd });
            }
        })?;
        spawned.context("the helper started no container")
    }

    /// Leaves the container to itself.
    pub(crate) fn commit(&mut self) -> Result<()> {
        self.request(&HostRequest::Commit)
    }

    /// Sends a signal to a process identified by its start time.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        self.request(&HostRequest::Signal(signal))
    }

    /// Removes a container's cgroups.
    pub(crate) fn remove_cgroups(&mut self, groups: &Cgroups) -> Result<()> {
        if groups.is_empty() {
            return Ok(());
        }
        self.request(&HostRequest::RemoveCgroup(RemoveCgroup { groups: groups.clone() }))
    }

    /// Opens the conversation, unless it is.
    fn greet(&mut self) -> Result<()> {
        if self.0.next == 0 {
            self.0.send(&HostRequest::Hello(Hello::new()), &[])?;
        }
        Ok(())
    }

    fn request(&mut self, request: &HostRequest) -> Result<()> {
        self.greet()?;
        self.0.send(request, &[])?;
        self.0.collect(|_, _| ())
    }
}

/// The conversation with the container side.
pub(crate) struct ContainerSide(Conversation);

impl ContainerSide {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self(Conversation::new(socket, FrameKind::Container))
    }

    /// Sends everything up to the point where only the program is missing.
    pub(crate) fn build(&mut self, requests: &[ContainerRequest]) -> Result<()> {
        self.0.send(&ContainerRequest::Hello(Hello::new()), &[])?;
        for request in requests {
            self.0.send(request, &[])?;
        }
        self.0.send(&ContainerRequest::Ready, &[])?;
        self.0.flush()
    }

    /// Waits until it is done; the master end of the container's terminal, if there is one.
    pub(crate) fn built(&mut self) -> Result<Option<OwnedFd>> {
        let mut console = None;
        self.0.collect(|reply, mut fds| {
            if reply == Reply::Console {
                console = fds.pop();
            }
        })?;
        Ok(console)
    }

    /// Leaves the container to itself, to wait for a connection to the listening socket.
    pub(crate) fn wait(mut self, listener: &OwnedFd) -> Result<()> {
        self.0.send(&ContainerRequest::Wait, &[listener.as_fd()])?;
        self.0.collect(|_, _| ())
    }

    /// Starts the program: the end of the conversation without a word means that it runs.
    pub(crate) fn start(mut self) -> Result<()> {
        self.0.send(&ContainerRequest::Start, &[])?;
        self.0.flush()?;
        match self.0.channel.receive::<Reply>() {
            Err(ProtocolError::Closed) => Ok(()),
            Ok(Message { value: Reply::Failed(failure), .. }) => Err(anyhow!(failure)),
            Ok(_) => bail!("the helper answered where the program should run"),
            Err(e) => Err(anyhow!(e).context("start the program")),
        }
    }
}
