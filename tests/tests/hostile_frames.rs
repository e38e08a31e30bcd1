// SPDX-License-Identifier: Apache-2.0
//! A master that sends anything but well-formed frames: the helper hangs up, and nothing else happens.

use std::io::IoSlice;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::socket::{ControlMessage, MsgFlags, Shutdown, sendmsg, shutdown};
use outrigger_protocol::frame::{FrameKind, HEADER, Header, MAX_BODY};
use outrigger_protocol::request::Hello;
use outrigger_protocol::{Cause, Channel, HostKind, HostRequest, Reply, codec};
use outrigger_tests::peer::{Helper, write_raw};
use outrigger_tests::{helper_program, samples};

/// A violation is answered within this.
const SOON: Duration = Duration::from_secs(2);
/// Silence is borne for five seconds.
const PATIENCE: Duration = Duration::from_secs(8);

fn frame(kind: FrameKind, fds: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    [&Header { kind, fds, sequence: 0, length }.encode()[..], body].concat()
}

fn encoded(request: &HostRequest) -> Vec<u8> {
    let mut body = Vec::new();
    codec::encode(request, &mut body).unwrap();
    body
}

fn hello() -> Vec<u8> {
    frame(FrameKind::Host, 0, &encoded(&samples::host(HostKind::Hello)))
}

/// The helper's last word, if it had one.
fn last_words(socket: OwnedFd) -> Option<String> {
    let mut channel = Channel::new(socket, FrameKind::Host, FrameKind::Reply);
    let mut last = None;
    while let Ok(message) = channel.receive::<Reply>() {
        if let Reply::Failed(failure) = message.value {
            last = Some(failure.to_string());
        }
    }
    last
}

/// Sends bytes after nothing and after a greeting; the helper must give up and say `because`.
fn assert_refused(bytes: &[u8], because: &str) {
    for greeting in [Vec::new(), hello()] {
        let (mut helper, socket) = Helper::start(&helper_program());
        write_raw(&socket, &[&greeting[..], bytes].concat());
        let words = last_words(socket).unwrap_or_default();
        assert!(words.contains(because), "{words:?} does not tell {because:?}");
        helper.assert_gives_up(SOON);
    }
}

#[test]
fn p01_silence_ends_the_conversation() {
    let (mut helper, socket) = Helper::start(&helper_program());
    let start = Instant::now();
    helper.assert_gives_up(PATIENCE);
    assert!(start.elapsed() > Duration::from_secs(4), "it must have waited a while");
    assert!(last_words(socket).unwrap().contains("time limit"));
}

#[test]
fn p02_part_of_a_frame_and_nothing_more() {
    for length in [0, 1, 7, HEADER, HEADER + 3] {
        let (mut helper, socket) = Helper::start(&helper_program());
        write_raw(&socket, &hello()[..length]);
        drop(socket);
        helper.assert_gives_up(SOON);
    }
}

#[test]
fn p02_part_of_a_frame_and_then_silence() {
    let (mut helper, socket) = Helper::start(&helper_program());
    write_raw(&socket, &hello());
    write_raw(&socket, &hello()[..HEADER + 1]);
    helper.assert_gives_up(PATIENCE);
    assert!(last_words(socket).unwrap().contains("time limit"));
}

#[test]
fn p03_lengths_out_of_bounds_are_refused_before_anything_is_read() {
    for length in [u32::MAX, 1 << 31, u32::try_from(MAX_BODY).unwrap() + 1] {
        let header = Header { kind: FrameKind::Host, fds: 0, sequence: 0, length }.encode();
        assert_refused(&header, "frame body of");
    }
}

#[test]
fn p03_inner_lengths_out_of_bounds_are_refused() {
    // RemoveCgroup with 2⁶³ cgroups.
    let body = [&5_u32.to_le_bytes()[..], &(1_u64 << 63).to_le_bytes()].concat();
    assert_refused(&frame(FrameKind::Host, 0, &body), "malformed frame");
}

#[test]
fn p04_largest_frames_are_taken_one_by_one() {
    let (mut helper, socket) = Helper::start(&helper_program());
    write_raw(&socket, &hello());
    write_raw(&socket, &frame(FrameKind::Host, 0, &vec![0xff; MAX_BODY]));
    assert!(last_words(socket).unwrap().contains("malformed frame"));
    helper.assert_gives_up(SOON);
}

#[test]
fn p05_unknown_kinds_versions_and_requests_are_refused() {
    assert_refused(&frame(FrameKind::Container, 0, &[0; 6]), "frame of kind 2");
    assert_refused(&frame(FrameKind::Reply, 0, &[0; 4]), "frame of kind 3");
    assert_refused(&frame(FrameKind::Host, 0, &99_u32.to_le_bytes()), "malformed frame");
    assert_refused(&frame(FrameKind::Host, 0, &[]), "malformed frame");
    let mut other_version = hello();
    other_version[0] = 2;
    assert_refused(&other_version, "protocol version 2");
}

#[test]
fn p05_a_trailing_byte_is_refused() {
    let body = [encoded(&samples::host(HostKind::RemoveCgroup)), vec![0]].concat();
    assert_refused(&frame(FrameKind::Host, 0, &body), "malformed frame");
}

#[test]
fn p05_a_greeting_of_another_vocabulary_is_refused() {
    let (mut helper, socket) = Helper::start(&helper_program());
    let body = encoded(&HostRequest::Hello(Hello { version: 9 }));
    write_raw(&socket, &frame(FrameKind::Host, 0, &body));
    assert!(last_words(socket).unwrap().contains("version 9"));
    helper.assert_gives_up(SOON);
}

