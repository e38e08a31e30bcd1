// SPDX-License-Identifier: Apache-2.0
//! Writes the seed corpus of the fuzz targets: one encoded sample of every request and reply.
//!
//! usage: fuzz-seeds DIRECTORY

use std::fs;
use std::path::{Path, PathBuf};

use outrigger_protocol::frame::{FrameKind, Header};
use outrigger_protocol::reply::Mode;
use outrigger_protocol::{Cause, ContainerKind, Failure, HostKind, Reply, codec};
use outrigger_tests::samples;

fn main() -> anyhow::Result<()> {
    let directory = PathBuf::from(
        std::env::args_os().nth(1).ok_or_else(|| anyhow::anyhow!("usage: fuzz-seeds DIRECTORY"))?,
    );
    for kind in HostKind::ALL {
        let mut body = Vec::new();
        codec::encode(&samples::host(*kind), &mut body)?;
        write(&directory.join("decode_host_request"), kind.name(), &body)?;
    }
    let mut stream = Vec::new();
    for kind in ContainerKind::ALL {
        let mut body = Vec::new();
        codec::encode(&samples::container(*kind, "/root"), &mut body)?;
        write(&directory.join("decode_container_request"), kind.name(), &body)?;
        let length = u32::try_from(body.len())?;
        let header = Header { kind: FrameKind::Container, fds: 0, sequence: 0, length };
        stream.extend(header.encode());
        stream.extend(&body);
        write(&directory.join("frame_stream"), kind.name(), &stream)?;
    }
    let failure = Failure {
        request: "Mount".into(),
        operation: "open /x".into(),
        cause: Cause::Refused("no".into()),
    };
    let replies =
        [Reply::Done, Reply::Hello(Mode::Root), Reply::Spawned { pid: 7 }, Reply::Failed(failure)];
    for (n, reply) in replies.iter().enumerate() {
        let mut body = Vec::new();
        codec::encode(reply, &mut body)?;
        write(&directory.join("decode_reply"), &n.to_string(), &body)?;
    }
    Ok(())
}

fn write(directory: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    fs::create_dir_all(directory)?;
    fs::write(directory.join(name), bytes)?;
    Ok(())
}
