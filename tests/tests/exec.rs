// SPDX-License-Identifier: Apache-2.0
//! `exec`: one more process in a container.

use std::collections::BTreeSet;
use std::fs;
use std::io::{IoSliceMut, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::sys::signal::Signal;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use outrigger_tests::descent::children_of;
use outrigger_tests::expect::{has_cgroup_v1, skip};
use outrigger_tests::pty::Terminal;
use outrigger_tests::{
    Bundle, Container, Invocation, Outcome, Runtime, TempUser, host, needs_root, ours_only,
};
use serde_json::{Value, json};

/// A container that runs until it is killed.
fn running(bundle: Bundle) -> Container {
    let container = Container::of(bundle);
    let _ = container.run_detached().succeeded();
    container
}

fn sleeper() -> Container {
    running(Bundle::new().args(&["sleep", "1000"]))
}

/// What a script prints that is executed with these options.
#[track_caller]
fn output(container: &Container, options: &[&str], script: &str) -> String {
    let call = container.runtime().call(&["exec"]).args(options).arg(container.id());
    call.args(&["sh", "-c", script]).finish().succeeded().stdout()
}

/// What comes of a process that a file describes.
#[track_caller]
fn exec_file(container: &Container, options: &[&str], process: &Value) -> Outcome {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), process.to_string()).unwrap();
    let call = container.runtime().call(&["exec", "--process"]).arg(file.path());
    call.args(options).arg(container.id()).finish()
}

fn process(args: &[&str]) -> Value {
    json!({"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": args, "env": ["PATH=/bin"]})
}

fn namespaces(pid: i32) -> BTreeSet<String> {
    let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"];
    let link = |kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
    kinds.map(|kind| link(kind).display().to_string()).into()
}

#[track_caller]
fn pid_in(file: &Path) -> i32 {
    fs::read_to_string(file).unwrap().parse().unwrap()
}

#[test]
fn exec_returns_the_exit_code_of_the_process() {
    needs_root!();
    let container = sleeper();
    for code in [0, 1, 7, 255] {
        let script = format!("exit {code}");
        let _ = container.call(&["exec"]).args(&["sh", "-c", &script]).finish().ended_with(code);
    }
    for (signal, code) in [("TERM", 143), ("KILL", 137)] {
        let script = format!("kill -{signal} $$; sleep 10");
        let _ = container.call(&["exec"]).args(&["sh", "-c", &script]).finish().ended_with(code);
    }
    let _ = container.delete_by_force().succeeded();
    container.assert_nothing_left();
}

#[test]
fn the_process_is_where_the_container_is() {
    needs_root!();
    let container = sleeper();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let call = container.runtime().call(&["exec", "--detach", "--pid-file"]).arg(&file);
    let _ = call.arg(container.id()).args(&["sleep", "1001"]).finish().succeeded();
    let pid = pid_in(&file);
    assert_eq!(namespaces(pid), namespaces(container.pid()));
    let cgroups = |pid| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert_eq!(cgroups(pid), cgroups(container.pid()));
    for link in ["root", "cwd"] {
        let link = fs::metadata(format!("/proc/{pid}/{link}/bin")).unwrap();
        let there = fs::metadata(format!("/proc/{}/root/bin", container.pid())).unwrap();
        assert_eq!((link.dev(), link.ino()), (there.dev(), there.ino()));
    }
    let _ = container.delete_by_force().succeeded();
    container.assert_nothing_left();
}

