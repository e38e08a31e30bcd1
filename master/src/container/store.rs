// SPDX-License-Identifier: Apache-2.0
//! The containers' directories. Everything is reached from a directory's descriptor, so that a path is
//! resolved once.

use std::cell::RefCell;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::defaults::{Defaults, MAX_DEFAULTS};
use super::id::ContainerId;
use super::lock::{Lock, PATIENCE};
use super::root::Root;
use super::state::{MAX_STATE, State};
use super::status::{self, Status};
use crate::file::{self, Link};

/// Name of the socket on which a created container waits for its start.
pub(crate) const START_SOCKET: &str = "start.sock";
const STATE: &str = "state.json";
/// What `exec` takes from the config. Written once, before the state says that there is a process.
const DEFAULTS: &str = "exec.json";
/// The state while it is written. Only the holder of the lock writes it.
const UNFINISHED_STATE: &str = "state.json.new";
/// All that is ever in a container's directory, in the order of removal: what is needed to resume a
/// removal that was cut short goes last.
const OURS: [&str; 4] = [UNFINISHED_STATE, START_SOCKET, DEFAULTS, STATE];

const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// A container as [`Store::list`] finds it: with its state or why that cannot be read.
pub(crate) type Listed = (ContainerId, Result<(Container, State)>);

/// All containers of a user, or of a `--root`.
#[derive(Debug)]
pub(crate) struct Store {
    root: Root,
    /// `None` while it does not exist.
    directory: Option<Arc<OwnedFd>>,
}

impl Store {
    /// Opens the store below `root`, else the default one. It is made with its first container.
    pub(crate) fn open(root: Option<&Path>) -> Result<Self> {
        let root = Root::locate(root);
        let directory = root.open()?.map(Arc::new);
        Ok(Self { root, directory })
    }

    /// Makes a container's directory and locks it. Of several who try only one succeeds.
    pub(crate) fn create(&self, id: &ContainerId) -> Result<Container> {
        let root = match &self.directory {
            Some(root) => Arc::clone(root),
            None => Arc::new(self.root.make()?),
        };
        match mkdirat(&root, id.as_str(), Mode::S_IRWXU) {
            Err(Errno::EEXIST) => bail!("container with id \"{id}\" already exists"),
            made => made.with_context(|| format!("make the directory of container \"{id}\""))?,
        }
        let container = Container::open(&root, id)?;
        // Between the two steps another process may take it for the rest of a failed creation.
        let container = container.context("it has just been deleted");
        let locked =
            container.and_then(|c| c.acquire()?.then_some(c).context("it has just been deleted"));
        locked.with_context(|| format!("create container \"{id}\""))
    }

    /// The container, if it exists.
    pub(crate) fn find(&self, id: &ContainerId) -> Result<Option<Container>> {
        self.directory.as_ref().map_or(Ok(None), |root| Container::open(root, id))
    }

    /// The container, which must exist.
    pub(crate) fn get(&self, id: &ContainerId) -> Result<Container> {
        self.find(id)?.with_context(|| no_such_container(id))
    }

    /// All containers by name.
    pub(crate) fn list(&self) -> Result<Vec<Listed>> {
        let Some(root) = &self.directory else { return Ok(Vec::new()) };
        let mut containers = Vec::new();
        for name in entries(root).context("read the state directory")? {
            let Some(id) = name.to_str().ok().and_then(|n| ContainerId::parse(n).ok()) else {
                continue;
            };
            match Container::open(root, &id) {
                Ok(Some(container)) if container.is_foreign() => {}
                Ok(Some(container)) => {
                    let state = container.read_state();
                    containers.push((id, state.map(|state| (container, state))));
                }
                // It has just been deleted.
                Ok(None) => {}
                Err(e) => containers.push((id, Err(e))),
            }
        }
        containers.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(containers)
    }
}

/// A container's directory.
#[derive(Debug)]
pub(crate) struct Container {
    root: Arc<OwnedFd>,
    id: ContainerId,
    directory: OwnedFd,
    lock: RefCell<Option<Lock>>,
}

