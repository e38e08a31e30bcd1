// SPDX-License-Identifier: Apache-2.0
//! Configs that say what cannot be, and what is to be told of them.

use outrigger_tests::rootfs::playground;
use outrigger_tests::{Bundle, Container, needs_root, ours_only, refused};
use serde_json::{Value, json};

/// A word that the line must have, and what is changed in a good config.
type Change = (&'static str, fn(&mut Value));

/// Asserts for each change that the config is refused and its line names the field.
#[track_caller]
fn refuse_each<const N: usize>(changes: [Change; N]) {
    let mut unclear = Vec::new();
    for (number, (word, change)) in changes.into_iter().enumerate() {
        let container = Container::of(Bundle::new().args(&["true"]).with(change));
        let outcome = container.create();
        if outcome.code() == Some(0) {
            unclear.push(format!("change {number} ({word}) is taken"));
            continue;
        }
        let line = outcome.failed();
        container.assert_nothing_left();
        if !line.contains(word) {
            unclear.push(format!("{word:?} is not in {line:?}"));
        }
    }
    assert!(unclear.is_empty(), "{unclear:#?}");
}

fn last_mount(config: &mut Value) -> &mut Value {
    config["mounts"].as_array_mut().unwrap().last_mut().unwrap()
}

#[test]
fn what_every_runtime_must_refuse_is_refused() {
    needs_root!();
    refuse_each([
        ("", |c| c["process"]["args"] = json!([])),
        ("", |c| c["process"]["args"] = json!("true")),
        ("", |c| c["process"]["args"] = json!([1])),
        ("", |c| c["process"]["env"] = json!({"A": "1"})),
        ("variable", |c| c["process"]["env"] = json!(["A=1", "no sign"])),
        ("", |c| c["process"]["env"] = json!(["=x"])),
        ("", |c| c["process"]["cwd"] = json!("")),
        ("", |c| c["process"]["cwd"] = json!(1)),
        ("", |c| c["process"]["user"]["uid"] = json!("root")),
        ("", |c| c["process"]["rlimits"] = json!([{"type": "RLIMIT_NONE", "soft": 1, "hard": 1}])),
        ("", |c| c["root"]["path"] = json!("/no/such/root")),
        ("", |c| c["root"]["path"] = json!(1)),
        ("", |c| c["mounts"] = json!({})),
        ("", |c| c["linux"]["namespaces"] = json!([{"type": "nonsense"}])),
        ("", |c| c["linux"]["namespaces"] = json!([{"type": "pid"}, {"type": "pid"}])),
        ("", |c| c["linux"]["sysctl"] = json!({"no.such.parameter": "1"})),
        ("", |c| c["linux"]["devices"] = json!([{"path": "/dev/x", "type": "z"}])),
    ]);
}

#[test]
fn an_error_names_the_field() {
    needs_root!();
    ours_only!("has other words");
    refuse_each([
        ("ociVersion", |c| drop(c.as_object_mut().unwrap().remove("ociVersion"))),
        ("ociVersion", |c| c["ociVersion"] = json!("9.9.9")),
        ("ociVersion", |c| c["ociVersion"] = json!(1)),
        ("root", |c| drop(c.as_object_mut().unwrap().remove("root"))),
        ("root.path", |c| c["root"]["path"] = json!("")),
        ("root.path", |c| c["root"]["path"] = json!("/")),
        ("root.path", |c| c["root"]["path"] = json!("/proc/..")),
        ("root.path", |c| c["root"]["path"] = json!("a\0b")),
        ("root.readonly", |c| c["root"]["readonly"] = json!("yes")),
        ("process", |c| drop(c.as_object_mut().unwrap().remove("process"))),
        ("process.args", |c| c["process"]["args"] = json!([])),
        ("process.args", |c| c["process"]["args"] = json!("true")),
        ("process.args[1]", |c| c["process"]["args"] = json!(["echo", "a\0b"])),
        ("process.args", |c| c["process"]["args"] = json!([""])),
        ("process.env[0]", |c| c["process"]["env"] = json!(["A=a\0b"])),
        ("process.env[1]", |c| c["process"]["env"] = json!(["A=1", "no sign"])),
        ("process.env[0]", |c| c["process"]["env"] = json!(["=x"])),
        ("process.cwd", |c| c["process"]["cwd"] = json!("relative")),
        ("process.user.uid", |c| c["process"]["user"]["uid"] = json!(4_294_967_295_u32)),
        ("process.user.uid", |c| c["process"]["user"]["uid"] = json!(-1)),
        ("process.user.gid", |c| c["process"]["user"]["gid"] = json!(4_294_967_295_u32)),
        ("process.user.umask", |c| c["process"]["user"]["umask"] = json!(0o1000)),
        ("process.user.additionalGids[1]", |c| {
            c["process"]["user"]["additionalGids"] = json!([1, 4_294_967_295_u32]);
        }),
        ("process.oomScoreAdj", |c| c["process"]["oomScoreAdj"] = json!(1001)),
        ("process.rlimits[1]", |c| {
            let limit = json!({"type": "RLIMIT_NOFILE", "soft": 1, "hard": 2});
            c["process"]["rlimits"] = json!([limit, limit]);
        }),
        ("process.rlimits[0]", |c| {
            c["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 3, "hard": 2}]);
        }),
        ("hostname", |c| c["hostname"] = json!("x".repeat(65))),
        ("linux.namespaces", |c| {
            c["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "mount"}]);
        }),
        ("linux.namespaces", |c| {
            c["linux"]["namespaces"].as_array_mut().unwrap()[0]["path"] = json!("relative");
        }),
        ("linux.maskedPaths[0]", |c| c["linux"]["maskedPaths"] = json!(["relative"])),
        ("linux.readonlyPaths[0]", |c| c["linux"]["readonlyPaths"] = json!(["a\0b"])),
        ("linux.uidMappings", |c| {
            c["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
        }),
        ("linux.rootfsPropagation", |c| c["linux"]["rootfsPropagation"] = json!("nonsense")),
        ("linux.sysctl", |c| c["linux"]["sysctl"] = json!({"../../etc/passwd": "1"})),
    ]);
}

#[test]
fn an_error_of_a_mount_names_it() {
    needs_root!();
    ours_only!("has other words");
    refuse_each([
        ("mounts[6]", |c| drop(last_mount(c).as_object_mut().unwrap().remove("destination"))),
        ("mounts[6].destination", |c| last_mount(c)["destination"] = json!("")),
        ("mounts[6].destination", |c| last_mount(c)["destination"] = json!("/")),
        ("mounts[6].destination", |c| last_mount(c)["destination"] = json!("/proc/..")),
        ("mounts[6].destination", |c| last_mount(c)["destination"] = json!("a\0b")),
        ("mounts[6]", |c| last_mount(c)["type"] = json!("nonsense")),
        ("mounts[6]", |c| last_mount(c)["type"] = json!("../x")),
        // Without a type it is a bind mount, of what is not there.
        ("/sys/fs/cgroup", |c| last_mount(c)["type"] = json!("")),
        ("mounts[6]", |c| *last_mount(c) = json!({"destination": "/mnt", "type": "bind"})),
        ("mounts[6].options", |c| last_mount(c)["options"] = json!("ro")),
        ("mounts[6].options", |c| {
            *last_mount(c) = json!({"destination": "/mnt", "type": "bind", "source": "/tmp", "options": ["bind", "no-such-option"]});
        }),
        ("/mnt", |c| {
            *last_mount(c) =
                json!({"destination": "/mnt", "type": "tmpfs", "options": ["no_such_option=1"]});
        }),
        ("/mnt", |c| {
            *last_mount(c) =
                json!({"destination": "/mnt", "type": "tmpfs", "options": ["size=nonsense"]});
        }),
    ]);
}

#[test]
fn m08_file_systems_of_the_host_cannot_be_mounted() {
    needs_root!();
    ours_only!("mounts what root may mount");
    for kind in [
        "ext4",
        "xfs",
        "btrfs",
        "nfs",
        "cifs",
        "9p",
        "debugfs",
        "tracefs",
        "securityfs",
        "bpf",
        "binfmt_misc",
        "configfs",
        "fuse",
        "overlay",
        "devtmpfs",
        "ramfs",
        "hugetlbfs",
    ] {
        let bundle = Bundle::new().args(&["true"]).mount("/mnt", kind, "none", &[]);
        let line = refused(bundle);
        assert!(line.contains(kind) && line.contains("mounts[7]"), "{line}");
    }
}

#[test]
fn an_unknown_type_of_mount_is_refused() {
    needs_root!();
    refused(Bundle::new().args(&["true"]).mount("/mnt", "nonsensefs", "none", &[]));
}

#[test]
fn a_root_that_is_a_file_is_refused() {
    needs_root!();
    let directory = playground();
    std::fs::write(directory.path().join("file"), "").unwrap();
    let path = directory.path().join("file");
    refused(Bundle::new().args(&["true"]).with(|c| c["root"]["path"] = json!(path)));
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    needs_root!();
    ours_only!("tells one thing at a time");
    let line = refused(Bundle::new().with(|config| {
        config["process"]["cwd"] = json!("relative");
        config["linux"]["maskedPaths"] = json!(["relative"]);
        config["hostname"] = json!("x".repeat(65));
    }));
    for field in ["process.cwd", "linux.maskedPaths[0]", "hostname"] {
        assert!(line.contains(field), "{field} is not in {line}");
    }
}

#[test]
fn fields_that_are_not_supported_are_refused_by_name() {
    needs_root!();
    ours_only!("supports others");
    refuse_each([
        ("process.apparmorProfile", |c| c["process"]["apparmorProfile"] = json!("unconfined")),
        ("process.selinuxLabel", |c| c["process"]["selinuxLabel"] = json!("a:b:c:s0")),
        ("process.scheduler", |c| c["process"]["scheduler"] = json!({"policy": "SCHED_BATCH"})),
        ("process.ioPriority", |c| {
            c["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 1});
        }),
        ("linux.intelRdt", |c| c["linux"]["intelRdt"] = json!({"closID": "x"})),
        ("linux.personality", |c| c["linux"]["personality"] = json!({"domain": "LINUX32"})),
        ("linux.mountLabel", |c| c["linux"]["mountLabel"] = json!("x")),
        ("windows", |c| c["windows"] = json!({"layerFolders": ["x"]})),
        ("vm", |c| c["vm"] = json!({"kernel": {"path": "/x"}})),
    ]);
}

#[test]
fn fields_that_the_specification_does_not_know_are_ignored() {
    needs_root!();
    let bundle = Bundle::new().args(&["echo", "fine"]).with(|config| {
        config["x-vendor"] = json!({"a": [1]});
        config["process"]["unknown"] = json!(1);
        config["linux"]["unknown"] = json!(null);
    });
    assert_eq!(outrigger_tests::output(bundle), "fine\n");
}
