// SPDX-License-Identifier: Apache-2.0
//! Containers as they are kept between two calls of the program: a directory each below the store's root.

pub(crate) mod defaults;
pub(crate) mod id;
mod lock;
pub(crate) mod members;
mod root;
pub(crate) mod start_socket;
pub(crate) mod state;
pub(crate) mod status;
pub(crate) mod store;
