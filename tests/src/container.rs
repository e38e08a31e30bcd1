// SPDX-License-Identifier: Apache-2.0
//! A container of a test. Whatever becomes of the test, nothing of it stays.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::bundle::Bundle;
use crate::host::{self, Host};
use crate::invocation::{Invocation, Outcome};
use crate::runtime::Runtime;

/// A container and the bundle that it is made of.
#[derive(Debug)]
pub struct Container {
    runtime: Runtime,
    bundle: Bundle,
    id: String,
    before: Host,
}

impl Container {
    /// One that is not created yet, by whoever runs the test.
    #[must_use]
    pub fn of(bundle: Bundle) -> Self {
        Self::by(&Runtime::under_test(), bundle)
    }

    /// The same with this runtime.
    #[must_use]
    pub fn by(runtime: &Runtime, bundle: Bundle) -> Self {
        Self::named(&unique_id(), runtime, bundle)
    }

    /// The same with a name from [`unique_id`], for a config that has to know it.
    #[must_use]
    pub fn named(id: &str, runtime: &Runtime, bundle: Bundle) -> Self {
        let (id, runtime) = (id.to_owned(), runtime.clone());
        Self { runtime, bundle, id, before: Host::now() }
    }

    /// Its name, which no other container of any test has.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its bundle.
    #[must_use]
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Its runtime.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// A call about it: the command, options, its name.
    #[must_use]
    pub fn call(&self, command: &[&str]) -> Invocation {
        self.runtime.call(command).arg(&self.id)
    }

    /// The call that creates it.
    #[must_use]
    pub fn creation(&self) -> Invocation {
        self.runtime.call(&["create"]).bundle(self.bundle.path()).arg(&self.id)
    }

    /// The call that creates and starts it and waits for its end.
    #[must_use]
    pub fn foreground(&self) -> Invocation {
        self.runtime.call(&["run"]).bundle(self.bundle.path()).arg(&self.id)
    }

    /// Creates it.
    #[must_use]
    pub fn create(&self) -> Outcome {
        self.creation().finish()
    }

    /// Creates and starts it and waits for its end.
    #[must_use]
    pub fn run(&self) -> Outcome {
        self.foreground().finish()
    }

    /// Creates and starts it and does not wait.
    #[must_use]
    pub fn run_detached(&self) -> Outcome {
        self.runtime.call(&["run", "--detach"]).bundle(self.bundle.path()).arg(&self.id).finish()
    }

    /// Starts it.
    #[must_use]
    pub fn start(&self) -> Outcome {
        self.call(&["start"]).finish()
    }

    /// Sends its process a signal.
    #[must_use]
    pub fn kill(&self, signal: &str) -> Outcome {
        self.call(&["kill"]).arg(signal).finish()
    }

    /// Deletes it.
    #[must_use]
    pub fn delete(&self) -> Outcome {
        self.call(&["delete"]).finish()
    }

    /// Deletes it, whatever it does.
    #[must_use]
    pub fn delete_by_force(&self) -> Outcome {
        self.call(&["delete", "--force"]).finish()
    }

    /// Its state, which must be known.
    #[track_caller]
    #[must_use]
    pub fn state(&self) -> Value {
        let outcome = self.call(&["state"]).finish().succeeded();
        serde_json::from_str(&outcome.stdout()).unwrap()
    }

    /// Its status.
    #[track_caller]
    #[must_use]
    pub fn status(&self) -> String {
        self.state()["status"].as_str().unwrap().to_owned()
    }

    /// Its process, which must be there.
    #[track_caller]
    #[must_use]
    pub fn pid(&self) -> i32 {
        let pid = self.state()["pid"].as_i64().unwrap();
        assert!(pid > 0, "it has no process");
        i32::try_from(pid).unwrap()
    }

    /// Waits until its status is this one.
    #[track_caller]
    pub fn wait_for(&self, status: &str) {
        host::wait_until(status, || self.status() == status);
    }

    /// Kills it and waits until its process is gone.
    #[track_caller]
    pub fn stop(&self) {
        let _ = self.kill("KILL").succeeded();
        self.wait_for("stopped");
    }

    /// Asserts that nothing is left of it and that the host is as it was.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        self.before.assert_untouched_by(&self.id);
        assert!(!self.runtime.known().contains(&self.id), "its state is left");
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if self.runtime.known().contains(&self.id) {
            let outcome = self.delete_by_force();
            if outcome.code() != Some(0) {
                println!("delete --force {}: {}", self.id, outcome.stderr());
            }
        }
        // What the runtime has not managed; all of it has the name that is this container's alone.
        let cgroups = host::cgroup_trees(&self.id);
        for cgroup in &cgroups {
            host::thaw(cgroup);
        }
        let processes = host::processes(&self.id);
        for pid in &processes {
            let _ = kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL);
        }
        if !processes.is_empty() {
            std::thread::sleep(Duration::from_millis(100));
        }
        // A cgroup comes after those above it.
        for cgroup in cgroups.iter().rev() {
            let _ = fs::remove_dir(cgroup);
        }
    }
}

/// A name that no container of any test has had on this host, and that is in nothing else.
#[must_use]
pub fn unique_id() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("outrigger-test-{}-{count}-end", std::process::id())
}

/// Runs a container of this bundle in the foreground; nothing may be left of it.
#[track_caller]
#[must_use]
pub fn run(bundle: Bundle) -> Outcome {
    let container = Container::of(bundle);
    let outcome = container.run();
    container.assert_nothing_left();
    outcome
}

/// Asserts that neither `create` nor `run` takes a bundle, and that nothing is left of the attempts.
/// Returns the line that says why.
#[track_caller]
pub fn refused(bundle: Bundle) -> String {
    let container = Container::of(bundle);
    let line = container.create().failed();
    container.assert_nothing_left();
    container.run().failed();
    container.assert_nothing_left();
    line
}

/// What a script in such a container prints; it must go well.
#[track_caller]
#[must_use]
pub fn output(bundle: Bundle) -> String {
    run(bundle).succeeded().stdout()
}
