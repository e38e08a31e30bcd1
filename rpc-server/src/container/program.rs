// SPDX-License-Identifier: Apache-2.0
//! The program: its arguments, its environment, its file.

use std::convert::Infallible;
use std::ffi::{CStr, CString};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{SFlag, stat};
use nix::unistd::{AccessFlags, execve, faccessat};
use outrigger_protocol::identity::Id;
use outrigger_protocol::path::ContainerPath;
use outrigger_protocol::process::{MAX_STRINGS, StringList};
use outrigger_protocol::seccomp::Filter;

use super::home;
use super::root::file_type;
use crate::error::{OpError, Result};
use crate::sys::seccomp;

/// Where programs are looked for when the environment has no PATH, as execvp(3) has it.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// Arguments and environment while their pieces arrive.
#[derive(Default)]
pub(super) struct StringPieces {
    arguments: Vec<u8>,
    environment: Vec<u8>,
}

impl StringPieces {
    /// Adds a piece.
    pub(super) fn append(&mut self, list: StringList, piece: &[u8]) -> Result<()> {
        let bytes = match list {
            StringList::Arguments => &mut self.arguments,
            StringList::Environment => &mut self.environment,
        };
        if bytes.len().saturating_add(piece.len()) > MAX_STRINGS {
            return Err(OpError::refused(format!("{list:?} of more than {MAX_STRINGS} bytes")));
        }
        bytes.extend_from_slice(piece);
        Ok(())
    }
}

/// The strings of a list in which each ends with a NUL byte.
fn split(bytes: &[u8]) -> Result<Vec<CString>> {
    if bytes.last().is_some_and(|b| *b != 0) {
        return Err(OpError::refused("the last string has no end"));
    }
    bytes
        .split_inclusive(|b| *b == 0)
        .map(|s| {
            CStr::from_bytes_with_nul(s)
                .map(CStr::to_owned)
                .map_err(|_| OpError::refused("a string has no end"))
        })
        .collect()
}

/// A program ready to be executed.
pub(super) struct Program {
    file: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    /// Installed just before.
    filter: Option<Filter>,
}

impl Program {
    /// The program that the first argument names.
    pub(super) fn new(strings: &StringPieces) -> Result<Self> {
        let arguments = split(&strings.arguments)?;
        let file = arguments
            .first()
            .cloned()
            .ok_or_else(|| OpError::refused("the process has no arguments"))?;
        Ok(Self { file, arguments, environment: split(&strings.environment)?, filter: None })
    }

    /// Finds its file, as the process' user in the process' directory: a missing program is an error of
    /// `create`, not of `start`. The words of the errors are those that engines look for.
    pub(super) fn located(self, cwd: &ContainerPath) -> Result<Self> {
        let name = self.file.to_bytes().to_vec();
        let shown = name.escape_ascii().to_string();
        if name.contains(&b'/') {
            return match executable(&self.file) {
                Ok(()) => Ok(self),
                Err(Errno::EACCES) => {
                    Err(OpError::refused(format!("exec: \"{shown}\": permission denied")))
                }
                Err(Errno::EISDIR) => {
                    Err(OpError::refused(format!("exec: \"{shown}\": is a directory")))
                }
                Err(e) => Err(OpError::refused(format!(
                    "exec: \"{shown}\": stat {shown}: {} (working directory {cwd})",
                    e.desc().to_lowercase()
                ))),
            };
        }
        let mut denied = false;
        for directory in self.search_path().split(|b| *b == b':') {
            let directory = if directory.is_empty() { b"." } else { directory };
            let Ok(file) = CString::new([directory, b"/", &name].concat()) else { continue };
            match executable(&file) {
                Ok(()) => return Ok(Self { file, ..self }),
                Err(Errno::EACCES) => denied = true,
                Err(_) => {}
            }
        }
        Err(OpError::refused(if denied {
            format!("exec: \"{shown}\": permission denied")
        } else {
            format!("exec: \"{shown}\": executable file not found in $PATH")
        }))
    }

    /// Has its system calls filtered from its first one on.
    pub(super) fn filter_with(&mut self, filter: Option<Filter>) {
        self.filter = filter;
    }

    /// Gives it the home directory of its user, unless it has one: by now this is that user.
    pub(super) fn at_home(mut self, uid: Id) -> Self {
        if !self.environment.iter().any(|e| e.to_bytes().starts_with(b"HOME=")) {
            self.environment.push(home::variable(uid));
        }
        self
    }

    fn search_path(&self) -> &[u8] {
        let mut paths = self.environment.iter().filter_map(|e| e.to_bytes().strip_prefix(b"PATH="));
        paths.next_back().unwrap_or(DEFAULT_PATH)
    }

    /// execve(2): comes back only with the reason why not.
    pub(super) fn execute(&self) -> OpError {
        if let Some(filter) = &self.filter
            && let Err(errno) = seccomp::install(filter)
        {
            return OpError::os("seccomp", errno);
        }
        let outcome: Result<Infallible, Errno> =
            execve(&self.file, &self.arguments, &self.environment);
        let Err(errno) = outcome;
        let shown = self.file.to_bytes().escape_ascii();
        OpError::refused(format!("exec \"{shown}\": {}", errno.desc().to_lowercase()))
    }
}

/// Whether a file can be executed by this process.
fn executable(file: &CStr) -> Result<(), Errno> {
    let status = stat(file)?;
    if file_type(&status) == SFlag::S_IFDIR {
        return Err(Errno::EISDIR);
    }
    faccessat(AT_FDCWD, file, AccessFlags::X_OK, AtFlags::AT_EACCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_end_where_they_say() {
        let strings = split(b"a\0\0b c\0").unwrap_or_default();
        assert_eq!(strings, [c"a".to_owned(), c"".to_owned(), c"b c".to_owned()]);
        assert!(split(b"a\0b").is_err());
        assert!(split(b"").is_ok_and(|s| s.is_empty()));
    }

    #[test]
    fn the_last_path_of_the_environment_counts() {
        let strings = StringPieces {
            arguments: b"sh\0".to_vec(),
            environment: b"PATH=/a\0X=1\0PATH=/b\0".to_vec(),
        };
        let program = Program::new(&strings).unwrap_or_else(|e| unreachable!("{e}"));
        assert_eq!(program.search_path(), b"/b");
    }

    #[test]
    fn strings_are_bounded() {
        let mut pieces = StringPieces::default();
        let piece = vec![1; MAX_STRINGS];
        assert!(pieces.append(StringList::Arguments, &piece).is_ok());
        assert!(pieces.append(StringList::Arguments, b"1").is_err());
        assert!(pieces.append(StringList::Environment, b"1").is_ok());
    }
}
