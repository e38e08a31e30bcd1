// SPDX-License-Identifier: Apache-2.0
//! The helper as an attacker has it: its program, started by hand, and raw ends of its sockets.

use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, posix_spawn};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use outrigger_protocol::frame::FrameKind;
use outrigger_protocol::request::NamespaceType;
use outrigger_protocol::{Channel, ContainerKind, HostKind, HostRequest, ProtocolError, Reply};

use crate::samples;

/// Connected stream sockets, at numbers that the helper gives no meaning.
///
/// # Panics
/// There are no descriptors left.
#[must_use]
pub fn sockets() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC).unwrap()
}

/// A running helper; killed when dropped.
#[derive(Debug)]
pub struct Helper {
    pid: Pid,
    status: Option<WaitStatus>,
}

impl Helper {
    /// Starts the program with a socket as descriptor 3; the other end is returned.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn start(program: &Path) -> (Self, OwnedFd) {
        let (ours, theirs) = sockets();
        // Another number than 3: dup2(3, 3) would leave it close-on-exec.
        let theirs = away_from_three(theirs);
        let mut actions = PosixSpawnFileActions::init().unwrap();
        actions.add_dup2(theirs.as_raw_fd(), 3).unwrap();
        let attributes = PosixSpawnAttr::init().unwrap();
        let path = CString::new(program.as_os_str().as_bytes()).unwrap();
        let none: [CString; 0] = [];
        let pid =
            posix_spawn(path.as_c_str(), &actions, &attributes, std::slice::from_ref(&path), &none)
                .unwrap();
        (Self { pid, status: None }, ours)
    }

    /// Its exit, if that comes within `limit`.
    ///
    /// # Panics
    /// It is not our child.
    pub fn exit_within(&mut self, limit: Duration) -> Option<WaitStatus> {
        let deadline = Instant::now() + limit;
        while self.status.is_none() {
            match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)).unwrap() {
                WaitStatus::StillAlive if Instant::now() > deadline => return None,
                WaitStatus::StillAlive => std::thread::sleep(Duration::from_millis(1)),
                status => self.status = Some(status),
            }
        }
        self.status
    }

    /// Asserts that it hangs up by itself: exit status 1, no signal, within `limit`.
    ///
    /// # Panics
    /// It does not.
    pub fn assert_gives_up(&mut self, limit: Duration) {
        match self.exit_within(limit) {
            Some(WaitStatus::Exited(_, 1)) => {}
            Some(status) => panic!("the helper ended with {status:?}"),
            None => panic!("the helper is still there after {limit:?}"),
        }
    }

    /// Its open descriptors.
    ///
    /// # Panics
    /// It is gone.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid)).unwrap().count()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        if self.status.is_none() && kill(self.pid, Signal::SIGKILL).is_ok() {
            let _ = waitpid(self.pid, None);
        }
    }
}

fn away_from_three(fd: OwnedFd) -> OwnedFd {
    if fd.as_raw_fd() == 3 { fd.try_clone().unwrap() } else { fd }
}

/// Writes raw bytes; a peer that has hung up already is none of the test's business.
///
/// # Panics
/// Writing fails for another reason.
pub fn write_raw(socket: &OwnedFd, bytes: &[u8]) {
    let mut stream = std::os::unix::net::UnixStream::from(socket.try_clone().unwrap());
    match stream.write_all(bytes) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => panic!("{e}"),
        _ => {}
    }
}

/// A helper with both its sides talked to.
#[derive(Debug)]
pub struct Session {
    /// The host side's process.
    pub helper: Helper,
    /// The conversation with the host side, until it is dropped.
    pub host: Option<Channel>,
    /// The conversation with the container side, until it is dropped.
    pub container: Option<Channel>,
    /// The container side's process.
    pub pid: i32,
    root: String,
    next: u32,
}

impl Session {
    /// Starts a container side in new namespaces, with nothing said to it yet.
    ///
    /// # Panics
    /// That fails.
    #[must_use]
    pub fn start(program: &Path, root: &Path) -> Self {
        let (helper, socket) = Helper::start(program);
        let mut host = Channel::new(socket, FrameKind::Host, FrameKind::Reply);
        let (ours, theirs) = sockets();
        host.send(0, &samples::host(HostKind::Hello), &[]).unwrap();
        let kinds = [
            NamespaceType::Mount,
            NamespaceType::Pid,
            NamespaceType::Ipc,
            NamespaceType::Uts,
            NamespaceType::Network,
        ];
        let spawn = HostRequest::Spawn(samples::spawn(&kinds));
        host.send(1, &spawn, &[theirs.as_fd()]).unwrap();
        drop(theirs);
        host.receive::<Reply>().unwrap();
        let Reply::Spawned { pid } = host.receive::<Reply>().unwrap().value else {
            panic!("no container side")
        };
        let container = Channel::new(ours, FrameKind::Container, FrameKind::Reply);
        let root = root.to_str().unwrap().to_owned();
        Self { helper, host: Some(host), container: Some(container), pid, root, next: 0 }
    }

    /// Sends a container-side request and waits for the answer.
    ///
    /// # Errors
    /// The conversation is over.
    pub fn ask(
        &mut self,
        request: &outrigger_protocol::ContainerRequest,
    ) -> Result<Reply, ProtocolError> {
        let container = self.container.as_mut().ok_or(ProtocolError::Closed)?;
        container.send(self.next, request, &[])?;
        container.flush()?;
        self.next += 1;
        Ok(container.receive::<Reply>()?.value)
    }

    /// The same with the sample request of a kind.
    ///
    /// # Errors
    /// The conversation is over.
    pub fn ask_sample(&mut self, kind: ContainerKind) -> Result<Reply, ProtocolError> {
        let request = samples::container(kind, &self.root);
        self.ask(&request)
    }

    /// Whether the container side is gone within `limit`.
    ///
    /// # Panics
    /// It is not our child.
    #[must_use]
    pub fn container_ends_within(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        loop {
            match waitpid(Pid::from_raw(self.pid), Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) if Instant::now() > deadline => return false,
                Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_millis(1)),
                Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(_, Signal::SIGKILL, _))
                | Err(Errno::ECHILD) => return true,
                other => panic!("the container side ended with {other:?}"),
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if kill(Pid::from_raw(self.pid), Signal::SIGKILL).is_ok() {
            let _ = waitpid(Pid::from_raw(self.pid), None);
        }
    }
}
