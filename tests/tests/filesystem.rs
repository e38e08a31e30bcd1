// SPDX-License-Identifier: Apache-2.0
//! The file systems and devices that every container has, what is hidden of them and what is read-only.

use std::fs;

use outrigger_tests::mounts::{mounted_on, parse};
use outrigger_tests::{Bundle, deviation, expect, needs_root, ours_only, output, run};
use serde_json::json;

fn mountinfo(bundle: Bundle) -> Vec<outrigger_tests::mounts::Mounted> {
    parse(&output(bundle.args(&["cat", "/proc/self/mountinfo"])))
}

#[test]
fn the_usual_file_systems_are_mounted_with_their_options() {
    needs_root!();
    let table = mountinfo(Bundle::new());
    for (target, kind, options) in [
        ("/proc", "proc", vec!["rw"]),
        ("/dev", "tmpfs", vec!["nosuid", "mode=755", "size=65536k"]),
        ("/dev/pts", "devpts", vec!["nosuid", "noexec", "gid=5", "mode=620", "ptmxmode=666"]),
        ("/dev/shm", "tmpfs", vec!["nosuid", "nodev", "noexec", "size=65536k"]),
        ("/dev/mqueue", "mqueue", vec!["nosuid", "nodev", "noexec"]),
        ("/sys", "sysfs", vec!["ro", "nosuid", "nodev", "noexec"]),
    ] {
        let mounted = mounted_on(&table, target);
        assert_eq!(mounted.kind, kind);
        mounted.assert_has(&options);
    }
    mounted_on(&table, "/").assert_has(&["ro"]);
}

#[test]
fn nothing_of_the_hosts_file_system_is_left_in_the_mount_table() {
    needs_root!();
    let table = mountinfo(Bundle::new());
    // The root comes first; all others are below it.
    assert_eq!(table[0].target, "/");
    let expected = ["/", "/proc", "/dev", "/sys"];
    for mounted in &table {
        let below =
            |dir: &&str| mounted.target == **dir || mounted.target.starts_with(&format!("{dir}/"));
        assert!(mounted.target == "/" || expected[1..].iter().any(below), "{mounted:?}");
    }
}

#[test]
fn the_cgroup_mount_shows_the_containers_cgroups_read_only() {
    needs_root!();
    let script = "cat /proc/self/mountinfo; echo ==; for d in /sys/fs/cgroup/*; do
        [ ! -e $d/cgroup.procs ] || echo $(cat $d/cgroup.procs); done";
    let text = output(Bundle::shell(script));
    let (table, members) = text.split_once("==\n").unwrap();
    let table = parse(table);
    mounted_on(&table, "/sys/fs/cgroup").assert_has(&["nosuid", "nodev", "noexec"]);
    if expect::has_cgroup_v1() {
        for mounted in table.iter().filter(|m| m.target.starts_with("/sys/fs/cgroup/")) {
            mounted.assert_has(&["ro", "nosuid", "nodev", "noexec"]);
        }
        assert!(table.iter().filter(|m| m.kind == "cgroup").count() > 1, "{table:#?}");
    }
    // The shell and cat, seen in every one.
    assert!(members.lines().count() > 0);
    for line in members.lines().filter(|l| !l.is_empty()) {
        assert!(line.starts_with("1 "), "{members}");
    }
}

#[test]
fn nothing_can_be_made_beside_the_containers_cgroups() {
    needs_root!();
    deviation!("runc", "leaves the directory above the hierarchies writable");
    let bundle = Bundle::shell("touch /sys/fs/cgroup/x 2>/dev/null || echo refused");
    assert_eq!(output(bundle), "refused\n");
}

#[test]
fn the_default_devices_are_there() {
    needs_root!();
    let script = "cd /dev; stat -c '%n %F %t:%T %a %u:%g' null zero full random urandom tty";
    let expected: String =
        [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9), ("tty", 0)]
            .map(|(name, minor)| {
                let major = if name == "tty" { 5 } else { 1 };
                format!("{name} character special file {major}:{minor} 666 0:0\n")
            })
            .concat();
    assert_eq!(output(Bundle::shell(script)), expected);
}

#[test]
fn the_default_devices_work() {
    needs_root!();
    let script = "echo lost > /dev/null && head -c 3 /dev/zero | od -An -tx1
        head -c 4 /dev/urandom | wc -c; echo x > /dev/full || echo full";
    assert_eq!(output(Bundle::shell(script)), " 00 00 00\n4\nfull\n");
}

#[test]
fn the_default_links_are_there() {
    needs_root!();
    let script = "cd /dev; for l in fd stdin stdout stderr ptmx; do readlink $l; done";
    let links = output(Bundle::shell(script));
    let fds = "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\n";
    assert_eq!(links, format!("{fds}pts/ptmx\n"));
}

