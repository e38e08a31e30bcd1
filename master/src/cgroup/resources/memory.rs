// SPDX-License-Identifier: Apache-2.0
//! `linux.resources.memory`

use oci_spec::runtime::LinuxMemory;
use outrigger_protocol::cgroup::CgroupVersion;

use super::{Limits, Meaning};

const CONTROLLER: &str = "memory";

/// -1 is no limit; 0 and absence set none.
fn given(value: Option<i64>) -> Option<(i64, Meaning)> {
    match value? {
        0 => None,
        -1 => Some((-1, Meaning::NoLimit)),
        limit => Some((limit, Meaning::Limit)),
    }
}

/// `checkBeforeUpdate` is about how a limit is changed; `useHierarchy` is what every cgroup has been since
/// Linux 5.11. Neither asks for a value.
pub(super) fn plan(memory: &LinuxMemory, limits: &mut Limits<'_>) {
    for (field, value) in
        [("limit", memory.limit()), ("reservation", memory.reservation()), ("swap", memory.swap())]
    {
        if value.is_some_and(|v| v < -1) {
            limits.refuse(&format!("memory.{field}"), "is negative; take -1 for no limit");
            return;
        }
    }
    limit_and_swap(memory, limits);
    if let Some((value, meaning)) = given(memory.reservation()) {
        let field = "memory.reservation";
        match limits.find(CONTROLLER, field, meaning) {
            Some((group, CgroupVersion::V1)) => {
                limits.set(group, field, meaning, "memory.soft_limit_in_bytes", value);
            }
            // No protection is 0 in this file, where -1 means all there is, as runc has it.
            Some((group, CgroupVersion::V2)) => {
                limits.set(group, field, meaning, "memory.low", or_max(value));
            }
            None => {}
        }
    }
    version_1_only(memory, limits);
}

fn or_max(value: i64) -> String {
    if value < 0 { "max".to_owned() } else { value.to_string() }
}

/// The config's `swap` is of memory and swap together, as is version 1's file; version 2's is of swap
/// alone.
fn limit_and_swap(memory: &LinuxMemory, limits: &mut Limits<'_>) {
    let limit = given(memory.limit());
    let swap = match (limit, given(memory.swap())) {
        // Without a limit of memory one of memory and swap would make no sense.
        (Some((-1, _)), None) => Some((-1, Meaning::NoLimit)),
        (_, swap) => swap,
    };
    if let Some((value, meaning)) = limit {
        match limits.find(CONTROLLER, "memory.limit", meaning) {
            Some((group, CgroupVersion::V1)) => {
                limits.set(group, "memory.limit", meaning, "memory.limit_in_bytes", value);
            }
            Some((group, CgroupVersion::V2)) => {
                limits.set(group, "memory.limit", meaning, "memory.max", or_max(value));
            }
            None => {}
        }
    }
    let Some((value, meaning)) = swap else { return };
    let field = "memory.swap";
    match limits.find(CONTROLLER, field, meaning) {
        Some((group, CgroupVersion::V1)) => {
            limits.set(group, field, meaning, "memory.memsw.limit_in_bytes", value);
        }
        Some((group, CgroupVersion::V2)) => match swap_alone(value, memory.limit()) {
            // Without a file for it there is no swap to be used.
            Ok(0) => limits.set(group, field, Meaning::NoLimit, "memory.swap.max", 0),
            Ok(value) => limits.set(group, field, meaning, "memory.swap.max", or_max(value)),
            Err(why) => limits.refuse(field, why),
        },
        None => {}
    }
}

/// What is left of a limit of memory and swap together for swap.
fn swap_alone(both: i64, memory: Option<i64>) -> Result<i64, String> {
    if both == -1 {
        return Ok(-1);
    }
    match memory {
        None | Some(0) => Err("is a limit of memory and swap together, which needs \
                               linux.resources.memory.limit too; add it"
            .into()),
        Some(-1) => Err("is a limit, but linux.resources.memory.limit is none".into()),
        Some(memory) if both < memory => {
            Err(format!("is {both}, less than linux.resources.memory.limit ({memory})"))
        }
        Some(memory) => Ok(both - memory),
    }
}

#[allow(deprecated, reason = "a config may still have the kernel's own limits")]
fn version_1_only(memory: &LinuxMemory, limits: &mut Limits<'_>) {
    // Engines write -1, which becomes a very large number here, for not set.
    let swappiness = memory.swappiness().filter(|s| *s != u64::MAX);
    let number = |value: (i64, Meaning)| (value.0.to_string(), value.1);
    let members = [
        ("kernel", "memory.kmem.limit_in_bytes", given(memory.kernel()).map(number)),
        ("kernelTCP", "memory.kmem.tcp.limit_in_bytes", given(memory.kernel_tcp()).map(number)),
        ("swappiness", "memory.swappiness", swappiness.map(|s| (s.to_string(), Meaning::Limit))),
        (
            "disableOOMKiller",
            "memory.oom_control",
            memory.disable_oom_killer().filter(|d| *d).map(|_| ("1".to_owned(), Meaning::Limit)),
        ),
    ];
    if swappiness.is_some_and(|s| s > 100) {
        limits.refuse("memory.swappiness", "is not a percentage from 0 to 100");
        return;
    }
    for (member, file, value) in members {
        let Some((value, meaning)) = value else { continue };
        let field = format!("memory.{member}");
        match limits.find(CONTROLLER, &field, meaning) {
            Some((group, CgroupVersion::V1)) => limits.set(group, &field, meaning, file, value),
            Some((_, CgroupVersion::V2)) if meaning == Meaning::Limit => {
                limits.refuse(&field, "cannot be had with cgroup version 2; remove it");
            }
            _ => {}
        }
    }
}
