// SPDX-License-Identifier: Apache-2.0
//! The socket behind which a created container waits for its start.
//!
//! It lies in the container's state directory, which only its owner can enter. It is reached through
//! the directory's descriptor, since a socket's path has room for 107 bytes only.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use interprocess::local_socket::traits::Stream as _;
use interprocess::local_socket::{ConnectOptions, Name};
use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName};
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use interprocess::os::unix::uds_local_socket::{Listener, Stream};

use super::store::{Container, START_SOCKET};

/// How long the program may take to be executed.
const PATIENCE: Duration = Duration::from_secs(60);

fn name(container: &Container) -> Result<Name<'static>> {
    let path = format!("/proc/self/fd/{}/{START_SOCKET}", container.directory().as_raw_fd());
    path.to_fs_name::<GenericFilePath>().context("name of the start socket")
}

/// Makes the socket.
pub(crate) fn listen(container: &Container) -> Result<OwnedFd> {
    let listener: Listener = ListenerOptions::new()
        .name(name(container)?)
        .mode(0o600)
        .reclaim_name(false)
        .create_sync_as()
        .with_context(|| format!("make {START_SOCKET} in the state directory"))?;
    Ok(listener.into())
}

/// Starts the program of a created container and waits until it runs.
pub(crate) fn start(container: &Container) -> Result<()> {
    let mut stream: Stream =
        ConnectOptions::new().name(name(container)?).connect_sync_as().with_context(|| {
            format!("connect to {START_SOCKET}: the container does not wait to be started")
        })?;
    stream.set_recv_timeout(Some(PATIENCE)).context("setsockopt")?;
    stream.write_all(b"s").context("start the container")?;
    let mut answer = String::new();
    // A program that runs has closed the connection without a word.
    stream.read_to_string(&mut answer).context("wait for the start of the container")?;
    if answer.is_empty() { Ok(()) } else { bail!("{answer}") }
}