/// Unlocks the container when dropped.
#[derive(Debug)]
pub(crate) struct Locked<'a>(&'a Container);

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.0.unlock();
    }
}

impl Container {
    fn open(root: &Arc<OwnedFd>, id: &ContainerId) -> Result<Option<Self>> {
        match openat(root, id.as_str(), DIRECTORY, Mode::empty()) {
            // A file or a link of that name is none of ours.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
            opened => {
                let directory = opened.with_context(|| format!("open container \"{id}\""))?;
                let (root, id) = (Arc::clone(root), id.clone());
                Ok(Some(Self { root, id, directory, lock: RefCell::new(None) }))
            }
        }
    }

    /// The container's directory.
    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    /// Takes the container's lock, waiting for whoever has it. One that [`Store::create`] returned has it
    /// already.
    pub(crate) fn lock(&self) -> Result<Locked<'_>> {
        if self.acquire()? { Ok(Locked(self)) } else { bail!(no_such_container(&self.id)) }
    }

    /// Gives back the lock that [`Store::create`] took.
    pub(crate) fn unlock(&self) {
        self.lock.take();
    }

    fn is_locked(&self) -> bool {
        self.lock.borrow().is_some()
    }

    /// Takes the lock, unless the directory is gone by then.
    fn acquire(&self) -> Result<bool> {
        let context = || format!("container \"{}\"", self.id);
        ensure!(!self.is_locked(), "container \"{}\" is locked already", self.id);
        let lock = Lock::take(&self.directory, PATIENCE).with_context(context)?;
        let is_there = self.is_there().with_context(context)?;
        if is_there {
            self.lock.replace(Some(lock));
        }
        Ok(is_there)
    }

    /// Whether the name still stands for this directory.
    fn is_there(&self) -> Result<bool> {
        let ours = fstat(&self.directory).context("stat")?;
        match fstatat(&self.root, self.id.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT) => Ok(false),
            named => Ok(named.map(|n| (n.st_dev, n.st_ino))? == (ours.st_dev, ours.st_ino)),
        }
    }

    /// Reads the state.
    pub(crate) fn read_state(&self) -> Result<State> {
        let state = file::read(&self.directory, STATE, Link::Refuse, MAX_STATE)
            .and_then(|text| State::decode(&text))
            .and_then(|state| {
                ensure!(state.id == self.id, "is that of container \"{}\"", state.id);
                Ok(state)
            });
        state.with_context(|| format!("container \"{}\": {STATE}", self.id))
    }

    /// Replaces the state. Whoever reads sees the old or the new one; the lock must be held.
    ///
    /// Nothing waits for a disk: a state that does not outlive a power cut is worth nothing after it.
    pub(crate) fn write_state(&self, state: &State) -> Result<()> {
        let context = || format!("write the state of container \"{}\"", self.id);
        ensure!(self.is_locked(), "{} without its lock", context());
        self.replace_state(&state.encode().with_context(context)?).with_context(context)
    }

    fn replace_state(&self, text: &[u8]) -> Result<()> {
        // Left by a writer that was killed.
        remove_entry(&self.directory, UNFINISHED_STATE)?;
        let mut file = self.new_file(UNFINISHED_STATE)?;
        file.write_all(text)?;
        renameat(&self.directory, UNFINISHED_STATE, &self.directory, STATE)?;
        Ok(())
    }

    /// Keeps the defaults of `exec`.
    pub(crate) fn write_defaults(&self, defaults: &Defaults) -> Result<()> {
        let context = || format!("write {DEFAULTS} of container \"{}\"", self.id);
        let text = defaults.encode().with_context(context)?;
        let mut file = self.new_file(DEFAULTS).with_context(context)?;
        file.write_all(&text).with_context(context)
    }

    /// Reads the defaults of `exec`.
    pub(crate) fn read_defaults(&self) -> Result<Defaults> {
        let defaults = file::read(&self.directory, DEFAULTS, Link::Refuse, MAX_DEFAULTS)
            .and_then(|text| Ok(serde_json::from_slice(&text)?));
        defaults.with_context(|| format!("container \"{}\": {DEFAULTS}", self.id))
    }

    fn new_file(&self, name: &str) -> nix::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        openat(&self.directory, name, flags, Mode::S_IRUSR | Mode::S_IWUSR).map(File::from)
    }

    /// What the container is doing.
    pub(crate) fn status(&self, state: &State) -> Status {
        let in_work = || !self.is_locked() && Lock::is_taken(&self.directory);
        status::derive(self.directory(), state, in_work)
    }

    /// Removes the directory, which may be gone already. Nothing is removed if anything in it is not
    /// ours.
    pub(crate) fn remove(&self) -> Result<()> {
        let _locked = match self.is_locked() {
            true => None,
            false if self.acquire()? => Some(Locked(self)),
            false => return Ok(()),
        };
        let context = || format!("remove the state of container \"{}\"", self.id);
        for name in entries(&self.directory).with_context(context)? {
            ensure!(is_ours(&name), "{}: {name:?} in its directory is not ours", context());
        }
        for name in OURS {
            remove_entry(&self.directory, name)
                .with_context(|| format!("{}: {name}", context()))?;
        }
        unlinkat(&self.root, self.id.as_str(), UnlinkatFlags::RemoveDir).with_context(context)
    }

    /// Whether it is no container's directory: a root may be shared with others, as `/run/user/UID` is.
    fn is_foreign(&self) -> bool {
        entries(&self.directory).is_ok_and(|names| {
            names.iter().any(|n| !is_ours(n))
                && !names.iter().any(|n| n.as_bytes() == STATE.as_bytes())
        })
    }
}

