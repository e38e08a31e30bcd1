// SPDX-License-Identifier: Apache-2.0
use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use outrigger_protocol::request;

use crate::cli::{Global, KillArgs};
use crate::container::id::ContainerId;
use crate::container::members;
use crate::container::state::{ProcessIdentity, State};
use crate::container::status::{Status, start_time};
use crate::container::store::Store;
use crate::helper::{Helper, HostSide};

/// `kill`: sends a signal to the container's process, with `--all` to all of its processes.
pub(crate) fn kill(global: &Global, args: &KillArgs) -> Result<()> {
    let signal = parse_signal(&args.signal)?;
    let id = ContainerId::parse(&args.id)?;
    let mut helper = Helper::start()?;
    let container = Store::open(global.root.as_deref())?.get(&id)?;
    let state = container.read_state()?;
    let status = container.status(&state);
    let outcome = if args.all {
        signal_all(&mut helper.host, &state, status, signal)
    } else {
        signal_process(&mut helper.host, &state, status, signal)
    };
    drop(helper);
    outcome
}

fn signal_process(host: &mut HostSide, state: &State, status: Status, signal: i32) -> Result<()> {
    let ProcessIdentity { pid, start_time } = match state.process {
        Some(process) if is_alive(status) => process,
        // Engines look for these words.
        _ => bail!("container not running"),
    };
    host.signal(request::Signal { pid, start_time, signal })?;
    if status == Status::Paused && signal == Signal::SIGKILL as i32 {
        // Version 1 lets nothing end that stands still.
        host.freeze(&state.cgroups, false)?;
    }
    Ok(())
}

fn is_alive(status: Status) -> bool {
    matches!(status, Status::Created | Status::Running | Status::Paused)
}

/// Processes may outlive the container's first one, so with cgroups its status does not matter.
fn signal_all(host: &mut HostSide, state: &State, status: Status, signal: i32) -> Result<()> {
    if !state.cgroups.is_empty() {
        return host.signal_cgroups(&state.cgroups, signal);
    }
    if signal == Signal::SIGKILL as i32 && members::has_own_pid_namespace(state)? {
        // With the first process of a pid namespace the kernel ends all others.
        return signal_process(host, state, status, signal);
    }
    if !is_alive(status) {
        bail!("container not running");
    }
    // One that has just ended needs no signal any more.
    let identified = |pid: i32| Some((pid, start_time(pid).ok()?));
    let processes: Vec<_> = members::of(state)?.into_iter().filter_map(identified).collect();
    host.signal_each(&processes, signal)
}

/// A signal by number or by name, with or without SIG, in either case.
fn parse_signal(word: &str) -> Result<i32> {
    let unknown = || format!("unknown signal {word:?}: give a number from 1 to 64 or a name");
    if let Ok(number) = word.parse::<i32>() {
        if (1..=64).contains(&number) && word.bytes().all(|b| b.is_ascii_digit()) {
            return Ok(number);
        }
        bail!(unknown());
    }
    let upper = word.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(number) = real_time(name) {
        return Ok(number);
    }
    let signal = format!("SIG{name}").parse::<Signal>().ok().with_context(unknown)?;
    Ok(signal as i32)
}

/// RTMIN, RTMIN+n, RTMAX, RTMAX-n; 34 and 64 as the C library numbers them.
fn real_time(name: &str) -> Option<i32> {
    let number = if let Some(rest) = name.strip_prefix("RTMIN") {
        34 + if rest.is_empty() { 0 } else { rest.strip_prefix('+')?.parse::<i32>().ok()? }
    } else {
        let rest = name.strip_prefix("RTMAX")?;
        64 - if rest.is_empty() { 0 } else { rest.strip_prefix('-')?.parse::<i32>().ok()? }
    };
    (34..=64).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::parse_signal;

    #[test]
    fn signals_are_numbers_or_names() {
        let good = [
            ("9", 9),
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigterm", 15),
            ("Hup", 1),
            ("64", 64),
            ("RTMIN", 34),
            ("SIGRTMIN+1", 35),
            ("RTMAX-2", 62),
        ];
        for (word, number) in good {
            assert_eq!(parse_signal(word).unwrap(), number, "{word}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for word in [
            "",
            "SIG",
            "0",
            "65",
            "999",
            "-9",
            "+9",
            " 9",
            "KILL\n",
            "RTMIN+40",
            "RTMIN+",
            "SIGSIGKILL",
        ] {
            assert!(parse_signal(word).is_err(), "{word:?}");
        }
    }
}
