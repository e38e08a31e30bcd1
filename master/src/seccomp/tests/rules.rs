// SPDX-License-Identifier: Apache-2.0
//! What each part of a profile does.

use serde_json::{Value, json};

use super::super::{Arch, Program, compile};
use super::interpreter::{Data, check, run};
use super::samples::{PODMAN, profile};

const X86_64: u32 = 0xc000_003e;
const X86: u32 = 0x4000_0003;
const AARCH64: u32 = 0xc000_00b7;
const ARM: u32 = 0x4000_0028;
const X32_BIT: u32 = 0x4000_0000;

const KILL_THREAD: u32 = 0;
const KILL_PROCESS: u32 = 0x8000_0000;
const TRAP: u32 = 0x0003_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;
const NOTIFY: u32 = 0x7fc0_0000;
const LOG: u32 = 0x7ffc_0000;
const ALLOW: u32 = 0x7fff_0000;

fn program_on(native: Arch, value: Value) -> Program {
    let program = compile(&profile(value), native).unwrap();
    check(&program.filter);
    program
}

fn program(value: Value) -> Program {
    program_on(Arch::X86_64, value)
}

fn outcome(program: &Program, audit: u32, number: u32, args: [u64; 6]) -> u32 {
    run(&program.filter, &Data { number, audit, args }).0
}

/// The outcome of a call without arguments.
fn bare(program: &Program, audit: u32, number: u32) -> u32 {
    outcome(program, audit, number, [0; 6])
}

#[test]
fn each_action_is_the_kernels() {
    for (action, errno, expected) in [
        ("SCMP_ACT_KILL", None, KILL_THREAD),
        ("SCMP_ACT_KILL_THREAD", None, KILL_THREAD),
        ("SCMP_ACT_KILL_PROCESS", None, KILL_PROCESS),
        ("SCMP_ACT_TRAP", None, TRAP),
        ("SCMP_ACT_ERRNO", None, EPERM),
        ("SCMP_ACT_ERRNO", Some(0), 0x0005_0000),
        ("SCMP_ACT_ERRNO", Some(4095), 0x0005_0fff),
        ("SCMP_ACT_TRACE", None, 0x7ff0_0001),
        ("SCMP_ACT_TRACE", Some(0xffff), 0x7ff0_ffff),
        ("SCMP_ACT_LOG", None, LOG),
        ("SCMP_ACT_NOTIFY", None, NOTIFY),
    ] {
        let program = program(json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": "/run/agent.sock",
            "syscalls": [{"names": ["getcwd"], "action": action, "errnoRet": errno}],
        }));
        assert_eq!(bare(&program, X86_64, 79), expected, "{action}");
        assert_eq!(bare(&program, X86_64, 80), ALLOW);
        assert_eq!(program.listener, action == "SCMP_ACT_NOTIFY");
        assert_eq!(program.flags, 0);
    }
}

#[test]
fn unlisted_architectures_are_killed() {
    let one = program(json!({"defaultAction": "SCMP_ACT_ALLOW"}));
    assert_eq!(bare(&one, X86_64, 0), ALLOW);
    assert_eq!(bare(&one, X86, 3), KILL_THREAD);
    assert_eq!(bare(&one, AARCH64, 0), KILL_THREAD);
    assert_eq!(bare(&one, X86_64, X32_BIT), KILL_THREAD);
    assert_eq!(bare(&one, X86_64, u32::MAX - 1), KILL_THREAD);
    assert_eq!(bare(&one, X86_64, u32::MAX), ALLOW, "a skipped call");

    let all = program(json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_MIPS64N32"],
    }));
    assert_eq!(bare(&all, X86_64, 0), ALLOW);
    assert_eq!(bare(&all, X86_64, X32_BIT), ALLOW);
    assert_eq!(bare(&all, X86, 3), ALLOW);
    assert_eq!(bare(&all, 0xa000_0008, 3), KILL_THREAD, "no machine here reports MIPS");
}

#[test]
fn arm_machines_have_their_own_numbers() {
    let program = program_on(
        Arch::Aarch64,
        json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "architectures": ["SCMP_ARCH_NATIVE", "SCMP_ARCH_ARM"],
            "syscalls": [{"names": ["execve", "set_tls"], "action": "SCMP_ACT_ALLOW"}],
        }),
    );
    assert_eq!(bare(&program, AARCH64, 221), ALLOW);
    assert_eq!(bare(&program, AARCH64, 59), EPERM);
    assert_eq!(bare(&program, AARCH64, 222), ENOSYS);
    assert_eq!(bare(&program, ARM, 11), ALLOW);
    assert_eq!(bare(&program, ARM, 12), ENOSYS, "a private call is no sign of age");
    assert_eq!(bare(&program, ARM, 0xf0005), ALLOW);
    assert_eq!(bare(&program, ARM, 0xf0006), EPERM);
    assert_eq!(bare(&program, X86_64, 0), KILL_THREAD);
}

