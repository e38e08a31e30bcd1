// SPDX-License-Identifier: Apache-2.0
//! Profiles and calls to try them with.

use oci_spec::runtime::LinuxSeccomp;
use serde_json::{Value, json};

use super::super::arch::{Arch, Call, X32_BIT};
use super::super::tables::{CALLS, Row};
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
    let rules = || profile.syscalls().iter().flatten();
    let mut values = vec![0, 1, 5, u64::MAX];
    for arg in rules().flat_map(|rule| rule.args().iter().flatten()) {
        for value in [arg.value(), arg.value_two().unwrap_or(0)] {
            let far = value ^ (1 << 32);
            values.extend([value, value.wrapping_add(1), value.wrapping_sub(1), far]);
        }
    }
    let names = rules().filter(|rule| rule.args().is_some()).flat_map(|rule| rule.names());
    let conditional: Vec<u32> = names
        .filter_map(|name| Call::find(name))
        .flat_map(|call| [Arch::X86_64, Arch::X86, Arch::X32].map(|arch| call.number(arch)))
        .flatten()
        .chain([102, 117])
        .collect();

    let numbers = (0..600).chain(X32_BIT..X32_BIT + 600);
    let mut calls = Vec::new();
    for number in numbers.chain([0x3fff_ffff, 0x7fff_ffff, u32::MAX]) {
        let tries = if conditional.contains(&number) { 60 } else { 1 };
        for audit in [0xc000_003e, 0x4000_0003, 0xc000_00b7] {
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
    pub(super) names: &'static [&'static str],
    /// Whether several rules name a call, and several conditions an argument.
    pub(super) repeats: bool,
}

/// Each has its own number on all ABIs of x86-64, and no other.
pub(super) const DIRECT: &[&str] = &[
    "read",
    "ioctl",
    "clone",
    "personality",
    "execve",
    "openat2",
    "rt_sigaction",
    "close",
    "dup2",
];

pub(super) const ALL: &[&str] = &[
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
    let mut names = kind.names.to_vec();
    let mut syscalls = Vec::new();
    for _ in 0..1 + random.below(12) {
        let mut taken = Vec::new();
        while taken.len() < 3 && (taken.is_empty() || random.below(3) > 0) && !names.is_empty() {
            let at = random.below(names.len());
            taken.push(if kind.repeats { names[at] } else { names.swap_remove(at) });
        }
        if !taken.is_empty() {
            syscalls.push(random_rule(random, kind, &taken));
        }
    }
    let mut profile = json!({
        "defaultAction": default, "architectures": architectures, "syscalls": syscalls,
    });
    if let Some(errno) = errno {
        profile["defaultErrnoRet"] = json!(errno);
    }
    profile
}

/// Conditions on so many calls, with an error each, that most jumps are too far for a comparison.
pub(super) fn wide_profile() -> Value {
    let rule = |(errno, (name, _)): (usize, &Row)| {
        json!({
            "names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": errno,
            "args": [{"index": errno % 6, "value": 5_u64 << 32, "op": "SCMP_CMP_GE"}],
        })
    };
    let syscalls: Vec<Value> = CALLS.iter().take(220).enumerate().map(rule).collect();
    json!({
        "defaultAction": "SCMP_ACT_KILL_PROCESS",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": syscalls,
    })
}

fn random_rule(random: &mut Random, kind: &Kind, names: &[&str]) -> Value {
    const VALUES: &[u64] = &[0, 1, 5, 16, 1 << 32, (1 << 33) + 5];
    const MASKS: &[u64] = &[1, 5, 0xffff_fff0, u64::MAX];
    let mut args: Vec<Value> = Vec::new();
    for i in 0..random.below(kind.max_args + 1) {
        let operator = random.pick(kind.operators);
        let values = if operator == "SCMP_CMP_MASKED_EQ" { MASKS } else { VALUES };
        args.push(json!({
            "index": if kind.repeats { random.below(3) } else { i },
            "value": random.pick(values),
            "valueTwo": random.pick(VALUES),
            "op": operator,
        }));
    }
    let mut rule = json!({"names": names, "action": random.pick(kind.actions)});
    if !args.is_empty() {
        rule["args"] = json!(args);
    }
    rule
}
