// SPDX-License-Identifier: Apache-2.0
//! When a test does not apply: on this machine, or to the runtime it is run on.
//!
//! A test that is left out says so in a line `SKIP name: reason` on stdout, which `cargo test` shows
//! with `--nocapture`, so that a script can count them.

use std::path::Path;

use crate::{bundle, host};

/// Says that a test is left out.
pub fn skip(test: &str, reason: &str) {
    // On a line of its own, also after what the test harness has begun to print.
    println!("\nSKIP {test}: {reason}");
}

/// The path of the test that it stands in, as `lifecycle::status_is_told`.
#[macro_export]
macro_rules! test_name {
    () => {{
        fn here() {}
        ::std::any::type_name_of_val(&here).trim_end_matches("::here")
    }};
}

/// Ends the test, saying why.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)+) => {{
        $crate::expect::skip($crate::test_name!(), &format!($($reason)+));
        return;
    }};
}

/// Ends the test where it is not run by root.
#[macro_export]
macro_rules! needs_root {
    () => {
        if !$crate::expect::is_root() {
            $crate::skip!("needs root");
        }
    };
}

/// Ends the test where a program that it uses is missing.
#[macro_export]
macro_rules! needs_program {
    ($program:expr) => {
        if !$crate::expect::has_program($program) {
            $crate::skip!("needs {}", $program);
        }
    };
}

/// Ends the test where root has not this capability.
#[macro_export]
macro_rules! needs_capability {
    ($name:expr) => {
        if !$crate::expect::has_capability($name) {
            $crate::skip!("needs {}", $name);
        }
    };
}

/// Ends the test on a runtime that behaves otherwise on purpose, and says how.
#[macro_export]
macro_rules! deviation {
    ($runtime:expr, $reason:expr) => {
        if $crate::runtime::runtime_name() == $runtime {
            $crate::skip!("{}: {}", $runtime, $reason);
        }
    };
}

/// Ends the test on every runtime but Outrigger: it looks at what only this one has.
#[macro_export]
macro_rules! ours_only {
    ($reason:expr) => {
        if !$crate::runtime::is_outrigger() {
            $crate::skip!("{}: {}", $crate::runtime::runtime_name(), $reason);
        }
    };
}

/// Whether the test is run by root.
#[must_use]
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Whether a program is in one of the usual directories.
#[must_use]
pub fn has_program(name: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default();
    path.split(':').chain(["/usr/sbin", "/sbin"]).any(|dir| Path::new(dir).join(name).exists())
}

/// Whether cgroups of version 1 are mounted here.
#[must_use]
pub fn has_cgroup_v1() -> bool {
    Path::new("/sys/fs/cgroup/devices/tasks").exists()
}

/// Whether whoever runs the test has a capability.
#[must_use]
pub fn has_capability(name: &str) -> bool {
    let pid = i32::try_from(std::process::id()).unwrap();
    let set = u64::from_str_radix(&host::status_field(pid, "CapEff").unwrap(), 16).unwrap();
    let number = bundle::CAPABILITIES.iter().position(|n| *n == name).unwrap();
    set >> number & 1 == 1
}
