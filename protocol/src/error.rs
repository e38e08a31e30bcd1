// SPDX-License-Identifier: Apache-2.0
use std::fmt;
use std::io;

/// Why a conversation cannot go on. Each of these is final: the side that sees it hangs up.
#[derive(Debug)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The peer closed the stream between two frames.
    Closed,
    /// The peer closed the stream in the middle of a frame.
    Truncated,
    /// Nothing arrived within the channel's time limit.
    TimedOut,
    /// The first header byte is not this protocol's version.
    Version(u8),
    /// The header names a kind of frame that this end does not take.
    Kind(u8),
    /// The header announces a body longer than [`crate::frame::MAX_BODY`] bytes.
    TooLong(u32),
    /// The body is not exactly one value of the expected type.
    Malformed(String),
    /// The frame came with another number of descriptors than its header announces.
    Descriptors {
        /// What the header announces.
        announced: usize,
        /// What was attached.
        attached: usize,
    },
    /// A reply's sequence number is not that of the oldest unanswered request.
    Sequence {
        /// The number expected.
        expected: u32,
        /// The number received.
        received: u32,
    },
    /// The value does not fit into one frame.
    Oversized(usize),
    /// A system call on the socket failed.
    Io(&'static str, io::Error),
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the peer closed the connection"),
            Self::Truncated => {
                f.write_str("the peer closed the connection in the middle of a frame")
            }
            Self::TimedOut => f.write_str("the peer sent nothing within the time limit"),
            Self::Version(v) => write!(f, "protocol version {v}, not {}", crate::VERSION),
            Self::Kind(k) => write!(f, "frame of kind {k} is not taken here"),
            Self::TooLong(n) => {
                write!(f, "frame body of {n} bytes, more than {}", crate::frame::MAX_BODY)
            }
            Self::Malformed(why) => write!(f, "malformed frame: {why}"),
            Self::Descriptors { announced, attached } => {
                write!(f, "frame announces {announced} descriptors and has {attached}")
            }
            Self::Sequence { expected, received } => {
                write!(f, "reply to request {received} where {expected} was due")
            }
            Self::Oversized(n) => {
                write!(
                    f,
                    "message of {n} bytes, more than the {} of a frame",
                    crate::frame::MAX_BODY
                )
            }
            Self::Io(call, e) => write!(f, "{call}: {e}"),
        }
    }
}

impl std::error::Error for ProtocolError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(_, e) => Some(e),
            _ => None,
        }
    }
}
