// SPDX-License-Identifier: Apache-2.0
use anyhow::{Context, Result, bail};

use crate::cli::{Global, IdArgs};
use crate::container::id::ContainerId;
use crate::container::status::Status;
use crate::container::store::Store;
use crate::helper::Helper;

/// `pause`: makes all processes of a container stand still.
pub(super) fn pause(global: &Global, args: &IdArgs) -> Result<()> {
    set(global, args, true)
}

/// `resume`: lets them go on.
pub(super) fn resume(global: &Global, args: &IdArgs) -> Result<()> {
    set(global, args, false)
}

fn set(global: &Global, args: &IdArgs, frozen: bool) -> Result<()> {
    let id = ContainerId::parse(&args.id)?;
    let mut helper = Helper::start()?;
    let container = Store::open(global.root.as_deref())?.get(&id)?;
    let _lock = container.lock()?;
    let state = container.read_state()?;
    let verb = if frozen { "pause" } else { "resume" };
    match (container.status(&state), frozen) {
        (Status::Created | Status::Running, true) | (Status::Paused, false) => {}
        (status, true) => {
            bail!("cannot pause container \"{id}\": it is {status}, not running or created");
        }
        (status, false) => bail!("cannot resume container \"{id}\": it is {status}, not paused"),
    }
    let outcome = helper.host.freeze(&state.cgroups, frozen);
    drop(helper);
    outcome.with_context(|| format!("{verb} container \"{id}\""))
}