#[test]
fn the_process_has_what_the_containers_own_has() {
    needs_root!();
    let bundle = Bundle::new().args(&["sleep", "1000"]).with(|config| {
        let process = &mut config["process"];
        process["user"] = json!({"uid": 1000, "gid": 1001, "additionalGids": [5], "umask": 63});
        process["env"] = json!(["PATH=/bin", "MINE=1"]);
        process["cwd"] = json!("/tmp");
        process["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 77}]);
        process["oomScoreAdj"] = json!(123);
    });
    let container = running(bundle);
    let status = "grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp):' /proc/self/status";
    let script = format!("{status}; echo $MINE; pwd; ulimit -n; cat /proc/self/oom_score_adj");
    let found = output(&container, &[], &script);
    let own = fs::read_to_string(format!("/proc/{}/status", container.pid())).unwrap();
    for key in ["Uid", "Gid", "CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb", "NoNewPrivs"] {
        let line = own.lines().find(|l| l.starts_with(&format!("{key}:"))).unwrap();
        assert!(found.lines().any(|l| l.trim_end() == line.trim_end()), "{line}: {found}");
    }
    assert!(found.ends_with("1\n/tmp\n77\n123\n"), "{found}");
}

#[test]
fn options_change_what_the_process_has() {
    needs_root!();
    let container = sleeper();
    let options = ["--user", "7:8", "-g", "9", "-g", "10", "--cwd", "/bin", "-e", "A=b=c"];
    let found = output(&container, &options, "id -u; id -g; id -G; pwd; echo $A");
    assert_eq!(found, "7\n8\n8 9 10\n/bin\nb=c\n");
    let found = output(&container, &["-u", "5"], "id -u");
    assert_eq!(found, "5\n");
    let script = "grep CapBnd /proc/self/status";
    let (with, without) =
        (output(&container, &["--cap", "CAP_CHOWN"], script), output(&container, &[], script));
    let bits =
        |line: &str| u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
    assert_eq!(bits(&with), bits(&without) | 1);
}

#[test]
fn what_stands_behind_the_command_is_the_commands() {
    needs_root!();
    let container = sleeper();
    let call = container.call(&["exec"]).args(&["echo", "-t", "--detach", "--pid-file", "--", "x"]);
    assert_eq!(call.finish().succeeded().stdout(), "-t --detach --pid-file -- x\n");
    ours_only!("takes options before the name only");
    let call = container.call(&["exec"]).args(&["-e", "A=1", "sh", "-c", "echo $A"]);
    assert_eq!(call.finish().succeeded().stdout(), "1\n");
}

#[test]
fn stdin_stdout_and_stderr_are_the_callers() {
    needs_root!();
    let container = sleeper();
    let mut input = tempfile::tempfile().unwrap();
    input.write_all(b"one\ntwo").unwrap();
    input.rewind().unwrap();
    let call = container.call(&["exec"]).args(&["sh", "-c", "cat; echo error >&2"]);
    let outcome = call.stdin(input).finish().succeeded();
    assert_eq!((outcome.stdout(), outcome.stderr()), ("one\ntwo".into(), "error\n".into()));
}

#[test]
fn the_process_has_no_descriptor_but_these() {
    needs_root!();
    let container = sleeper();
    // ls has the directory open.
    let call = container.call(&["exec"]).args(&["ls", "/proc/self/fd"]);
    // As engines leak them.
    let found = call.by_shell("exec 7</etc/passwd 9</").finish().succeeded().stdout();
    assert_eq!(found, "0\n1\n2\n3\n");
}

#[test]
fn a_process_file_describes_it_all() {
    needs_root!();
    let container = sleeper();
    let mut process = process(&["sh", "-c", "id -u; id -g; pwd; echo $B; ulimit -n"]);
    process["user"] = json!({"uid": 3, "gid": 4});
    process["cwd"] = json!("/bin");
    process["env"] = json!(["PATH=/bin", "B=2"]);
    process["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 55, "hard": 55}]);
    let found = exec_file(&container, &[], &process).succeeded().stdout();
    assert_eq!(found, "3\n4\n/bin\n2\n55\n");
}

#[test]
fn a_process_file_that_is_wrong_is_refused_with_its_field() {
    needs_root!();
    ours_only!("other words");
    let container = sleeper();
    for (pointer, value, says) in [
        ("/args", json!([]), "process.args"),
        ("/cwd", json!("relative"), "process.cwd"),
        ("/cwd", json!(7), "cwd: invalid type"),
        ("/user", json!({"uid": u32::MAX, "gid": 0}), "process.user.uid"),
        ("/env", json!(["nothing"]), "process.env[0]"),
    ] {
        let mut process = process(&["true"]);
        *process.pointer_mut(pointer).unwrap() = value;
        let outcome = exec_file(&container, &[], &process).ended_with(255);
        assert!(outcome.stderr().contains(says), "{}", outcome.stderr());
    }
    let call = container.runtime().call(&["exec", "--process", "/nonexistent"]);
    let outcome = call.arg(container.id()).finish().ended_with(255);
    assert!(outcome.stderr().contains("--process /nonexistent"), "{}", outcome.stderr());
}

#[test]
fn the_config_of_today_has_no_say() {
    needs_root!();
    ours_only!("reads config.json again");
    let container = sleeper();
    fs::write(container.bundle().config_file(), "{").unwrap();
    assert_eq!(output(&container, &[], "id -u"), "0\n");
}

#[test]
fn seccomp_applies_to_it_too() {
    needs_root!();
    let rule = json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95});
    let profile = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
    let bundle = Bundle::new().args(&["sleep", "1000"]).with(|c| c["linux"]["seccomp"] = profile);
    let container = running(bundle);
    let script = "grep ^Seccomp: /proc/self/status; mkdir /tmp/x 2>&1";
    let call = container.call(&["exec"]).args(&["sh", "-c", script]);
    let found = call.finish().ended_with(1).stdout();
    assert!(found.starts_with("Seccomp:\t2\n") && found.contains("supported"), "{found}");
}

