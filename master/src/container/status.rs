// SPDX-License-Identifier: Apache-2.0
//! What a container is doing, derived from the kernel.

use std::fmt;
use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

use super::state::{Intent, ProcessIdentity, State};
use super::store::START_SOCKET;
use crate::cgroup::freezer;

/// The states of the runtime specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// `create` is at work.
    Creating,
    /// Everything is there; the program waits for `start`.
    Created,
    /// The program runs.
    Running,
    /// The program runs, or would if it did not stand still.
    Paused,
    /// The process is gone.
    Stopped,
}

impl Status {
    /// The word that callers read.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Derives the status of the container that has this directory and state. `in_work` tells whether
/// another process has its lock.
pub(super) fn derive(
    directory: BorrowedFd<'_>,
    state: &State,
    in_work: impl FnOnce() -> bool,
) -> Status {
    if boot_id().is_ok_and(|boot| boot != state.boot_id) {
        return Status::Stopped;
    }
    match (state.process, state.intent) {
        (None, Intent::Creating) if in_work() => Status::Creating,
        (None, _) => Status::Stopped,
        (Some(process), _) if !is_alive(process) => Status::Stopped,
        (Some(_), Intent::Creating) => Status::Creating,
        (Some(_), Intent::Created) if freezer::is_frozen(&state.cgroups) => Status::Paused,
        (Some(_), Intent::Created) if waits_for_start(directory) => Status::Created,
        (Some(_), Intent::Created) => Status::Running,
    }
}

/// The identity of this boot.
pub(crate) fn boot_id() -> Result<String> {
    let file = "/proc/sys/kernel/random/boot_id";
    Ok(fs::read_to_string(file).context(file)?.trim_end().to_owned())
}

/// When a process started, in clock ticks since boot.
pub(crate) fn start_time(pid: i32) -> Result<u64> {
    let file = format!("/proc/{pid}/stat");
    let content = fs::read(&file).with_context(|| file.clone())?;
    let stat =
        Stat::parse(&content).with_context(|| format!("{file}: has not the format of proc(5)"))?;
    Ok(stat.start_time)
}

fn is_alive(process: ProcessIdentity) -> bool {
    let stat = fs::read(format!("/proc/{}/stat", process.pid)).ok();
    stat.and_then(|content| Stat::parse(&content))
        .is_some_and(|stat| stat.start_time == process.start_time && stat.is_alive())
}

/// What matters here of `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: u8,
    threads: u64,
    start_time: u64,
}

impl Stat {
    fn parse(content: &[u8]) -> Option<Self> {
        // The second field, the name in parentheses, is the process' own choice: it may hold spaces
        // and parentheses too. The last one closes it.
        let name_end = content.iter().rposition(|b| *b == b')')?;
        let rest = std::str::from_utf8(content.get(name_end + 1..)?).ok()?;
        // Fields are numbered from 1 in proc(5); the first one here is number 3.
        let mut fields = rest.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?;
        let threads = fields.nth(20 - 4)?.parse().ok()?;
        let start_time = fields.nth(22 - 21)?.parse().ok()?;
        Some(Self { state, threads, start_time })
    }

    /// Whether any thread is left. The first one may end, and look like a dead process, before others.
    fn is_alive(&self) -> bool {
        !b"ZXx".contains(&self.state) || self.threads > 1
    }
}

