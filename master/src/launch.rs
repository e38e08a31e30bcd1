// SPDX-License-Identifier: Apache-2.0
//! From a bundle to a container of which only the program is missing: what `create` and `run` share.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::wait::wait;
use nix::unistd::getuid;
use outrigger_protocol::cgroup::Cgroups;

use crate::bundle::{self, Bundle};
use crate::cli::LaunchArgs;
use crate::container::id::ContainerId;
use crate::container::start_socket;
use crate::container::state::{Intent, ProcessIdentity, State};
use crate::container::status::{boot_id, start_time};
use crate::container::store::{Container, Store};
use crate::helper::{ContainerSide, Helper, HostSide, socket_pair};
use crate::host::Host;
use crate::plan::{Options, Plan};

/// What the container side waits for once it is built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// A connection to the socket in the state directory: `create`, then `start`.
    Socket,
    /// The master's word: `run`.
    Master,
}

/// A container of which only the program is missing. Dropping it without [`HostSide::commit`] undoes all
/// of it but the state directory.
pub(crate) struct Launched {
    pub(crate) helper: Helper,
    pub(crate) side: ContainerSide,
    pub(crate) container: Container,
    pub(crate) state: State,
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    /// The master end of the container's terminal.
    pub(crate) console: Option<OwnedFd>,
}

/// Builds a container up to the given gate.
pub(crate) fn launch(
    root: Option<&Path>,
    args: &LaunchArgs,
    gate: Gate,
    dies_with_master: bool,
) -> Result<Launched> {
    let id = ContainerId::parse(&args.id)?;
    // The privilege leaves this process before it reads anything that others have written.
    let mut helper = Helper::start()?;
    let bundle = bundle::load(&args.bundle)?;
    let options = Options { id: id.to_string(), dies_with_master, console_size: None };
    let plan = plan(&bundle, &options)?;
    let container = Store::open(root)?.create(&id)?;
    let state = intent(&id, &bundle, &plan)?;
    match build(&mut helper.host, &plan, &container, state, gate) {
        Ok(built) => {
            let Built { side, state, pid, pidfd, console } = built;
            Ok(Launched { helper, side, container, state, pid, pidfd, console })
        }
        Err(e) => {
            abandon(helper, &container);
            Err(e)
        }
    }
}

/// Reads the host's facts and plans.
pub(crate) fn plan(bundle: &Bundle, options: &Options) -> Result<Plan> {
    let mut host = Host::read()?;
    host.probe_cgroups(&bundle.spec, &options.id);
    Plan::new(&bundle.spec, &bundle.path, &host, options)
        .with_context(|| format!("config.json of bundle {}", bundle.path.display()))
}

/// What is recorded before the first effect outside: enough to undo everything later.
fn intent(id: &ContainerId, bundle: &Bundle, plan: &Plan) -> Result<State> {
    let annotations = bundle.spec.annotations().clone().unwrap_or_default();
    let cgroups = plan.cgroup.as_ref().map_or_else(Cgroups::default, |c| c.groups.clone());
    Ok(State {
        schema: State::SCHEMA,
        id: id.clone(),
        oci_version: bundle.spec.version().clone(),
        bundle: bundle.path.clone(),
        rootfs: plan.rootfs.clone(),
        annotations: annotations.into_iter().collect(),
        created: humantime::format_rfc3339_nanos(SystemTime::now()).to_string(),
        owner: getuid().as_raw(),
        boot_id: boot_id()?,
        intent: Intent::Creating,
        process: None,
        cgroups,
    })
}

struct Built {
    side: ContainerSide,
    state: State,
    pid: i32,
    pidfd: OwnedFd,
    console: Option<OwnedFd>,
}

/// Carries the plan out.
fn build(
    host: &mut HostSide,
    plan: &Plan,
    container: &Container,
    mut state: State,
    gate: Gate,
) -> Result<Built> {
    container.write_state(&state)?;
    let listener = match gate {
        Gate::Socket => Some(start_socket::listen(container)?),
        Gate::Master => None,
    };
    let (ours, theirs) = socket_pair()?;
    host.spawn(plan.cgroup.as_ref(), &plan.spawn, &theirs)?;
    drop(theirs);
    let mut side = ContainerSide::new(ours);
    // The requests are on their way before the container side lives. If it never does, the host side
    // knows why.
    let sent = side.build(&plan.container, listener.as_ref().map(std::os::fd::AsFd::as_fd));
    let spawned = host.spawned()?;
    sent?;
    let console = side.built()?;
    let identity = ProcessIdentity { pid: spawned.pid, start_time: start_time(spawned.pid)? };
    state.process = Some(identity);
    state.intent = Intent::Created;
    container.write_state(&state)?;
    container.unlock();
    Ok(Built { side, state, pid: spawned.pid, pidfd: spawned.pidfd, console })
}

/// Undoes a container that failed, down to its state directory.
pub(crate) fn abandon(helper: Helper, container: &Container) {
    // Without a commit the host side kills and removes what it made.
    helper.finish();
    // The container side is our child; it has no reason to live any more.
    while !matches!(wait(), Err(Errno::ECHILD)) {}
    if let Err(e) = container.remove() {
        log::warn!("{e:#}");
    }
}
