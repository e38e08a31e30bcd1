// SPDX-License-Identifier: Apache-2.0
//! The mounts of the config.

use std::fs;
use std::path::Path;

use outrigger_tests::mounts::{in_private_mounts, mount_bind, mount_tmpfs, mounted_on, parse};
use outrigger_tests::rootfs::playground;
use outrigger_tests::{Bundle, Container, deviation, host, needs_root, output, run};
use serde_json::json;

#[test]
fn a_directory_is_bound() {
    needs_root!();
    let source = playground();
    fs::write(source.path().join("in"), "from outside\n").unwrap();
    let bundle = Bundle::shell("cat /mnt/in; echo from inside > /mnt/out");
    let bundle = bundle.mount("/mnt", "bind", source.path(), &["bind"]);
    assert_eq!(output(bundle), "from outside\n");
    assert_eq!(fs::read_to_string(source.path().join("out")).unwrap(), "from inside\n");
}

#[test]
fn a_file_is_bound() {
    needs_root!();
    let source = playground();
    let file = source.path().join("file");
    fs::write(&file, "content\n").unwrap();
    let bundle = Bundle::new().args(&["cat", "/etc/group"]);
    assert_eq!(output(bundle.mount("/etc/group", "none", &file, &["bind", "ro"])), "content\n");
}

#[test]
fn a_bind_mount_needs_no_type_but_an_option() {
    needs_root!();
    let source = playground();
    for option in ["bind", "rbind"] {
        let bundle = Bundle::new().args(&["true"]).mount("/mnt", "", source.path(), &[option]);
        let bundle = bundle.with(|config| {
            config["mounts"]
                .as_array_mut()
                .unwrap()
                .last_mut()
                .unwrap()
                .as_object_mut()
                .unwrap()
                .remove("type");
        });
        let _ = output(bundle);
    }
}

#[test]
fn a_relative_bind_source_is_relative_to_the_bundle() {
    needs_root!();
    let bundle = Bundle::new().args(&["cat", "/mnt/file"]);
    fs::create_dir(bundle.path().join("data")).unwrap();
    fs::write(bundle.path().join("data/file"), "relative\n").unwrap();
    assert_eq!(output(bundle.mount("/mnt", "bind", "data", &["bind"])), "relative\n");
}

#[test]
fn a_bind_mount_may_be_read_only() {
    needs_root!();
    let source = playground();
    let bundle = Bundle::shell("touch /mnt/x 2>/dev/null || echo refused").privileged();
    let bundle = bundle.mount("/mnt", "bind", source.path(), &["bind", "ro"]);
    assert_eq!(output(bundle), "refused\n");
}

#[test]
fn mount_options_are_those_of_the_config() {
    needs_root!();
    let source = playground();
    let options = ["bind", "ro", "nosuid", "nodev", "noexec", "noatime"];
    let bundle = Bundle::new().args(&["cat", "/proc/self/mountinfo"]);
    let bundle = bundle.mount("/mnt", "bind", source.path(), &options);
    let bundle = bundle.mount("/var", "tmpfs", "tmpfs", &["nosuid", "mode=711", "size=1m"]);
    let table = parse(&output(bundle));
    mounted_on(&table, "/mnt").assert_has(&options[1..]);
    mounted_on(&table, "/var").assert_has(&["rw", "nosuid", "mode=711", "size=1024k"]);
}

#[test]
fn a_later_option_wins_over_its_opposite() {
    needs_root!();
    let bundle = Bundle::new().args(&["cat", "/proc/self/mountinfo"]);
    let options = ["ro", "rw", "nosuid", "suid", "dev", "nodev"];
    let table = parse(&output(bundle.mount("/mnt", "tmpfs", "tmpfs", &options)));
    let mounted = mounted_on(&table, "/mnt");
    mounted.assert_has(&["rw", "nodev"]);
    assert!(!mounted.options.iter().any(|o| o == "ro" || o == "nosuid"), "{mounted:?}");
}

