// SPDX-License-Identifier: Apache-2.0
//! The runtime under test: `RUNTIME`, or the programs that cargo has built.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tempfile::TempDir;

use crate::invocation::Invocation;
use crate::rootfs::playground;
use crate::user::TempUser;

/// Where the state directory is in its temporary one: deep enough that a runtime which takes `..` for
/// the name of a container, and deletes it, finds nothing there but what the test has made.
const STATE: &str = "a/b/state";

/// A runtime with a state directory of its own, removed when the last copy is dropped.
#[derive(Debug, Clone)]
pub struct Runtime {
    program: PathBuf,
    /// Removed with the last copy.
    _directory: Arc<TempDir>,
    state: PathBuf,
    user: Option<Arc<TempUser>>,
    /// Keeps the copy that the user calls.
    _copy: Option<Arc<TempDir>>,
}

impl Runtime {
    /// The runtime under test, used by whoever runs the test.
    #[must_use]
    pub fn under_test() -> Self {
        let root = Arc::new(private_directory());
        let state = root.path().join(STATE);
        Self { program: runtime_program(), _directory: root, state, user: None, _copy: None }
    }

    /// The runtime under test, used by another user.
    #[must_use]
    pub fn used_by(user: &Arc<TempUser>) -> Self {
        let root = private_directory();
        chown(root.path().join(STATE), Some(user.uid()), Some(user.gid())).unwrap();
        let (program, copy) = reachable(&runtime_program());
        let user = Some(Arc::clone(user));
        let state = root.path().join(STATE);
        Self { program, _directory: Arc::new(root), state, user, _copy: copy }
    }

    /// Its program.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Its state directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.state
    }

    /// Who uses it, if that is not who runs the test.
    #[must_use]
    pub fn user(&self) -> Option<&Arc<TempUser>> {
        self.user.as_ref()
    }

    /// A call of it.
    #[must_use]
    pub fn call<S: AsRef<str>>(&self, arguments: &[S]) -> Invocation {
        let mut call = Invocation::new(&self.program).arg("--root").arg(self.root());
        for argument in arguments {
            call = call.arg(argument.as_ref());
        }
        match &self.user {
            Some(user) => call.user(user),
            None => call,
        }
    }

    /// The containers that it knows of, by their directories.
    #[must_use]
    pub fn known(&self) -> Vec<String> {
        // A runtime may have removed it all, which is for the test to find.
        let entries = fs::read_dir(self.root()).into_iter().flatten().flatten();
        entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect()
    }
}

/// The program, or a copy of it and the helper where everybody can reach them.
fn reachable(program: &Path) -> (PathBuf, Option<Arc<TempDir>>) {
    static COPY: Mutex<Weak<TempDir>> = Mutex::new(Weak::new());
    let is_open = |dir: &Path| fs::metadata(dir).is_ok_and(|m| m.permissions().mode() & 1 == 1);
    if program.canonicalize().unwrap().ancestors().all(is_open) {
        return (program.to_owned(), None);
    }
    let mut copy = COPY.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = copy.upgrade().unwrap_or_else(|| {
        let directory = playground();
        for file in [program, &helper_program()] {
            fs::copy(file, directory.path().join(file.file_name().unwrap())).unwrap();
        }
        Arc::new(directory)
    });
    *copy = Arc::downgrade(&directory);
    (directory.path().join(program.file_name().unwrap()), Some(directory))
}

fn private_directory() -> TempDir {
    let directory = tempfile::Builder::new().prefix("outrigger-test-state").tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(directory.path().join(STATE)).unwrap();
    let closed = fs::Permissions::from_mode(0o700);
    fs::set_permissions(directory.path().join(STATE), closed).unwrap();
    directory
}

/// The program under test.
#[must_use]
pub fn runtime_program() -> PathBuf {
    std::env::var_os("RUNTIME").map_or_else(|| built_program("outrigger"), PathBuf::from)
}

/// Its name, which tells which runtime it is.
#[must_use]
pub fn runtime_name() -> String {
    runtime_program().file_name().unwrap().to_string_lossy().into_owned()
}

/// Whether it is Outrigger.
#[must_use]
pub fn is_outrigger() -> bool {
    runtime_name() == "outrigger"
}

/// The helper under test.
#[must_use]
pub fn helper_program() -> PathBuf {
    built_program("outrigger-helper")
}

/// A program of ours: in `OUTRIGGER_BIN_DIR`, or where cargo builds it beside the tests.
fn built_program(name: &str) -> PathBuf {
    let directory = std::env::var_os("OUTRIGGER_BIN_DIR").map_or_else(
        || {
            let test = std::env::current_exe().unwrap();
            test.ancestors().nth(2).unwrap().to_owned()
        },
        PathBuf::from,
    );
    let program = directory.join(name);
    assert!(program.exists(), "{} is missing: build it first", program.display());
    program
}
