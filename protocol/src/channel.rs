// SPDX-License-Identifier: Apache-2.0
//! One end of a conversation: frames over a unix stream socket.
//!
//! Descriptors travel with the first byte of their frame. recvmsg(2) never reads past the end of a
//! message that had descriptors, so those received belong to frames already in the buffer, in order.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use interprocess::local_socket::traits::Stream as _;
use interprocess::os::unix::uds_local_socket::Stream;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::{Serialize, de::DeserializeOwned};

use crate::ProtocolError;
use crate::codec;
use crate::frame::{FrameKind, HEADER, Header, MAX_FDS};

/// Queued output is sent once it is this long.
const FLUSH_AT: usize = 16 * 1024;
/// Most descriptors that the kernel lets one message carry (`SCM_MAX_FD`). There is room for all of
/// them, so that a flood can be owned and closed.
const KERNEL_MAX_FDS: usize = 253;
/// How much one recvmsg(2) may read.
const READ_AT_ONCE: usize = 32 * 1024;

/// A decoded message.
#[derive(Debug)]
pub struct Message<T> {
    /// Number of the request it is or answers.
    pub sequence: u32,
    /// What it says.
    pub value: T,
    /// The descriptors that came with it.
    pub fds: Vec<OwnedFd>,
}

/// One end of a conversation.
#[derive(Debug)]
pub struct Channel {
    stream: Stream,
    sends: FrameKind,
    takes: FrameKind,
    input: Vec<u8>,
    consumed: usize,
    fds: VecDeque<OwnedFd>,
    output: Vec<u8>,
}

impl Channel {
    /// An end that sends frames of one kind and takes those of another.
    #[must_use]
    pub fn new(socket: OwnedFd, sends: FrameKind, takes: FrameKind) -> Self {
        Self {
            stream: Stream::from(socket),
            sends,
            takes,
            input: Vec::new(),
            consumed: 0,
            fds: VecDeque::new(),
            output: Vec::new(),
        }
    }

    /// Limits how long [`Self::receive`] waits for the next bytes; `None` for ever.
    ///
    /// # Errors
    /// setsockopt(2) failed.
    pub fn set_time_limit(&self, limit: Option<Duration>) -> Result<(), ProtocolError> {
        self.stream.set_recv_timeout(limit).map_err(|e| ProtocolError::Io("setsockopt", e))
    }

