// SPDX-License-Identifier: Apache-2.0
//! Profiles and calls to try them with.

use oci_spec::runtime::LinuxSeccomp;
use serde_json::{Value, json};

use super::interpreter::Data;

/// The profile that podman 4.3 writes for a container with its default capabilities on x86-64. Made
/// from seccomp.json of github.com/containers/common, copyright its authors, Apache-2.0.
pub(super) const PODMAN: &str = include_str!("podman.json");

pub(super) fn profile(value: Value) -> LinuxSeccomp {
    serde_json::from_value(value).unwrap()
}

/// Numbers without a pattern: the same at every run.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Calls of all ABIs of x86-64 with every number, and a few arguments each that lie on, beside and
/// 2^32 away from values that the profile compares with.
pub(super) fn calls(profile: &LinuxSeccomp, random: &mut Random) -> Vec<Data> {
    let mut values = vec![0, 1, 5, u64::MAX];
    for arg in profile.syscalls().iter().flatten().flat_map(|one| one.args().iter().flatten()) {
        for value in [arg.value(), arg.value_two().unwrap_or(0)] {
            let far = value ^ (1 << 32);
            values.extend([value, value.wrapping_add(1), value.wrapping_sub(1), far]);
        }
    }
    let named: Vec<u32> = profile
        .syscalls()
        .iter()
        .flatten()
        .filter(|one| one.args().is_some())
        .flat_map(|one| one.names())
        .filter_map(|name| super::super::arch::Call::find(name))
        .flat_map(|call| {
            use super::super::arch::Arch;
            [Arch::X86_64, Arch::X86, Arch::X32].map(|arch| call.number(arch))
        })
        .flatten()
        .chain([102, 117])
        .collect();

    let numbers = (0..600).chain([0x3fff_ffff, 0x7fff_ffff, u32::MAX]);
    let numbers = numbers.chain((0..600).map(|n| n | 0x4000_0000));
    let mut calls = Vec::new();
    for number in numbers {
        for audit in [0xc000_003e, 0x4000_0003, 0xc000_00b7] {
            let tries = if named.contains(&number) { 60 } else { 1 };
            for _ in 0..tries {
                let args = std::array::from_fn(|_| random.pick(&values));
                calls.push(Data { number, audit, args });
            }
        }
    }
    calls
}

/// What random profiles are made of.
pub(super) struct Kind {
    pub(super) default_actions: &'static [(&'static str, Option<u32>)],
    pub(super) actions: &'static [&'static str],
    pub(super) operators: &'static [&'static str],
    pub(super) max_args: usize,
}

const NAMES: &[&str] = &[
    "read",
    "socket",
    "accept",
    "recv",
    "sendmmsg",
    "semop",
    "shmget",
    "semtimedop",
    "ioctl",
    "clone",
    "personality",
    "waitpid",
    "execve",
    "openat2",
    "socketcall",
    "ipc",
    "_llseek",
    "rt_sigaction",
    "no_such_call",
];

pub(super) fn random_profile(random: &mut Random, kind: &Kind) -> Value {
    let (default, errno) = random.pick(kind.default_actions);
    let mut architectures = Vec::new();
    for name in ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"] {
        if random.below(3) > 0 {
            architectures.push(name);
        }
    }
    let rules = 1 + random.below(12);
    let syscalls: Vec<Value> = (0..rules).map(|_| random_rule(random, kind)).collect();
    let mut profile = json!({
        "defaultAction": default, "architectures": architectures, "syscalls": syscalls,
        "listenerPath": "/run/agent",
    });
    if let Some(errno) = errno {
        profile["defaultErrnoRet"] = json!(errno);
    }
    profile
}

fn random_rule(random: &mut Random, kind: &Kind) -> Value {
    let names: Vec<&str> = (0..1 + random.below(3)).map(|_| random.pick(NAMES)).collect();
    let mut args: Vec<Value> = Vec::new();
    for _ in 0..random.below(kind.max_args + 1) {
        let value = |random: &mut Random| random.pick(&[0, 1, 5, 16, 1 << 32, (1 << 33) + 5]);
        let operator = random.pick(kind.operators);
        let mask = random.pick(&[1, 5, 0xffff_fff0_u64, u64::MAX]);
        args.push(json!({
            "index": random.below(3),
            "value": if operator == "SCMP_CMP_MASKED_EQ" { mask } else { value(random) },
            "valueTwo": value(random),
            "op": operator,
        }));
    }
    let mut rule = json!({"names": names, "action": random.pick(kind.actions)});
    if !args.is_empty() {
        rule["args"] = json!(args);
    }
    rule
}