#[test]
fn the_hosts_devices_are_not_there() {
    needs_root!();
    let listing = output(Bundle::new().args(&["ls", "-1", "/dev"]));
    // The link to the kernel's memory is there where the host has that.
    let listing = listing.replace("core\n", "");
    let expected = [
        "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
        "stdout", "tty", "urandom", "zero",
    ];
    assert_eq!(listing.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn devices_of_the_config_are_made() {
    needs_root!();
    let script = "stat -c '%F %t:%T %a %u:%g' /dev/mine /dev/deep/er/pipe";
    let bundle = Bundle::shell(script).with(|config| {
        config["linux"]["devices"] = json!([
            {"path": "/dev/mine", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640,
             "uid": 5, "gid": 6},
            {"path": "/dev/deep/er/pipe", "type": "p", "fileMode": 0o622},
        ]);
    });
    assert_eq!(output(bundle), "character special file 1:3 640 5:6\nfifo 0:0 622 0:0\n");
}

#[test]
fn a_masked_file_is_empty() {
    needs_root!();
    let bundle = Bundle::with_own_rootfs().writable();
    fs::write(bundle.rootfs().join("secret"), "secret").unwrap();
    let script = "cat /secret; echo x > /secret; cat /secret; cat /proc/kcore | wc -c";
    let bundle = bundle.args(&["sh", "-c", script]).with(|config| {
        config["linux"]["maskedPaths"].as_array_mut().unwrap().push(json!("/secret"));
    });
    let rootfs = bundle.rootfs().to_owned();
    let container = outrigger_tests::Container::of(bundle);
    assert_eq!(container.run().succeeded().stdout(), "0\n");
    assert_eq!(fs::read_to_string(rootfs.join("secret")).unwrap(), "secret");
    container.assert_nothing_left();
}

#[test]
fn a_masked_directory_is_empty_and_refuses_writes() {
    needs_root!();
    let bundle = Bundle::with_own_rootfs().writable().privileged();
    fs::create_dir(bundle.rootfs().join("secrets")).unwrap();
    fs::write(bundle.rootfs().join("secrets/one"), "secret").unwrap();
    let script = "ls -A /secrets; touch /secrets/x 2>/dev/null || echo refused";
    let bundle = bundle.args(&["sh", "-c", script]).with(|config| {
        config["linux"]["maskedPaths"] = json!(["/secrets"]);
    });
    assert_eq!(output(bundle), "refused\n");
}

#[test]
fn masked_and_read_only_paths_that_do_not_exist_are_skipped() {
    needs_root!();
    let bundle = Bundle::new().args(&["echo", "fine"]).with(|config| {
        config["linux"]["maskedPaths"] = json!(["/not/there", "/not"]);
        config["linux"]["readonlyPaths"] = json!(["/not/there"]);
    });
    assert_eq!(output(bundle), "fine\n");
}

#[test]
fn a_read_only_path_refuses_writes() {
    needs_root!();
    let script = "touch /var/x 2>/dev/null || echo refused; touch /tmp/x && echo written
        (echo x > /proc/sys/kernel/hostname) 2>/dev/null || echo refused; cat /var/y";
    let bundle = Bundle::shell_in_own_rootfs(script).writable().privileged();
    fs::write(bundle.rootfs().join("var/y"), "seen\n").unwrap();
    let bundle = bundle.with(|config| {
        config["linux"]["readonlyPaths"].as_array_mut().unwrap().push(json!("/var"));
    });
    assert_eq!(output(bundle), "refused\nwritten\nrefused\nseen\n");
}

#[test]
fn a_read_only_path_is_so_with_all_mounts_below_it() {
    needs_root!();
    ours_only!("may leave mounts below a read-only path writable");
    let script =
        "touch /mnt/x 2>/dev/null || echo refused; touch /mnt/sub/x 2>/dev/null || echo refused";
    let bundle = Bundle::shell(script).mount("/mnt", "tmpfs", "tmpfs", &[]);
    let bundle = bundle.mount("/mnt/sub", "tmpfs", "tmpfs", &[]);
    let bundle = bundle.with(|config| config["linux"]["readonlyPaths"] = json!(["/mnt"]));
    assert_eq!(output(bundle), "refused\nrefused\n");
}

#[test]
fn a_read_only_root_refuses_writes() {
    needs_root!();
    let outcome = run(Bundle::shell("touch /x").privileged());
    assert!(outcome.stderr().contains("Read-only file system"), "{}", outcome.stderr());
}

#[test]
fn a_writable_root_is_the_bundles_own() {
    needs_root!();
    let bundle = Bundle::shell_in_own_rootfs("echo new > /tmp/file").writable();
    let container = outrigger_tests::Container::of(bundle);
    let _ = container.run().succeeded();
    let file = container.bundle().rootfs().join("tmp/file");
    assert_eq!(fs::read_to_string(file).unwrap(), "new\n");
}

#[test]
fn proc_is_that_of_the_containers_own_processes() {
    needs_root!();
    assert_eq!(output(Bundle::shell("cat /proc/1/comm; exit")), "sh\n");
}