    /// Queues a message. One without descriptors may be sent later, at [`Self::flush`].
    ///
    /// # Errors
    /// It does not fit into a frame, or sending failed.
    pub fn send<T: Serialize>(
        &mut self,
        sequence: u32,
        value: &T,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(), ProtocolError> {
        if !fds.is_empty() {
            self.flush()?;
        }
        let count = u8::try_from(fds.len()).ok().filter(|n| usize::from(*n) <= MAX_FDS);
        let count = count
            .ok_or(ProtocolError::Descriptors { announced: fds.len(), attached: fds.len() })?;
        let start = self.output.len();
        self.output.extend_from_slice(&[0; HEADER]);
        let body = self.output.len();
        if let Err(e) = codec::encode(value, &mut self.output) {
            self.output.truncate(start);
            return Err(e);
        }
        let length = u32::try_from(self.output.len().saturating_sub(body)).unwrap_or(u32::MAX);
        let header = Header { kind: self.sends, fds: count, sequence, length }.encode();
        if let Some(place) = self.output.get_mut(start..body) {
            place.copy_from_slice(&header);
        }
        if fds.is_empty() {
            if self.output.len() >= FLUSH_AT { self.flush() } else { Ok(()) }
        } else {
            let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
            self.transmit(&raw)
        }
    }

    /// Sends what is queued.
    ///
    /// # Errors
    /// sendmsg(2) failed.
    pub fn flush(&mut self) -> Result<(), ProtocolError> {
        self.transmit(&[])
    }

    fn transmit(&mut self, fds: &[RawFd]) -> Result<(), ProtocolError> {
        let mut sent = 0_usize;
        while let Some(rest) = self.output.get(sent..).filter(|r| !r.is_empty()) {
            let rights = [ControlMessage::ScmRights(fds)];
            let control: &[ControlMessage<'_>] =
                if sent == 0 && !fds.is_empty() { &rights } else { &[] };
            let fd = self.stream.as_fd().as_raw_fd();
            match sendmsg::<()>(fd, &[IoSlice::new(rest)], control, MsgFlags::MSG_NOSIGNAL, None) {
                Ok(n) => sent = sent.saturating_add(n),
                Err(Errno::EINTR) => {}
                Err(e) => {
                    self.output.clear();
                    return Err(match e {
                        Errno::EPIPE | Errno::ECONNRESET => ProtocolError::Closed,
                        e => ProtocolError::Io("sendmsg", e.into()),
                    });
                }
            }
        }
        self.output.clear();
        Ok(())
    }

    /// Whether a whole message is here already, so that [`Self::receive`] will not wait.
    #[must_use]
    pub fn has_message(&self) -> bool {
        match self.header() {
            Ok(Some(header)) => self.buffered() >= frame_length(header),
            Ok(None) => false,
            Err(_) => true,
        }
    }

    /// Whether part of a message is here.
    #[must_use]
    pub fn has_partial_message(&self) -> bool {
        self.buffered() > 0
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// Everything that ends a conversation; [`ProtocolError::Closed`] at its regular end. After
    /// [`ProtocolError::TimedOut`] it may be called again.
    pub fn receive<T: DeserializeOwned>(&mut self) -> Result<Message<T>, ProtocolError> {
        let header = loop {
            if let Some(header) = self.header()?
                && self.buffered() >= frame_length(header)
            {
                break header;
            }
            self.read()?;
        };
        let start = self.consumed.saturating_add(HEADER);
        let end = self.consumed.saturating_add(frame_length(header));
        let body = self.input.get(start..end).ok_or(ProtocolError::Truncated)?;
        let value = codec::decode(body)?;
        self.consumed = end;
        let fds = self.take_fds(header.fds.into())?;
        Ok(Message { sequence: header.sequence, value, fds })
    }

    fn take_fds(&mut self, announced: usize) -> Result<Vec<OwnedFd>, ProtocolError> {
        let held = self.fds.len();
        if held < announced || (held > announced && self.buffered() == 0) {
            return Err(ProtocolError::Descriptors { announced, attached: held });
        }
        Ok(self.fds.drain(..announced).collect())
    }

    fn buffered(&self) -> usize {
        self.input.len().saturating_sub(self.consumed)
    }

    fn header(&self) -> Result<Option<Header>, ProtocolError> {
        self.input
            .get(self.consumed..)
            .and_then(<[u8]>::first_chunk::<HEADER>)
            .map(|bytes| Header::decode(bytes, self.takes))
            .transpose()
    }

    /// Reads once, appending to the buffer.
    fn read(&mut self) -> Result<(), ProtocolError> {
        self.input.drain(..self.consumed);
        self.consumed = 0;
        let old = self.input.len();
        self.input.resize(old.saturating_add(READ_AT_ONCE), 0);
        let room = self.input.get_mut(old..).unwrap_or_default();
        let mut control = nix::cmsg_space!([RawFd; KERNEL_MAX_FDS]);
        let outcome = read_with_fds(self.stream.as_fd(), room, &mut control, &mut self.fds);
        self.input.truncate(old.saturating_add(*outcome.as_ref().unwrap_or(&0)));
        match outcome {
            Ok(0) if old == 0 => Err(ProtocolError::Closed),
            Ok(0) => Err(ProtocolError::Truncated),
            Ok(_) => Ok(()),
            Err(e) => Err(e),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn frame_length(header: Header) -> usize {
    usize::try_from(header.length).unwrap_or(usize::MAX).saturating_add(HEADER)
}

fn read_with_fds(
    socket: BorrowedFd<'_>,
    room: &mut [u8],
    control: &mut [u8],
    fds: &mut VecDeque<OwnedFd>,
) -> Result<usize, ProtocolError> {
    let mut slices = [IoSliceMut::new(room)];
    let message = loop {
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        match recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut *control), flags) {
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Err(ProtocolError::TimedOut),
            Err(Errno::ECONNRESET) => return Err(ProtocolError::Closed),
            Err(e) => return Err(ProtocolError::Io("recvmsg", io::Error::from(e))),
            Ok(message) => break message,
        }
    };
    let held = fds.len();
    let truncated = message.flags.intersects(MsgFlags::MSG_CTRUNC | MsgFlags::MSG_TRUNC);
    if let Ok(messages) = message.cmsgs() {
        for control in messages {
            if let ControlMessageOwned::ScmRights(received) = control {
                fds.extend(received.into_iter().map(crate::sys::received));
            }
        }
    }
    if truncated || fds.len() > MAX_FDS {
        let attached = fds.len().saturating_sub(held);
        return Err(ProtocolError::Descriptors { announced: MAX_FDS, attached });
    }
    Ok(message.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{ContainerRequest, Hello, HostRequest};
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

    fn pair() -> (Channel, Channel) {
        let (a, b) = sockets();
        (
            Channel::new(a, FrameKind::Host, FrameKind::Reply),
            Channel::new(b, FrameKind::Reply, FrameKind::Host),
        )
    }

    fn sockets() -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC).unwrap()
    }

    fn hello() -> HostRequest {
        HostRequest::Hello(Hello::new())
    }

    /// The descriptors of this process that are open on `path`.
    fn open_on(path: &str) -> usize {
        std::fs::read_dir("/proc/self/fd")
            .unwrap()
            .filter_map(|e| std::fs::read_link(e.unwrap().path()).ok())
            .filter(|p| p.to_str() == Some(path))
            .count()
    }

    #[test]
    fn batch_arrives_in_order_with_its_descriptors() {
        let (mut master, mut side) = pair();
        let null = std::fs::File::open("/dev/null").unwrap();
        for n in 0..3 {
            master.send(n, &hello(), &[]).unwrap();
        }
        master.send(3, &HostRequest::Commit, &[null.as_fd(), null.as_fd()]).unwrap();
        master.send(4, &hello(), &[]).unwrap();
        master.flush().unwrap();
        for n in 0..5 {
            let message = side.receive::<HostRequest>().unwrap();
            assert_eq!(message.sequence, n);
            assert_eq!(message.fds.len(), if n == 3 { 2 } else { 0 });
        }
        drop(master);
        assert!(matches!(side.receive::<HostRequest>(), Err(ProtocolError::Closed)));
    }

    #[test]
    fn surplus_descriptors_end_the_conversation_and_are_closed() {
        let (raw, b) = sockets();
        let mut side = Channel::new(b, FrameKind::Reply, FrameKind::Host);
        let path = tempfile_path();
        let file = std::fs::File::create(&path).unwrap();
        let mut bytes = Vec::new();
        codec::encode(&hello(), &mut bytes).unwrap();
        let length = u32::try_from(bytes.len()).unwrap();
        let header = Header { kind: FrameKind::Host, fds: 0, sequence: 0, length };
        let frame = [&header.encode()[..], &bytes].concat();
        let fds = [file.as_raw_fd(); 2];
        let rights = [ControlMessage::ScmRights(&fds)];
        let io = [IoSlice::new(&frame)];
        sendmsg::<()>(raw.as_raw_fd(), &io, &rights, MsgFlags::empty(), None).unwrap();
        let outcome = side.receive::<HostRequest>();
        assert!(matches!(outcome, Err(ProtocolError::Descriptors { announced: 0, attached: 2 })));
        drop(side);
        assert_eq!(open_on(&path), 1);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn missing_descriptors_end_the_conversation() {
        let (raw, b) = sockets();
        let mut side = Channel::new(b, FrameKind::Reply, FrameKind::Host);
        let mut bytes = Vec::new();
        codec::encode(&hello(), &mut bytes).unwrap();
        let length = u32::try_from(bytes.len()).unwrap();
        let header = Header { kind: FrameKind::Host, fds: 1, sequence: 0, length };
        let frame = [&header.encode()[..], &bytes].concat();
        nix::unistd::write(&raw, &frame).unwrap();
        let outcome = side.receive::<HostRequest>();
        assert!(matches!(outcome, Err(ProtocolError::Descriptors { announced: 1, attached: 0 })));
    }

    #[test]
    fn a_flood_of_descriptors_is_refused_and_closed() {
        let (raw, b) = sockets();
        let mut side = Channel::new(b, FrameKind::Reply, FrameKind::Host);
        let path = tempfile_path();
        let file = std::fs::File::create(&path).unwrap();
        let fds = [file.as_raw_fd(); 253];
        let rights = [ControlMessage::ScmRights(&fds)];
        let io = [IoSlice::new(&[0; HEADER])];
        sendmsg::<()>(raw.as_raw_fd(), &io, &rights, MsgFlags::empty(), None).unwrap();
        assert!(matches!(side.receive::<HostRequest>(), Err(ProtocolError::Descriptors { .. })));
        drop(side);
        assert_eq!(open_on(&path), 1);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn half_a_frame_is_truncated() {
        let (raw, b) = sockets();
        let mut side = Channel::new(b, FrameKind::Reply, FrameKind::Host);
        nix::unistd::write(&raw, &[1, 1, 0]).unwrap();
        drop(raw);
        assert!(matches!(side.receive::<HostRequest>(), Err(ProtocolError::Truncated)));
    }

    #[test]
    fn silence_times_out() {
        let (_raw, b) = sockets();
        let mut side = Channel::new(b, FrameKind::Reply, FrameKind::Host);
        side.set_time_limit(Some(Duration::from_millis(20))).unwrap();
        assert!(matches!(side.receive::<HostRequest>(), Err(ProtocolError::TimedOut)));
    }

    #[test]
    fn a_side_cannot_decode_the_other_sides_requests() {
        let (a, b) = sockets();
        let mut master = Channel::new(a, FrameKind::Container, FrameKind::Reply);
        let mut side = Channel::new(b, FrameKind::Reply, FrameKind::Host);
        master.send(0, &ContainerRequest::Ready, &[]).unwrap();
        master.flush().unwrap();
        assert!(matches!(side.receive::<HostRequest>(), Err(ProtocolError::Kind(2))));
    }

    fn tempfile_path() -> String {
        let thread = format!("{:?}", std::thread::current().id());
        let name: String = thread.chars().filter(char::is_ascii_digit).collect();
        let dir = std::env::temp_dir().join(format!("outrigger-{}-{name}", std::process::id()));
        dir.to_str().unwrap().to_owned()
    }
}
