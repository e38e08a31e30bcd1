// SPDX-License-Identifier: Apache-2.0
use std::os::fd::AsFd;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use outrigger_protocol::cgroup::Cgroups;
use outrigger_protocol::request;

use crate::cgroup;
use crate::cli::{DeleteArgs, Global};
use crate::container::id::ContainerId;
use crate::container::state::{ProcessIdentity, State};
use crate::container::status::Status;
use crate::container::store::{Container, Store};
use crate::helper::{Helper, HostSide};
use crate::host::Host;
use crate::plan::Problems;
use crate::sys::pidfd;

/// How long a killed process may take to be gone, in milliseconds.
const GONE_WITHIN: u16 = 10_000;

/// How long one does take unless something holds it.
const USUALLY_GONE_WITHIN: u16 = 200;

/// `delete`: removes what is left of a container; with `--force` whatever state it is in, and without a
/// word if there is none.
pub(crate) fn delete(global: &Global, args: &DeleteArgs) -> Result<()> {
    let id = ContainerId::parse(&args.id)?;
    let mut helper = Helper::start()?;
    let store = Store::open(global.root.as_deref())?;
    let Some(container) = store.find(&id)? else {
        if args.force {
            return Ok(());
        }
        bail!("container \"{id}\" does not exist");
    };
    let outcome = remove(&mut helper.host, &id, &container, args.force);
    drop(helper);
    outcome
}

fn remove(host: &mut HostSide, id: &ContainerId, container: &Container, force: bool) -> Result<()> {
    let _lock = container.lock()?;
    match container.read_state() {
        Ok(state) => {
            stop(host, id, container, &state, force)?;
            host.remove_cgroups(&state.cgroups)?;
        }
        // A create that was killed before it had recorded, and made, anything; or a record that was
        // spoilt since. Then at least what is where it usually is can be removed, with the processes
        // in it.
        Err(_) if force => host.remove_cgroups(&usual_cgroups(id)?)?,
        Err(e) => return Err(e.context("use --force to remove it all the same")),
    }
    container.remove()
}

/// The cgroups of a container whose config names none.
fn usual_cgroups(id: &ContainerId) -> Result<Cgroups> {
    let host = Host::read().context("read the host's cgroups")?;
    let planned = cgroup::plan(None, &host, id.as_str(), &mut Problems::default());
    Ok(planned.map_or_else(Cgroups::default, |c| c.groups))
}

/// Sees to it that the container's process is gone.
fn stop(
    host: &mut HostSide,
    id: &ContainerId,
    container: &Container,
    state: &State,
    force: bool,
) -> Result<()> {
    let status = container.status(state);
    if status == Status::Stopped {
        return Ok(());
    }
    if !force {
        bail!("cannot delete container \"{id}\" that is not stopped: it is {status}; use --force");
    }
    let Some(ProcessIdentity { pid, start_time }) = state.process else { return Ok(()) };
    let process = match pidfd::open(pid) {
        Err(Errno::ESRCH) => return Ok(()),
        process => process.with_context(|| format!("open process {pid}"))?,
    };
    let signal = request::Signal { pid, start_time, signal: Signal::SIGKILL as i32 };
    host.signal(signal).with_context(|| format!("kill container \"{id}\""))?;
    let mut gone = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    let at_once = if status == Status::Paused { 0 } else { USUALLY_GONE_WITHIN };
    if poll(&mut gone, PollTimeout::from(at_once)) == Ok(0) {
        // What stands still, here or in a cgroup below, cannot end: the removal thaws.
        host.remove_cgroups(&state.cgroups)?;
    }
    match poll(&mut gone, PollTimeout::from(GONE_WITHIN)) {
        Ok(1..) => Ok(()),
        Ok(_) => bail!("container \"{id}\": process {pid} does not end after SIGKILL"),
        Err(e) => Err(e).context("poll"),
    }
}
