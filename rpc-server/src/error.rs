// SPDX-License-Identifier: Apache-2.0
use std::fmt;

use nix::errno::Errno;
use outrigger_protocol::{Cause, Failure, reply};

/// An operation that failed: what was tried, on what, and why it did not work.
#[derive(Debug)]
pub(crate) struct OpError {
    operation: String,
    cause: Cause,
}

pub(crate) type Result<T, E = OpError> = std::result::Result<T, E>;

impl OpError {
    /// The kernel refused.
    pub(crate) fn os(operation: impl Into<String>, errno: Errno) -> Self {
        Self { operation: operation.into(), cause: Cause::Errno(errno as i32) }
    }

    /// The helper refuses, and says why.
    pub(crate) fn refused(why: impl Into<String>) -> Self {
        Self { operation: String::new(), cause: Cause::Refused(why.into()) }
    }

    /// Whether the kernel refused for this reason.
    pub(crate) fn is(&self, errno: Errno) -> bool {
        matches!(self.cause, Cause::Errno(code) if code == errno as i32)
    }

    /// The same, told as part of something larger: `prefix` is put before it.
    pub(crate) fn within(mut self, prefix: impl Into<String>) -> Self {
        let place = match &mut self.cause {
            Cause::Refused(why) if self.operation.is_empty() => why,
            _ => &mut self.operation,
        };
        place.insert_str(0, &prefix.into());
        self
    }

    /// The failure as it is told to the master.
    pub(crate) fn into_failure(self, request: &str) -> Failure {
        let cause = match self.cause {
            Cause::Refused(why) => Cause::Refused(shortened(why)),
            errno @ Cause::Errno(_) => errno,
        };
        Failure { request: request.to_owned(), operation: shortened(self.operation), cause }
    }
}

impl fmt::Display for OpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, cause } = self;
        let failure =
            Failure { request: String::new(), operation: operation.clone(), cause: cause.clone() };
        failure.fmt(f)
    }
}

fn shortened(mut text: String) -> String {
    let mut end = reply::MAX_TEXT.min(text.len());
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.truncate(end);
    text
}

/// Adds to an errno the operation and its operands.
pub(crate) trait Context<T> {
    /// `operation` is asked for only after a failure.
    fn during<S: Into<String>>(self, operation: impl FnOnce() -> S) -> Result<T>;
}

impl<T> Context<T> for std::result::Result<T, Errno> {
    fn during<S: Into<String>>(self, operation: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|errno| OpError::os(operation(), errno))
    }
}
