// SPDX-License-Identifier: Apache-2.0
use anyhow::{Result, bail};

use crate::cli::{Global, IdArgs};
use crate::container::id::ContainerId;
use crate::container::start_socket;
use crate::container::status::Status;
use crate::container::store::Store;
use crate::sys::privilege;

/// `start`: lets a created container's program go. That needs no privilege: the container waits for a
/// word on a socket that only its owner can reach.
pub(crate) fn start(global: &Global, args: &IdArgs) -> Result<()> {
    privilege::drop_capabilities()?;
    let id = ContainerId::parse(&args.id)?;
    let container = Store::open(global.root.as_deref())?.get(&id)?;
    let _lock = container.lock()?;
    let state = container.read_state()?;
    match container.status(&state) {
        Status::Created => start_socket::start(&container),
        status => bail!("cannot start container \"{id}\": it is {status}, not created"),
    }
}
