// SPDX-License-Identifier: Apache-2.0
//! One more process in a container that runs.

use std::fs;

use outrigger_tests::{Bundle, Container, Outcome, needs_root, ours_only};
use serde_json::json;

/// A running container that waits.
fn running(bundle: Bundle) -> Container {
    let container = Container::of(bundle.args(&["sleep", "1000"]));
    let _ = container.create().succeeded();
    let _ = container.start().succeeded();
    container
}

fn exec(container: &Container, options: &[&str], words: &[&str]) -> Outcome {
    let call = container.runtime().call(&["exec"]);
    let call = options.iter().fold(call, |call, option| call.arg(option)).arg(container.id());
    words.iter().fold(call, |call, word| call.arg(word)).finish()
}

fn shell(container: &Container, script: &str) -> String {
    exec(container, &[], &["sh", "-c", script]).succeeded().stdout()
}

#[test]
fn it_is_in_all_namespaces_of_the_container() {
    needs_root!();
    let container = running(Bundle::new());
    let names = ["cgroup", "ipc", "mnt", "net", "pid", "uts"];
    let script = names.map(|n| format!("readlink /proc/self/ns/{n}; ")).concat();
    let inside = shell(&container, &script);
    let namespaces: Vec<String> = names
        .iter()
        .map(|n| fs::read_link(format!("/proc/{}/ns/{n}", container.pid())).unwrap())
        .map(|link| link.to_string_lossy().into_owned())
        .collect();
    assert_eq!(inside.lines().collect::<Vec<_>>(), namespaces);
}

#[test]
fn it_is_in_the_cgroups_of_the_container() {
    needs_root!();
    let container = running(Bundle::new());
    let own = shell(&container, "cat /proc/self/cgroup");
    assert_eq!(own, shell(&container, "cat /proc/1/cgroup"));
}

#[test]
fn it_has_the_attributes_of_the_containers_process() {
    needs_root!();
    let container = running(Bundle::new().with(|config| {
        config["process"]["env"] = json!(["PATH=/bin", "A=b"]);
        config["process"]["cwd"] = json!("/dev");
    }));
    let fields = "grep -E '^(Cap|NoNewPrivs|Uid)' /proc/self/status";
    assert_eq!(shell(&container, fields), shell(&container, &fields.replace("self", "1")));
    assert_eq!(shell(&container, "echo $A; pwd"), "b\n/dev\n");
}

#[test]
fn options_change_user_environment_and_directory() {
    needs_root!();
    let container = running(Bundle::new());
    let options = ["--user", "1000:1001", "--env", "A=c", "--cwd", "/dev"];
    let outcome = exec(&container, &options, &["sh", "-c", "id -u; id -g; echo $A; pwd"]);
    assert_eq!(outcome.succeeded().stdout(), "1000\n1001\nc\n/dev\n");
}

#[test]
fn it_is_filtered_as_the_container_is() {
    needs_root!();
    let container = running(Bundle::new().with(|config| {
        config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]});
    }));
    let text = shell(&container, "mkdir /dev/x 2>&1; grep Seccomp: /proc/self/status");
    assert!(text.contains("No space left") && text.contains("Seccomp:\t2"), "{text}");
}

#[test]
fn its_exit_code_comes_back() {
    needs_root!();
    let container = running(Bundle::new());
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", 137)] {
        let _ = exec(&container, &[], &["sh", "-c", script]).ended_with(code);
    }
}

#[test]
fn a_process_from_a_file_is_run() {
    needs_root!();
    let container = running(Bundle::new());
    let file = tempfile::NamedTempFile::new().unwrap();
    let process = json!({"terminal": false, "user": {"uid": 5, "gid": 6}, "cwd": "/",
        "args": ["sh", "-c", "id -u; id -g"], "env": ["PATH=/bin"]});
    fs::write(file.path(), process.to_string()).unwrap();
    let options = ["--process", file.path().to_str().unwrap()];
    assert_eq!(exec(&container, &options, &[]).succeeded().stdout(), "5\n6\n");
}

#[test]
fn a_detached_one_leaves_its_pid_and_lives_on() {
    needs_root!();
    let container = running(Bundle::new());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let options = ["--detach", "--pid-file", file.to_str().unwrap()];
    let _ = exec(&container, &options, &["sleep", "999"]).succeeded();
    let pid = fs::read_to_string(file).unwrap();
    let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert_eq!(words, "sleep\u{0}999\u{0}");
}

#[test]
fn what_cannot_be_run_is_told() {
    needs_root!();
    ours_only!("has other exit codes and words");
    let container = running(Bundle::new());
    for (words, says) in [
        (vec!["nope"], "executable file not found in $PATH"),
        (vec!["/nope"], "no such file or directory"),
        (vec!["/dev"], "is a directory"),
    ] {
        let outcome = exec(&container, &[], &words);
        assert!(outcome.stderr().contains(says), "{}", outcome.stderr());
        assert_ne!(outcome.code(), Some(0));
        assert_eq!(outcome.stderr().lines().count(), 1, "{}", outcome.stderr());
    }
}

#[test]
fn only_a_running_container_takes_it() {
    needs_root!();
    let container = Container::of(Bundle::new().args(&["sleep", "1000"]));
    assert_ne!(exec(&container, &[], &["true"]).code(), Some(0), "it does not exist");
    let _ = container.create().succeeded();
    let _ = container.start().succeeded();
    container.stop();
    let outcome = exec(&container, &[], &["true"]);
    assert_ne!(outcome.code(), Some(0), "it is stopped");
    assert!(!outcome.stderr().is_empty());
}
