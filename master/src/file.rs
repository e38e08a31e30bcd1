// SPDX-License-Identifier: Apache-2.0
//! Reading files that somebody else may have put there.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

/// What to do when the file's name is a symbolic link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Follow,
    Refuse,
}

/// Reads a regular file of at most `limit` bytes. Whatever else has that name is refused, and cannot make
/// us wait.
pub(crate) fn read(dir: impl AsFd, name: &str, link: Link, limit: u64) -> Result<Vec<u8>> {
    let mut flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    if link == Link::Refuse {
        flags |= OFlag::O_NOFOLLOW;
    }
    let mut file = match openat(dir, name, flags, Mode::empty()) {
        Err(Errno::ELOOP) if link == Link::Refuse => bail!("is a symbolic link"),
        opened => File::from(opened?),
    };
    let metadata = file.metadata().context("stat")?;
    if !metadata.is_file() {
        bail!("is not a regular file");
    }
    let too_long = || format!("is longer than {limit} bytes");
    if metadata.len() > limit {
        bail!(too_long());
    }
    let mut content = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    // The file may grow while it is read, and files of /proc do not tell their length.
    file.by_ref().take(limit + 1).read_to_end(&mut content).context("read")?;
    if content.len() as u64 > limit {
        bail!(too_long());
    }
    Ok(content)
}
