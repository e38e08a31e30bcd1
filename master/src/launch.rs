// SPDX-License-Identifier: Apache-2.0
//! From a bundle to a container of which only the program is missing: what `create` and `run` share.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Error, Result, anyhow, bail};
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::getuid;
use outrigger_protocol::cgroup::Cgroups;

use crate::bundle::{self, Bundle};
use crate::cli::LaunchArgs;
use crate::container::defaults::Defaults;
use crate::container::id::ContainerId;
use crate::container::start_socket;
use crate::container::state::{Intent, ProcessIdentity, State};
use crate::container::status::{boot_id, start_time};
use crate::container::store::{Container, Store};
use crate::helper::{ContainerSide, Helper, HostSide, Spawned, socket_pair};
use crate::host::Host;
use crate::plan::{Options, Plan};

/// How long a process that is to end may take.
const GONE_WITHIN: Duration = Duration::from_secs(10);

/// What the container side waits for once it is built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// A connection to the socket in the state directory: `create`, then `start`.
    Socket,
    /// The master's word: `run`.
    Master,
}

/// A container of which only the program is missing, its state on record and locked. The end of the
/// conversations undoes it, but for its state directory, until they are told to leave it to itself.
pub(crate) struct Launched {
    pub(crate) helper: Helper,
    pub(crate) side: ContainerSide,
    pub(crate) container: Container,
    pub(crate) state: State,
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    /// The master end of the container's terminal.
    pub(crate) console: Option<OwnedFd>,
    /// The socket of [`Gate::Socket`].
    pub(crate) listener: Option<OwnedFd>,
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
    let bundle = bundle::load(&args.bundle, args.config.as_deref())?;
    let options = Options { id: id.to_string(), dies_with_master, console_size: None };
    let plan = plan(&bundle, &options)?;
    let container = Store::open(root)?.create(&id)?;
    let state = intent(&id, &bundle, &plan)?;
    let prepared = Defaults::new(&bundle.spec, &plan).and_then(|d| container.write_defaults(&d));
    let built = prepared.and_then(|()| build(&mut helper.host, &plan, &container, state, gate));
    match built {
        Ok(built) => {
            let Built { side, state, spawned, console, listener } = built;
            let Spawned { pid, pidfd } = spawned;
            Ok(Launched { helper, side, container, state, pid, pidfd, console, listener })
        }
        Err(e) => Err(undo(helper, &container, e)),
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
    spawned: Spawned,
    console: Option<OwnedFd>,
    listener: Option<OwnedFd>,
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
    let (ours, theirs) = socket_pair()?;
    host.spawn(plan.cgroup.as_ref(), &plan.limits, &plan.spawn, &theirs)?;
    drop(theirs);
    let mut side = ContainerSide::new(ours);
    // The requests are on their way before the container side lives. If it never does, the host side
    // knows why.
    let sent = side.build(&plan.container);
    let spawned = host.spawned()?;
    sent?;
    let console = side.built()?;
    // Whoever asks for the status finds the socket as soon as the container is said to be created.
    let listener = match gate {
        Gate::Socket => Some(start_socket::listen(container)?),
        Gate::Master => None,
    };
    let identity = ProcessIdentity { pid: spawned.pid, start_time: start_time(spawned.pid)? };
    state.process = Some(identity);
    state.intent = Intent::Created;
    container.write_state(&state)?;
    Ok(Built { side, state, spawned, console, listener })
}

/// Undoes a container that failed or has ended, down to its state directory. The conversation with the
/// container side must be over.
pub(crate) fn abandon(helper: Helper, container: &Container) -> Result<()> {
    // Without a commit the host side kills and removes what it made.
    let undone = helper.finish();
    if !(children_are_gone() && undone) {
        // What is left is on record.
        bail!("not everything could be undone: use `outrigger delete --force`");
    }
    container.remove()
}

/// Undoes a container that failed. Returns the reason, with what could not be undone if that is so.
pub(crate) fn undo(helper: Helper, container: &Container, reason: Error) -> Error {
    match abandon(helper, container) {
        Ok(()) => reason,
        Err(rest) => anyhow!("{reason:#}; {rest:#}"),
    }
}

/// Waits for the container side, our only child by now, which has no reason to live any more.
pub(crate) fn children_are_gone() -> bool {
    let deadline = Instant::now() + GONE_WITHIN;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return true,
            Ok(WaitStatus::StillAlive) if Instant::now() > deadline => return false,
            Ok(WaitStatus::StillAlive) => sleep(Duration::from_micros(200)),
            _ => {}
        }
    }
}
