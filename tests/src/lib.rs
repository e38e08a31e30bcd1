// SPDX-License-Identifier: Apache-2.0
//! What the integration tests share.
//!
//! The tests look at the programs from outside. With `RUNTIME=/path/to/another/runtime` those that are
//! not about Outrigger alone run on that one, so that a wrong expectation shows.

pub mod bundle;
pub mod container;
pub mod descent;
pub mod expect;
pub mod fixture;
pub mod host;
pub mod invocation;
pub mod mounts;
pub mod peer;
pub mod pty;
pub mod rootfs;
pub mod runtime;
pub mod samples;
pub mod trace;
pub mod user;

pub use bundle::Bundle;
pub use container::{Container, output, refused, run};
pub use fixture::TempRoot;
pub use invocation::{Invocation, Outcome};
pub use runtime::{Runtime, helper_program};
pub use user::TempUser;
