// SPDX-License-Identifier: Apache-2.0
//! Images that want something made, or seen, outside the container's root.

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;

use outrigger_tests::invocation::Outcome;
use outrigger_tests::rootfs::playground;
use outrigger_tests::runtime::is_outrigger;
use outrigger_tests::{Bundle, Container, deviation, needs_root, ours_only, output, refused};
use serde_json::json;
use tempfile::TempDir;

/// A directory of the host in which nothing may appear and nothing may change.
struct Canary {
    directory: TempDir,
}

const SECRET: &str = "not for containers\n";

impl Canary {
    fn new() -> Self {
        let directory = playground();
        fs::write(directory.path().join("secret"), SECRET).unwrap();
        Self { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    #[track_caller]
    fn assert_untouched(&self, what: &str) {
        let names: Vec<_> =
            fs::read_dir(self.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["secret"], "{what}");
        assert_eq!(fs::read_to_string(self.path().join("secret")).unwrap(), SECRET, "{what}");
    }
}

/// Runs a container of a bundle that may be refused; in any case nothing is left.
fn attempt(bundle: Bundle) -> Outcome {
    let container = Container::of(bundle);
    let outcome = container.run();
    container.assert_nothing_left();
    outcome
}

/// Replaces something in a bundle's root by a link.
fn replace(bundle: &Bundle, name: &str, target: impl AsRef<Path>) {
    let path = bundle.rootfs().join(name);
    let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
    symlink(target, path).unwrap();
}

/// Ways out of the root, as (a link, what it points at).
fn ways_out(canary: &Path) -> Vec<(&'static str, String)> {
    let up = format!("../../../../../../../../..{}", canary.display());
    vec![("absolute", canary.display().to_string()), ("up", up)]
}

#[test]
fn r01_links_at_and_above_mount_points_stay_in_the_root() {
    needs_root!();
    let (canary, source) = (Canary::new(), playground());
    fs::write(source.path().join("file"), "bound\n").unwrap();
    for (name, target) in ways_out(canary.path()) {
        for below in ["", "/x", "/x/y"] {
            let destination = format!("/{name}{below}");
            let file = format!("{destination}/file");
            let bundle = Bundle::with_own_rootfs().args(&["cat", &file]);
            replace(&bundle, name, &target);
            let bundle = bundle.mount(&destination, "bind", source.path(), &["bind"]);
            let outcome = attempt(bundle);
            canary.assert_untouched(&destination);
            if outcome.code() == Some(0) {
                assert_eq!(outcome.stdout(), "bound\n", "{destination}");
            }
            let bundle = Bundle::with_own_rootfs().args(&["ls", &destination]);
            replace(&bundle, name, &target);
            let outcome = attempt(bundle.mount(&destination, "tmpfs", "tmpfs", &[]));
            canary.assert_untouched(&destination);
            assert!(!outcome.stdout().contains("secret"), "{destination}");
        }
    }
}

#[test]
fn r01_a_chain_of_links_beyond_the_kernels_limit_is_refused() {
    needs_root!();
    let bundle = Bundle::with_own_rootfs().args(&["true"]);
    for n in 0..50 {
        replace(&bundle, &format!("link{n}"), format!("link{}", n + 1));
    }
    fs::create_dir(bundle.rootfs().join("link50")).unwrap();
    let bundle = bundle.mount("/link0/x", "tmpfs", "tmpfs", &[]);
    let outcome = attempt(bundle);
    // A runtime that follows links itself may have no such limit.
    if is_outrigger() {
        let line = outcome.failed();
        assert!(line.contains("/link0/x") && line.contains("ymbolic link"), "{line}");
    }
}

#[test]
fn r01_links_in_a_circle_are_refused() {
    needs_root!();
    let bundle = Bundle::with_own_rootfs().args(&["true"]);
    replace(&bundle, "circle", "circle");
    refused(bundle.mount("/circle/x", "tmpfs", "tmpfs", &[]));
}

#[test]
fn r04_a_mount_point_that_is_a_link_to_nothing_makes_nothing_outside() {
    needs_root!();
    let (canary, source) = (Canary::new(), playground());
    fs::write(source.path().join("file"), "bound\n").unwrap();
    let bundle = Bundle::with_own_rootfs().args(&["true"]);
    replace(&bundle, "dangling", canary.path().join("file"));
    let bundle = bundle.mount("/dangling", "bind", source.path().join("file"), &["bind"]);
    let _ = attempt(bundle);
    canary.assert_untouched("a file");
    let bundle = Bundle::with_own_rootfs().args(&["true"]);
    replace(&bundle, "dangling", canary.path().join("directory"));
    let _ = attempt(bundle.mount("/dangling", "bind", source.path(), &["bind"]));
    canary.assert_untouched("a directory");
}

#[test]
fn r04_a_mount_point_of_another_type_is_refused() {
    needs_root!();
    let source = playground();
    fs::write(source.path().join("file"), "").unwrap();
    let bundle = Bundle::new().args(&["true"]);
    refused(bundle.mount("/etc/passwd", "bind", source.path(), &["bind"]));
    let bundle = Bundle::new().args(&["true"]);
    refused(bundle.mount("/mnt", "bind", source.path().join("file"), &["bind"]));
    let bundle = Bundle::new().args(&["true"]);
    refused(bundle.mount("/etc/passwd/x", "tmpfs", "tmpfs", &[]));
}

#[test]
fn r07_proc_and_sys_that_are_links_are_refused() {
    needs_root!();
    let canary = Canary::new();
    for name in ["proc", "sys"] {
        for target in [canary.path().to_owned(), "tmp".into(), "../../..".into()] {
            let bundle = Bundle::with_own_rootfs().args(&["true"]);
            replace(&bundle, name, &target);
            let line = refused(bundle);
            canary.assert_untouched(name);
            if is_outrigger() {
                assert!(line.contains(&format!("/{name}")), "{line}");
                assert!(line.contains("symbolic link"), "{line}");
            }
        }
    }
}

#[test]
fn r07_other_links_of_an_image_stay_inside() {
    needs_root!();
    let canary = Canary::new();
    for name in ["dev/pts", "dev/shm", "etc", "tmp"] {
        for (_, target) in ways_out(canary.path()) {
            let bundle = Bundle::with_own_rootfs().args(&["/bin/true"]);
            replace(&bundle, name, &target);
            let bundle = bundle.mount(&format!("/{name}/x"), "tmpfs", "tmpfs", &[]);
            let _ = attempt(bundle);
            canary.assert_untouched(name);
        }
    }
}

#[test]
fn r09_a_magic_link_is_no_way_to_a_mount_point() {
    needs_root!();
    let canary = Canary::new();
    for destination in [
        format!("/proc/self/root{}/x", canary.path().display()),
        format!("/proc/1/root{}/x", canary.path().display()),
        "/proc/self/cwd/x".into(),
        "/proc/self/fd/3/x".into(),
        "/proc/self/fd/3".into(),
    ] {
        let bundle = Bundle::with_own_rootfs().args(&["true"]);
        let outcome = attempt(bundle.mount(&destination, "tmpfs", "tmpfs", &[]));
        // Where it is taken for a name it must at least be one in the root.
        if is_outrigger() {
            outcome.failed();
        }
        canary.assert_untouched(&destination);
    }
}

#[test]
fn r09_a_magic_link_is_no_working_directory() {
    needs_root!();
    deviation!("runc", "this version has CVE-2024-21626");
    for number in 3..20 {
        let cwd = format!("/proc/self/fd/{number}");
        let bundle = Bundle::new().args(&["ls", "-a"]).with(|c| c["process"]["cwd"] = json!(cwd));
        let container = Container::of(bundle);
        // A directory of the host leaks from the caller, as it did from the runtime itself.
        container.foreground().by_shell("exec 7</ 8</ 9</ 3</").finish().failed();
        container.assert_nothing_left();
    }
}

#[test]
fn r09_a_working_directory_that_is_a_link_out_leads_nowhere() {
    needs_root!();
    let canary = Canary::new();
    for (name, target) in ways_out(canary.path()) {
        let bundle = Bundle::with_own_rootfs().args(&["ls", "-a"]);
        replace(&bundle, name, &target);
        let cwd = format!("/{name}");
        let outcome = attempt(bundle.with(|config| config["process"]["cwd"] = json!(cwd)));
        canary.assert_untouched(name);
        assert!(!outcome.stdout().contains("secret"), "{name}");
    }
}

#[test]
fn d01_a_dev_that_is_a_link_gets_no_devices_outside() {
    needs_root!();
    deviation!("runc", "this version has CVE-2026-41579");
    let canary = Canary::new();
    for mounted in [true, false] {
        for (_, target) in ways_out(canary.path()) {
            let bundle = Bundle::with_own_rootfs().args(&["true"]);
            replace(&bundle, "dev", &target);
            let bundle = if mounted { bundle } else { without_dev(bundle) };
            let outcome = attempt(bundle);
            canary.assert_untouched(&target);
            if is_outrigger() {
                let line = outcome.failed();
                assert!(line.contains("/dev") && line.contains("symbolic link"), "{line}");
            }
        }
    }
}

/// Devices are made in the image's own /dev then.
fn without_dev(bundle: Bundle) -> Bundle {
    bundle
        .without_mount("/dev/mqueue")
        .without_mount("/dev/shm")
        .without_mount("/dev/pts")
        .without_mount("/dev")
}

#[test]
fn d01_devices_of_an_image_that_are_links_lead_nowhere() {
    needs_root!();
    let canary = Canary::new();
    for name in ["null", "zero", "full", "tty", "ptmx", "fd", "stdout", "console", "core"] {
        for target in [canary.path().join("made"), canary.path().join("secret")] {
            let bundle = without_dev(Bundle::with_own_rootfs()).writable();
            let bundle = bundle.args(&["sh", "-c", "echo x > /dev/null; chmod 777 /dev/null"]);
            replace(&bundle, &format!("dev/{name}"), &target);
            let _ = attempt(bundle);
            canary.assert_untouched(name);
        }
    }
}

#[test]
fn d04_a_device_path_with_dots_stays_in_the_root() {
    needs_root!();
    let canary = Canary::new();
    let ups = "../../../../../../../..";
    for path in [
        format!("{ups}{}/made", canary.path().display()),
        format!("/dev/{ups}{}/made", canary.path().display()),
    ] {
        let bundle = Bundle::with_own_rootfs().args(&["true"]).with(|config| {
            config["linux"]["devices"] =
                json!([{"path": path, "type": "c", "major": 1, "minor": 3}]);
        });
        let _ = attempt(bundle);
        canary.assert_untouched(&path);
    }
}

#[test]
fn d04_a_device_below_a_link_stays_in_the_root() {
    needs_root!();
    let canary = Canary::new();
    for (name, target) in ways_out(canary.path()) {
        let bundle = Bundle::with_own_rootfs().args(&["true"]);
        replace(&bundle, name, &target);
        let path = format!("/{name}/made");
        let _ = attempt(bundle.with(|config| {
            config["linux"]["devices"] =
                json!([{"path": path, "type": "c", "major": 1, "minor": 3}]);
        }));
        canary.assert_untouched(name);
    }
}

#[test]
fn d04_a_file_in_the_place_of_a_device_is_not_touched() {
    needs_root!();
    let bundle = Bundle::with_own_rootfs().args(&["true"]).with(|config| {
        config["linux"]["devices"] = json!([
            {"path": "/etc/hosts", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666},
        ]);
    });
    let file = bundle.rootfs().join("etc/hosts");
    fs::write(&file, SECRET).unwrap();
    let container = Container::of(bundle);
    let outcome = container.run();
    container.assert_nothing_left();
    assert!(fs::symlink_metadata(&file).unwrap().file_type().is_file());
    assert_eq!(fs::read_to_string(&file).unwrap(), SECRET);
    if is_outrigger() {
        outcome.failed_with("/etc/hosts");
    }
}

#[test]
fn d04_a_device_of_another_number_in_its_place_is_refused() {
    needs_root!();
    ours_only!("takes a device that is there for the one of the config");
    let bundle = without_dev(Bundle::with_own_rootfs()).args(&["true"]);
    let node = bundle.rootfs().join("dev/null");
    // The image calls the device that never ends by the name of the one that is empty.
    nix::sys::stat::mknod(
        &node,
        nix::sys::stat::SFlag::S_IFCHR,
        nix::sys::stat::Mode::S_IRUSR,
        nix::sys::stat::makedev(1, 5),
    )
    .unwrap();
    assert!(fs::symlink_metadata(&node).unwrap().file_type().is_char_device());
    refused(bundle);
}

#[test]
fn d07_the_hosts_null_device_stays_as_it_is() {
    needs_root!();
    use std::os::unix::fs::MetadataExt;
    let facts = || {
        let metadata = fs::metadata("/dev/null").unwrap();
        (metadata.mode(), metadata.uid(), metadata.gid(), metadata.rdev())
    };
    let before = facts();
    let bundle =
        Bundle::shell("chmod 600 /dev/null; chown 5:5 /dev/null; rm -f /dev/null; echo done");
    let bundle = bundle.privileged().with(|config| {
        config["process"]["user"] = json!({"uid": 0, "gid": 0});
    });
    // Its stdin is the host's null device.
    assert_eq!(output(bundle), "done\n");
    let user = Bundle::new().args(&["true"]).with(|config| {
        config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    });
    let _ = output(user);
    assert_eq!(facts(), before);
}