/// openat2 is 437 everywhere. close_range, which has the default action itself, is 436.
fn refusing(action: &str, errno: Option<u32>, architectures: &[&str], names: &[&str]) -> Program {
    program(json!({
        "defaultAction": action,
        "defaultErrnoRet": errno,
        "architectures": architectures,
        "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
            {"names": names, "action": action, "errnoRet": errno},
        ],
    }))
}

#[test]
fn calls_newer_than_the_profile_do_not_exist() {
    let listed = &["SCMP_ARCH_X86_64", "SCMP_ARCH_X32", "SCMP_ARCH_X86"];
    for (action, errno, default) in [
        ("SCMP_ACT_ERRNO", None, EPERM),
        ("SCMP_ACT_ERRNO", Some(13), 0x0005_000d),
        ("SCMP_ACT_KILL_PROCESS", None, KILL_PROCESS),
        ("SCMP_ACT_TRAP", None, TRAP),
    ] {
        let program = refusing(action, errno, listed, &["close_range"]);
        for (audit, bit) in [(X86_64, 0), (X86_64, X32_BIT), (X86, 0)] {
            assert_eq!(bare(&program, audit, 436 | bit), default, "{action}");
            assert_eq!(bare(&program, audit, 437 | bit), ENOSYS, "{action}");
            assert_eq!(bare(&program, audit, 0x3fff_0000 | bit), ENOSYS, "{action}");
        }
    }
}

#[test]
fn newer_calls_are_not_set_apart_where_runc_does_not() {
    let unlisted = refusing("SCMP_ACT_ERRNO", None, &["SCMP_ARCH_X86"], &["close_range"]);
    assert_eq!(bare(&unlisted, X86_64, 437), EPERM);
    assert_eq!(bare(&unlisted, X86, 437), ENOSYS);

    for (action, errno, default) in
        [("SCMP_ACT_LOG", None, LOG), ("SCMP_ACT_TRACE", Some(3), 0x7ff0_0003)]
    {
        let program = refusing(action, errno, &["SCMP_ARCH_X86_64"], &["close_range"]);
        assert_eq!(bare(&program, X86_64, 437), default);
    }
    let nameless = program(json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["no_such_call"], "action": "SCMP_ACT_ALLOW"}],
    }));
    assert_eq!(bare(&nameless, X86_64, 437), EPERM);
}

#[test]
fn rules_with_the_default_action_are_ignored() {
    let program = program(json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [
            {"names": ["getcwd", "dup"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
            {"names": ["getcwd"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["dup"], "action": "SCMP_ACT_ERRNO", "errnoRet": 2},
        ],
    }));
    assert_eq!(bare(&program, X86_64, 79), ALLOW);
    assert_eq!(bare(&program, X86_64, 32), 0x0005_0002, "another error is another action");
}

#[test]
fn first_rule_without_conditions_wins() {
    let program = program(json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [
            {"names": ["getcwd"], "action": "SCMP_ACT_TRAP",
             "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]},
            {"names": ["getcwd"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["getcwd"], "action": "SCMP_ACT_KILL"},
        ],
    }));
    assert_eq!(outcome(&program, X86_64, 79, [1, 0, 0, 0, 0, 0]), ALLOW);
}

#[test]
fn empty_mask_is_no_condition() {
    let program = program(json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86"],
        "syscalls": [{"names": ["getcwd"], "action": "SCMP_ACT_ALLOW", "args": [
            {"index": 0, "value": 0xff_0000_0000_u64, "valueTwo": 7, "op": "SCMP_CMP_MASKED_EQ"},
        ]}],
    }));
    assert_eq!(outcome(&program, X86, 183, [0x12_0000_0003, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(outcome(&program, X86_64, 79, [0x12_0000_0003, 0, 0, 0, 0, 0]), EPERM);
    assert_eq!(outcome(&program, X86_64, 79, [0x1200_0000_0003, 0, 0, 0, 0, 0]), ALLOW);
}

#[test]
fn conditions_are_all_needed_unless_an_argument_comes_twice() {
    let with = |args: Value| {
        program(json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [{"names": ["getcwd"], "action": "SCMP_ACT_ALLOW", "args": args}],
        }))
    };
    let equal =
        |index: u32, value: u64| json!({"index": index, "value": value, "op": "SCMP_CMP_EQ"});
    let both = with(json!([equal(0, 1), equal(1, 2)]));
    assert_eq!(outcome(&both, X86_64, 79, [1, 2, 0, 0, 0, 0]), ALLOW);
    assert_eq!(outcome(&both, X86_64, 79, [1, 3, 0, 0, 0, 0]), EPERM);
    let either = with(json!([equal(0, 1), equal(1, 2), equal(1, 3)]));
    assert_eq!(outcome(&either, X86_64, 79, [1, 9, 0, 0, 0, 0]), ALLOW);
    assert_eq!(outcome(&either, X86_64, 79, [9, 3, 0, 0, 0, 0]), ALLOW);
    assert_eq!(outcome(&either, X86_64, 79, [9, 9, 0, 0, 0, 0]), EPERM);
}