#[test]
fn a_program_that_is_not_there_is_told_in_the_words_that_engines_look_for() {
    needs_root!();
    let container = sleeper();
    for (program, says) in [
        ("nonexistent", "executable file not found in $PATH"),
        ("/nonexistent", "no such file or directory"),
        ("/etc", ""),
    ] {
        let outcome = container.call(&["exec"]).arg(program).finish().ended_with(255);
        assert!(outcome.stderr().contains(says), "{}", outcome.stderr());
    }
    let _ = container.delete_by_force().succeeded();
    container.assert_nothing_left();
}

#[test]
fn a_container_that_does_not_run_takes_no_process() {
    needs_root!();
    let container = Container::of(Bundle::new().args(&["sleep", "1000"]));
    let exec = || container.call(&["exec"]).arg("true").finish().ended_with(255).stderr();
    assert!(exec().contains("does not exist"));
    let _ = container.run_detached().succeeded();
    container.stop();
    let says = exec();
    assert!(says.contains("cannot exec in a") && says.contains("stopped"), "{says}");
}

#[test]
fn a_created_container_takes_a_process() {
    needs_root!();
    let container = Container::of(Bundle::new().args(&["sleep", "1000"]));
    let _ = container.create().succeeded();
    assert_eq!(output(&container, &[], "echo inside"), "inside\n");
    assert_eq!(container.status(), "created");
    let _ = container.start().succeeded();
    assert_eq!(output(&container, &[], "echo inside"), "inside\n");
}

#[test]
fn a_paused_container_takes_none() {
    needs_root!();
    if !has_cgroup_v1() {
        return skip("a_paused_container_takes_none", "needs a freezer");
    }
    let container = sleeper();
    let _ = container.call(&["pause"]).finish().succeeded();
    let outcome = container.call(&["exec"]).arg("true").finish().ended_with(255);
    assert!(outcome.stderr().contains("cannot exec in a paused container"), "{}", outcome.stderr());
    let _ = container.call(&["resume"]).finish().succeeded();
    assert_eq!(output(&container, &[], "echo inside"), "inside\n");
}

#[test]
fn detached_it_is_left_to_the_callers_reaper_and_to_itself() {
    needs_root!();
    let container = sleeper();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let call = container.runtime().call(&["exec", "-d", "--pid-file"]).arg(&file);
    let _ = call.arg(container.id()).args(&["sleep", "1002"]).finish().succeeded();
    let pid = pid_in(&file);
    assert!(children_of(pid).is_empty());
    // Nothing that the runtime has left holds the outputs: only this process and the container's own.
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    assert_eq!(name, "sleep\n");
    let ours: Vec<String> = host::processes(container.id())
        .into_iter()
        .filter(|p| *p != pid.to_string() && *p != container.pid().to_string())
        .collect();
    assert!(ours.is_empty(), "{ours:?}");
    let _ = container.delete_by_force().succeeded();
    host::wait_until("it is gone", || host::is_zombie(&pid.to_string()));
    container.assert_nothing_left();
}

#[test]
fn detached_a_program_that_is_not_there_is_an_error() {
    needs_root!();
    let container = sleeper();
    let call = container.runtime().call(&["exec", "-d"]).arg(container.id());
    let outcome = call.arg("nonexistent").finish().ended_with(255);
    assert!(outcome.stderr().contains("executable file not found"), "{}", outcome.stderr());
}

#[test]
fn signals_are_passed_on() {
    needs_root!();
    let container = sleeper();
    let script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.02; done";
    let call = container.call(&["exec"]).args(&["sh", "-c", script]).start();
    host::wait_until("it is ready", || call.stdout() == "ready\n");
    call.signal(Signal::SIGTERM);
    let _ = call.finish().ended_with(9);
    assert_eq!(container.status(), "running");
}

#[test]
fn it_dies_with_its_caller_and_the_container_goes_on() {
    needs_root!();
    ours_only!("stays behind");
    let container = sleeper();
    let call = container.call(&["exec"]).args(&["sh", "-c", "echo ready; exec sleep 1003"]).start();
    host::wait_until("it is ready", || call.stdout() == "ready\n");
    call.signal(Signal::SIGKILL);
    let _ = call.finish();
    let ps = || output(&container, &[], "ps -o args");
    host::wait_until("it is gone", || !ps().contains("sleep 1003"));
    assert_eq!(container.status(), "running");
}

