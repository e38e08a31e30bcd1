// SPDX-License-Identifier: Apache-2.0
//! An image, and somebody who changes it meanwhile, that try to lead the helper out of the root.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use outrigger_protocol::mount::{AttrChange, BindMount, Mount};
use outrigger_protocol::node::{FileMode, Mkdir, Symlink, Touch};
use outrigger_protocol::path::{HostPath, LinkTarget};
use outrigger_protocol::{ContainerKind, ContainerRequest, Reply};
use outrigger_tests::peer::Session;
use outrigger_tests::samples::{inside, tmpfs};
use outrigger_tests::{TempRoot, helper_program, needs_root};

/// A session in which mounts and nodes are made.
fn furnishing(root: &TempRoot) -> Session {
    let mut session = Session::start(&helper_program(), root.path());
    for kind in [ContainerKind::Hello, ContainerKind::Rootfs] {
        let reply = session.ask_sample(kind).unwrap();
        assert!(!matches!(reply, Reply::Failed(_)), "{reply:?}");
    }
    session
}

fn mkdir(path: &str) -> ContainerRequest {
    let mode = FileMode::new(0o755).unwrap();
    ContainerRequest::Mkdir(Mkdir { path: inside(path), mode })
}

fn touch(path: &str) -> ContainerRequest {
    let mode = FileMode::new(0o644).unwrap();
    ContainerRequest::Touch(Touch { path: inside(path), mode })
}

fn link(path: &str) -> ContainerRequest {
    let target = LinkTarget::new("x").unwrap();
    ContainerRequest::Symlink(Symlink { path: inside(path), target })
}

fn bind(source: &Path, target: &str) -> ContainerRequest {
    ContainerRequest::Mount(Mount::Bind(BindMount {
        target: inside(target),
        source: HostPath::new(source.to_str().unwrap()).unwrap(),
        recursive: true,
        attrs: AttrChange::default(),
        recursive_attrs: AttrChange::default(),
        propagation: None,
    }))
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).unwrap().next().is_none()
}

#[test]
fn r01_links_stay_inside_the_root() {
    needs_root!();
    let canary = tempfile::tempdir().unwrap();
    let root = TempRoot::new();
    fs::create_dir_all(root.path().join("deep/er")).unwrap();
    let up = format!("../../../../../../..{}", canary.path().display());
    symlink(canary.path(), root.path().join("absolute")).unwrap();
    symlink(&up, root.path().join("deep/er/up")).unwrap();
    symlink("absolute", root.path().join("chain")).unwrap();
    symlink("loop", root.path().join("loop")).unwrap();
    for link_path in ["/absolute", "/deep/er/up", "/chain", "/loop"] {
        for request in [
            mkdir(&format!("{link_path}/x")),
            touch(&format!("{link_path}/x")),
            link(&format!("{link_path}/x")),
            ContainerRequest::Mount(tmpfs(link_path)),
            ContainerRequest::Mount(tmpfs(&format!("{link_path}/x"))),
            bind(canary.path(), &format!("{link_path}/x")),
        ] {
            let mut session = furnishing(&root);
            let _ = session.ask(&request);
            assert!(is_empty(canary.path()), "{link_path} {request:?}");
        }
    }
}

#[test]
fn r01_a_link_whose_target_is_inside_is_followed() {
    needs_root!();
    let root = TempRoot::new();
    fs::create_dir(root.path().join("run")).unwrap();
    fs::create_dir(root.path().join("var")).unwrap();
    symlink("/run", root.path().join("var/run")).unwrap();
    let mut session = furnishing(&root);
    assert_eq!(session.ask(&mkdir("/var/run/made")).unwrap(), Reply::Done);
    assert!(root.path().join("run/made").is_dir());
}

#[test]
fn r04_what_is_there_already_is_not_replaced() {
    needs_root!();
    let root = TempRoot::new();
    let canary = tempfile::tempdir().unwrap();
    symlink(canary.path().join("file"), root.path().join("dangling")).unwrap();
    fs::write(root.path().join("file"), "content").unwrap();
    let mut session = furnishing(&root);
    assert_eq!(session.ask(&touch("/file")).unwrap(), Reply::Done);
    assert_eq!(fs::read(root.path().join("file")).unwrap(), b"content");
    let Reply::Failed(failure) = session.ask(&touch("/dangling")).unwrap() else {
        panic!("a file must not be made through a link to nothing")
    };
    assert!(failure.to_string().contains("symbolic link to nothing"), "{failure}");
    assert!(is_empty(canary.path()));
}

