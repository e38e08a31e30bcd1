// SPDX-License-Identifier: Apache-2.0
mod process;

use anyhow::{Context, Result, bail};
use outrigger_protocol::request::Signal;

use super::{console_socket, pid_file};
use crate::cli::{ExecArgs, Global};
use crate::container::id::ContainerId;
use crate::container::state::{ProcessIdentity, State};
use crate::container::status::Status;
use crate::container::store::{Container, Store};
use crate::exec::{Joined, join, undo};
use crate::foreground::{self, Signals};
use crate::helper::Helper;
use crate::host::Host;
use crate::plan::{ExecPlan, Options};
use crate::terminal::Relay;

/// `exec`: one more process in a container; in the foreground waits for it. Returns its exit status.
pub(crate) fn exec(global: &Global, args: &ExecArgs) -> Result<u8> {
    run(global, args).context("exec failed")
}

fn run(global: &Global, args: &ExecArgs) -> Result<u8> {
    refuse_unsupported(args)?;
    let id = ContainerId::parse(&args.id)?;
    // The privilege leaves this process before it reads anything that others have written.
    let helper = Helper::start()?;
    let container = Store::open(global.root.as_deref())?.get(&id)?;
    let state = container.read_state()?;
    require_process(&container, &state)?;
    let plan = plan(&container, args)?;
    let joined = join(helper, &state, &plan)?;
    if args.detach { detached(joined, args).map(|()| 0) } else { attached(joined, args) }
}

/// Refuses what was asked for and is not there, rather than do something else.
fn refuse_unsupported(args: &ExecArgs) -> Result<()> {
    for (option, is_set) in [
        ("--preserve-fds", args.preserve_fds > 0),
        ("--apparmor", args.apparmor.is_some()),
        ("--process-label", args.process_label.is_some()),
        ("--cgroup", !args.cgroup.is_empty()),
    ] {
        if is_set {
            bail!("{option}: not supported yet");
        }
    }
    Ok(())
}

fn require_process(container: &Container, state: &State) -> Result<()> {
    match container.status(state) {
        status @ (Status::Creating | Status::Stopped) => {
            bail!("cannot exec in a container that is {status}: container not running")
        }
        _ => Ok(()),
    }
}

fn plan(container: &Container, args: &ExecArgs) -> Result<ExecPlan> {
    let defaults = container.read_defaults()?;
    let process = process::requested(args, &defaults.process)?;
    let options =
        Options { id: args.id.clone(), dies_with_master: !args.detach, console_size: None };
    Ok(ExecPlan::new(&process, &defaults, &Host::read()?, &options)?)
}

fn detached(joined: Joined, args: &ExecArgs) -> Result<()> {
    let Joined { mut helper, side, identity, console, .. } = joined;
    let outcome = console_socket::send(args.console_socket.as_deref(), &console)
        .and_then(|()| pid_file::write(args.pid_file.as_deref(), identity.pid))
        .and_then(|()| side.start())
        .and_then(|()| helper.host.commit());
    outcome.map_err(|e| undo(helper, e))
}

fn attached(joined: Joined, args: &ExecArgs) -> Result<u8> {
    let Joined { mut helper, side, identity, pidfd, console } = joined;
    let ProcessIdentity { pid, start_time } = identity;
    let ended = (|| {
        // Whoever gave a socket relays the terminal himself.
        let socket = args.console_socket.as_deref();
        let relayed = if socket.is_some() {
            console_socket::send(socket, &console)?;
            None
        } else {
            console
        };
        pid_file::write(args.pid_file.as_deref(), pid)?;
        let signals = Signals::take_over()?;
        let relay = relayed.map(Relay::new).transpose()?;
        side.start()?;
        foreground::wait(&pidfd, &signals, relay, |number| {
            // A process that has just ended takes no signal, and its end is what is waited for.
            let _ = helper.host.signal(Signal { pid, start_time, signal: number });
        })
    })();
    match ended {
        Ok(status) => {
            helper.finish();
            Ok(status)
        }
        Err(e) => Err(undo(helper, e)),
    }
}
