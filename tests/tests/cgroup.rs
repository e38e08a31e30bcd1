// SPDX-License-Identifier: Apache-2.0
//! A container's cgroups, and the devices that its processes may use.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use outrigger_tests::container::unique_id;
use outrigger_tests::{
    Bundle, Container, Runtime, deviation, expect, host, needs_root, ours_only, output, skip,
};
use serde_json::{Value, json};

/// A container whose cgroup is of this path, in which `ID` stands for its name.
fn in_cgroup(path: &str, bundle: Bundle) -> Container {
    let id = unique_id();
    let path = path.replace("ID", &id);
    let bundle = bundle.with(|config| config["linux"]["cgroupsPath"] = json!(path));
    Container::named(&id, &Runtime::under_test(), bundle)
}

/// The cgroup of a process by hierarchy: the controllers of version 1, nothing for version 2.
fn cgroups_of(pid: i32) -> BTreeMap<String, String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let entry = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1).map(str::to_owned);
        (fields.next().unwrap(), fields.next().unwrap())
    };
    text.lines().map(entry).collect()
}

fn own_cgroups() -> BTreeMap<String, String> {
    cgroups_of(i32::try_from(std::process::id()).unwrap())
}

#[test]
fn the_process_is_in_the_cgroup_of_the_config_in_every_hierarchy() {
    needs_root!();
    let container = in_cgroup("/ID", Bundle::shell("sleep 1000 & wait"));
    let _ = container.create().succeeded();
    let expected = format!("/{}", container.id());
    let assert_placed = |pid| {
        for (hierarchy, path) in cgroups_of(pid) {
            // The one of version 2 is beside the others and need not be used.
            assert!(path == expected || hierarchy.is_empty(), "{hierarchy}: {path}");
        }
    };
    assert_placed(container.pid());
    let _ = container.start().succeeded();
    assert_placed(container.pid());
    let children = format!("/proc/{0}/task/{0}/children", container.pid());
    host::wait_until("it has a child", || !fs::read_to_string(&children).unwrap().is_empty());
    assert_placed(fs::read_to_string(&children).unwrap().trim().parse().unwrap());
    let _ = container.delete_by_force().succeeded();
    container.assert_nothing_left();
}

#[test]
fn a_relative_cgroup_path_is_taken_too() {
    needs_root!();
    let container = in_cgroup("ID", Bundle::new().args(&["sleep", "1000"]));
    let _ = container.run_detached().succeeded();
    let cgroups = cgroups_of(container.pid());
    let found = cgroups.values().filter(|path| path.ends_with(container.id())).count();
    assert!(found + 1 >= cgroups.len(), "{cgroups:?}");
    let _ = container.delete_by_force().succeeded();
    container.assert_nothing_left();
}

#[test]
fn without_a_cgroup_path_the_container_has_cgroups_of_its_own() {
    needs_root!();
    let container = Container::of(Bundle::new().args(&["sleep", "1000"]));
    let _ = container.run_detached().succeeded();
    assert!(!host::cgroups(container.id()).is_empty());
    for (hierarchy, path) in cgroups_of(container.pid()) {
        assert!(path.ends_with(container.id()) || hierarchy.is_empty(), "{hierarchy}: {path}");
    }
    let _ = container.delete_by_force().succeeded();
    container.assert_nothing_left();
}

#[test]
fn the_caller_stays_in_its_cgroups() {
    needs_root!();
    let before = own_cgroups();
    let _ = output(Bundle::new().args(&["true"]));
    assert_eq!(own_cgroups(), before);
}

#[test]
fn parents_that_were_made_go_with_the_last_container() {
    needs_root!();
    deviation!("runc", "leaves the parents of a cgroup behind");
    let container = in_cgroup("/ID-parent/ID", Bundle::new().args(&["sleep", "1000"]));
    let _ = container.run_detached().succeeded();
    let _ = container.delete_by_force().succeeded();
    container.assert_nothing_left();
}

#[test]
fn parents_that_were_there_stay() {
    needs_root!();
    if !expect::has_cgroup_v1() {
        skip!("needs a cgroup hierarchy of version 1");
    }
    let container = in_cgroup("/ID-parent/ID", Bundle::new().args(&["true"]));
    let parent = format!("/sys/fs/cgroup/pids/{}-parent", container.id());
    fs::create_dir(&parent).unwrap();
    let outcome = container.run();
    let is_there = Path::new(&parent).exists();
    fs::remove_dir(&parent).unwrap();
    let _ = outcome.succeeded();
    assert!(is_there, "{parent} is gone");
}