/// The order was read off libseccomp 2.5.4; see the comparison with it.
#[test]
fn overlapping_rules_are_tried_in_the_librarys_order() {
    let rule = |action: &str, index: u32, op: &str, value: u64| {
        let arg = json!({"index": index, "op": format!("SCMP_CMP_{op}"), "value": value});
        json!({"names": ["getcwd"], "action": action, "args": [arg]})
    };
    let either_way = |first: &Value, second: &Value, args: [u64; 6]| {
        let mut outcomes = [[first, second], [second, first]].map(|rules| {
            let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules});
            outcome(&program(profile), X86_64, 79, args)
        });
        outcomes.sort_unstable();
        assert_eq!(outcomes[0], outcomes[1], "the profile's order does not count");
        outcomes[0]
    };
    let ten = [10, 10, 0, 0, 0, 0];
    let wide = rule("SCMP_ACT_LOG", 0, "GE", 5);
    assert_eq!(either_way(&wide, &rule("SCMP_ACT_TRAP", 0, "EQ", 10), ten), TRAP);
    assert_eq!(either_way(&wide, &rule("SCMP_ACT_TRAP", 0, "LT", 11), ten), TRAP);
    assert_eq!(either_way(&wide, &rule("SCMP_ACT_TRAP", 0, "GT", 9), ten), TRAP);
    assert_eq!(either_way(&wide, &rule("SCMP_ACT_TRAP", 0, "GT", 4), ten), LOG);
    assert_eq!(either_way(&wide, &rule("SCMP_ACT_TRAP", 1, "GT", 0), ten), TRAP);
    let low = rule("SCMP_ACT_LOG", 0, "LE", 20);
    assert_eq!(either_way(&low, &rule("SCMP_ACT_TRAP", 0, "LE", 19), ten), TRAP);
}

#[test]
fn sockets_and_ipc_of_x86_are_found_behind_both_numbers() {
    let program = program(json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86"],
        "syscalls": [
            {"names": ["socket", "accept"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["shmget"], "action": "SCMP_ACT_TRAP", "args": [
                {"index": 0, "value": 77, "op": "SCMP_CMP_EQ"},
                {"index": 1, "value": 88, "op": "SCMP_CMP_EQ"},
            ]},
        ],
    }));
    assert_eq!(bare(&program, X86, 359), ALLOW);
    assert_eq!(outcome(&program, X86, 102, [1, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(outcome(&program, X86, 102, [5, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(outcome(&program, X86, 102, [2, 0, 0, 0, 0, 0]), EPERM);
    assert_eq!(outcome(&program, X86, 395, [77, 88, 0, 0, 0, 0]), TRAP);
    assert_eq!(outcome(&program, X86, 117, [23, 88, 0, 0, 0, 0]), TRAP);
    assert_eq!(outcome(&program, X86, 117, [23, 0, 0, 0, 0, 0]), EPERM);
}

#[test]
fn flags_are_the_kernels() {
    let flags = |flags: &[&str], action: &str| {
        let program = program(json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": "/run/agent.sock",
            "flags": flags,
            "syscalls": [{"names": ["getcwd"], "action": action}],
        }));
        (program.flags, program.listener)
    };
    let [tsync, log, spec, wait] = [
        "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_LOG",
        "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    ];
    assert_eq!(flags(&[], "SCMP_ACT_LOG"), (0, false));
    assert_eq!(flags(&[tsync, log, spec], "SCMP_ACT_LOG"), (1 | 2 | 4, false));
    assert_eq!(flags(&[tsync, wait], "SCMP_ACT_NOTIFY"), (1 | 16 | 32, true));
}

#[test]
fn podmans_profile_makes_a_short_search() {
    let program = program(serde_json::from_str(PODMAN).unwrap());
    assert!(program.filter.len() < 700, "{} instructions", program.filter.len());
    let longest = |audit, first: u32| {
        let steps = |number| run(&program.filter, &Data { number, audit, args: [0; 6] }).1;
        (first..first + 512).map(steps).max().unwrap()
    };
    for (audit, first) in [(X86_64, 0), (X86_64, X32_BIT), (X86, 0)] {
        let steps = longest(audit, first);
        assert!(steps <= 25, "{steps} instructions for a call");
    }
}
