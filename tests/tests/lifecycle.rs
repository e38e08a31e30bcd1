// SPDX-License-Identifier: Apache-2.0
//! From `create` to `delete`.

use outrigger_tests::{Bundle, Container, deviation, host, needs_root};
use serde_json::{Value, json};

fn sleeper() -> Container {
    Container::of(Bundle::new().args(&["sleep", "1000"]))
}

#[test]
fn a_container_is_created_then_running_then_stopped_then_gone() {
    needs_root!();
    let container = sleeper();
    let _ = container.create().succeeded();
    assert_eq!(container.status(), "created");
    let _ = container.start().succeeded();
    assert_eq!(container.status(), "running");
    container.stop();
    assert_eq!(container.status(), "stopped");
    let _ = container.delete().succeeded();
    container.call(&["state"]).finish().failed_with("does not exist");
    container.assert_nothing_left();
}

#[test]
fn a_container_stops_by_itself_when_its_process_ends() {
    needs_root!();
    let container = Container::of(Bundle::new().args(&["true"]));
    let _ = container.create().succeeded();
    let _ = container.start().succeeded();
    container.wait_for("stopped");
    let _ = container.delete().succeeded();
    container.assert_nothing_left();
}

#[test]
fn the_program_does_not_run_before_start() {
    needs_root!();
    let container = Container::of(Bundle::shell("echo started"));
    let created = container.create().succeeded();
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(created.stdout(), "");
    let _ = container.start().succeeded();
    container.wait_for("stopped");
    assert_eq!(created.stdout(), "started\n");
}

#[test]
fn state_has_the_fields_of_the_specification() {
    needs_root!();
    let bundle = Bundle::new().args(&["sleep", "1000"]).with(|config| {
        config["annotations"] = json!({"org.example.key": "value \"with\" quotes"});
    });
    let container = Container::of(bundle);
    let _ = container.create().succeeded();
    let state = container.state();
    assert_eq!(state["id"], container.id());
    assert_eq!(state["status"], "created");
    assert_eq!(state["bundle"], json!(container.bundle().path()));
    assert_eq!(state["annotations"], container.bundle().config()["annotations"]);
    assert!(state["ociVersion"].as_str().unwrap().starts_with("1."), "{state}");
    let pid = state["pid"].as_i64().unwrap();
    assert!(std::path::Path::new(&format!("/proc/{pid}")).exists(), "{state}");
    // What engines read beyond it.
    assert_eq!(state["rootfs"], json!(container.bundle().rootfs()));
    assert!(state["created"].as_str().unwrap().contains('T'), "{state}");
    assert!(state["owner"].is_string(), "{state}");
}

#[test]
fn a_stopped_container_has_no_pid() {
    needs_root!();
    let container = sleeper();
    let _ = container.create().succeeded();
    container.stop();
    assert_eq!(container.state()["pid"], 0);
}

#[test]
fn the_pid_file_has_the_pid_and_nothing_else() {
    needs_root!();
    let container = sleeper();
    let file = container.bundle().path().join("pid");
    let _ = container.creation().arg("--pid-file").arg(&file).finish();
    // Some runtimes take options before the name only.
    if !container.runtime().known().contains(&container.id().to_owned()) {
        let creation = container.runtime().call(&["create"]).bundle(container.bundle().path());
        let creation = creation.arg("--pid-file").arg(&file).arg(container.id());
        let _ = creation.finish().succeeded();
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), container.pid().to_string());
}

#[test]
fn options_are_taken_before_and_after_the_id() {
    needs_root!();
    deviation!("runc", "takes options before the id only");
    let container = sleeper();
    let bundle = container.bundle().path().to_owned();
    let creation = container.runtime().call(&["create", container.id()]).bundle(&bundle);
    let _ = creation.finish().succeeded();
    let _ = container.runtime().call(&["delete", container.id(), "--force"]).finish().succeeded();
    let creation = container.runtime().call(&["create"]).bundle(&bundle).arg(container.id());
    let _ = creation.finish().succeeded();
    let _ = container.runtime().call(&["delete", "-f", container.id()]).finish().succeeded();
    container.assert_nothing_left();
}

#[test]
fn the_bundle_is_the_current_directory_unless_named() {
    needs_root!();
    let container = Container::of(Bundle::new().args(&["echo", "here"]));
    let call = container.call(&["run"]).directory(container.bundle().path());
    assert_eq!(call.finish().succeeded().stdout(), "here\n");
    container.assert_nothing_left();
}

#[test]
fn a_bundle_named_by_a_relative_path_is_kept_as_an_absolute_one() {
    needs_root!();
    let container = sleeper();
    let path = container.bundle().path();
    let creation = container.runtime().call(&["create"]).arg("--bundle");
    let creation = creation.arg(path.file_name().unwrap()).arg(container.id());
    let _ = creation.directory(path.parent().unwrap()).finish().succeeded();
    assert_eq!(container.state()["bundle"], json!(path));
}

#[test]
fn a_root_path_may_be_relative_to_the_bundle() {
    needs_root!();
    let bundle = Bundle::with_own_rootfs().args(&["echo", "found"]);
    assert_eq!(bundle.config()["root"]["path"], "rootfs");
    assert_eq!(outrigger_tests::output(bundle), "found\n");
}

