// SPDX-License-Identifier: Apache-2.0
//! A stream of anything: every message is taken or ends the conversation, and nothing else.
#![no_main]

use std::io::Write;
use std::os::unix::net::UnixStream;

use libfuzzer_sys::fuzz_target;
use outrigger_protocol::frame::FrameKind;
use outrigger_protocol::{Channel, ContainerRequest};

fuzz_target!(|bytes: &[u8]| {
    // What fits into the socket's buffer, so that writing does not wait for a reader.
    let bytes = &bytes[..bytes.len().min(128 * 1024)];
    let (mut ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    ours.write_all(bytes).expect("room in the socket");
    drop(ours);
    let mut channel = Channel::new(theirs.into(), FrameKind::Reply, FrameKind::Container);
    let mut messages = 0;
    while channel.receive::<ContainerRequest>().is_ok() {
        messages += 1;
        assert!(messages <= bytes.len() / 12, "more messages than headers");
    }
});
