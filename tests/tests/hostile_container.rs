// SPDX-License-Identifier: Apache-2.0
//! A hostile master and the container side: whatever it sends, that side answers or hangs up.

use std::fs::{self, File};
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use outrigger_protocol::frame::{FrameKind, HEADER, Header};
use outrigger_protocol::{ContainerKind, ContainerRequest, HostKind, ProtocolError, Reply, codec};
use outrigger_tests::peer::{Session, write_raw};
use outrigger_tests::{TempRoot, helper_program, needs_root, samples};

const SOON: Duration = Duration::from_secs(2);

fn frame(kind: FrameKind, fds: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    [&Header { kind, fds, sequence: 0, length }.encode()[..], body].concat()
}

fn body(kind: ContainerKind, root: &TempRoot) -> Vec<u8> {
    let mut body = Vec::new();
    codec::encode(&samples::container(kind, root.path().to_str().unwrap()), &mut body).unwrap();
    body
}

/// A container side that takes mounts, and a raw end of its socket.
fn furnishing(root: &TempRoot) -> (Session, OwnedFd) {
    let mut session = Session::start(&helper_program(), root.path());
    for kind in [ContainerKind::Hello, ContainerKind::Rootfs] {
        let reply = session.ask_sample(kind).unwrap();
        assert!(!matches!(reply, Reply::Failed(_)), "{reply:?}");
    }
    let socket = session.container.as_ref().unwrap().as_fd().try_clone_to_owned().unwrap();
    (session, socket)
}

fn send_with(socket: &OwnedFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
    let raw: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let flags = MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], &rights, flags, None).unwrap();
}

/// The next answer.
fn answer(session: &mut Session) -> Result<Reply, ProtocolError> {
    session.container.as_mut().unwrap().receive::<Reply>().map(|message| message.value)
}

/// Asserts that the side refuses, tells why if it is listened to, and is gone.
#[track_caller]
fn assert_hangs_up(mut session: Session, because: &str) {
    match answer(&mut session) {
        Ok(Reply::Failed(failure)) => {
            assert!(failure.to_string().contains(because), "{failure}");
        }
        other => panic!("not refused but {other:?}"),
    }
    assert!(session.container_ends_within(SOON), "it is still there");
}

#[test]
fn p02_the_container_side_gives_up_on_half_a_frame() {
    needs_root!();
    let root = TempRoot::new();
    let whole = frame(FrameKind::Container, 0, &body(ContainerKind::Mkdir, &root));
    for length in [1, HEADER - 1, HEADER, whole.len() - 1] {
        let (mut session, socket) = furnishing(&root);
        write_raw(&socket, &whole[..length]);
        drop(socket);
        session.container = None;
        assert!(session.container_ends_within(SOON), "{length}");
    }
    assert!(!root.path().join("made").exists());
}

#[test]
fn p03_the_container_side_refuses_lengths_out_of_bounds() {
    needs_root!();
    let root = TempRoot::new();
    for length in [65_537_u32, 1 << 31, u32::MAX] {
        let (session, socket) = furnishing(&root);
        let mut header =
            Header { kind: FrameKind::Container, fds: 0, sequence: 0, length: 0 }.encode();
        header[8..].copy_from_slice(&length.to_le_bytes());
        write_raw(&socket, &header);
        assert_hangs_up(session, "more than");
    }
    // The path claims to be longer than its frame, and than any memory.
    for length in [1_u64 << 20, u64::MAX] {
        let (session, socket) = furnishing(&root);
        let mut bytes = body(ContainerKind::Mkdir, &root);
        bytes[4..12].copy_from_slice(&length.to_le_bytes());
        write_raw(&socket, &frame(FrameKind::Container, 0, &bytes));
        assert_hangs_up(session, "malformed");
    }
}