#[test]
fn a_taken_id_is_refused_and_its_container_left_alone() {
    needs_root!();
    let container = sleeper();
    let _ = container.create().succeeded();
    let pid = container.pid();
    container.create().failed_with("exist");
    container.run().failed_with("exist");
    assert_eq!((container.status(), container.pid()), ("created".to_owned(), pid));
    let _ = container.start().succeeded();
    assert_eq!((container.status(), container.pid()), ("running".to_owned(), pid));
}

#[test]
fn an_id_is_free_again_after_delete() {
    needs_root!();
    let container = sleeper();
    for _ in 0..3 {
        let _ = container.create().succeeded();
        let _ = container.delete_by_force().succeeded();
    }
    container.assert_nothing_left();
}

#[test]
fn start_happens_once() {
    needs_root!();
    let container = sleeper();
    let _ = container.create().succeeded();
    let _ = container.start().succeeded();
    container.start().failed();
    assert_eq!(container.status(), "running");
    container.stop();
    container.start().failed();
    assert_eq!(container.status(), "stopped");
}

#[test]
fn delete_of_a_running_container_is_refused() {
    needs_root!();
    let container = sleeper();
    let _ = container.run_detached().succeeded();
    container.delete().failed_with("not stopped");
    assert_eq!(container.status(), "running");
}

#[test]
fn delete_of_a_created_container_is_refused() {
    needs_root!();
    deviation!("runc", "kills and deletes it, though it is not stopped");
    let container = sleeper();
    let _ = container.create().succeeded();
    container.delete().failed_with("not stopped");
    assert_eq!(container.status(), "created");
}

#[test]
fn delete_by_force_works_in_every_status() {
    needs_root!();
    for status in ["created", "running", "stopped"] {
        let container = sleeper();
        let _ = container.create().succeeded();
        if status != "created" {
            let _ = container.start().succeeded();
        }
        if status == "stopped" {
            container.stop();
        }
        assert_eq!(container.status(), status);
        let _ = container.delete_by_force().succeeded();
        container.assert_nothing_left();
    }
}

#[test]
fn delete_of_an_unknown_container_fails_but_not_by_force() {
    let container = sleeper();
    container.delete().failed_with("does not exist");
    let outcome = container.delete_by_force().succeeded();
    assert_eq!((outcome.stdout(), outcome.stderr()), (String::new(), String::new()));
}

#[test]
fn an_unknown_container_is_said_to_be_unknown() {
    let container = sleeper();
    for command in ["state", "start", "kill"] {
        container.call(&[command]).finish().failed_with("does not exist");
    }
}

#[test]
fn kill_takes_names_and_numbers() {
    needs_root!();
    for signal in ["KILL", "SIGKILL", "9"] {
        let container = sleeper();
        let _ = container.run_detached().succeeded();
        let _ = container.kill(signal).succeeded();
        container.wait_for("stopped");
    }
}

#[test]
fn kill_sends_sigterm_unless_told_otherwise() {
    needs_root!();
    let script = "trap 'echo got it; exit 0' TERM; echo ready; while :; do sleep 0.02; done";
    let container = Container::of(Bundle::shell(script));
    let outcome = container.run_detached().succeeded();
    host::wait_until("the trap is set", || outcome.stdout() == "ready\n");
    let _ = container.call(&["kill"]).finish().succeeded();
    container.wait_for("stopped");
    assert_eq!(outcome.stdout(), "ready\ngot it\n");
}

#[test]
fn kill_with_an_unknown_signal_is_refused() {
    needs_root!();
    let container = sleeper();
    let _ = container.run_detached().succeeded();
    for signal in ["NOSUCH", "SIG", "999", "KILL\n", "9x"] {
        container.kill(signal).failed();
    }
    assert_eq!(container.status(), "running");
}

#[test]
fn kill_with_no_name_of_a_signal_is_refused() {
    needs_root!();
    deviation!("runc", "takes an empty name for SIGTERM");
    let container = sleeper();
    let _ = container.run_detached().succeeded();
    container.kill("").failed();
}

#[test]
fn kill_of_a_stopped_container_says_that_it_is_not_running() {
    needs_root!();
    let container = sleeper();
    let _ = container.create().succeeded();
    container.stop();
    container.kill("TERM").failed_with("container not running");
}

#[test]
fn a_created_container_can_be_killed() {
    needs_root!();
    let container = sleeper();
    let _ = container.create().succeeded();
    container.stop();
    container.start().failed();
    let _ = container.delete().succeeded();
    container.assert_nothing_left();
}

#[test]
fn list_shows_every_container_with_its_status() {
    needs_root!();
    let container = sleeper();
    let list =
        |format| container.runtime().call(&["list", "--format", format]).finish().succeeded();
    let _ = container.create().succeeded();
    let all: Vec<Value> = serde_json::from_str(&list("json").stdout()).unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!((&all[0]["id"], &all[0]["status"]), (&json!(container.id()), &json!("created")));
    assert_eq!(all[0]["pid"], container.pid());
    let table = list("table").stdout();
    let (head, line) = table.split_once('\n').unwrap();
    for column in ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"] {
        assert!(head.contains(column), "{table}");
    }
    assert!(line.contains(container.id()) && line.contains("created"), "{table}");
    let names = container.runtime().call(&["list", "--quiet"]).finish().succeeded().stdout();
    assert_eq!(names.trim(), container.id());
}
