// SPDX-License-Identifier: Apache-2.0
//! Many containers, and such as are cut short, leave nothing behind.
//!
//! With `OUTRIGGER_LONG=1` there are ten times as many.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use outrigger_tests::container::unique_id;
use outrigger_tests::descent::{Reaper, children_of};
use outrigger_tests::host::Host;
use outrigger_tests::{Bundle, Container, Runtime, TempUser, deviation, needs_root};

fn times(usual: usize) -> usize {
    if std::env::var_os("OUTRIGGER_LONG").is_some_and(|v| v == "1") { usual * 10 } else { usual }
}

/// Runs containers one after another, all with names that begin so.
fn run_many(runtime: &Runtime, bundle: &Bundle, prefix: &str, count: usize) {
    for number in 0..count {
        let call = runtime.call(&["run"]).bundle(bundle.path()).arg(format!("{prefix}-{number}"));
        let _ = call.finish().ended_with(7);
    }
}

#[test]
fn many_runs_leave_nothing() {
    needs_root!();
    let (reaper, before, prefix) = (Reaper::new(), Host::now(), unique_id());
    let (runtime, bundle) = (Runtime::under_test(), Bundle::shell("exit 7"));
    run_many(&runtime, &bundle, &prefix, times(100));
    reaper.assert_no_process_left();
    before.assert_untouched_by(&prefix);
    assert_eq!(runtime.known(), Vec::<String>::new());
}

#[test]
fn sixteen_at_a_time_leave_nothing() {
    needs_root!();
    let (reaper, before, prefix) = (Reaper::new(), Host::now(), unique_id());
    let (runtime, bundle) = (Runtime::under_test(), Bundle::shell("exit 7"));
    thread::scope(|scope| {
        for number in 0..16 {
            let prefix = format!("{prefix}-{number}");
            let (runtime, bundle) = (&runtime, &bundle);
            scope.spawn(move || run_many(runtime, bundle, &prefix, times(6)));
        }
    });
    reaper.assert_no_process_left();
    before.assert_untouched_by(&prefix);
    assert_eq!(runtime.known(), Vec::<String>::new());
}

#[test]
fn sixteen_lives_side_by_side_leave_nothing() {
    needs_root!();
    let reaper = Reaper::new();
    let runtime = Runtime::under_test();
    thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let bundle = Bundle::new().args(&["sleep", "1000"]);
                let container = Container::by(&runtime, bundle);
                for _ in 0..times(2) {
                    let _ = container.create().succeeded();
                    let _ = container.start().succeeded();
                    container.stop();
                    let _ = container.delete().succeeded();
                }
                container.assert_nothing_left();
            });
        }
    });
    reaper.assert_no_process_left();
}

#[test]
fn t02_one_of_64_that_create_the_same_container_succeeds() {
    needs_root!();
    deviation!("runc", "a loser may take the winner's state away");
    let reaper = Reaper::new();
    for _ in 0..times(2) {
        let container = Container::of(Bundle::new().args(&["sleep", "1000"]));
        let call = || container.creation().finish();
        let outcomes: Vec<_> = thread::scope(|scope| {
            let calls: Vec<_> = (0..64).map(|_| scope.spawn(call)).collect();
            calls.into_iter().map(|call| call.join().unwrap()).collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|o| o.code() == Some(0));
        assert_eq!((won.len(), lost.len()), (1, 63));
        for outcome in lost {
            outcome.failed_with("already exists");
        }
        assert_eq!(container.status(), "created");
        let _ = container.start().succeeded();
        assert_eq!(container.status(), "running");
        container.stop();
        let _ = container.delete().succeeded();
        container.assert_nothing_left();
    }
    reaper.assert_no_process_left();
}

/// Whom a test kills.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Victim {
    Master,
    /// The helper's first process.
    HostSide,
    /// All of the helper.
    Helper,
}

/// How long `create` takes.
fn duration(container: &Container) -> Duration {
    let mut durations: Vec<Duration> = (0..5)
        .map(|_| {
            let begin = Instant::now();
            let _ = container.create().succeeded();
            let duration = begin.elapsed();
            let _ = container.delete_by_force().succeeded();
            duration
        })
        .collect();
    durations.sort_unstable();
    durations[2]
}