#[test]
fn p05_the_container_side_refuses_what_is_no_request_of_its_own() {
    needs_root!();
    let root = TempRoot::new();
    let mut host = Vec::new();
    codec::encode(&samples::host(HostKind::RemoveCgroup), &mut host).unwrap();
    let trailing = [&body(ContainerKind::Mkdir, &root)[..], &[0]].concat();
    for (bytes, because) in [
        (frame(FrameKind::Host, 0, &host), "kind 1"),
        (frame(FrameKind::Reply, 0, &host), "kind 3"),
        (frame(FrameKind::Container, 0, &trailing), "malformed"),
        (frame(FrameKind::Container, 0, &[]), "malformed"),
        (frame(FrameKind::Container, 0, &999_u32.to_le_bytes()), "malformed"),
        (vec![0; HEADER], "version 0"),
        (vec![0xff; HEADER], "version 255"),
    ] {
        let (session, socket) = furnishing(&root);
        write_raw(&socket, &bytes);
        assert_hangs_up(session, because);
    }
    assert!(!root.path().join("made").exists());
}

#[test]
fn p08_the_container_side_refuses_descriptors_that_it_did_not_ask_for() {
    needs_root!();
    let root = TempRoot::new();
    let null = File::open("/dev/null").unwrap();
    for kind in [ContainerKind::Mkdir, ContainerKind::Mount, ContainerKind::Chroot] {
        for (announced, attached) in [(1_u8, 1), (0, 1), (1, 2), (8, 253)] {
            let (session, socket) = furnishing(&root);
            let bytes = frame(FrameKind::Container, announced, &body(kind, &root));
            send_with(&socket, &bytes, &vec![null.as_fd(); attached]);
            assert_hangs_up(session, "descriptor");
        }
    }
    assert!(!root.path().join("made").exists());
}

#[test]
fn p13_a_start_socket_of_another_type_is_refused() {
    needs_root!();
    let root = TempRoot::new();
    root.add_program("program");
    let (connected, _other) = outrigger_tests::peer::sockets();
    let files =
        [File::open("/dev/null").unwrap().into(), File::open("/").unwrap().into(), connected];
    for wrong in files.iter().map(|fd: &OwnedFd| fd.as_fd()) {
        let (mut session, socket) = furnishing(&root);
        for kind in [ContainerKind::Chroot, ContainerKind::Strings, ContainerKind::Process] {
            assert_eq!(session.ask_sample(kind).unwrap(), Reply::Done, "{kind:?}");
        }
        send_with(
            &socket,
            &frame(FrameKind::Container, 1, &body(ContainerKind::Ready, &root)),
            &[wrong],
        );
        let reply = answer(&mut session).unwrap();
        assert!(matches!(reply, Reply::Failed(_)), "{reply:?}");
        assert!(session.container_ends_within(SOON));
    }
}

#[test]
fn p15_a_request_with_any_bit_flipped_is_answered_or_refused_and_nothing_else() {
    needs_root!();
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let root = TempRoot::new();
    let kinds = [
        ContainerKind::Mount,
        ContainerKind::Mkdir,
        ContainerKind::Touch,
        ContainerKind::Symlink,
        ContainerKind::Mknod,
        ContainerKind::MaskPath,
        ContainerKind::SetHostname,
        ContainerKind::Chroot,
    ];
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let mut refused = 0;
    for kind in kinds {
        let whole = frame(FrameKind::Container, 0, &body(kind, &root));
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            let (mut session, socket) = furnishing(&root);
            write_raw(&socket, &bytes);
            // A longer frame than there is would be waited for.
            session
                .container
                .as_ref()
                .unwrap()
                .set_time_limit(Some(Duration::from_millis(50)))
                .unwrap();
            match answer(&mut session) {
                Ok(Reply::Failed(_)) => {
                    refused += 1;
                    assert!(session.container_ends_within(SOON), "{kind:?} byte {at}");
                }
                Ok(_) | Err(ProtocolError::TimedOut) => {}
                Err(e) => panic!("{kind:?} byte {at}: {e}"),
            }
        }
    }
    assert!(refused > 50, "{refused}");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), hostname);
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), table);
}

#[test]
fn everything_of_a_refused_container_side_dies_with_it() {
    needs_root!();
    let root = TempRoot::new();
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let (mut session, _socket) = furnishing(&root);
    assert_eq!(session.ask_sample(ContainerKind::Mount).unwrap(), Reply::Done);
    let again = session.ask(&ContainerRequest::Start).unwrap();
    assert!(matches!(again, Reply::Failed(_)), "{again:?}");
    assert!(session.container_ends_within(SOON));
    assert_eq!(fs::read_to_string("/proc/self/mountinfo").unwrap(), table);
}
