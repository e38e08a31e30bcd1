// SPDX-License-Identifier: Apache-2.0
//! The helper: the half of Outrigger that holds privilege.
//!
//! It is started by `outrigger` alone, with one end of a unix stream socket as descriptor 3. It takes
//! no arguments, reads no environment, parses no configuration and decides nothing: it carries out the
//! requests of `outrigger-protocol`, each checked where it is carried out, as if the peer were hostile.
//!
//! It starts as the *host side* ([`host`]), which stays in the host's namespaces. A `Spawn` request
//! makes the *container side* ([`container`]), a copy of it inside the container's namespaces, which
//! builds the root file system and finally becomes the container's process.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod container;
mod error;
mod host;
mod open;
mod procfs;
mod server;
mod startup;
mod sys;

use std::process::ExitCode;

fn main() -> ExitCode {
    let socket = match startup::prepare() {
        Ok(socket) => socket,
        Err(e) => {
            eprintln!("outrigger-helper: {e}");
            return ExitCode::FAILURE;
        }
    };
    host::run(socket)
}
