// SPDX-License-Identifier: Apache-2.0
//! The helper as the master sees it: how it is started and how it is talked to.

mod client;
mod executable;
mod process;

pub(crate) use client::{ContainerSide, HostSide, Spawned, socket_pair};
pub(crate) use process::Helper;