#[test]
fn p06_paths_that_are_none_are_refused() {
    // RemoveCgroup with one version 2 cgroup at `mount`/`path`.
    let body = |mount: &[u8], path: &[u8]| {
        let mut body = 5_u32.to_le_bytes().to_vec();
        body.extend(1_u64.to_le_bytes());
        body.extend(1_u32.to_le_bytes());
        for word in [mount, path] {
            body.extend(u64::try_from(word.len()).unwrap().to_le_bytes());
            body.extend(word);
        }
        body.extend(0_u16.to_le_bytes());
        body
    };
    let long = vec![b'n'; 256];
    let deep = b"d/".repeat(2100);
    for path in [&b""[..], b"a\0b", b"..", b".", b"a/../b", b"a//b", b"/a", &long, &deep] {
        let frame = frame(FrameKind::Host, 0, &body(b"/sys/fs/cgroup", path));
        assert_refused(&frame, "malformed frame");
    }
    for mount in [&b""[..], b"sys", b"/a\0b"] {
        assert_refused(&frame(FrameKind::Host, 0, &body(mount, b"x")), "malformed frame");
    }
}

fn send_with(socket: &OwnedFd, bytes: &[u8], descriptors: usize) {
    let null = std::fs::File::open("/dev/null").unwrap();
    let fds = vec![null.as_raw_fd(); descriptors];
    let rights = [ControlMessage::ScmRights(&fds)];
    let flags = MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], &rights, flags, None).unwrap();
}

#[test]
fn p08_wrong_numbers_of_descriptors_are_refused() {
    let body = encoded(&samples::host(HostKind::Hello));
    for (announced, attached) in
        [(1, 0), (0, 1), (0, 2), (1, 2), (2, 1), (8, 253), (9, 1), (255, 1)]
    {
        let (mut helper, socket) = Helper::start(&helper_program());
        send_with(&socket, &frame(FrameKind::Host, announced, &body), attached);
        assert!(last_words(socket).unwrap().contains("descriptors"), "{announced} {attached}");
        helper.assert_gives_up(SOON);
    }
}

#[test]
fn p08_descriptors_where_the_request_takes_none_are_refused() {
    let (mut helper, socket) = Helper::start(&helper_program());
    let body = encoded(&samples::host(HostKind::Hello));
    send_with(&socket, &frame(FrameKind::Host, 1, &body), 1);
    assert!(last_words(socket).unwrap().contains("descriptor too many"));
    helper.assert_gives_up(SOON);
}

#[test]
fn p13_a_descriptor_of_the_wrong_type_is_refused() {
    let (mut helper, socket) = Helper::start(&helper_program());
    write_raw(&socket, &hello());
    let body = encoded(&samples::host(HostKind::Spawn));
    send_with(&socket, &frame(FrameKind::Host, 1, &body), 1);
    assert!(last_words(socket).unwrap().contains("not a stream socket"));
    helper.assert_gives_up(SOON);
}

#[test]
fn p10_a_thousand_requests_without_a_look_at_the_replies() {
    let (mut helper, socket) = Helper::start(&helper_program());
    let mut master = Channel::new(socket, FrameKind::Host, FrameKind::Reply);
    master.send(0, &samples::host(HostKind::Hello), &[]).unwrap();
    for n in 1..=1000 {
        master.send(n, &samples::host(HostKind::RemoveCgroup), &[]).unwrap();
    }
    master.flush().unwrap();
    assert!(matches!(master.receive::<Reply>().unwrap().value, Reply::Hello(_)));
    for n in 1..=1000 {
        let message = master.receive::<Reply>().unwrap();
        assert_eq!((message.sequence, message.value), (n, Reply::Done));
    }
    assert_eq!(helper.descriptors(), 4, "stdin, stdout, stderr and the socket");
    drop(master);
    helper.assert_gives_up(SOON);
}

#[test]
fn p11_a_master_that_does_not_listen_ends_the_conversation() {
    let (mut helper, socket) = Helper::start(&helper_program());
    shutdown(socket.as_raw_fd(), Shutdown::Read).unwrap();
    write_raw(&socket, &hello());
    helper.assert_gives_up(SOON);
}

#[test]
fn a_failed_request_is_the_last_one() {
    let (mut helper, socket) = Helper::start(&helper_program());
    let mut master = Channel::new(socket, FrameKind::Host, FrameKind::Reply);
    for (n, kind) in [HostKind::Hello, HostKind::Signal, HostKind::RemoveCgroup].iter().enumerate()
    {
        master.send(u32::try_from(n).unwrap(), &samples::host(*kind), &[]).unwrap();
    }
    master.flush().unwrap();
    assert!(matches!(master.receive::<Reply>().unwrap().value, Reply::Hello(_)));
    let Reply::Failed(failure) = master.receive::<Reply>().unwrap().value else {
        panic!("a signal for a process that never was must fail")
    };
    assert_eq!(failure.request, "Signal");
    assert_eq!(failure.cause, Cause::Errno(nix::errno::Errno::ESRCH as i32));
    assert!(master.receive::<Reply>().is_err(), "nothing may follow");
    helper.assert_gives_up(SOON);
}

#[test]
fn started_by_hand_it_says_so_and_does_nothing() {
    let output = std::process::Command::new(helper_program()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("started by outrigger"), "{text}");
}
