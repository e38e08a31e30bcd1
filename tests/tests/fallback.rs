// SPDX-License-Identifier: Apache-2.0
//! System calls that an older kernel does not have, or that an outer filter hides: a fallback, or a clear
//! error. strace(1) makes them fail.

use outrigger_tests::{Bundle, Container, Outcome, needs_program, needs_root, ours_only};

/// `run` of a shell that says that it runs, with a system call that fails.
fn run_without(call: &str, error: &str) -> Outcome {
    let inject = format!("inject={call}:error={error}");
    let trace = format!("trace={call}");
    let arguments = ["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    let container = Container::of(Bundle::shell("echo runs; exit 3"));
    container.foreground().by("strace", &arguments).finish()
}

#[test]
fn without_clone3_containers_are_made_by_clone() {
    needs_root!();
    ours_only!("has its own");
    needs_program!("strace");
    let outcome = run_without("clone3", "ENOSYS").ended_with(3);
    assert_eq!(outcome.stdout(), "runs\n");
}

#[test]
fn without_openat2_or_mounts_by_descriptor_the_missing_call_is_named() {
    needs_root!();
    ours_only!("has its own");
    needs_program!("strace");
    for (call, says) in [
        ("openat2", "Function not implemented"),
        ("open_tree", "open_tree"),
        ("move_mount", "Function not implemented"),
        ("fsopen", "fsopen"),
        ("mount_setattr", "mount_setattr"),
        ("pivot_root", "pivot_root"),
    ] {
        run_without(call, "ENOSYS").failed_with(says);
    }
}

#[test]
fn what_the_kernel_refuses_is_told_with_its_operands() {
    needs_root!();
    ours_only!("has its own");
    needs_program!("strace");
    for (call, error, says) in [
        ("sethostname", "EPERM", "sethostname(container): Operation not permitted"),
        ("setgroups", "EPERM", "setgroups([]): Operation not permitted"),
        ("setresuid", "EAGAIN", "setresuid(0)"),
        ("memfd_create", "ENOSYS", "private copy of the helper"),
        ("socketpair", "EMFILE", "socketpair"),
    ] {
        run_without(call, error).failed_with(says);
    }
}
