// SPDX-License-Identifier: Apache-2.0
//! A helper with the setuid bit: there is no policy yet that would allow it anything, so it runs as its
//! caller.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::time::{Duration, Instant};

use outrigger_tests::{Bundle, Invocation, TempUser, helper_program, needs_root};
use serde_json::json;
use tempfile::TempDir;

/// Both programs, the helper owned by root and with the setuid bit.
fn installed() -> TempDir {
    let directory =
        tempfile::Builder::new().prefix("outrigger-setuid").tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let helper = directory.path().join("outrigger-helper");
    fs::copy(helper_program(), &helper).unwrap();
    chown(&helper, Some(0), Some(0)).unwrap();
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o4755)).unwrap();
    let master = helper_program().with_file_name("outrigger");
    fs::copy(master, directory.path().join("outrigger")).unwrap();
    directory
}

/// A bundle with a user namespace for the user, whose process is a shell with this script.
fn rootless(user: &TempUser, script: &str) -> Bundle {
    Bundle::shell(script).with(|config| {
        let map = |id: u32| json!([{"containerID": 0, "hostID": id, "size": 1}]);
        let linux = config["linux"].as_object_mut().unwrap();
        linux["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        linux.insert("uidMappings".into(), map(user.uid()));
        linux.insert("gidMappings".into(), map(user.gid()));
        linux.remove("resources");
        for mount in config["mounts"].as_array_mut().unwrap() {
            if let Some(options) = mount.get_mut("options").and_then(|o| o.as_array_mut()) {
                options.retain(|o| o != "gid=5");
            }
        }
        config["mounts"].as_array_mut().unwrap().retain(|m| m["type"] != "cgroup");
    })
}

fn call(installed: &TempDir, user: &TempUser, state: &Path) -> Invocation {
    Invocation::new(installed.path().join("outrigger")).arg("--root").arg(state).user(user)
}

fn state_directory(user: &TempUser) -> TempDir {
    let directory = tempfile::tempdir_in("/var/tmp").unwrap();
    chown(directory.path(), Some(user.uid()), Some(user.gid())).unwrap();
    directory
}

/// The lines of /proc/PID/status for these keys.
fn status(pid: i32, keys: &[&str]) -> Vec<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let wanted = |line: &&str| keys.iter().any(|k| line.starts_with(&format!("{k}:")));
    text.lines()
        .filter(wanted)
        .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

/// The host side, a child of the master, once it is there.
fn host_side(master: i32) -> i32 {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"));
        for pid in children.unwrap_or_default().split_whitespace() {
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if name.trim_end() == "outrigger-host" {
                return pid.parse().unwrap();
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("there is no host side");
}

#[test]
fn a_setuid_helper_gives_its_power_up() {
    needs_root!();
    let (user, installed) = (TempUser::shared(), installed());
    let state = state_directory(&user);
    let bundle = rootless(&user, "echo up; read line");
    let (stdin, hold) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
    let running = call(&installed, &user, state.path())
        .arg("run")
        .bundle(bundle.path())
        .arg("setuid")
        .stdin(stdin)
        .start();
    let helper = host_side(running.pid());
    let (uid, gid) = (user.uid(), user.gid());
    let all = |key: &str, id: u32| format!("{key}: {id} {id} {id} {id}");
    assert_eq!(status(helper, &["Uid", "Gid"]), [all("Uid", uid), all("Gid", gid)]);
    for line in status(helper, &["CapInh", "CapPrm", "CapEff", "CapAmb"]) {
        assert!(line.ends_with(": 0000000000000000"), "{line}");
    }
    drop(hold);
    let outcome = running.finish();
    assert_eq!(outcome.stdout(), "up\n", "{}", outcome.stderr());
}

#[test]
fn a_rootless_container_runs_by_a_setuid_helper_as_by_any_other() {
    needs_root!();
    let (user, installed) = (TempUser::shared(), installed());
    let state = state_directory(&user);
    let bundle = rootless(&user, "id -u; cat /proc/self/uid_map");
    let outcome = call(&installed, &user, state.path())
        .arg("run")
        .bundle(bundle.path())
        .arg("setuid")
        .finish()
        .succeeded();
    let words: Vec<String> = outcome.stdout().split_whitespace().map(str::to_owned).collect();
    assert_eq!(words, ["0", "0", &user.uid().to_string(), "1"]);
}

#[test]
fn without_a_user_namespace_a_setuid_helper_is_no_help() {
    needs_root!();
    let (user, installed) = (TempUser::shared(), installed());
    let state = state_directory(&user);
    let bundle = Bundle::shell("id -u");
    call(&installed, &user, state.path())
        .arg("run")
        .bundle(bundle.path())
        .arg("setuid")
        .finish()
        .failed_with("linux.namespaces: has no user namespace");
    assert!(!state.path().join("setuid").exists());
}