#[test]
fn mounts_below_a_source_come_along_only_if_asked_for() {
    needs_root!();
    in_private_mounts(|source| {
        mount_tmpfs(&source.join("sub"));
        fs::write(source.join("sub/file"), "below\n").unwrap();
        for (option, expected) in [("bind", "no\n"), ("rbind", "below\n")] {
            let bundle = Bundle::shell("cat /mnt/sub/file 2>/dev/null || echo no");
            let bundle = bundle.mount("/mnt", "bind", source, &[option]);
            assert_eq!(output(bundle), expected, "{option}");
        }
    });
}

#[test]
fn recursive_options_are_for_the_mounts_below_too() {
    needs_root!();
    in_private_mounts(|source| {
        mount_tmpfs(&source.join("sub"));
        let script = "for d in /mnt /mnt/sub; do touch $d/x 2>/dev/null || echo $d refuses; done";
        let with = |option| Bundle::shell(script).mount("/mnt", "bind", source, &["rbind", option]);
        assert_eq!(output(with("ro")), "/mnt refuses\n");
        assert_eq!(output(with("rro")), "/mnt refuses\n/mnt/sub refuses\n");
    });
}

#[test]
fn a_missing_bind_source_is_an_error_that_names_it() {
    needs_root!();
    let bundle = Bundle::new().mount("/mnt", "bind", "/no/such/source", &["bind"]);
    let line = run(bundle).failed_with("/no/such/source");
    assert!(line.to_lowercase().contains("no such file or directory"), "{line}");
}

#[test]
fn missing_mount_points_are_made() {
    needs_root!();
    let source = playground();
    fs::write(source.path().join("file"), "content\n").unwrap();
    let script = "cat /new/dir/file /new/file; stat -c %F /new/tmpfs /new/file";
    let bundle = Bundle::shell_in_own_rootfs(script)
        .mount("/new/dir", "bind", source.path(), &["bind"])
        .mount("/new/file", "bind", source.path().join("file"), &["bind"])
        .mount("/new/tmpfs", "tmpfs", "tmpfs", &[]);
    assert_eq!(output(bundle), "content\ncontent\ndirectory\nregular file\n");
}

#[test]
fn mount_points_are_made_in_what_was_mounted_before() {
    needs_root!();
    let source = playground();
    fs::write(source.path().join("file"), "content\n").unwrap();
    let bundle = Bundle::new().args(&["cat", "/mnt/deep/er/file"]);
    let bundle = bundle.mount("/mnt", "tmpfs", "tmpfs", &[]);
    assert_eq!(output(bundle.mount("/mnt/deep/er", "bind", source.path(), &["bind"])), "content\n");
}

#[test]
fn mounts_are_made_in_the_order_of_the_config() {
    needs_root!();
    let (first, second) = (playground(), playground());
    fs::write(first.path().join("first"), "").unwrap();
    fs::write(second.path().join("second"), "").unwrap();
    // A later one hides those before it, also one that is below it.
    let bundle = Bundle::shell("ls -A /mnt; grep -c ' /mnt' /proc/self/mountinfo")
        .mount("/mnt", "bind", first.path(), &["bind"])
        .mount("/mnt", "tmpfs", "tmpfs", &[])
        .mount("/mnt/sub", "bind", first.path(), &["bind"])
        .mount("/mnt", "bind", second.path(), &["bind"]);
    assert_eq!(output(bundle), "second\n4\n");
}

#[test]
fn a_tmpfs_has_its_size() {
    needs_root!();
    let script = "dd if=/dev/zero of=/mnt/x bs=1k count=200 2>/dev/null || stat -c %s /mnt/x";
    let bundle = Bundle::shell(script).mount("/mnt", "tmpfs", "tmpfs", &["size=64k"]);
    assert_eq!(output(bundle), "65536\n");
}

#[test]
fn a_tmpfs_has_its_mode_and_owner() {
    needs_root!();
    deviation!("runc", "gives a tmpfs the mode of the directory that it covers");
    let bundle = Bundle::new().args(&["stat", "-c", "%a %u %g", "/mnt"]);
    let bundle = bundle.mount("/mnt", "tmpfs", "tmpfs", &["mode=1751", "uid=7", "gid=8"]);
    assert_eq!(output(bundle), "1751 7 8\n");
}