#[test]
fn nothing_is_left_of_the_cgroups_when_creation_fails() {
    needs_root!();
    let container = in_cgroup("/ID", Bundle::new().args(&["no-such-program"]));
    container.create().failed();
    container.assert_nothing_left();
}

#[test]
fn a_cgroup_path_that_leads_elsewhere_is_refused() {
    needs_root!();
    ours_only!("takes the dots away");
    for path in ["/../ID", "/ID/../..", "../ID", "/"] {
        in_cgroup(path, Bundle::new().args(&["true"])).create().failed_with("linux.cgroupsPath");
    }
}

#[test]
fn processes_that_outlive_the_first_one_are_killed_with_the_container() {
    needs_root!();
    // In the host's pid namespace nobody else would end them.
    let bundle = Bundle::shell("trap '' TERM HUP; sleep 1000 & sleep 1000 & echo made").with(|c| {
        c["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "pid");
    });
    let container = in_cgroup("/ID", bundle);
    let _ = container.run_detached().succeeded();
    container.wait_for("stopped");
    assert_eq!(host::processes(container.id()).len(), 2);
    let _ = container.delete().succeeded();
    container.assert_nothing_left();
}

/// What reading and writing of a device gives in a container with these rules. `allowed` and `refused`
/// are the rules' doing; the kernel may have other reasons to fail.
fn access(kind: &str, major: u32, minor: u32, rules: &Value) -> [String; 2] {
    let script = format!(
        "mknod /dev/it {kind} {major} {minor} || exit
        for redirection in '<' '>'; do
            if message=$(eval \": 2>&1 $redirection /dev/it\" 2>&1); then echo allowed
            else case $message in *'not permitted'*) echo refused;; *) echo allowed;; esac; fi
        done"
    );
    let bundle = Bundle::shell(&script).privileged().with(|config| {
        let devices = config["linux"]["resources"]["devices"].as_array_mut().unwrap();
        devices.extend(rules.as_array().unwrap().iter().cloned());
    });
    let text = output(bundle);
    let mut lines = text.lines().map(str::to_owned);
    [lines.next().unwrap_or_default(), lines.next().unwrap_or_default()]
}

const MKNOD: fn(&str, u32) -> Value =
    |kind, major| json!({"allow": true, "type": kind, "major": major, "access": "m"});

#[test]
fn the_default_devices_are_allowed_and_others_are_not() {
    needs_root!();
    let none = json!([]);
    assert_eq!(access("c", 1, 3, &json!([MKNOD("c", 1)])), ["allowed", "allowed"]);
    assert_eq!(access("b", 8, 0, &json!([MKNOD("b", 8)])), ["refused", "refused"]);
    assert_eq!(access("c", 1, 11, &json!([MKNOD("c", 1)])), ["refused", "refused"]);
    // A node that may not even be made is as good.
    let rest = access("b", 8, 0, &none);
    assert!(rest == ["refused", "refused"] || rest == ["", ""], "{rest:?}");
}

#[test]
fn a_device_that_the_config_allows_is_allowed() {
    needs_root!();
    let all = json!({"allow": true, "type": "b", "major": 8, "minor": 0, "access": "rwm"});
    assert_eq!(access("b", 8, 0, &json!([all])), ["allowed", "allowed"]);
    assert_eq!(access("b", 8, 1, &json!([all, MKNOD("b", 8)])), ["refused", "refused"]);
}

#[test]
fn a_device_may_be_allowed_for_reading_only() {
    needs_root!();
    let read = json!({"allow": true, "type": "b", "major": 8, "minor": 0, "access": "rm"});
    assert_eq!(access("b", 8, 0, &json!([read])), ["allowed", "refused"]);
}

#[test]
fn a_rule_without_numbers_is_for_all_devices() {
    needs_root!();
    assert_eq!(
        access("b", 8, 0, &json!([{"allow": true, "access": "rwm"}])),
        ["allowed", "allowed"]
    );
    let blocks = json!({"allow": true, "type": "b", "access": "rwm"});
    assert_eq!(access("b", 8, 0, &json!([blocks])), ["allowed", "allowed"]);
    assert_eq!(access("c", 1, 11, &json!([blocks, MKNOD("c", 1)])), ["refused", "refused"]);
}

#[test]
fn a_later_rule_wins() {
    needs_root!();
    let allow = json!({"allow": true, "type": "b", "major": 8, "access": "rwm"});
    let deny = json!({"allow": false, "type": "b", "major": 8, "access": "rw"});
    assert_eq!(access("b", 8, 0, &json!([allow, deny])), ["refused", "refused"]);
    assert_eq!(access("b", 8, 0, &json!([deny, allow])), ["allowed", "allowed"]);
}
