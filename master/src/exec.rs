// SPDX-License-Identifier: Apache-2.0
//! One more process in a container, up to its program.

use std::os::fd::OwnedFd;

use anyhow::{Context, Error, Result, anyhow};
use outrigger_protocol::request::Join;

use crate::container::state::{ProcessIdentity, State};
use crate::container::status::start_time;
use crate::helper::{ContainerSide, Helper, HostSide, Spawned, socket_pair};
use crate::launch::children_are_gone;
use crate::plan::ExecPlan;

/// A process of which only the program is missing. The end of the conversations ends it until they are
/// told to leave it to itself.
pub(crate) struct Joined {
    pub(crate) helper: Helper,
    pub(crate) side: ContainerSide,
    pub(crate) identity: ProcessIdentity,
    pub(crate) pidfd: OwnedFd,
    /// The master end of its terminal.
    pub(crate) console: Option<OwnedFd>,
}

/// Makes the process.
pub(crate) fn join(mut helper: Helper, state: &State, plan: &ExecPlan) -> Result<Joined> {
    match build(&mut helper.host, state, plan) {
        Ok((side, spawned, identity, console)) => {
            Ok(Joined { helper, side, identity, pidfd: spawned.pidfd, console })
        }
        Err(e) => Err(undo(helper, e)),
    }
}

type Built = (ContainerSide, Spawned, ProcessIdentity, Option<OwnedFd>);

fn build(host: &mut HostSide, state: &State, plan: &ExecPlan) -> Result<Built> {
    let ProcessIdentity { pid, start_time: since } =
        state.process.context("the container has no process")?;
    let request = Join {
        pid,
        start_time: since,
        cgroups: state.cgroups.clone(),
        oom_score_adj: plan.oom_score_adj,
    };
    let (ours, theirs) = socket_pair()?;
    host.join(request, &theirs)?;
    drop(theirs);
    let mut side = ContainerSide::new(ours);
    // As with a new container: if the container side never lives, the host side knows why.
    let sent = side.build(&plan.container);
    let spawned = host.spawned()?;
    sent?;
    let console = side.built()?;
    let identity = ProcessIdentity { pid: spawned.pid, start_time: start_time(spawned.pid)? };
    Ok((side, spawned, identity, console))
}

/// Ends a process that failed. Returns the reason.
pub(crate) fn undo(helper: Helper, reason: Error) -> Error {
    // Without a commit the host side kills it.
    if helper.finish() && children_are_gone() {
        return reason;
    }
    anyhow!("{reason:#}; the process may still be there")
}