#[test]
fn a_mount_in_the_container_does_not_appear_on_the_host() {
    needs_root!();
    in_private_mounts(|source| {
        mount_bind(source, source);
        fs::create_dir(source.join("sub")).unwrap();
        let script =
            "mount -t tmpfs t /mnt/sub && mount -t tmpfs t /var && echo mounted; sleep 1000";
        for options in [&["rbind"][..], &["rbind", "rprivate"], &["rbind", "rslave"]] {
            let bundle = Bundle::shell(script).privileged();
            let bundle = bundle.mount("/mnt", "bind", source, options);
            let container = Container::of(bundle);
            let outcome = container.run_detached().succeeded();
            host::wait_until("it has mounted", || outcome.stdout() == "mounted\n");
            let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
            assert!(!table.contains(&format!("{}/sub", source.display())), "{options:?}");
            let _ = container.delete_by_force().succeeded();
            container.assert_nothing_left();
        }
    });
}

#[test]
fn a_mount_on_the_host_appears_in_a_slave_only() {
    needs_root!();
    in_private_mounts(|source| {
        mount_bind(source, source);
        for (number, (option, expected)) in
            [("rslave", "seen\n"), ("rprivate", "no\n")].iter().enumerate()
        {
            let sub = format!("sub{number}");
            let script = format!(
                "echo ready; while [ ! -e /mnt/go{number} ]; do sleep 0.02; done
                cat /mnt/{sub}/file 2>/dev/null || echo no"
            );
            let bundle = Bundle::shell(&script);
            let bundle = bundle.mount("/mnt", "bind", source, &["rbind", option]);
            let container = Container::of(bundle);
            let outcome = container.run_detached().succeeded();
            host::wait_until("it runs", || outcome.stdout() == "ready\n");
            mount_tmpfs(&source.join(&sub));
            fs::write(source.join(&sub).join("file"), "seen\n").unwrap();
            fs::write(source.join(format!("go{number}")), "").unwrap();
            container.wait_for("stopped");
            assert_eq!(outcome.stdout(), format!("ready\n{expected}"), "{option}");
        }
    });
}

#[test]
fn a_source_may_be_a_link() {
    needs_root!();
    let source = playground();
    fs::create_dir(source.path().join("real")).unwrap();
    fs::write(source.path().join("real/file"), "through\n").unwrap();
    std::os::unix::fs::symlink("real", source.path().join("link")).unwrap();
    let bundle = Bundle::new().args(&["cat", "/mnt/file"]);
    let bundle = bundle.mount("/mnt", "bind", source.path().join("link"), &["bind"]);
    assert_eq!(output(bundle), "through\n");
}

#[test]
fn a_target_may_be_a_link_within_the_root() {
    needs_root!();
    let source = playground();
    fs::write(source.path().join("file"), "through\n").unwrap();
    let bundle = Bundle::with_own_rootfs().args(&["cat", "/var/run/data/file"]);
    fs::create_dir(bundle.rootfs().join("run")).unwrap();
    std::os::unix::fs::symlink("/run", bundle.rootfs().join("var/run")).unwrap();
    let bundle = bundle.mount("/var/run/data", "bind", source.path(), &["bind"]);
    let container = Container::of(bundle);
    assert_eq!(container.run().succeeded().stdout(), "through\n");
    assert!(container.bundle().rootfs().join("run/data").is_dir());
    assert!(!Path::new("/run/data").exists());
}

#[test]
fn words_of_an_option_are_data() {
    needs_root!();
    // A source is shown as it is; it brings no option with it.
    let bundle = Bundle::new().args(&["cat", "/proc/self/mountinfo"]).with(|config| {
        config["mounts"].as_array_mut().unwrap().push(json!({
            "destination": "/mnt", "type": "tmpfs", "source": "a,ro,size=1k b",
            "options": ["size=2m"],
        }));
    });
    let text = output(bundle);
    let mounted = mounted_on(&parse(&text), "/mnt");
    mounted.assert_has(&["rw", "size=2048k"]);
    assert!(text.contains("a,ro,size=1k\\040b"), "{text}");
}
