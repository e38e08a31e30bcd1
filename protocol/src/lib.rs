// SPDX-License-Identifier: Apache-2.0
//! What `outrigger` (the master) and `outrigger-helper` (the helper) say to each other.
//!
//! # The conversation
//!
//! The helper has two sides, each at the end of its own unix stream socket:
//!
//! ```text
//! master ── HostRequest ──────▶ host side        (in the host's namespaces)
//! master ── ContainerRequest ─▶ container side   (in the container's; becomes its process)
//! ```
//!
//! The master asks, a side answers every request with one [`Reply`], in order. Requests are
//! pipelined: the master writes a batch and then reads the replies. The first request that fails
//! ends the conversation; so does anything that is not a well-formed request, permitted in the
//! side's present phase ([`phase`]). End of stream before the commit means roll back.
//!
//! On the wire a message is one frame ([`frame`]): a 12-byte header, then at most 64 KiB of bincode
//! ([`codec`]), with at most 8 file descriptors attached to its first byte ([`channel`]).
//!
//! Every type that crosses is checked while it is decoded ([`path`], [`mount`], [`identity`],
//! [`process`]): a value that exists is within its bounds. What a value *means* is not checked
//! here but in the helper's handler for the operation.
#![deny(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod cgroup;
pub mod channel;
pub mod codec;
mod error;
pub mod frame;
pub mod identity;
mod kind;
pub mod limits;
pub mod mount;
pub mod node;
pub mod path;
pub mod phase;
pub mod process;
pub mod reply;
pub mod request;
pub mod seccomp;
mod sys;

pub use channel::{Channel, Message};
pub use error::ProtocolError;
pub use reply::{Cause, Failure, Reply};
pub use request::{ContainerKind, ContainerRequest, HostKind, HostRequest};

/// Version of the vocabulary. Both programs are installed together, so there is only ever one; the
/// helper refuses a [`request::Hello`] with any other.
pub const VERSION: u16 = 1;
