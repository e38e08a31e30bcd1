// SPDX-License-Identifier: Apache-2.0
//! Limits: what the kernel's files say, and what the container's processes feel of them.

#![allow(clippy::needless_pass_by_value, reason = "made in the call")]

use std::fs;
use std::path::PathBuf;

use outrigger_tests::{
    Bundle, Container, Runtime, TempUser, expect, host, needs_root, ours_only, output, refused,
    skip,
};
use serde_json::{Value, json};

macro_rules! needs_version_1 {
    () => {
        needs_root!();
        if !expect::has_cgroup_v1() {
            skip!("needs a cgroup hierarchy of version 1");
        }
    };
}

fn limited(bundle: Bundle, resources: Value) -> Bundle {
    bundle.with(|config| {
        let place = config["linux"]["resources"].as_object_mut().unwrap();
        place.extend(resources.as_object().unwrap().clone());
    })
}

fn sleeper(resources: Value) -> Container {
    Container::of(limited(Bundle::new().args(&["sleep", "1000"]), resources))
}

/// A control file of a container that is there.
fn control(container: &Container, file: &str) -> PathBuf {
    let found = host::cgroups(container.id()).into_iter().map(|dir| dir.join(file));
    found.into_iter().find(|path| path.exists()).unwrap_or_else(|| panic!("no {file}"))
}

fn value(container: &Container, file: &str) -> String {
    fs::read_to_string(control(container, file)).unwrap().trim_end().to_owned()
}

#[test]
fn limits_of_the_config_are_in_the_files_of_the_kernel() {
    needs_version_1!();
    let container = sleeper(json!({
        "memory": {"limit": 67_108_864, "swap": 134_217_728, "reservation": 33_554_432,
            "swappiness": 7},
        "cpu": {"shares": 512, "quota": 40_000, "period": 80_000, "burst": 1000, "cpus": "0",
            "mems": "0"},
        "pids": {"limit": 77},
    }));
    let _ = container.run_detached().succeeded();
    for (file, expected) in [
        ("memory.limit_in_bytes", "67108864"),
        ("memory.memsw.limit_in_bytes", "134217728"),
        ("memory.soft_limit_in_bytes", "33554432"),
        ("memory.swappiness", "7"),
        ("cpu.shares", "512"),
        ("cpu.cfs_quota_us", "40000"),
        ("cpu.cfs_period_us", "80000"),
        ("cpuset.cpus", "0"),
        ("cpuset.mems", "0"),
        ("pids.max", "77"),
    ] {
        assert_eq!(value(&container, file), expected, "{file}");
    }
    let _ = container.delete_by_force().succeeded();
    container.assert_nothing_left();
}

#[test]
fn a_process_that_needs_more_memory_than_the_limit_is_killed() {
    needs_version_1!();
    // tail keeps all of a line that does not end.
    let script = "tail -n 1 /dev/zero; echo status $?";
    let memory = json!({"memory": {"limit": 20_000_000, "swap": 20_000_000}});
    assert_eq!(output(limited(Bundle::shell(script), memory)), "status 137\n");
}

#[test]
fn no_more_processes_than_the_limit_can_be_made() {
    needs_version_1!();
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo all";
    let bundle = limited(Bundle::shell(script), json!({"pids": {"limit": 5}}));
    let container = Container::of(bundle);
    let outcome = container.run();
    assert!(!outcome.stdout().contains("all"), "{}", outcome.stdout());
    assert!(outcome.stderr().contains("can't fork"), "{}", outcome.stderr());
    container.assert_nothing_left();
}

#[test]
fn processors_outside_the_set_are_not_used() {
    needs_version_1!();
    let script = "grep Cpus_allowed_list /proc/self/status";
    let bundle = limited(Bundle::shell(script), json!({"cpu": {"cpus": "0"}}));
    assert_eq!(output(bundle).split_ascii_whitespace().last(), Some("0"));
}

#[test]
fn a_quota_slows_the_container_down() {
    needs_version_1!();
    let spin = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; sleep 1000";
    let cpu = json!({"cpu": {"quota": 5000, "period": 100_000}});
    let container = Container::of(limited(Bundle::shell(spin), cpu));
    let _ = container.run_detached().succeeded();
    let throttled = || {
        let text = value(&container, "cpu.stat");
        let line = text.lines().find_map(|l| l.strip_prefix("nr_throttled ")).unwrap().to_owned();
        line.parse::<u64>().unwrap() > 0
    };
    host::wait_until("it is throttled", throttled);
    let _ = container.delete_by_force().succeeded();
    container.assert_nothing_left();
}

#[test]
fn no_limit_and_nothing_given_leave_the_kernel_s_defaults() {
    needs_version_1!();
    let container = sleeper(json!({
        "memory": {"limit": -1, "swap": -1, "reservation": 0, "disableOOMKiller": false},
        "cpu": {"shares": 0, "quota": -1, "period": 0, "cpus": "", "mems": ""},
        "pids": {"limit": -1},
        "blockIO": {"weight": 0, "weightDevice": null},
    }));
    let _ = container.run_detached().succeeded();
    for (file, expected) in
        [("pids.max", "max"), ("cpu.cfs_quota_us", "-1"), ("cpu.shares", "1024")]
    {
        assert_eq!(value(&container, file), expected, "{file}");
    }
    assert!(value(&container, "memory.limit_in_bytes").len() > 15);
    let _ = container.delete_by_force().succeeded();
    container.assert_nothing_left();
}