fn no_such_container(id: &ContainerId) -> String {
    format!("container \"{id}\" does not exist")
}

fn is_ours(name: &CStr) -> bool {
    OURS.iter().any(|ours| ours.as_bytes() == name.to_bytes())
}

/// The names in a directory.
fn entries(directory: impl AsFd) -> nix::Result<Vec<CString>> {
    let mut directory = Dir::openat(directory, ".", DIRECTORY, Mode::empty())?;
    let is_entry = |name: &CStr| name != c"." && name != c"..";
    let names = directory.iter().map(|entry| entry.map(|e| e.file_name().to_owned()));
    names.filter(|name| name.as_ref().map_or(true, |n| is_entry(n))).collect()
}

/// Removes a file, or whatever has taken its place; none is as good.
fn remove_entry(directory: impl AsFd + Copy, name: &str) -> nix::Result<()> {
    let removed = match unlinkat(directory, name, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::EISDIR) => unlinkat(directory, name, UnlinkatFlags::RemoveDir),
        removed => removed,
    };
    if removed == Err(Errno::ENOENT) { Ok(()) } else { removed }
}

#[cfg(test)]
mod tests {
    use super::super::state::Intent;
    use super::super::state::tests::example;
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;
    use std::sync::Barrier;
    use std::time::{Duration, Instant};

    /// A store below a directory of its own.
    struct Place {
        dir: tempfile::TempDir,
        store: Store,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::open(Some(dir.path())).unwrap();
            Self { dir, store }
        }

        fn create(&self, id: &str) -> Container {
            let container = self.store.create(&parsed(id)).unwrap();
            container.write_state(&example(id)).unwrap();
            container.unlock();
            container
        }