/// Starts `create` and kills the victim after a while. Returns whether it was still there.
fn cut_short(container: &Container, victim: Victim, after: Duration) -> bool {
    let begin = Instant::now();
    let mut call = container.creation().start();
    let master = call.pid();
    while begin.elapsed() < after {
        thread::sleep(after.saturating_sub(begin.elapsed()).min(Duration::from_micros(200)));
    }
    let is_alive = call.is_alive();
    let hit = match victim {
        Victim::Master => {
            if is_alive {
                call.signal(Signal::SIGKILL);
            }
            is_alive
        }
        Victim::HostSide | Victim::Helper => {
            let mut children = if is_alive { children_of(master) } else { Vec::new() };
            if victim == Victim::HostSide {
                children.truncate(1);
            }
            // It may have ended meanwhile; its number is not given away while its parent lives.
            children.into_iter().any(|pid| kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok())
        }
    };
    let outcome = call.finish();
    if victim != Victim::Master && outcome.code() != Some(0) {
        outcome.failed();
    }
    hit
}

/// Kills the victim at evenly spaced times of `create`; what is there then is deleted by force.
fn kill_at_every_step(container: &Container, victim: Victim, steps: u32) {
    let reaper = Reaper::new();
    let whole = duration(container);
    let mut hits = 0;
    // A victim that has ended before its time was not killed: that time has another turn.
    for turn in 0..5 * steps {
        if hits == steps {
            break;
        }
        let step = turn % steps;
        let after = whole * step / steps;
        if cut_short(container, victim, after) {
            hits += 1;
        }
        // One that was complete lives on, and nothing else does.
        let state = container.call(&["state"]).finish();
        if !state.stdout().contains("\"created\"") {
            reaper.assert_no_process_left();
        }
        let _ = container.delete_by_force().succeeded();
        reaper.assert_no_process_left();
        container.assert_nothing_left();
        if step.is_multiple_of(10) {
            let _ = container.create().succeeded();
            let _ = container.delete_by_force().succeeded();
        }
    }
    assert_eq!(hits, steps, "kills that came in time");
}

fn sleeper() -> Container {
    Container::of(Bundle::new().args(&["sleep", "1000"]))
}

fn users_sleeper() -> Container {
    let user = TempUser::shared();
    let bundle = Bundle::new().args(&["sleep", "1000"]).rootless(&user);
    Container::by(&Runtime::used_by(&user), bundle)
}

const LEAKS: &str = "leaves cgroups behind when it is killed";

#[test]
fn k01_a_master_that_is_killed_leaves_nothing() {
    needs_root!();
    deviation!("runc", LEAKS);
    kill_at_every_step(&sleeper(), Victim::Master, 100);
}

#[test]
fn k02_a_host_side_that_is_killed_leaves_nothing() {
    needs_root!();
    deviation!("runc", LEAKS);
    kill_at_every_step(&sleeper(), Victim::HostSide, 100);
}

#[test]
fn k02_a_helper_that_is_killed_leaves_nothing() {
    needs_root!();
    deviation!("runc", LEAKS);
    kill_at_every_step(&sleeper(), Victim::Helper, 100);
}

#[test]
fn k01_a_users_master_that_is_killed_leaves_nothing() {
    deviation!("runc", LEAKS);
    kill_at_every_step(&users_sleeper(), Victim::Master, 50);
}

#[test]
fn k02_a_users_helper_that_is_killed_leaves_nothing() {
    deviation!("runc", LEAKS);
    kill_at_every_step(&users_sleeper(), Victim::Helper, 50);
}

#[test]
fn a_master_of_a_foreground_run_that_is_killed_takes_the_container_along() {
    needs_root!();
    deviation!("runc", "leaves the container running");
    let reaper = Reaper::new();
    let container = Container::of(Bundle::shell("echo ready; sleep 1000"));
    let call = container.foreground().start();
    outrigger_tests::host::wait_until("it runs", || call.stdout() == "ready\n");
    call.signal(Signal::SIGKILL);
    let _ = call.finish();
    reaper.assert_no_process_left();
    assert_eq!(container.status(), "stopped");
    let _ = container.delete().succeeded();
    container.assert_nothing_left();
}

#[test]
fn k04_signals_in_a_storm_do_not_disturb_a_creation() {
    needs_root!();
    let reaper = Reaper::new();
    let container = sleeper();
    let mut call = container.creation().start();
    let master = call.pid();
    while call.is_alive() {
        // SIGWINCH, SIGCHLD and SIGURG mean nothing to it; its children are hit too.
        for pid in children_of(master).into_iter().chain([master]) {
            for signal in [Signal::SIGWINCH, Signal::SIGCHLD, Signal::SIGURG, Signal::SIGCONT] {
                let _ = kill(Pid::from_raw(pid), signal);
            }
        }
    }
    let _ = call.finish().succeeded();
    assert_eq!(container.status(), "created");
    let _ = container.delete_by_force().succeeded();
    reaper.assert_no_process_left();
    container.assert_nothing_left();
}
