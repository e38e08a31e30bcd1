// SPDX-License-Identifier: Apache-2.0
//! Pausing, and what can be done to a paused container.

use std::fs;

use outrigger_tests::container::unique_id;
use outrigger_tests::{Bundle, Container, Runtime, deviation, host, needs_root, ours_only};
use serde_json::json;

/// One that counts in a file of its root, so that it can be seen to move.
fn counter() -> Container {
    let script = "i=0; while :; do i=$((i+1)); echo $i >/count; usleep 1000; done";
    Container::of(Bundle::shell_in_own_rootfs(script).writable())
}

fn count(container: &Container) -> String {
    fs::read_to_string(container.bundle().rootfs().join("count")).unwrap_or_default()
}

fn assert_counts(container: &Container) {
    let before = count(container);
    host::wait_until("it counts", || {
        let now = count(container);
        !now.is_empty() && now != before
    });
}

fn pause(container: &Container) {
    let _ = container.call(&["pause"]).finish().succeeded();
    assert_eq!(container.status(), "paused");
}

#[test]
fn a_paused_container_stands_still_until_it_is_resumed() {
    needs_root!();
    let container = counter();
    let _ = container.run_detached().succeeded();
    assert_counts(&container);
    pause(&container);
    let before = count(&container);
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert_eq!(count(&container), before);
    let _ = container.call(&["resume"]).finish().succeeded();
    assert_eq!(container.status(), "running");
    assert_counts(&container);
    let _ = container.delete_by_force().succeeded();
    container.assert_nothing_left();
}

#[test]
fn only_a_paused_container_is_resumed_and_only_others_are_paused() {
    needs_root!();
    ours_only!("has other words for it");
    let container = counter();
    container.call(&["pause"]).finish().failed_with("does not exist");
    let _ = container.run_detached().succeeded();
    container.call(&["resume"]).finish().failed_with("not paused");
    pause(&container);
    container.call(&["pause"]).finish().failed_with("it is paused");
    container.delete().failed_with("it is paused");
    let _ = container.kill("KILL").succeeded();
    container.wait_for("stopped");
    container.call(&["pause"]).finish().failed_with("it is stopped");
    let _ = container.delete().succeeded();
    container.assert_nothing_left();
}

#[test]
fn a_created_container_may_be_paused_and_is_started_after() {
    needs_root!();
    let container = counter();
    let _ = container.create().succeeded();
    pause(&container);
    container.start().failed();
    let _ = container.call(&["resume"]).finish().succeeded();
    assert_eq!(container.status(), "created");
    let _ = container.start().succeeded();
    assert_counts(&container);
    let _ = container.delete_by_force().succeeded();
    container.assert_nothing_left();
}

#[test]
fn a_paused_container_is_killed_at_once() {
    needs_root!();
    let container = counter();
    let _ = container.run_detached().succeeded();
    pause(&container);
    let _ = container.kill("KILL").succeeded();
    container.wait_for("stopped");
    let _ = container.delete().succeeded();
    container.assert_nothing_left();
}

#[test]
fn a_paused_container_is_deleted_by_force() {
    needs_root!();
    let container = counter();
    let _ = container.run_detached().succeeded();
    pause(&container);
    let _ = container.delete_by_force().succeeded();
    container.assert_nothing_left();
}

#[test]
fn a_signal_for_all_reaches_every_process() {
    needs_root!();
    // Without a pid namespace of its own nothing but the signal ends the others.
    let script = "trap 'exit' TERM; sleep 1000 & sleep 1000 & wait";
    let bundle = Bundle::shell(script).with(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "pid");
    });
    for signal in ["TERM", "KILL"] {
        let container = Container::of(Bundle::shell(script).with(|config| {
            *config = bundle.config().clone();
        }));
        let _ = container.run_detached().succeeded();
        host::wait_until("it has children", || host::processes(container.id()).len() == 3);
        let _ = container.call(&["kill", "--all"]).arg(signal).finish().succeeded();
        container.wait_for("stopped");
        host::assert_soon_empty("processes", || host::processes(container.id()));
        let _ = container.delete().succeeded();
        container.assert_nothing_left();
    }
}

#[test]
fn a_signal_for_all_reaches_a_paused_container() {
    needs_root!();
    let container = counter();
    let _ = container.run_detached().succeeded();
    pause(&container);
    let _ = container.call(&["kill", "--all"]).arg("KILL").finish().succeeded();
    container.wait_for("stopped");
    let _ = container.delete().succeeded();
    container.assert_nothing_left();
}

#[test]
fn frozen_cgroups_below_the_container_s_do_not_stop_its_removal() {
    needs_root!();
    deviation!("runc", "waits in vain for what is frozen below");
    let id = unique_id();
    let bundle = Bundle::new().args(&["sleep", "1000"]);
    let bundle = bundle.with(|config| config["linux"]["cgroupsPath"] = json!(format!("/{id}")));
    let container = Container::named(&id, &Runtime::under_test(), bundle);
    let _ = container.run_detached().succeeded();
    let pid = container.pid().to_string();
    for dir in host::cgroups(&id) {
        let v1 = dir.join("freezer.state").exists();
        if !v1 && !dir.join("cgroup.freeze").exists() {
            continue;
        }
        let below = dir.join("a/b");
        fs::create_dir_all(&below).unwrap();
        fs::write(below.join("cgroup.procs"), &pid).unwrap();
        let (file, word) = if v1 { ("freezer.state", "FROZEN") } else { ("cgroup.freeze", "1") };
        fs::write(below.join(file), word).unwrap();
    }
    let _ = container.delete_by_force().succeeded();
    container.assert_nothing_left();
}
