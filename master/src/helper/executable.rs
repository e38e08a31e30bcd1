// SPDX-License-Identifier: Apache-2.0
//! Which file is executed as the helper.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::unistd::geteuid;

use crate::sys::memfd;

const NAME: &str = "outrigger-helper";

/// A file to execute.
pub(super) struct Executable {
    /// Its path.
    pub(super) path: CString,
    /// What the path leads to, if that is a descriptor: open until the helper runs.
    _private_copy: Option<OwnedFd>,
}

impl Executable {
    /// The helper that belongs to this program: beside it, or in ../libexec/outrigger.
    ///
    /// A container's process can reach the file that its runtime was executed from (/proc/PID/exe). Where
    /// it could have the rights to write that file, a sealed copy in memory is executed in its place.
    pub(super) fn find() -> Result<Self> {
        let path = locate()?;
        let file = File::open(&path).with_context(|| format!("open helper {}", path.display()))?;
        let status = file.metadata().with_context(|| format!("stat {}", path.display()))?;
        let caller = geteuid();
        let writable =
            caller.is_root() || status.uid() == caller.as_raw() || status.mode() & 0o022 != 0;
        if !writable {
            let path = CString::new(path.as_os_str().as_bytes()).context("path of the helper")?;
            return Ok(Self { path, _private_copy: None });
        }
        let copy = sealed_copy(file).context("make a private copy of the helper")?;
        let path = CString::new(format!("/proc/self/fd/{}", copy.as_raw_fd()))?;
        Ok(Self { path, _private_copy: Some(copy) })
    }
}

fn locate() -> Result<PathBuf> {
    let program = std::env::current_exe().context("find out where this program is")?;
    let directory = program.parent().unwrap_or_else(|| Path::new("/"));
    let candidates = [directory.join(NAME), directory.join("../libexec/outrigger").join(NAME)];
    match candidates.iter().find(|p| p.exists()) {
        Some(path) => Ok(path.clone()),
        None => bail!(
            "{NAME} is neither {} nor {}: install both programs together",
            candidates[0].display(),
            candidates[1].display()
        ),
    }
}

fn sealed_copy(mut file: File) -> io::Result<OwnedFd> {
    let mut copy = memfd::create_executable(c"outrigger-helper")?;
    io::copy(&mut file, &mut copy)?;
    let seals = SealFlag::F_SEAL_SEAL
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(super::client::away_from_fixed_numbers(copy.into())?)
}
