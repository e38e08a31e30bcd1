// SPDX-License-Identifier: Apache-2.0
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use super::print;
use crate::cgroup::statistics::{self, Statistics};
use crate::cli::{EventsArgs, Global};
use crate::container::id::ContainerId;
use crate::container::state::State;
use crate::container::status::Status;
use crate::container::store::{Container, Store};
use crate::sys::privilege;

/// How soon it is noticed that the container ran out of memory, or ended.
const LOOK: Duration = Duration::from_millis(100);

/// A line, with runc's keys.
#[derive(Serialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Statistics>,
}

/// `events`: prints what a container uses, once or until it ends.
pub(super) fn events(global: &Global, args: &EventsArgs) -> Result<()> {
    privilege::drop_capabilities()?;
    let id = ContainerId::parse(&args.id)?;
    let interval = humantime::parse_duration(&args.interval)
        .with_context(|| format!("--interval {:?}", args.interval))?;
    ensure!(!interval.is_zero(), "--interval: must be longer than 0");
    let container = Store::open(global.root.as_deref())?.get(&id)?;
    let state = container.read_state()?;
    if !is_alive(&container, &state) {
        bail!("container with id {id} is not running");
    }
    ensure!(
        !state.cgroups.is_empty(),
        "container \"{id}\" has no cgroup, so nobody counts what it uses"
    );
    if args.stats {
        return show(id.as_str(), "stats", Some(statistics::read(&state.cgroups)));
    }
    follow(&id, &container, &state, interval)
}

fn is_alive(container: &Container, state: &State) -> bool {
    matches!(container.status(state), Status::Created | Status::Running | Status::Paused)
}

fn follow(
    id: &ContainerId,
    container: &Container,
    state: &State,
    interval: Duration,
) -> Result<()> {
    let mut killed = statistics::out_of_memory(&state.cgroups);
    let mut next = Instant::now() + interval;
    while is_alive(container, state) {
        let left = next.saturating_duration_since(Instant::now());
        sleep(left.min(LOOK));
        let now = statistics::out_of_memory(&state.cgroups);
        if now > killed {
            show(id.as_str(), "oom", None)?;
            killed = now;
        }
        if left.is_zero() {
            show(id.as_str(), "stats", Some(statistics::read(&state.cgroups)))?;
            next = Instant::now() + interval;
        }
    }
    Ok(())
}

fn show(id: &str, kind: &'static str, data: Option<Statistics>) -> Result<()> {
    print(&format!("{}\n", serde_json::to_string(&Event { kind, id, data })?))
}
