// SPDX-License-Identifier: Apache-2.0
//! One call of a program, with a time limit, and what came of it.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::user::TempUser;

/// What takes longer hangs.
const LIMIT: Duration = Duration::from_secs(60);

/// A call that is being put together. What it prints goes to files, so that a process which outlives it
/// and holds them open does not make it look unfinished.
#[derive(Debug)]
pub struct Invocation {
    command: Command,
    /// Who calls, if that is not who runs the test.
    ids: Option<(u32, u32)>,
    stdout: File,
    stderr: File,
}

impl Invocation {
    /// A call without arguments, and with nothing on its stdin.
    #[must_use]
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let (stdout, stderr) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        command.stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
        Self { command, ids: None, stdout, stderr }
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// With more arguments.
    #[must_use]
    pub fn args(self, arguments: &[&str]) -> Self {
        arguments.iter().fold(self, Self::arg)
    }

    /// With a bundle.
    #[must_use]
    pub fn bundle(self, path: &Path) -> Self {
        self.arg("--bundle").arg(path)
    }

    /// Called by another program, which gets the call as its last arguments.
    #[must_use]
    pub fn by(mut self, program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).arg(self.command.get_program()).args(self.command.get_args());
        command.stdin(Stdio::null());
        command.stdout(self.stdout.try_clone().unwrap());
        command.stderr(self.stderr.try_clone().unwrap());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        self.command = command;
        self
    }

    /// Called by a shell that does something before.
    #[must_use]
    pub fn by_shell(self, before: &str) -> Self {
        self.by("sh", &["-c", &format!("{before}; exec \"$@\""), "sh"])
    }

    /// In a directory.
    #[must_use]
    pub fn directory(mut self, path: &Path) -> Self {
        self.command.current_dir(path);
        self
    }

    /// With a variable in the environment.
    #[must_use]
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// By another user.
    #[must_use]
    pub fn user(mut self, user: &TempUser) -> Self {
        self.ids = (!user.is_current()).then(|| (user.uid(), user.gid()));
        self.command.env("HOME", "/").env_remove("XDG_RUNTIME_DIR");
        self
    }

    /// With a file as its stdin.
    #[must_use]
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.command.stdin(stdin);
        self
    }

    /// With a file as its stdin, stdout and stderr.
    #[must_use]
    pub fn stdio(mut self, file: &File) -> Self {
        let copy = || file.try_clone().unwrap();
        self.command.stdin(copy()).stdout(copy()).stderr(copy());
        self
    }

    /// Starts it.
    #[must_use]
    pub fn start(mut self) -> Running {
        if let Some((uid, gid)) = self.ids {
            // This also takes the supplementary groups away.
            self.command.uid(uid).gid(gid);
        }
        let child = self.command.spawn().unwrap_or_else(|e| panic!("{:?}: {e}", self.command));
        let words = format!("{:?}", self.command);
        Running { child, words, stdout: self.stdout, stderr: self.stderr }
    }

    /// Waits for its end.
    #[must_use]
    pub fn finish(self) -> Outcome {
        self.start().finish()
    }
}

/// A call under way. It is killed if it is dropped unfinished.
#[derive(Debug)]
pub struct Running {
    child: Child,
    words: String,
    stdout: File,
    stderr: File,
}

impl Running {
    /// Its process.
    #[must_use]
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Whether it has not ended yet.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it has printed so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        content(&self.stdout)
    }

    /// Waits for its end, a minute at most.
    #[must_use]
    pub fn finish(mut self) -> Outcome {
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                let (stdout, stderr) = (self.stdout.try_clone().unwrap(), self.stderr.try_clone());
                let words = std::mem::take(&mut self.words);
                return Outcome { status, words, stdout, stderr: stderr.unwrap() };
            }
            assert!(
                Instant::now() < deadline,
                "{} hangs; stderr: {}",
                self.words,
                content(&self.stderr)
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// What came of a call.
#[derive(Debug)]
pub struct Outcome {
    status: ExitStatus,
    words: String,
    stdout: File,
    stderr: File,
}

impl Outcome {
    /// The exit code; `None` after a signal.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// All that has been printed, also by what outlived the call.
    #[must_use]
    pub fn stdout(&self) -> String {
        content(&self.stdout)
    }

    /// The same as it is, byte by byte.
    #[must_use]
    pub fn stdout_bytes(&self) -> Vec<u8> {
        bytes(&self.stdout)
    }

    /// The same of stderr.
    #[must_use]
    pub fn stderr(&self) -> String {
        content(&self.stderr)
    }

    /// Asserts that it went well.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        let stderr = self.stderr();
        assert_eq!(self.code(), Some(0), "{} {:?}: {stderr}", self.words, self.status.signal());
        self
    }

    /// Asserts its exit code.
    #[track_caller]
    pub fn ended_with(self, code: i32) -> Self {
        let stderr = self.stderr();
        assert_eq!(self.code(), Some(code), "{} {:?}: {stderr}", self.words, self.status.signal());
        self
    }

    /// Asserts that it failed as a user expects: exit code 1, one line that tells why. Returns the line.
    #[track_caller]
    pub fn failed(self) -> String {
        let stderr = self.stderr();
        assert_eq!(self.code(), Some(1), "{} {:?}: {stderr}", self.words, self.status.signal());
        if crate::runtime::is_outrigger() {
            let lines = stderr.lines().count();
            assert!(lines == 1 && stderr.ends_with('\n'), "{lines} lines: {stderr:?}");
            for word in ["panicked", "RUST_BACKTRACE", "stack backtrace"] {
                assert!(!stderr.contains(word), "{stderr}");
            }
            assert!(stderr.starts_with("outrigger: "), "{stderr}");
            assert!(stderr.len() > "outrigger: x".len() && stderr.len() < 17_000, "{stderr}");
        }
        stderr
    }

    /// Asserts that it failed so, and that the line has these words.
    #[track_caller]
    pub fn failed_with(self, words: &str) -> String {
        let stderr = self.failed();
        assert!(stderr.contains(words), "{words:?} is not in {stderr:?}");
        stderr
    }
}

fn bytes(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    // The offset is shared with whoever writes there.
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn content(file: &File) -> String {
    String::from_utf8_lossy(&bytes(file)).into_owned()
}
