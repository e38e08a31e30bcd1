// SPDX-License-Identifier: Apache-2.0
//! What profiles are refused for, and how that is said.

use serde_json::{Value, json};

use super::super::{Arch, compile};
use super::samples::profile;

fn refusal(value: Value) -> String {
    let problems = compile(&profile(value), Arch::X86_64).unwrap_err();
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// A profile with one rule.
fn with_rule(rule: &Value) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent.sock", "syscalls": [rule]})
}

#[test]
fn defaults_that_cannot_work_are_refused() {
    assert!(
        refusal(json!({"defaultAction": "SCMP_ACT_NOTIFY"}))
            .starts_with("linux.seccomp.defaultAction: is SCMP_ACT_NOTIFY")
    );
    assert_eq!(
        refusal(json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096})),
        "linux.seccomp.defaultErrnoRet: is 4096, and SCMP_ACT_ERRNO takes at most 4095"
    );
    assert_eq!(
        refusal(json!({"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1})),
        "linux.seccomp.defaultErrnoRet: is set, but SCMP_ACT_ALLOW returns no error; remove one of \
         the two"
    );
}

#[test]
fn rules_that_cannot_work_are_refused() {
    for (rule, expected) in [
        (json!({"names": [], "action": "SCMP_ACT_LOG"}), "syscalls[0].names: is empty"),
        (
            json!({"names": ["read", ""], "action": "SCMP_ACT_LOG"}),
            "syscalls[0].names[1]: is empty",
        ),
        (
            json!({"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 70000}),
            "syscalls[0].errnoRet: is 70000, and SCMP_ACT_ERRNO takes at most 4095",
        ),
        (
            json!({"names": ["read"], "action": "SCMP_ACT_TRACE", "errnoRet": 65536}),
            "syscalls[0].errnoRet: is 65536, and SCMP_ACT_TRACE takes at most 65535",
        ),
        (
            json!({"names": ["read"], "action": "SCMP_ACT_KILL", "errnoRet": 1}),
            "syscalls[0].errnoRet: is set, but SCMP_ACT_KILL returns no error",
        ),
        (
            json!({"names": ["read"], "action": "SCMP_ACT_LOG", "args": [
                {"index": 5, "value": 0, "op": "SCMP_CMP_EQ"},
                {"index": 6, "value": 0, "op": "SCMP_CMP_EQ"},
            ]}),
            "syscalls[0].args[1].index: is 6, and a call has the arguments 0 to 5",
        ),
        (
            json!({"names": ["read", "write"], "action": "SCMP_ACT_NOTIFY"}),
            "syscalls[0].action: is SCMP_ACT_NOTIFY for write",
        ),
    ] {
        let refusal = refusal(with_rule(&rule));
        assert!(refusal.starts_with(&format!("linux.seccomp.{expected}")), "{refusal}");
    }
}

#[test]
fn agents_and_their_rules_belong_together() {
    let notify = json!([{"names": ["getcwd"], "action": "SCMP_ACT_NOTIFY"}]);
    assert_eq!(
        refusal(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": notify})),
        "linux.seccomp.listenerPath: is not set, but syscalls[0] has SCMP_ACT_NOTIFY; name the \
         agent's socket"
    );
    assert_eq!(
        refusal(json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x"})),
        "linux.seccomp.listenerMetadata: is set without listenerPath; remove it"
    );
    assert_eq!(
        refusal(json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        })),
        "linux.seccomp.flags[1]: is SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, but no rule has \
         SCMP_ACT_NOTIFY; remove it"
    );
    let unused = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent.sock"});
    assert!(!compile(&profile(unused), Arch::X86_64).unwrap().listener);
}

#[test]
fn words_that_are_not_of_the_spec_are_refused_at_parsing() {
    for value in [
        json!({"defaultAction": "SCMP_ACT_DENY"}),
        json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_NEW_LISTENER"]}),
        json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_PDP11"]}),
    ] {
        assert!(serde_json::from_value::<oci_spec::runtime::LinuxSeccomp>(value).is_err());
    }
}

#[test]
fn contradictions_are_refused() {
    let rule =
        |action: &str, args: Value| json!({"names": ["getcwd"], "action": action, "args": args});
    let equal =
        |index: u32, value: u64| json!({"index": index, "value": value, "op": "SCMP_CMP_EQ"});
    let contradiction = "linux.seccomp.syscalls[1]: has another action than syscalls[0] for a call \
                         with the same arguments; make their args differ or remove one";
    let compile_both = |first: Value, second: Value| {
        let value = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [first, second]});
        compile(&profile(value), Arch::X86_64)
    };
    let trap = rule("SCMP_ACT_TRAP", json!([equal(0, 1)]));
    let log = rule("SCMP_ACT_LOG", json!([equal(0, 1)]));
    let log_more = rule("SCMP_ACT_LOG", json!([equal(0, 1), equal(1, 2)]));

    for (first, second) in [(&trap, &log), (&log_more, &trap)] {
        let problems = compile_both(first.clone(), second.clone()).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].to_string(), contradiction);
    }
    compile_both(trap, log_more).expect("the second is covered by the first");
}

#[test]
fn programs_too_long_for_the_kernel_are_refused() {
    let args = json!([{"index": 0, "value": 1, "op": "SCMP_CMP_GT"}]);
    let rules: Vec<Value> = (0..900)
        .map(|i| {
            let mut args = args.clone();
            args[0]["value"] = json!((1_u64 << 40) + i);
            json!({"names": ["getcwd"], "action": "SCMP_ACT_LOG", "args": args})
        })
        .collect();
    let refusal = refusal(json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}));
    assert!(
        refusal.starts_with("linux.seccomp.syscalls: makes a program of 4")
            && refusal.contains("the kernel takes 4096"),
        "{refusal}"
    );
}