#[test]
fn in_the_foreground_the_terminal_is_relayed() {
    needs_root!();
    let (container, mut terminal) = (sleeper(), Terminal::new(31, 99));
    let before = terminal.modes();
    let call = container.runtime().call(&["exec", "-t"]).arg(container.id()).arg("sh");
    let call = call.stdio(terminal.device()).start();
    terminal.wait_for("# ");
    terminal.type_in(b"tty; stty size; echo typed-$((20+3))\n");
    terminal.wait_for("typed-23");
    let shown = terminal.shown();
    assert!(shown.contains("/dev/pts/") && shown.contains("31 99"), "{shown}");
    terminal.type_in(b"exit 3\n");
    let _ = call.finish().ended_with(3);
    assert_eq!(terminal.modes(), before, "the modes of the caller's terminal are not restored");
}

#[test]
fn the_terminal_is_sent_to_the_console_socket() {
    needs_root!();
    let container = sleeper();
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut process = process(&["sh", "-c", "tty; stat -c %u $(tty)"]);
    process["terminal"] = json!(true);
    process["user"] = json!({"uid": 12, "gid": 0});
    let options = ["-d", "--console-socket", socket.to_str().unwrap()];
    let _ = exec_file(&container, &options, &process).succeeded();
    let (stream, _) = listener.accept().unwrap();
    // It ends with EIO, when the process has gone.
    let reader = Invocation::new("bash").args(&["-c", &format!("cat <&{}", received(&stream))]);
    let shown = reader.finish().stdout();
    assert!(shown.starts_with("/dev/pts/") && shown.ends_with("\r\n12\r\n"), "{shown:?}");
}

/// The number of the descriptor that was sent. Children of this process inherit it.
fn received(stream: &UnixStream) -> i32 {
    let mut bytes = [0; 64];
    let mut iov = [IoSliceMut::new(&mut bytes)];
    let mut space = nix::cmsg_space!([i32; 1]);
    let message =
        recvmsg::<()>(stream.as_raw_fd(), &mut iov, Some(&mut space), MsgFlags::empty()).unwrap();
    match message.cmsgs().unwrap().next() {
        Some(ControlMessageOwned::ScmRights(fds)) => fds[0],
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_ordinary_user_enters_his_own_container() {
    needs_root!();
    let user = TempUser::shared();
    let bundle = Bundle::new().args(&["sleep", "1000"]).rootless(&user);
    let container = Container::by(&Runtime::used_by(&user), bundle);
    let _ = container.run_detached().succeeded();
    assert_eq!(
        output(&container, &[], "id -u; echo $$ > /dev/shm/x; stat -c %u /dev/shm/x"),
        "0\n0\n"
    );
    let _ = container.call(&["exec"]).args(&["sh", "-c", "exit 5"]).finish().ended_with(5);
    let _ = container.delete_by_force().succeeded();
    container.assert_nothing_left();
}

#[test]
fn root_enters_a_container_with_a_user_namespace_as_its_root() {
    needs_root!();
    let bundle = Bundle::with_own_rootfs().args(&["sleep", "1000"]).with(|config| {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
    });
    let container = Container::of(bundle);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let outcome = container.run_detached();
    let _ = outcome.succeeded();
    let call = container.runtime().call(&["exec", "--detach", "--pid-file"]).arg(&file);
    let _ = call.arg(container.id()).args(&["sleep", "1004"]).finish().succeeded();
    let pid = pid_in(&file);
    assert_eq!(namespaces(pid), namespaces(container.pid()));
    let uid = host::status_field(pid, "Uid").unwrap();
    assert!(uid.split_whitespace().all(|id| id == "100000"), "{uid}");
}

#[test]
fn options_that_are_not_done_are_refused_by_name() {
    needs_root!();
    ours_only!("has them");
    let container = sleeper();
    for option in [
        ["--preserve-fds", "1"],
        ["--apparmor", "x"],
        ["--process-label", "x"],
        ["--cgroup", "x"],
        ["--user", "root"],
    ] {
        let call = container.runtime().call(&["exec"]).args(&option).arg(container.id());
        let outcome = call.arg("true").finish().ended_with(255);
        assert!(outcome.stderr().contains(option[0]), "{}", outcome.stderr());
    }
}
