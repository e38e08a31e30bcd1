// SPDX-License-Identifier: Apache-2.0
//! Answers of the helper.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Most bytes of each text in a [`Failure`].
pub const MAX_TEXT: usize = 4096 + 512;

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Done.
    Done,
    /// The conversation is open.
    Hello(Mode),
    /// The container side lives; a pidfd of it is attached.
    Spawned {
        /// Its pid in the host side's pid namespace.
        pid: i32,
    },
    /// The master end of the terminal is attached.
    Console,
    /// Not done; the conversation is over.
    Failed(Failure),
}

/// What power the helper runs with; it finds out itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// The caller is root, of the host or of a user namespace.
    Root,
    /// The caller is an ordinary user.
    Rootless,
}

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The request's kind, empty if it could not be decoded.
    pub request: String,
    /// The operation that failed with its operands, as `openat2("/etc", O_PATH)`.
    pub operation: String,
    /// Why it did.
    pub cause: Cause,
}

/// The reason of a [`Failure`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cause {
    /// The kernel refused: errno(3).
    Errno(i32),
    /// The helper refused, and why.
    Refused(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.operation.is_empty() {
            write!(f, "{}: ", self.operation)?;
        }
        match &self.cause {
            Cause::Errno(errno) => write!(f, "{}", nix::errno::Errno::from_raw(*errno).desc()),
            Cause::Refused(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Failure {}
