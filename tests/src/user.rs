// SPDX-License-Identifier: Apache-2.0
//! An ordinary user for tests that root runs.

use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use nix::unistd::{getegid, geteuid};

/// Ids in the range of subordinate ones that a user is given.
pub const RANGE: u32 = 65_536;

/// An ordinary user: one made for the test, removed when dropped, or whoever runs it.
#[derive(Debug)]
pub struct TempUser {
    uid: u32,
    gid: u32,
    /// The name of the account that was made.
    account: Option<String>,
}

impl TempUser {
    /// The user that the tests of this process share.
    #[must_use]
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<TempUser>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(user) = shared.upgrade() {
            return user;
        }
        let user = Arc::new(Self::new());
        *shared = Arc::downgrade(&user);
        user
    }

    fn new() -> Self {
        if !geteuid().is_root() {
            return Self { uid: geteuid().as_raw(), gid: getegid().as_raw(), account: None };
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        // The account before may be in removal.
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("outrigger{}x{count}", std::process::id());
        let uid = 50_000 + std::process::id() % 9_000;
        // Several accounts may be made at the same time by other test programs.
        let made = (0..50).any(|n| {
            let id = (uid + n).to_string();
            let arguments = ["-M", "-U", "-u", &id, "-s", "/bin/sh", "-d", "/", &name];
            let outcome = call("useradd", &arguments);
            outcome.status.success() || {
                println!("useradd: {}", String::from_utf8_lossy(&outcome.stderr));
                false
            }
        });
        assert!(made, "useradd does not make an account");
        let user = nix::unistd::User::from_name(&name).unwrap().unwrap();
        let made = Self { uid: user.uid.as_raw(), gid: user.gid.as_raw(), account: Some(name) };
        made.set_ranges();
        made
    }

    /// Gives it exactly one range of subordinate ids, above all that distributions give.
    fn set_ranges(&self) {
        let name = self.account.as_deref().unwrap();
        let first = self.first_subordinate();
        let range = format!("{first}-{}", first + RANGE - 1);
        // useradd may have given it others, or none.
        for (option, file) in [("-V", "/etc/subuid"), ("-W", "/etc/subgid")] {
            for (from, count) in ranges(file, name) {
                let old = format!("{from}-{}", from + count - 1);
                assert!(call("usermod", &[option, &old, name]).status.success());
            }
        }
        let outcome = call("usermod", &["-v", &range, "-w", &range, name]);
        assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stderr));
    }

    /// Its id.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Its group.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// The first of its [`RANGE`] subordinate ids, if the account was made for the test.
    #[must_use]
    pub fn first_subordinate(&self) -> u32 {
        600_000_000 + (self.uid % 10_000) * RANGE
    }

    /// Whether it has subordinate ids that we know.
    #[must_use]
    pub fn has_range(&self) -> bool {
        self.account.is_some()
    }

    /// Whether it is who runs the test.
    #[must_use]
    pub fn is_current(&self) -> bool {
        self.account.is_none()
    }
}

impl Drop for TempUser {
    fn drop(&mut self) {
        if let Some(name) = &self.account {
            let outcome = call("userdel", &["-f", name]);
            if !outcome.status.success() {
                println!("userdel {name}: {}", String::from_utf8_lossy(&outcome.stderr));
            }
        }
    }
}

fn call(program: &str, arguments: &[&str]) -> Output {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    Command::new(program).args(arguments).env("PATH", path).output().unwrap()
}

fn ranges(file: &str, name: &str) -> Vec<(u32, u32)> {
    let content = std::fs::read_to_string(file).unwrap_or_default();
    let mine = content.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    mine.filter_map(|rest| {
        let (first, count) = rest.split_once(':')?;
        Some((first.parse().ok()?, count.parse().ok()?))
    })
    .collect()
}
