// SPDX-License-Identifier: Apache-2.0
//! Where the containers' directories are, and that nobody else can put anything there.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fstat};
use nix::unistd::geteuid;

/// The directory above the containers' directories.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    /// Whether the user named it. Its parents may be made then, and it may be a symbolic link.
    given: bool,
}

impl Root {
    /// The directory that the user named, else the default one.
    pub(super) fn locate(given: Option<&Path>) -> Self {
        match given {
            Some(path) => Self { path: path.to_owned(), given: true },
            None => Self { path: default_path(), given: false },
        }
    }

    /// Opens it, if it exists.
    pub(super) fn open(&self) -> Result<Option<OwnedFd>> {
        let mut flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        if !self.given {
            flags |= OFlag::O_NOFOLLOW;
        }
        let opened = match open(&self.path, flags, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(None),
            opened => opened.map_err(Into::into).and_then(|fd| verify(&fd).map(|()| fd)),
        };
        opened.map(Some).with_context(|| format!("state directory {}", self.path.display()))
    }

    /// Opens it, after making it if need be.
    pub(super) fn make(&self) -> Result<OwnedFd> {
        let context = || format!("state directory {}", self.path.display());
        match DirBuilder::new().mode(0o700).recursive(self.given).create(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(e).with_context(context);
            }
            _ => {}
        }
        self.open()?.context("it has vanished").with_context(context)
    }
}

/// Refuses a directory that is another user's, or in which others can write. It is not ours to correct.
fn verify(directory: &OwnedFd) -> Result<()> {
    let stat = fstat(directory).context("stat")?;
    let uid = geteuid().as_raw();
    if stat.st_uid != uid {
        bail!("belongs to user id {}, not to {uid}: name another one with --root", stat.st_uid);
    }
    if stat.st_mode & 0o022 != 0 {
        bail!("others may write there: name another one with --root or take the permission away");
    }
    Ok(())
}

fn default_path() -> PathBuf {
    let uid = geteuid().as_raw();
    let is_ours = |dir: &Path| fs::metadata(dir).is_ok_and(|m| m.is_dir() && m.uid() == uid);
    choose(uid, std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from), is_ours)
}

/// A directory of the user that no other user can write to, and that does not outlive the boot; for
/// want of one a name in /tmp.
fn choose(uid: u32, runtime_dir: Option<PathBuf>, is_ours: impl Fn(&Path) -> bool) -> PathBuf {
    // Root of a user namespace does not own /run: it is an ordinary user with another number.
    if uid == 0 && is_ours(Path::new("/run")) {
        return "/run/outrigger".into();
    }
    // The variable may come from another user or, with a batch job, from another host.
    let session = PathBuf::from(format!("/run/user/{uid}"));
    runtime_dir
        .into_iter()
        .chain([session])
        .find(|dir| dir.is_absolute() && is_ours(dir))
        .map_or_else(|| format!("/tmp/outrigger-{uid}").into(), |dir| dir.join("outrigger"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn default_is_the_users_own_directory() {
        let choice = |uid, runtime_dir: Option<&str>, ours: &[&str]| {
            let is_ours = |dir: &Path| ours.iter().any(|o| Path::new(o) == dir);
            choose(uid, runtime_dir.map(PathBuf::from), is_ours)
                .into_os_string()
                .into_string()
                .unwrap()
        };
        assert_eq!(choice(0, Some("/x"), &["/run", "/x"]), "/run/outrigger");
        assert_eq!(choice(0, Some("/run/user/7"), &["/run/user/7"]), "/run/user/7/outrigger");
        assert_eq!(choice(7, Some("/x"), &["/x", "/run/user/7"]), "/x/outrigger");
        assert_eq!(choice(7, Some("/x"), &["/run/user/7"]), "/run/user/7/outrigger");
        assert_eq!(choice(7, Some(""), &["", "/run/user/7"]), "/run/user/7/outrigger");
        assert_eq!(choice(7, Some("x"), &["x"]), "/tmp/outrigger-7");
        assert_eq!(choice(7, None, &[]), "/tmp/outrigger-7");
        assert_eq!(choice(0, None, &[]), "/tmp/outrigger-0");
    }

    fn given(path: &Path) -> Root {
        Root { path: path.to_owned(), given: true }
    }

    fn default(path: &Path) -> Root {
        Root { path: path.to_owned(), given: false }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn missing_directory_is_made_when_it_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        assert!(given(&path).open().unwrap().is_none());
        given(&path).make().unwrap();
        assert_eq!((mode(&path), mode(&dir.path().join("a"))), (0o700, 0o700));
        given(&path).make().unwrap();
        assert!(given(&path).open().unwrap().is_some());
        assert!(default(&dir.path().join("c/d")).make().is_err());
        default(&dir.path().join("c")).make().unwrap();
        assert_eq!(mode(&dir.path().join("c")), 0o700);
    }

    #[test]
    fn directory_in_which_others_write_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        for bits in [0o770, 0o707, 0o1777, 0o720] {
            fs::set_permissions(dir.path(), PermissionsExt::from_mode(bits)).unwrap();
            for root in [given(dir.path()), default(dir.path())] {
                let error = format!("{:#}", root.make().unwrap_err());
                assert!(error.contains("others may write there"), "{error}");
                assert!(error.contains(&*dir.path().to_string_lossy()), "{error}");
            }
            assert_eq!(mode(dir.path()), bits);
        }
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        given(dir.path()).make().unwrap();
    }

    #[test]
    fn directory_of_another_user_is_refused() {
        // Root can give a directory away; for everyone else / is another user's.
        let foreign = tempfile::tempdir().unwrap();
        let path = if geteuid().is_root() {
            nix::unistd::chown(foreign.path(), Some(65534.into()), None).unwrap();
            foreign.path()
        } else {
            Path::new("/")
        };
        for root in [given(path), default(path)] {
            let error = format!("{:#}", root.open().unwrap_err());
            assert!(error.contains("belongs to user id"), "{error}");
        }
    }

    #[test]
    fn only_a_named_directory_may_be_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        DirBuilder::new().mode(0o700).create(&real).unwrap();
        symlink(&real, &link).unwrap();
        given(&link).make().unwrap();
        assert!(default(&link).make().is_err());
        assert!(default(&link).open().is_err());
    }

    #[test]
    fn what_is_no_directory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        for path in [&file, &fifo] {
            assert!(given(path).make().is_err());
            assert!(default(path).make().is_err());
            assert!(given(path).open().is_err());
        }
        assert!(given(&file.join("below")).make().is_err());
    }
}
