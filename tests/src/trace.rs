// SPDX-License-Identifier: Apache-2.0
//! What strace(1) saw.

use std::path::Path;

use crate::invocation::{Invocation, Outcome};

/// A system call at its beginning.
#[derive(Debug, Clone)]
pub struct Call {
    /// Whose.
    pub pid: i32,
    /// Its name.
    pub name: String,
    /// The rest of the line.
    pub arguments: String,
}

/// Follows an invocation and all that it starts.
#[must_use]
pub fn strace(invocation: Invocation, filter: &str, log: &Path) -> Invocation {
    let log = log.to_str().unwrap();
    invocation.by("strace", &["-f", "-qq", "-s", "4096", "-e", filter, "-o", log])
}

/// The system calls of an invocation, in order.
#[must_use]
pub fn trace(invocation: Invocation, filter: &str) -> (Outcome, Vec<Call>) {
    let log = tempfile::NamedTempFile::new().unwrap();
    let outcome = strace(invocation, &format!("trace={filter}"), log.path()).finish();
    let text = std::fs::read(log.path()).unwrap();
    let calls = String::from_utf8_lossy(&text).lines().filter_map(parse).collect();
    (outcome, calls)
}

/// Reads a line; the second half of a call that was interrupted by another process' is left out.
fn parse(line: &str) -> Option<Call> {
    let (pid, rest) = line.split_once(' ')?;
    let (name, arguments) = rest.trim_start().split_once('(')?;
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let call =
        || Some(Call { pid: pid.parse().ok()?, name: name.into(), arguments: arguments.into() });
    if is_name { call() } else { None }
}