/// Whether the container's process listens for its start. A connection without a word is none to it.
fn waits_for_start(directory: BorrowedFd<'_>) -> bool {
    // By way of the descriptor the path always fits into a socket's address.
    let path = format!("/proc/self/fd/{}/{START_SOCKET}", directory.as_raw_fd());
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let connected = UnixAddr::new(path.as_str()).and_then(|address| {
        let socket = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        connect(socket.as_raw_fd(), &address)
    });
    // EAGAIN: somebody listens and has many to answer.
    matches!(connected, Ok(()) | Err(Errno::EAGAIN))
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::example;
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixListener;
    use std::process::{Child, Command, Stdio};

    /// A process of ours that waits for its stdin to close.
    struct Waiter(Child);

    impl Waiter {
        fn new() -> Self {
            let mut command = Command::new("cat");
            Self(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
        }

        fn identity(&self) -> ProcessIdentity {
            let pid = i32::try_from(self.0.id()).unwrap();
            ProcessIdentity { pid, start_time: start_time(pid).unwrap() }
        }
    }

    impl Drop for Waiter {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn status_in(dir: &tempfile::TempDir, state: &State, in_work: bool) -> Status {
        derive(File::open(dir.path()).unwrap().as_fd(), state, || in_work)
    }

    #[test]
    fn without_a_process_only_a_lock_means_creating() {
        let dir = tempfile::tempdir().unwrap();
        let state = State { process: None, ..example("x") };
        assert_eq!(status_in(&dir, &state, true), Status::Creating);
        assert_eq!(status_in(&dir, &state, false), Status::Stopped);
        let state = State { intent: Intent::Created, ..state };
        assert_eq!(status_in(&dir, &state, true), Status::Stopped);
    }

    #[test]
    fn live_process_is_created_while_it_listens_and_running_after() {
        let dir = tempfile::tempdir().unwrap();
        let waiter = Waiter::new();
        let mut state = State { process: Some(waiter.identity()), ..example("x") };
        assert_eq!(status_in(&dir, &state, false), Status::Creating);
        state.intent = Intent::Created;
        assert_eq!(status_in(&dir, &state, false), Status::Running);
        let listener = UnixListener::bind(dir.path().join(START_SOCKET)).unwrap();
        assert_eq!(status_in(&dir, &state, false), Status::Created);
        drop(listener);
        assert_eq!(status_in(&dir, &state, false), Status::Running);
    }

    #[test]
    fn full_backlog_is_a_listener_too() {
        let dir = tempfile::tempdir().unwrap();
        let waiter = Waiter::new();
        let process = Some(waiter.identity());
        let state = State { process, intent: Intent::Created, ..example("x") };
        let _listener = UnixListener::bind(dir.path().join(START_SOCKET)).unwrap();
        for _ in 0..5000 {
            assert_eq!(status_in(&dir, &state, false), Status::Created);
        }
    }

    #[test]
    fn directory_with_a_long_path_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let long = dir.path().join("d".repeat(200));
        fs::create_dir(&long).unwrap();
        let directory = File::open(&long).unwrap();
        let path = format!("/proc/self/fd/{}/{START_SOCKET}", directory.as_raw_fd());
        let _listener = UnixListener::bind(path).unwrap();
        assert!(waits_for_start(directory.as_fd()));
    }

    #[test]
    fn dead_or_other_process_is_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let mut waiter = Waiter::new();
        let identity = waiter.identity();
        let state =
            |process| State { process: Some(process), intent: Intent::Created, ..example("x") };
        let other = ProcessIdentity { start_time: identity.start_time + 1, ..identity };
        assert_eq!(status_in(&dir, &state(other), true), Status::Stopped);
        waiter.0.kill().unwrap();
        // Until it is waited for it is a zombie.
        let is_zombie =
            || fs::read_to_string(format!("/proc/{}/stat", identity.pid)).unwrap().contains(") Z ");
        while !is_zombie() {
            std::thread::yield_now();
        }
        assert_eq!(status_in(&dir, &state(identity), true), Status::Stopped);
        waiter.0.wait().unwrap();
        assert_eq!(status_in(&dir, &state(identity), true), Status::Stopped);
    }

    #[test]
    fn state_of_another_boot_is_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let waiter = Waiter::new();
        let process = Some(waiter.identity());
        let state = State { process, intent: Intent::Created, ..example("x") };
        assert_eq!(status_in(&dir, &state, true), Status::Running);
        let state = State { boot_id: "another".into(), ..state };
        assert_eq!(status_in(&dir, &state, true), Status::Stopped);
    }

    #[test]
    fn stat_line_is_read_behind_the_name() {
        let line = |name: &str, state: &str| {
            format!("7 ({name}) {state} 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 123456 9 9\n")
        };
        for name in ["cat", "a b", "a) Z 1 (b", "))", "", "a\nb"] {
            let stat = Stat::parse(line(name, "S").as_bytes()).unwrap();
            assert_eq!(stat, Stat { state: b'S', threads: 3, start_time: 123_456 }, "{name:?}");
        }
        for broken in ["", "7 (cat", "7 (cat) S", "7 (cat) S 1 2 3", "7 (cat)"] {
            assert_eq!(Stat::parse(broken.as_bytes()), None, "{broken:?}");
        }
    }

    #[test]
    fn zombie_with_threads_left_is_alive() {
        for (state, threads, alive) in
            [(b'S', 1, true), (b'Z', 1, false), (b'Z', 2, true), (b'X', 0, false), (b'T', 1, true)]
        {
            assert_eq!(
                Stat { state, threads, start_time: 1 }.is_alive(),
                alive,
                "{state} {threads}"
            );
        }
    }

    #[test]
    fn own_start_time_is_found() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(start_time(own).unwrap() > 0);
        assert!(start_time(-1).is_err());
    }
}