#[test]
fn r07_kernel_directories_that_are_links_are_refused() {
    needs_root!();
    for name in ["proc", "sys", "dev"] {
        let root = TempRoot::new();
        symlink("masked", root.path().join(name)).unwrap();
        for path in [format!("/{name}"), format!("/{name}/x")] {
            let mut session = furnishing(&root);
            let request = ContainerRequest::Mount(tmpfs(&path));
            let Reply::Failed(failure) = session.ask(&request).unwrap() else {
                panic!("{path} is a link")
            };
            assert!(failure.to_string().contains("symbolic link"), "{failure}");
        }
        assert!(is_empty(&root.path().join("masked")));
    }
}

#[test]
fn r09_magic_links_are_not_followed() {
    needs_root!();
    let root = TempRoot::new();
    fs::create_dir(root.path().join("proc")).unwrap();
    let mut session = furnishing(&root);
    let proc = bind(Path::new("/proc"), "/proc");
    assert_eq!(session.ask(&proc).unwrap(), Reply::Done);
    let Reply::Failed(failure) = session.ask(&mkdir("/proc/self/root/tmp/escaped")).unwrap() else {
        panic!("a magic link was followed")
    };
    assert!(failure.to_string().contains("symbolic link"), "{failure}");
    assert!(!Path::new("/tmp/escaped").exists());
}

#[test]
fn m13_a_mount_on_the_root_itself_is_refused() {
    needs_root!();
    let root = TempRoot::new();
    let mut session = furnishing(&root);
    let reply = session.ask(&ContainerRequest::Mount(tmpfs("/"))).unwrap();
    assert!(matches!(reply, Reply::Failed(_)), "{reply:?}");
}

/// Swaps a directory and a link to the canary, over and over.
fn swap(root: &Path, swaps: &AtomicU32, stop: &AtomicBool) {
    let (directory, link) = (root.join("swapped"), root.join("other"));
    while !stop.load(Ordering::Relaxed) {
        let flags = RenameFlags::RENAME_EXCHANGE;
        renameat2(AT_FDCWD, &directory, AT_FDCWD, &link, flags).unwrap();
        swaps.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn r02_a_directory_swapped_for_a_link_a_hundred_thousand_times_leads_nowhere() {
    needs_root!();
    const SWAPS: u32 = 100_000;
    let canary = tempfile::tempdir().unwrap();
    let root = TempRoot::new();
    fs::create_dir(root.path().join("swapped")).unwrap();
    symlink(canary.path(), root.path().join("other")).unwrap();
    let (swaps, stop) = (AtomicU32::new(0), AtomicBool::new(false));
    let (mut done, mut refused) = (0_u32, 0_u32);
    std::thread::scope(|scope| {
        scope.spawn(|| swap(root.path(), &swaps, &stop));
        let deadline = Instant::now() + Duration::from_secs(60);
        while swaps.load(Ordering::Relaxed) < SWAPS && Instant::now() < deadline {
            // A refused request ends its session; the next one takes a new one.
            let mut session = furnishing(&root);
            for n in 0.. {
                let request = match n % 4 {
                    0 => mkdir(&format!("/swapped/d{done}/below")),
                    1 => touch(&format!("/swapped/f{done}")),
                    2 => link(&format!("/swapped/l{done}")),
                    _ => ContainerRequest::Mount(tmpfs(&format!("/swapped/m{done}"))),
                };
                match session.ask(&request) {
                    Ok(Reply::Done) => done += 1,
                    _ => break,
                }
                if swaps.load(Ordering::Relaxed) >= SWAPS {
                    break;
                }
            }
            refused += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(swaps.load(Ordering::Relaxed) >= SWAPS, "the machine was too slow");
    assert!(
        done > 0 && refused > 0,
        "both ways must have been seen: {done} done, {refused} refused"
    );
    assert!(is_empty(canary.path()), "something was made outside the root");
}
