// SPDX-License-Identifier: Apache-2.0
//! `run`, and what caller and container have of each other.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, pipe};
use outrigger_tests::descent::children_of;
use outrigger_tests::{Bundle, Container, host, needs_root, output, run};

#[test]
fn run_returns_the_exit_code_of_the_process() {
    needs_root!();
    for code in [0, 1, 7, 255] {
        let _ = run(Bundle::shell(&format!("exit {code}"))).ended_with(code);
    }
}

#[test]
fn run_returns_128_and_the_signal_that_killed_the_process() {
    needs_root!();
    for (signal, code) in [("TERM", 143), ("KILL", 137), ("SEGV", 139)] {
        // The first process of a pid namespace would not feel its own signals.
        let bundle = Bundle::shell(&format!("kill -{signal} $$; sleep 10")).with(|config| {
            let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.retain(|n| n["type"] != "pid");
        });
        let _ = run(bundle).ended_with(code);
    }
}

#[test]
fn run_deletes_the_container_in_the_end() {
    needs_root!();
    let container = Container::of(Bundle::new().args(&["true"]));
    let _ = container.run().succeeded();
    container.call(&["state"]).finish().failed_with("does not exist");
    container.assert_nothing_left();
}

#[test]
fn run_keeps_a_container_that_is_to_be_kept() {
    needs_root!();
    let container = Container::of(Bundle::new().args(&["true"]));
    let run = container.runtime().call(&["run", "--keep"]).bundle(container.bundle().path());
    let _ = run.arg(container.id()).finish().succeeded();
    assert_eq!(container.status(), "stopped");
    let _ = container.delete().succeeded();
    container.assert_nothing_left();
}

#[test]
fn run_detached_returns_at_once() {
    needs_root!();
    let container = Container::of(Bundle::new().args(&["sleep", "1000"]));
    let _ = container.run_detached().succeeded();
    assert_eq!(container.status(), "running");
    let _ = container.delete_by_force().succeeded();
    container.assert_nothing_left();
}

#[test]
fn run_passes_stdin_stdout_and_stderr_through() {
    needs_root!();
    let mut input = tempfile::NamedTempFile::new().unwrap();
    input.write_all(b"one\ntwo").unwrap();
    let container = Container::of(Bundle::shell("cat; echo error >&2"));
    let call = container.foreground().stdin(File::open(input.path()).unwrap());
    let outcome = call.finish().succeeded();
    assert_eq!((outcome.stdout(), outcome.stderr()), ("one\ntwo".into(), "error\n".into()));
}

#[test]
fn run_passes_signals_on() {
    needs_root!();
    let script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.02; done";
    let container = Container::of(Bundle::shell(script));
    let call = container.foreground().start();
    host::wait_until("the trap is set", || call.stdout() == "ready\n");
    call.signal(Signal::SIGTERM);
    let _ = call.finish().ended_with(9);
    container.assert_nothing_left();
}

#[test]
fn signals_for_the_whole_job_leave_nothing_behind() {
    needs_root!();
    let script = "trap 'exit 9' TERM INT; echo ready; while :; do sleep 0.02; done";
    // A batch system's TERM goes to every process, and so does what is typed at a terminal.
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let container = Container::of(Bundle::shell(script));
        let call = container.foreground().start();
        host::wait_until("the trap is set", || call.stdout() == "ready\n");
        for pid in children_of(call.pid()) {
            kill(Pid::from_raw(pid), signal).unwrap();
        }
        call.signal(signal);
        let _ = call.finish().ended_with(9);
        container.assert_nothing_left();
    }
}

#[test]
fn run_ends_when_the_container_is_killed_by_another_call() {
    needs_root!();
    let container = Container::of(Bundle::shell("echo ready; sleep 1000"));
    let call = container.foreground().start();
    host::wait_until("it runs", || call.stdout() == "ready\n");
    let _ = container.kill("KILL").succeeded();
    let _ = call.finish().ended_with(137);
    container.assert_nothing_left();
}

#[test]
fn run_is_over_when_its_process_is_though_others_hold_its_output() {
    needs_root!();
    let container = Container::of(Bundle::shell("sleep 1000 & echo done"));
    assert_eq!(container.run().succeeded().stdout(), "done\n");
    container.assert_nothing_left();
}

#[test]
fn create_returns_while_the_container_holds_its_output_and_nothing_else_does() {
    needs_root!();
    let (reader, writer) = pipe().unwrap();
    let container = Container::of(Bundle::new().args(&["sleep", "1000"]));
    let creation = container.creation().stdio(&File::from(writer));
    let _ = creation.finish().succeeded();
    assert!(!is_closed_within(&reader, 0), "nobody holds the output");
    let _ = container.start().succeeded();
    assert!(!is_closed_within(&reader, 0), "nobody holds the output");
    container.stop();
    assert!(is_closed_within(&reader, 2000), "somebody still holds the output");
    let mut rest = String::new();
    File::from(reader).read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
}

fn is_closed_within(reader: &OwnedFd, limit: u16) -> bool {
    let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::from(limit)).unwrap();
    fds[0].revents().unwrap().contains(PollFlags::POLLHUP)
}

/// Opens what a container must not have.
const LEAK: &str = "exec 3</ 4</etc 9</etc/passwd 7>/dev/null";

#[test]
fn descriptors_of_the_caller_do_not_reach_the_container() {
    needs_root!();
    let container = Container::of(Bundle::new().args(&["ls", "/proc/self/fd"]));
    let outcome = container.foreground().by_shell(LEAK).finish().succeeded();
    // 3 is the directory that ls reads.
    assert_eq!(outcome.stdout(), "0\n1\n2\n3\n");
    container.assert_nothing_left();
}

#[test]
fn descriptors_of_the_caller_do_not_reach_a_created_container() {
    needs_root!();
    let container = Container::of(Bundle::new().args(&["sleep", "1000"]));
    let _ = container.creation().by_shell(LEAK).finish().succeeded();
    for entry in std::fs::read_dir(format!("/proc/{}/fd", container.pid())).unwrap() {
        let target = std::fs::read_link(entry.unwrap().path()).unwrap();
        assert!(!["/", "/etc", "/etc/passwd"].map(Into::into).contains(&target), "{target:?}");
    }
}

#[test]
fn the_parent_of_a_created_container_is_the_callers_subreaper() {
    needs_root!();
    prctl::set_child_subreaper(true).unwrap();
    let container = Container::of(Bundle::shell("exit 5"));
    let _ = container.create().succeeded();
    let pid = container.pid();
    let parent = host::status_field(pid, "PPid").unwrap();
    assert_eq!(parent, std::process::id().to_string());
    let _ = container.start().succeeded();
    let status = waitpid(Pid::from_raw(pid), None).unwrap();
    assert_eq!(status, WaitStatus::Exited(Pid::from_raw(pid), 5));
}

#[test]
fn the_container_leads_no_session_of_the_callers() {
    needs_root!();
    // Field 6 of /proc/self/stat is the session, 0 where it is one outside the pid namespace.
    let bundle = Bundle::shell("read -r _ _ _ _ _ session _ < /proc/self/stat; echo $session");
    assert_eq!(output(bundle), "1\n");
}

#[test]
fn a_detached_container_survives_the_hangup_of_its_callers_terminal() {
    needs_root!();
    let container = Container::of(Bundle::new().args(&["sleep", "1000"]));
    let _ = container.run_detached().succeeded();
    let session = host::session(container.pid()).unwrap();
    assert_eq!(session, container.pid(), "it is in a session of its own");
}
