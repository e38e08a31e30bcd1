// SPDX-License-Identifier: Apache-2.0
//! What the integration tests share.

pub mod fixture;
pub mod peer;
pub mod samples;

pub use fixture::{TempRoot, helper_program};