        fn path(&self, id: &str, file: &str) -> PathBuf {
            self.dir.path().join(id).join(file)
        }
    }

    fn parsed(id: &str) -> ContainerId {
        ContainerId::parse(id).unwrap()
    }

    #[test]
    fn container_lives_from_create_to_remove() {
        let place = Place::new();
        let id = parsed("x");
        assert!(place.store.find(&id).unwrap().is_none());
        let container = place.create("x");
        assert_eq!(fs::metadata(place.path("x", "")).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(
            fs::metadata(place.path("x", STATE)).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(place.store.get(&id).unwrap().read_state().unwrap(), example("x"));
        container.remove().unwrap();
        assert!(!place.path("x", "").exists());
        container.remove().unwrap();
        let error = place.store.get(&id).unwrap_err().to_string();
        assert_eq!(error, "container \"x\" does not exist");
    }

    #[test]
    fn taken_id_is_refused() {
        let place = Place::new();
        let container = place.create("x");
        let error = place.store.create(&parsed("x")).unwrap_err().to_string();
        assert_eq!(error, "container with id \"x\" already exists");
        assert_eq!(container.read_state().unwrap(), example("x"));
        fs::write(place.dir.path().join("file"), "").unwrap();
        assert!(place.store.create(&parsed("file")).is_err());
        assert!(place.store.find(&parsed("file")).unwrap().is_none());
    }

    #[test]
    fn root_is_made_with_the_first_container() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("a/b");
        let store = Store::open(Some(&root)).unwrap();
        assert!(store.list().unwrap().is_empty());
        assert!(store.get(&parsed("x")).is_err());
        assert!(!root.exists());
        store.create(&parsed("x")).unwrap();
        assert!(Store::open(Some(&root)).unwrap().find(&parsed("x")).unwrap().is_some());
    }

    #[test]
    fn of_sixteen_who_create_one_wins() {
        for _ in 0..50 {
            let place = Place::new();
            let start = Barrier::new(16);
            let won = std::thread::scope(|threads| {
                let create = || {
                    let store = Store::open(Some(place.dir.path())).unwrap();
                    start.wait();
                    match store.create(&parsed("x")) {
                        Ok(container) => container.write_state(&example("x")).map(|()| 1).unwrap(),
                        Err(e) => {
                            assert!(e.to_string().ends_with("already exists"), "{e:#}");
                            0
                        }
                    }
                };
                let all: Vec<_> = (0..16).map(|_| threads.spawn(create)).collect();
                all.into_iter().map(|t| t.join().unwrap()).sum::<u32>()
            });
            assert_eq!(won, 1);
            assert_eq!(place.store.get(&parsed("x")).unwrap().read_state().unwrap(), example("x"));
        }
    }

    #[test]
    fn creating_and_removing_at_once_leaves_whole_containers_or_none() {
        let place = Place::new();
        let work = |removes: bool| {
            for _ in 0..300 {
                let store = Store::open(Some(place.dir.path())).unwrap();
                if removes {
                    if let Some(container) = store.find(&parsed("x")).unwrap() {
                        container.remove().unwrap();
                    }
                } else if let Ok(container) = store.create(&parsed("x")) {
                    container.write_state(&example("x")).unwrap();
                    // Nobody removes it while it is locked.
                    assert_eq!(container.read_state().unwrap(), example("x"));
                    assert!(place.path("x", STATE).exists());
                }
            }
        };
        std::thread::scope(|threads| {
            for removes in [true, false, true, false] {
                threads.spawn(move || work(removes));
            }
        });
    }

    #[test]
    fn created_container_is_locked_until_it_is_unlocked() {
        let place = Place::new();
        let container = place.store.create(&parsed("x")).unwrap();
        assert!(container.lock().unwrap_err().to_string().contains("locked already"));
        let other = place.store.get(&parsed("x")).unwrap();
        let state = State { process: None, ..example("x") };
        assert_eq!(other.status(&state), Status::Creating);
        // To the holder of the lock its own lock does not mean that somebody is at work.
        assert_eq!(container.status(&state), Status::Stopped);
        container.unlock();
        assert_eq!(other.status(&state), Status::Stopped);
        let locked = other.lock().unwrap();
        assert_eq!(container.status(&state), Status::Creating);
        drop(locked);
        drop(other.lock().unwrap());
    }

    #[test]
    fn lock_of_a_container_that_is_gone_is_refused() {
        let place = Place::new();
        let old = place.create("x");
        place.store.get(&parsed("x")).unwrap().remove().unwrap();
        assert_eq!(old.lock().unwrap_err().to_string(), "container \"x\" does not exist");
        let new = place.create("x");
        assert_eq!(old.lock().unwrap_err().to_string(), "container \"x\" does not exist");
        // What bears the name now is not what was opened then.
        old.remove().unwrap();
        assert_eq!(new.read_state().unwrap(), example("x"));
    }

    #[test]
    fn state_is_written_under_the_lock_only() {
        let place = Place::new();
        let container = place.create("x");
        let changed = State { intent: Intent::Created, ..example("x") };
        assert!(
            container.write_state(&changed).unwrap_err().to_string().contains("without its lock")
        );
        let locked = container.lock().unwrap();
        fs::write(place.path("x", UNFINISHED_STATE), "left by a writer that was killed").unwrap();
        container.write_state(&changed).unwrap();
        drop(locked);
        assert_eq!(container.read_state().unwrap(), changed);
        assert!(!place.path("x", UNFINISHED_STATE).exists());
    }

    /// Puts something else in the place of the state of a new container.
    fn with_state(replace: impl FnOnce(&Path)) -> (Place, Container) {
        let place = Place::new();
        let container = place.create("x");
        fs::remove_file(place.path("x", STATE)).unwrap();
        replace(&place.path("x", STATE));
        (place, container)
    }

    #[test]
    fn what_is_no_state_is_refused_at_once_and_removed() {
        let sparse = |p: &Path| File::create(p).unwrap().set_len(10 << 30).unwrap();
        let fifo = |p: &Path| nix::unistd::mkfifo(p, Mode::S_IRWXU).unwrap();
        type Replace<'a> = &'a dyn Fn(&Path);
        let cases: [(Replace<'_>, &str); 9] = [
            (&|_| (), "No such file or directory"),
            (&fifo, "is not a regular file"),
            (&|p| fs::create_dir(p).unwrap(), "is not a regular file"),
            (&|p| symlink("/dev/zero", p).unwrap(), "is a symbolic link"),
            (&sparse, "is longer than 1048576 bytes"),
            (&|p| fs::write(p, "").unwrap(), "EOF while parsing"),
            (&|p| fs::write(p, "{\"schema\":1").unwrap(), "EOF while parsing"),
            (&|p| fs::write(p, "{\"schema\":99}").unwrap(), "schema 99, not 1"),
            (&|p| fs::write(p, example("y").encode().unwrap()).unwrap(), "that of container \"y\""),
        ];
        for (replace, says) in cases {
            let begin = Instant::now();
            let (place, container) = with_state(replace);
            let error = format!("{:#}", container.read_state().unwrap_err());
            assert!(error.starts_with("container \"x\": state.json: "), "{error}");
            assert!(error.contains(says), "{error}");
            place.create("sound");
            let list = place.store.list().unwrap();
            let found: Vec<_> = list.iter().map(|(id, s)| (id.as_str(), s.is_ok())).collect();
            assert_eq!(found, [("sound", true), ("x", false)], "{says}");
            container.remove().unwrap();
            assert!(place.store.find(&parsed("x")).unwrap().is_none());
            assert!(begin.elapsed() < Duration::from_secs(5), "{says}");
        }
    }

    #[test]
    fn what_is_not_ours_is_neither_listed_nor_removed() {
        let place = Place::new();
        fs::create_dir(place.dir.path().join("gnupg")).unwrap();
        fs::write(place.path("gnupg", "key"), "").unwrap();
        fs::write(place.path("gnupg", START_SOCKET), "").unwrap();
        fs::write(place.dir.path().join("file"), "").unwrap();
        symlink("gnupg", place.dir.path().join("link")).unwrap();
        fs::create_dir(place.dir.path().join("no id")).unwrap();
        assert!(place.store.list().unwrap().is_empty());
        let error = place.store.get(&parsed("gnupg")).unwrap().remove().unwrap_err().to_string();
        assert!(error.contains("\"key\" in its directory is not ours"), "{error}");
        assert!(place.path("gnupg", START_SOCKET).exists());
        assert!(place.store.find(&parsed("link")).unwrap().is_none());
    }

    #[test]
    fn directory_of_a_creation_that_was_cut_short_is_listed_and_removed() {
        let place = Place::new();
        fs::create_dir(place.dir.path().join("x")).unwrap();
        let list = place.store.list().unwrap();
        assert!(matches!(list.as_slice(), [(_, Err(_))]));
        place.store.get(&parsed("x")).unwrap().remove().unwrap();
        assert!(place.store.list().unwrap().is_empty());
    }
}
