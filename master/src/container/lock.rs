// SPDX-License-Identifier: Apache-2.0
use std::os::fd::{AsFd, OwnedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, openat};
use nix::sys::stat::Mode;

/// How long the holder of a lock is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// The exclusive lock on a container's directory. The kernel releases it when its holder ends.
#[derive(Debug)]
pub(super) struct Lock(#[allow(dead_code, reason = "unlocks when dropped")] Flock<OwnedFd>);

impl Lock {
    /// Takes the lock, waiting for whoever has it.
    pub(super) fn take(directory: impl AsFd, patience: Duration) -> Result<Self> {
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_millis(1);
        let mut file = reopen(&directory).context("open the directory to lock it")?;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Self(lock)),
                Err((back, Errno::EWOULDBLOCK | Errno::EINTR)) => file = back,
                Err((_, e)) => return Err(e).context("lock the directory"),
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("another process has had it locked for {} s", patience.as_secs());
            }
            sleep(pause.min(left));
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// Whether anybody has the lock. Asking disturbs none but one who takes it in the same instant, and
    /// that one waits.
    pub(super) fn is_taken(directory: impl AsFd) -> bool {
        let Ok(file) = reopen(directory) else { return false };
        matches!(Flock::lock(file, FlockArg::LockSharedNonblock), Err((_, Errno::EWOULDBLOCK)))
    }
}

/// A lock belongs to an open file, so each attempt needs one of its own.
fn reopen(directory: impl AsFd) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    openat(directory, ".", flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn lock_excludes_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let directory = File::open(dir.path()).unwrap();
        assert!(!Lock::is_taken(&directory));
        let lock = Lock::take(&directory, Duration::ZERO).unwrap();
        assert!(Lock::is_taken(&directory));
        let begin = Instant::now();
        let error = Lock::take(&directory, Duration::from_millis(1100)).unwrap_err().to_string();
        assert!(error.contains("1 s"), "{error}");
        assert!(begin.elapsed() >= Duration::from_millis(1100));
        drop(lock);
        assert!(!Lock::is_taken(&directory));
        Lock::take(&directory, Duration::ZERO).unwrap();
    }

    #[test]
    fn asking_does_not_look_like_a_lock() {
        let dir = tempfile::tempdir().unwrap();
        let directory = File::open(dir.path()).unwrap();
        let asked = Flock::lock(reopen(&directory).unwrap(), FlockArg::LockSharedNonblock).unwrap();
        assert!(!Lock::is_taken(&directory));
        drop(asked);
    }

    #[test]
    fn waiter_gets_the_lock_when_it_is_released() {
        let dir = tempfile::tempdir().unwrap();
        let directory = File::open(dir.path()).unwrap();
        let lock = Lock::take(&directory, Duration::ZERO).unwrap();
        std::thread::scope(|threads| {
            let waiter = threads.spawn(|| Lock::take(&directory, PATIENCE).map(drop));
            sleep(Duration::from_millis(20));
            drop(lock);
            waiter.join().unwrap().unwrap();
        });
    }
}
