// SPDX-License-Identifier: Apache-2.0
//! State directories that are not as they should be.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use outrigger_tests::runtime::runtime_program;
use outrigger_tests::{Bundle, Container, Invocation, Outcome, needs_root, ours_only};

/// A call with a state directory of the test's own.
fn call(root: &Path, words: &[&str]) -> Outcome {
    let call = Invocation::new(runtime_program()).arg("--root").arg(root);
    words.iter().fold(call, Invocation::arg).finish()
}

#[test]
fn t03_a_missing_state_directory_is_made_for_its_owner_alone() {
    needs_root!();
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("not/there");
    let bundle = Bundle::new().args(&["true"]);
    let bundle = bundle.path().to_str().unwrap();
    let _ = call(&root, &["run", "--bundle", bundle, "outrigger-test-t03"]).succeeded();
    let mode = fs::metadata(&root).unwrap().permissions().mode();
    assert_eq!(mode & 0o077 & !0o011, 0, "{mode:o}");
    let entries: Vec<_> = fs::read_dir(&root).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(entries.is_empty(), "{entries:?}");
}

#[test]
fn t03_a_state_directory_that_others_can_write_is_refused() {
    needs_root!();
    ours_only!("does not look at it");
    let directory = tempfile::tempdir().unwrap();
    let bundle = Bundle::new().args(&["true"]);
    let bundle = bundle.path().to_str().unwrap();
    let create = ["create", "--bundle", bundle, "outrigger-test-t03"];
    for (mode, owner) in [(0o777, 0), (0o1777, 0), (0o770, 0), (0o700, 65534)] {
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(mode)).unwrap();
        chown(directory.path(), Some(owner), None).unwrap();
        for words in [&create[..], &["list"], &["state", "x"], &["delete", "--force", "x"]] {
            call(directory.path(), words).failed_with(directory.path().to_str().unwrap());
        }
        assert!(fs::read_dir(directory.path()).unwrap().next().is_none());
    }
}

#[test]
fn t03_a_state_directory_that_is_a_file_is_refused() {
    needs_root!();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "content").unwrap();
    let bundle = Bundle::new().args(&["true"]);
    let bundle = bundle.path().to_str().unwrap();
    call(&file, &["create", "--bundle", bundle, "outrigger-test-t03"]).failed();
    assert_eq!(fs::read_to_string(&file).unwrap(), "content");
}

/// A stopped container and the file of its state.
fn stopped() -> (Container, PathBuf) {
    let container = Container::of(Bundle::new().args(&["sleep", "1000"]));
    let _ = container.create().succeeded();
    container.stop();
    let file = container.runtime().root().join(container.id()).join("state.json");
    assert!(file.is_file());
    (container, file)
}

/// What the file of a container's state can be in place of one.
type Spoil = fn(&Path);

const SPOILS: [(&str, Spoil); 9] = [
    ("missing", |_| {}),
    ("empty", |file| fs::write(file, "").unwrap()),
    ("no JSON", |file| fs::write(file, "nonsense").unwrap()),
    ("of another version", |file| fs::write(file, "{\"schema\":99}").unwrap()),
    ("a directory", |file| fs::create_dir(file).unwrap()),
    ("a fifo", |file| mkfifo(file, Mode::S_IRWXU).unwrap()),
    ("a link", |file| symlink("/etc/hostname", file).unwrap()),
    ("an endless link", |file| symlink("/dev/zero", file).unwrap()),
    ("of 10 GiB", |file| fs::File::create(file).unwrap().set_len(10 << 30).unwrap()),
];

#[test]
fn t04_a_spoilt_state_is_told_and_can_be_deleted_by_force() {
    needs_root!();
    ours_only!("may wait for ever, or leave it for ever");
    for (what, spoil) in SPOILS {
        let (container, file) = stopped();
        fs::remove_file(&file).unwrap();
        spoil(&file);
        let begin = Instant::now();
        for command in ["state", "start", "kill", "delete"] {
            let line = container.call(&[command]).finish().failed();
            assert!(line.contains(container.id()), "{what}: {command}: {line}");
        }
        container.create().failed_with("already exists");
        let _ = container.delete_by_force().succeeded();
        assert!(begin.elapsed() < Duration::from_secs(10), "{what}");
        assert_eq!(container.runtime().known(), Vec::<String>::new(), "{what}");
    }
}

#[test]
fn t04_nothing_is_left_of_a_container_whose_state_is_spoilt() {
    needs_root!();
    ours_only!("may leave it for ever");
    let (container, file) = stopped();
    fs::write(&file, "nonsense").unwrap();
    let _ = container.delete_by_force().succeeded();
    container.assert_nothing_left();
}

#[test]
fn t04_a_state_that_is_cut_short_anywhere_can_be_deleted_by_force() {
    needs_root!();
    ours_only!("may leave it for ever");
    let (container, file) = stopped();
    let text = fs::read(&file).unwrap();
    for length in (0..text.len()).step_by(text.len() / 12) {
        fs::write(&file, &text[..length]).unwrap();
        container.call(&["state"]).finish().failed();
        container.delete().failed();
    }
    let _ = container.delete_by_force().succeeded();
    assert_eq!(container.runtime().known(), Vec::<String>::new());
}

#[test]
fn t04_one_spoilt_state_does_not_hide_the_other_containers() {
    needs_root!();
    ours_only!("fails as a whole");
    for (what, spoil) in SPOILS {
        let (container, file) = stopped();
        let other = Container::by(container.runtime(), Bundle::new().args(&["sleep", "1000"]));
        let _ = other.create().succeeded();
        fs::remove_file(&file).unwrap();
        spoil(&file);
        fs::write(container.runtime().root().join("stray file"), "").unwrap();
        let list = container.runtime().call(&["list"]).finish().succeeded().stdout();
        assert!(list.contains(other.id()) && list.contains("created"), "{what}: {list}");
    }
}

#[test]
fn t06_a_pid_that_another_process_has_now_is_left_alone() {
    needs_root!();
    ours_only!("has another file");
    let (container, file) = stopped();
    // Start times are counted in ticks of 10 ms. A pid is not given away again within one, so a bystander
    // that shares the container's tick would be a case that does not occur.
    std::thread::sleep(Duration::from_millis(30));
    let bystander = Invocation::new("sleep").arg("1000").start();
    let mut state: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    state["process"]["pid"] = bystander.pid().into();
    fs::write(&file, state.to_string()).unwrap();
    assert_eq!(container.status(), "stopped");
    container.kill("KILL").failed_with("not running");
    let _ = container.delete_by_force().succeeded();
    let mut bystander = bystander;
    assert!(bystander.is_alive(), "it was killed");
}

#[test]
fn t10_a_container_of_an_earlier_boot_is_stopped() {
    needs_root!();
    ours_only!("has another file");
    let container = Container::of(Bundle::new().args(&["sleep", "1000"]));
    let _ = container.create().succeeded();
    let file = container.runtime().root().join(container.id()).join("state.json");
    let text = fs::read_to_string(&file).unwrap();
    let mut state: serde_json::Value = serde_json::from_str(&text).unwrap();
    state["boot_id"] = "00000000-0000-0000-0000-000000000000".into();
    fs::write(&file, state.to_string()).unwrap();
    assert_eq!(container.status(), "stopped");
    container.kill("KILL").failed_with("not running");
    fs::write(&file, text).unwrap();
    assert_eq!(container.status(), "created");
}
