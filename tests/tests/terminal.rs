// SPDX-License-Identifier: Apache-2.0
//! An interactive `run` in the foreground.

use outrigger_tests::pty::Terminal;
use outrigger_tests::{Bundle, Container, deviation, needs_root, ours_only};
use serde_json::json;

fn with_terminal(script: &str) -> Container {
    let bundle = Bundle::shell(script).with(|c| c["process"]["terminal"] = json!(true));
    Container::of(bundle)
}

#[test]
fn the_process_has_a_terminal_of_the_callers_size() {
    needs_root!();
    deviation!("runc", "sets the size at some time after the start");
    let script = "until stty size; do :; done 2>/dev/null; tty; test -t 0 && test -t 1 && test -t 2 && echo all of it";
    let (container, terminal) = (with_terminal(script), Terminal::new(33, 101));
    let before = terminal.modes();
    let _ = container.foreground().stdio(terminal.device()).finish().ended_with(0);
    terminal.wait_for("all of it");
    let shown = terminal.shown();
    assert!(shown.starts_with("33 101\r\n/dev/"), "{shown:?}");
    assert_eq!(terminal.modes(), before, "the modes of the caller's terminal are not restored");
    container.assert_nothing_left();
}

#[test]
fn the_size_is_there_when_the_process_starts() {
    needs_root!();
    ours_only!("the size may come later");
    for _ in 0..10 {
        let (container, terminal) = (with_terminal("stty size"), Terminal::new(33, 101));
        let _ = container.foreground().stdio(terminal.device()).finish().ended_with(0);
        terminal.wait_for("33 101");
    }
}

#[test]
fn what_is_typed_reaches_the_process_and_its_exit_code_comes_back() {
    needs_root!();
    let (container, mut terminal) = (with_terminal("sh"), Terminal::new(24, 80));
    let before = terminal.modes();
    let call = container.foreground().stdio(terminal.device()).start();
    terminal.wait_for("# ");
    terminal.type_in(b"echo typed-$((20+3))\n");
    terminal.wait_for("typed-23");
    assert_ne!(terminal.modes(), before, "the caller's terminal is not in raw mode");
    terminal.type_in(b"exit 3\n");
    let _ = call.finish().ended_with(3);
    assert_eq!(terminal.modes(), before, "the modes of the caller's terminal are not restored");
    container.assert_nothing_left();
}

#[test]
fn an_interrupt_that_is_typed_reaches_the_process_and_not_the_runtime() {
    needs_root!();
    let script = "trap 'echo caught; exit 4' INT; echo ready; while :; do sleep 0.02; done";
    let (container, mut terminal) = (with_terminal(script), Terminal::new(24, 80));
    let call = container.foreground().stdio(terminal.device()).start();
    terminal.wait_for("ready");
    terminal.type_in(b"\x03");
    let _ = call.finish().ended_with(4);
    terminal.wait_for("caught");
}

#[test]
fn a_new_size_of_the_callers_terminal_reaches_the_process() {
    needs_root!();
    let script = "while :; do stty size; sleep 0.02; done";
    let (container, terminal) = (with_terminal(script), Terminal::new(24, 80));
    // The size is told to the session that the terminal controls.
    let call = container.foreground().by("setsid", &["--ctty", "--wait"]);
    let call = call.stdio(terminal.device()).start();
    terminal.wait_for("24 80");
    terminal.resize(40, 90);
    terminal.wait_for("40 90");
    let _ = container.kill("KILL").succeeded();
    let _ = call.finish().ended_with(137);
}

#[test]
fn the_modes_are_restored_when_the_container_is_killed() {
    needs_root!();
    let (container, terminal) = (with_terminal("echo ready; sleep 1000"), Terminal::new(24, 80));
    let before = terminal.modes();
    let call = container.foreground().stdio(terminal.device()).start();
    terminal.wait_for("ready");
    let _ = container.kill("KILL").succeeded();
    let _ = call.finish().ended_with(137);
    assert_eq!(terminal.modes(), before);
}

#[test]
fn the_terminal_is_the_containers_own_and_its_console() {
    needs_root!();
    let script = "stat -c '%t' /dev/console; echo to-console > /dev/console; ls -1 /dev/pts; tty";
    let (container, terminal) = (with_terminal(script), Terminal::new(24, 80));
    let _ = container.foreground().stdio(terminal.device()).finish().ended_with(0);
    terminal.wait_for("/dev/");
    let shown = terminal.shown();
    // Major number 136: a pseudo-terminal.
    assert!(shown.starts_with("88\r\nto-console\r\n"), "{shown:?}");
    assert!(shown.contains("\r\nptmx\r\n"), "{shown:?}");
}

#[test]
fn output_is_complete_when_the_process_ends_at_once() {
    needs_root!();
    for _ in 0..5 {
        let script = "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); done";
        let (container, terminal) = (with_terminal(script), Terminal::new(24, 80));
        let _ = container.foreground().stdio(terminal.device()).finish().ended_with(0);
        terminal.wait_for("line 1999");
        assert_eq!(terminal.shown().lines().count(), 2000);
    }
}

#[test]
fn a_terminal_that_nobody_takes_is_refused() {
    needs_root!();
    let container = with_terminal("true");
    container.create().failed_with("console");
    container.assert_nothing_left();
    container.run_detached().failed_with("console");
    container.assert_nothing_left();
}
