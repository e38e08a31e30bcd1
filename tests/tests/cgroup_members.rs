// SPDX-License-Identifier: Apache-2.0
//! Which processes a container has, and what they use.

use std::fs;

use outrigger_tests::{
    Bundle, Container, Runtime, TempUser, deviation, expect, host, needs_root, ours_only, skip,
};
use serde_json::{Value, json};

/// A container of three processes, which is there.
fn family() -> Container {
    let container = Container::of(Bundle::shell("sleep 1000 & sleep 1000 & wait"));
    let _ = container.run_detached().succeeded();
    let sleeps = |pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n")
    };
    // Counted before they are what they will be, they would still have the shell's name.
    host::wait_until("it has children", || {
        pids(&container).iter().filter(|pid| sleeps(pid)).count() == 2
    });
    container
}

fn pids(container: &Container) -> Vec<i32> {
    let outcome = container.call(&["ps", "--format", "json"]).finish().succeeded();
    serde_json::from_str(&outcome.stdout()).unwrap()
}

fn statistics(container: &Container) -> Value {
    let outcome = container.call(&["events", "--stats"]).finish().succeeded();
    let event: Value = serde_json::from_str(&outcome.stdout()).unwrap();
    assert_eq!(event["type"], "stats");
    assert_eq!(event["id"], container.id());
    event["data"].clone()
}

#[test]
fn ps_lists_the_pids_of_the_host() {
    needs_root!();
    let container = family();
    let expected = host::processes(container.id());
    let found: std::collections::BTreeSet<String> =
        pids(&container).iter().map(ToString::to_string).collect();
    assert_eq!(found, expected);
    assert!(pids(&container).contains(&container.pid()));
    let _ = container.delete_by_force().succeeded();
    container.assert_nothing_left();
}

#[test]
fn ps_prints_the_lines_of_ps() {
    needs_root!();
    if !expect::has_program("ps") {
        skip!("needs ps(1)");
    }
    let container = family();
    let table = container.call(&["ps"]).finish().succeeded().stdout();
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(table.lines().next().unwrap().contains("PID"), "{table}");
    let table = container.call(&["ps"]).args(&["-eo", "pid,comm"]).finish();
    let table = table.succeeded().stdout();
    assert_eq!(table.lines().filter(|l| l.ends_with("sleep")).count(), 2, "{table}");
    let _ = container.delete_by_force().succeeded();
    container.assert_nothing_left();
}

#[test]
fn without_a_cgroup_the_members_of_the_pid_namespace_are_meant() {
    needs_root!();
    ours_only!("needs a cgroup");
    let user = TempUser::shared();
    let runtime = Runtime::used_by(&user);
    let script = "trap 'exit 3' TERM; sleep 1000 & wait";
    let container = Container::by(&runtime, Bundle::shell(script).rootless(&user));
    let _ = container.run_detached().succeeded();
    host::wait_until("it has a child", || pids(&container).len() == 2);
    let _ = container.call(&["kill", "--all"]).arg("TERM").finish().succeeded();
    container.wait_for("stopped");
    let _ = container.delete().succeeded();
    let _ = container.run_detached().succeeded();
    let _ = container.call(&["kill", "--all"]).arg("KILL").finish().succeeded();
    container.wait_for("stopped");
    let _ = container.delete().succeeded();
    container.assert_nothing_left();
}

#[test]
fn statistics_are_those_of_the_container() {
    needs_root!();
    let bundle = Bundle::shell("sleep 1000 & sleep 1000 & wait")
        .with(|c| c["linux"]["resources"]["pids"] = json!({"limit": 40}));
    let container = Container::of(bundle);
    let _ = container.run_detached().succeeded();
    host::wait_until("it has children", || pids(&container).len() == 3);
    let data = statistics(&container);
    assert_eq!(data["pids"], json!({"current": 3, "limit": 40}));
    assert!(data["cpu"]["usage"]["total"].as_u64().unwrap() > 0, "{data}");
    assert!(data["memory"]["usage"]["usage"].as_u64().unwrap() > 0, "{data}");
    assert!(data["memory"]["raw"].is_object(), "{data}");
    let _ = container.delete_by_force().succeeded();
    container.call(&["events", "--stats"]).finish().failed();
    container.assert_nothing_left();
}

#[test]
fn events_come_until_the_container_ends() {
    needs_root!();
    deviation!("runc", "goes on after the end of the container");
    let script = "while [ ! -e /go ]; do usleep 10000; done; tail -n 1 /dev/zero; \
                  while [ ! -e /end ]; do usleep 10000; done";
    let bundle = Bundle::shell_in_own_rootfs(script).writable().with(|config| {
        config["linux"]["resources"]["memory"] = json!({"limit": 20_000_000, "swap": 20_000_000});
    });
    let container = Container::of(bundle);
    let _ = container.run_detached().succeeded();
    let events = container.call(&["events", "--interval", "50ms"]).start();
    host::wait_until("there are statistics", || events.stdout().contains("\"stats\""));
    fs::write(container.bundle().rootfs().join("go"), "").unwrap();
    host::wait_until("it is out of memory", || events.stdout().contains("\"oom\""));
    fs::write(container.bundle().rootfs().join("end"), "").unwrap();
    let text = events.finish().succeeded().stdout();
    for line in text.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        assert_eq!(event["id"], container.id());
    }
    let _ = container.delete().succeeded();
    container.assert_nothing_left();
}
