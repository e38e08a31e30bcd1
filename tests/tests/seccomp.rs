// SPDX-License-Identifier: Apache-2.0
//! The container's system calls go through the config's filter.

use outrigger_tests::{Bundle, Container, needs_root, ours_only, output, run};
use serde_json::{Value, json};

/// Everything is allowed but what `rules` say.
fn with_rules(bundle: Bundle, rules: &Value) -> Bundle {
    bundle.with(|config| {
        config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules});
    })
}

/// mkdir fails with this errno, whichever call the C library makes.
fn mkdir_fails_with(errno: u32) -> Value {
    let names = ["mkdir", "mkdirat"];
    json!([{"names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno}])
}

const MKDIR: &str = "mkdir /tmp/x 2>&1 || true; grep -E '^Seccomp:' /proc/self/status";

/// /tmp is writable.
fn shell(script: &str) -> Bundle {
    Bundle::shell(script).with(|config| {
        let mounts = config["mounts"].as_array_mut().unwrap();
        mounts.push(json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}));
    })
}

#[test]
fn a_call_fails_with_the_errno_of_its_rule() {
    needs_root!();
    let text = output(with_rules(shell(MKDIR), &mkdir_fails_with(28)));
    assert!(text.contains("No space left on device"), "{text}");
    assert!(text.contains("Seccomp:\t2"), "{text}");
}

#[test]
fn without_a_profile_there_is_no_filter() {
    needs_root!();
    let text = output(shell(MKDIR));
    assert_eq!(text, "Seccomp:\t0\n");
}

#[test]
fn a_process_that_may_gain_privileges_is_filtered_too() {
    needs_root!();
    let bundle = with_rules(shell(MKDIR), &mkdir_fails_with(28));
    let text = output(bundle.with(|config| config["process"]["noNewPrivileges"] = json!(false)));
    assert!(text.contains("No space left on device") && text.contains("Seccomp:\t2"), "{text}");
}

#[test]
fn an_ordinary_user_without_capabilities_is_filtered_too() {
    needs_root!();
    for no_new_privileges in [true, false] {
        let bundle = with_rules(shell(MKDIR), &mkdir_fails_with(28)).with(|config| {
            config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
            config["process"]["capabilities"] = json!({});
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
        });
        let text = output(bundle.with(|config| {
            config["mounts"].as_array_mut().unwrap().last_mut().unwrap()["options"] =
                json!(["mode=1777"]);
        }));
        assert!(text.contains("No space left on device"), "{no_new_privileges}: {text}");
    }
}

#[test]
fn arguments_of_a_call_are_looked_at() {
    needs_root!();
    let rule = json!([{"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28,
        "args": [{"index": 1, "value": 15, "op": "SCMP_CMP_EQ"}]}]);
    let script = "trap 'echo hangup' HUP; kill -HUP $$; kill -TERM $$ 2>&1; echo alive";
    let text = output(with_rules(shell(script), &rule));
    assert!(text.contains("hangup") && text.contains("alive"), "{text}");
    assert!(text.contains("No space left on device"), "{text}");
}

#[test]
fn a_killed_process_is_seen_as_killed() {
    needs_root!();
    let rule = json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}]);
    let bundle = with_rules(shell(""), &rule);
    let outcome = run(bundle.args(&["mkdir", "/tmp/x"]));
    assert_eq!(outcome.code(), Some(128 + 31));
}

#[test]
fn the_filter_is_there_after_start_as_after_run() {
    needs_root!();
    let container = Container::of(with_rules(shell(MKDIR), &mkdir_fails_with(28)));
    let created = container.create().succeeded();
    let _ = container.start().succeeded();
    container.wait_for("stopped");
    assert!(created.stdout().contains("Seccomp:\t2"), "{}", created.stdout());
}

#[test]
fn s01_a_profile_that_forbids_what_a_start_needs_fails_and_does_not_hang() {
    needs_root!();
    ours_only!("reports it in words of its own");
    for call in ["execve", "write", "close", "exit_group", "futex", "openat", "read"] {
        for action in ["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_ERRNO"] {
            let rule = json!([{"names": [call], "action": action}]);
            let bundle = with_rules(Bundle::new().args(&["true"]), &rule);
            // Some of them are not needed by so small a program.
            let outcome = run(bundle);
            assert!(outcome.code().is_some(), "{call} {action}");
        }
    }
}

#[test]
fn s02_profiles_that_make_no_sense_are_refused_by_their_field() {
    needs_root!();
    ours_only!("words of its own");
    for (profile, field) in [
        (json!({"defaultAction": "SCMP_ACT_NOTIFY"}), "linux.seccomp.defaultAction"),
        (
            json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 5000}),
            "linux.seccomp.defaultErrnoRet",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir"],
                "action": "SCMP_ACT_ERRNO", "args": [{"index": 9, "value": 1, "op": "SCMP_CMP_EQ"}]}]}),
            "linux.seccomp.syscalls[0].args[0].index",
        ),
    ] {
        let bundle = Bundle::new().with(|config| config["linux"]["seccomp"] = profile.clone());
        Container::of(bundle).create().failed_with(field);
    }
}
