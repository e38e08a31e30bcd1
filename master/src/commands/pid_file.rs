// SPDX-License-Identifier: Apache-2.0
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Writes the container's pid, without a newline, for whoever waits for it: the file is complete as
/// soon as it is there.
pub(super) fn write(file: Option<&Path>, pid: i32) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    let mut unfinished = file.as_os_str().to_owned();
    unfinished.push(format!(".{}", std::process::id()));
    fs::write(&unfinished, pid.to_string())
        .and_then(|()| fs::rename(&unfinished, file))
        .with_context(|| format!("write pid file {}", file.display()))
        .inspect_err(|_| drop(fs::remove_file(&unfinished)))
}