#[test]
fn a_value_that_the_kernel_refuses_is_told_with_its_file() {
    needs_version_1!();
    ours_only!("names the file alone");
    let bundle = Bundle::new().args(&["true"]);
    let line = refused(limited(bundle, json!({"cpu": {"cpus": "4000-4001"}})));
    for part in ["linux.resources.cpu.cpus", "\"4000-4001\"", "cpuset.cpus", "/sys/fs/cgroup/"] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[test]
fn a_limit_whose_controller_is_not_there_is_refused() {
    needs_version_1!();
    ours_only!("has other words for it");
    if fs::exists("/sys/fs/cgroup/net_cls").unwrap() {
        skip!("this host has the controller net_cls");
    }
    let class = json!({"network": {"classID": 1_048_577}});
    let line = refused(limited(Bundle::new().args(&["true"]), class));
    assert!(line.contains("linux.resources.network.classID: needs the cgroup"), "{line}");
    let unified = json!({"unified": {"memory.max": "5000000"}});
    let line = refused(limited(Bundle::new().args(&["true"]), unified));
    assert!(line.contains("linux.resources.unified.memory.max"), "{line}");
}

#[test]
fn an_ordinary_user_without_delegated_cgroups_gets_no_limit() {
    needs_version_1!();
    ours_only!("runs without the limit");
    let user = TempUser::shared();
    let bundle = Bundle::new().args(&["true"]).rootless(&user);
    let bundle = bundle.with(|c| c["linux"]["resources"] = json!({"pids": {"limit": 5}}));
    let container = Container::by(&Runtime::used_by(&user), bundle);
    container.create().failed_with("linux.resources.pids.limit: needs the cgroup controller pids");
    let bundle = Bundle::new().args(&["true"]).rootless(&user);
    let bundle = bundle.with(|c| c["linux"]["resources"] = json!({"pids": {"limit": -1}}));
    let _ = Container::by(&Runtime::used_by(&user), bundle).run().succeeded();
}

fn update(container: &Container, options: &[&str]) {
    let _ = container.call(&["update"]).args(options).finish().succeeded();
}

#[test]
fn update_changes_what_its_options_say_and_nothing_else() {
    needs_version_1!();
    let container = sleeper(json!({"pids": {"limit": 50}, "memory": {"limit": 67_108_864,
        "swap": 67_108_864}}));
    let _ = container.run_detached().succeeded();
    update(&container, &["--cpu-share", "256", "--cpu-quota", "30000", "--cpu-period", "60000"]);
    update(&container, &["--cpuset-cpus", "0"]);
    // Both ways: the kernel keeps the one below the other at every moment.
    update(&container, &["--memory", "128M", "--memory-swap", "256M"]);
    update(&container, &["--memory", "33554432", "--memory-swap", "33554432"]);
    for (file, expected) in [
        ("cpu.shares", "256"),
        ("cpu.cfs_quota_us", "30000"),
        ("cpu.cfs_period_us", "60000"),
        ("cpuset.cpus", "0"),
        ("memory.limit_in_bytes", "33554432"),
        ("memory.memsw.limit_in_bytes", "33554432"),
        ("pids.max", "50"),
    ] {
        assert_eq!(value(&container, file), expected, "{file}");
    }
    update(&container, &["--pids-limit", "-1"]);
    assert_eq!(value(&container, "pids.max"), "max");
    let _ = container.delete_by_force().succeeded();
    container.assert_nothing_left();
}

#[test]
fn update_reads_resources_from_a_file_and_from_stdin() {
    needs_version_1!();
    let container = sleeper(json!({}));
    let _ = container.create().succeeded();
    let file = container.bundle().path().join("resources.json");
    fs::write(&file, r#"{"pids": {"limit": 33}, "cpu": {"shares": 300}, "devices": []}"#).unwrap();
    let file_name = file.to_str().unwrap();
    update(&container, &["--resources", file_name]);
    assert_eq!(value(&container, "pids.max"), "33");
    assert_eq!(value(&container, "cpu.shares"), "300");
    fs::write(&file, r#"{"pids": {"limit": 34}}"#).unwrap();
    let stdin = fs::File::open(&file).unwrap();
    let call = container.call(&["update"]).args(&["-r", "-"]).stdin(stdin);
    let _ = call.finish().succeeded();
    assert_eq!(value(&container, "pids.max"), "34");
    assert_eq!(value(&container, "cpu.shares"), "300");
    let _ = container.delete_by_force().succeeded();
    container.assert_nothing_left();
}

#[test]
fn update_that_cannot_be_done_says_why() {
    needs_version_1!();
    ours_only!("has other words for it");
    let container = sleeper(json!({}));
    let update = |options: &[&str]| container.call(&["update"]).args(options).finish();
    update(&["--pids-limit", "5"]).failed_with("does not exist");
    let _ = container.run_detached().succeeded();
    update(&["--cpuset-cpus", "4000"]).failed_with("linux.resources.cpu.cpus");
    update(&["--memory", "1X"]).failed_with("--memory");
    update(&["--resources", "/no/such/file"]).failed_with("--resources /no/such/file");
    container.stop();
    update(&["--pids-limit", "5"]).failed_with("container not running");
    let _ = container.delete().succeeded();
    container.assert_nothing_left();
}
