// SPDX-License-Identifier: Apache-2.0
//! Containers of an ordinary user.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use outrigger_tests::mounts::{in_private_mounts, mount_bind, mounted_on, parse};
use outrigger_tests::pty::Terminal;
use outrigger_tests::rootfs::playground;
use outrigger_tests::user::RANGE;
use outrigger_tests::{
    Bundle, Container, Runtime, TempUser, deviation, host, needs_program, needs_root, ours_only,
};
use serde_json::{Value, json};

/// A user, and a container of this bundle that is the user's.
fn container(bundle: impl FnOnce(&TempUser) -> Bundle) -> (Arc<TempUser>, Container) {
    let user = TempUser::shared();
    let bundle = bundle(&user);
    let container = Container::by(&Runtime::used_by(&user), bundle);
    (user, container)
}

/// What a script prints in a container of an ordinary user who is alone in it.
fn output(script: &str) -> String {
    let (_user, container) = container(|user| Bundle::shell(script).rootless(user));
    let outcome = container.run().succeeded();
    container.assert_nothing_left();
    outcome.stdout()
}

#[test]
fn the_user_is_root_inside() {
    assert_eq!(output("id -u; id -g; whoami"), "0\n0\nroot\n");
}

#[test]
fn the_process_is_the_users_outside() {
    let (user, container) = container(|user| Bundle::new().args(&["sleep", "1000"]).rootless(user));
    let _ = container.run_detached().succeeded();
    let uid = user.uid();
    let field = host::status_field(container.pid(), "Uid").unwrap();
    assert_eq!(field, format!("{uid}\t{uid}\t{uid}\t{uid}"));
    let _ = container.delete_by_force().succeeded();
    container.assert_nothing_left();
}

#[test]
fn a_single_id_is_mapped_without_any_other_program() {
    let (user, container) = container(|user| {
        let script = "cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups";
        Bundle::shell(script).rootless(user)
    });
    let call = container.foreground().variable("PATH", "/no/such/directory");
    let text = call.finish().succeeded().stdout();
    let words: Vec<&str> = text.split_whitespace().collect();
    let (uid, gid) = (user.uid().to_string(), user.gid().to_string());
    assert_eq!(words, ["0", &uid, "1", "0", &gid, "1", "deny"]);
}

#[test]
fn the_user_may_have_another_number_inside() {
    deviation!("runc", "wants a root in every user namespace");
    let (_user, container) = container(|user| {
        Bundle::shell("id -u; id -g").rootless(user).with(|config| {
            config["linux"]["uidMappings"][0]["containerID"] = json!(1234);
            config["linux"]["gidMappings"][0]["containerID"] = json!(5678);
            config["process"]["user"] = json!({"uid": 1234, "gid": 5678});
            // They would belong to ids that are not there.
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.retain(|m| m["destination"] != "/dev/mqueue");
        })
    });
    assert_eq!(container.run().succeeded().stdout(), "1234\n5678\n");
}

/// Maps root to the user and all others to the user's range.
fn map_range(config: &mut Value, user: &TempUser) {
    for (map, own) in [("uidMappings", user.uid()), ("gidMappings", user.gid())] {
        config["linux"][map] = json!([
            {"containerID": 0, "hostID": own, "size": 1},
            {"containerID": 1, "hostID": user.first_subordinate(), "size": RANGE},
        ]);
    }
}

#[test]
fn a_range_of_ids_is_mapped_with_newuidmap() {
    needs_root!();
    needs_program!("newuidmap");
    let script = "id -u; id -g; touch /tmp/x; stat -c %u:%g /tmp/x; cat /proc/self/uid_map";
    let (user, container) = container(|user| {
        let bundle = Bundle::shell(script).rootless(user);
        bundle.mount("/tmp", "tmpfs", "tmpfs", &["mode=1777"]).with(|config| {
            map_range(config, user);
            config["process"]["user"] = json!({"uid": 1000, "gid": 1001});
        })
    });
    let text = container.run().succeeded().stdout();
    let words: Vec<&str> = text.split_whitespace().collect();
    assert_eq!(words[..3], ["1000", "1001", "1000:1001"]);
    let (own, first) = (user.uid().to_string(), user.first_subordinate().to_string());
    assert_eq!(words[3..], ["0", &own, "1", "1", &first, "65536"]);
    container.assert_nothing_left();
}

#[test]
fn groups_of_a_range_may_be_taken() {
    needs_root!();
    needs_program!("newuidmap");
    deviation!("runc", "gives an ordinary user's container no groups");
    let (_user, container) = container(|user| {
        Bundle::shell("id -G").rootless(user).with(|config| {
            map_range(config, user);
            config["process"]["user"] = json!({"uid": 5, "gid": 6, "additionalGids": [7, 65536]});
        })
    });
    assert_eq!(container.run().succeeded().stdout(), "6 7 65536\n");
}

#[test]
fn a_range_without_newuidmap_is_a_clear_error() {
    needs_root!();
    needs_program!("newuidmap");
    ours_only!("has other words");
    in_private_mounts(|_| {
        mount_bind(Path::new("/dev/null"), Path::new("/usr/bin/newuidmap"));
        let (_user, container) = container(|user| {
            Bundle::new().args(&["true"]).rootless(user).with(|config| map_range(config, user))
        });
        container.run().failed_with("newuidmap");
        container.assert_nothing_left();
    });
}

#[test]
fn ids_that_are_not_the_users_are_refused() {
    needs_root!();
    needs_program!("newuidmap");
    let maps: [fn(&TempUser) -> Value; 4] = [
        |_| json!([{"containerID": 0, "hostID": 0, "size": 1}]),
        |user| json!([{"containerID": 0, "hostID": user.uid() + 1, "size": 1}]),
        |user| json!([{"containerID": 0, "hostID": user.first_subordinate() - 1, "size": 2}]),
        |user| json!([{"containerID": 0, "hostID": user.first_subordinate(), "size": RANGE + 1}]),
    ];
    for map in maps {
        let (_user, container) = container(|user| {
            let bundle = Bundle::new().args(&["true"]).rootless(user);
            bundle.with(|config| config["linux"]["uidMappings"] = map(user))
        });
        container.run().failed();
        container.create().failed();
        container.assert_nothing_left();
    }
}

#[test]
fn a_config_without_a_user_namespace_is_a_clear_error() {
    let (_user, container) = container(|_| Bundle::new().args(&["true"]));
    let line = container.create().failed();
    assert!(line.to_lowercase().contains("user namespace"), "{line}");
    container.assert_nothing_left();
}

#[test]
fn a_user_namespace_without_a_map_is_a_clear_error() {
    let (_user, container) = container(|user| {
        Bundle::new().args(&["true"]).rootless(user).with(|config| {
            config["linux"].as_object_mut().unwrap().remove("uidMappings");
        })
    });
    container.create().failed();
    container.assert_nothing_left();
}

#[test]
fn the_lifecycle_is_the_usual_one() {
    let (_user, container) =
        container(|user| Bundle::new().args(&["sleep", "1000"]).rootless(user));
    let _ = container.create().succeeded();
    assert_eq!(container.status(), "created");
    let _ = container.start().succeeded();
    assert_eq!(container.status(), "running");
    container.stop();
    let _ = container.delete().succeeded();
    container.assert_nothing_left();
}

#[test]
fn run_returns_the_exit_code() {
    let (_user, container) = container(|user| Bundle::shell("exit 7").rootless(user));
    let _ = container.run().ended_with(7);
    container.assert_nothing_left();
}

#[test]
fn the_container_sees_its_own_processes_only() {
    assert_eq!(output("set -- /proc/[0-9]*; echo $*"), "/proc/1\n");
}

#[test]
fn namespaces_are_new() {
    let kinds = ["user", "mnt", "pid", "ipc", "uts"];
    let found = output(&kinds.map(|k| format!("readlink /proc/self/ns/{k}")).join("; "));
    for (kind, link) in kinds.iter().zip(found.lines()) {
        let ours = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert_ne!(ours.to_str().unwrap(), link);
    }
}

#[test]
fn capabilities_are_the_configs() {
    let text = output("grep -E '^(Cap|NoNewPrivs)' /proc/self/status");
    let field = |name: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(":\t"));
        line.unwrap().to_owned()
    };
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(field(set), "0000000020000420", "{set}");
    }
    assert_eq!((field("CapInh"), field("NoNewPrivs")), ("0000000000000000".into(), "1".into()));
}

#[test]
fn the_usual_file_systems_are_mounted() {
    let table = parse(&output("cat /proc/self/mountinfo"));
    for (target, kind) in [
        ("/proc", "proc"),
        ("/dev", "tmpfs"),
        ("/dev/pts", "devpts"),
        ("/dev/shm", "tmpfs"),
        ("/dev/mqueue", "mqueue"),
        ("/sys", "sysfs"),
    ] {
        assert_eq!(mounted_on(&table, target).kind, kind);
    }
    mounted_on(&table, "/").assert_has(&["ro"]);
    mounted_on(&table, "/sys").assert_has(&["ro", "nosuid", "nodev", "noexec"]);
}

#[test]
fn the_default_devices_are_those_of_the_host() {
    let script = "cd /dev; stat -c '%n %F %t:%T' null zero full random urandom tty
        echo lost > /dev/null && head -c 3 /dev/zero | wc -c; echo x 2>/dev/null > full || echo full
        for l in fd stdout ptmx; do readlink $l; done";
    let expected = "null character special file 1:3\nzero character special file 1:5\n\
        full character special file 1:7\nrandom character special file 1:8\n\
        urandom character special file 1:9\ntty character special file 5:0\n3\nfull\n\
        /proc/self/fd\n/proc/self/fd/1\npts/ptmx\n";
    assert_eq!(output(script), expected);
}

#[test]
fn masked_and_read_only_paths_hold() {
    let script = "cat /etc/passwd; ls /usr; touch /var/x 2>/dev/null || echo refused
        touch /usr/x 2>/dev/null || echo refused";
    let (_user, container) = container(|user| {
        Bundle::shell(script).rootless(user).with(|config| {
            config["linux"]["maskedPaths"] = json!(["/etc/passwd", "/usr"]);
            config["linux"]["readonlyPaths"] = json!(["/var", "/proc/sys"]);
        })
    });
    assert_eq!(container.run().succeeded().stdout(), "refused\nrefused\n");
    container.assert_nothing_left();
}

#[test]
fn a_network_namespace_of_its_own_brings_its_own_sysfs_and_parameters() {
    let script = "ls /sys/class/net; cat /proc/sys/net/ipv4/ip_unprivileged_port_start
        ip -o link show lo | grep -o LOOPBACK,UP";
    let (_user, container) = container(|user| {
        let bundle = Bundle::shell(script).rootless(user).without_mount("/sys");
        bundle.mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]).with(
            |config| {
                let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
                namespaces.push(json!({"type": "network"}));
                config["linux"]["sysctl"] = json!({"net.ipv4.ip_unprivileged_port_start": "80"});
            },
        )
    });
    let text = container.run().succeeded().stdout();
    // Tunnels of the kernel are in every one.
    assert!(text.lines().any(|l| l == "lo") && !text.contains("eth"), "{text}");
    assert!(text.ends_with("80\nLOOPBACK,UP\n"), "{text}");
}

#[test]
fn an_interactive_run_has_a_terminal() {
    let (_user, container) = container(|user| {
        let bundle = Bundle::shell("tty; echo to-console > /dev/console; exit 6").rootless(user);
        bundle.with(|config| config["process"]["terminal"] = json!(true))
    });
    let terminal = Terminal::new(24, 80);
    let before = terminal.modes();
    let _ = container.foreground().stdio(terminal.device()).finish().ended_with(6);
    terminal.wait_for("to-console");
    assert!(terminal.shown().starts_with("/dev/"), "{}", terminal.shown());
    assert_eq!(terminal.modes(), before);
    container.assert_nothing_left();
}

#[test]
fn r05_what_the_user_cannot_reach_cannot_be_bound() {
    needs_root!();
    let private = playground();
    fs::create_dir(private.path().join("inner")).unwrap();
    fs::write(private.path().join("inner/secret"), "secret").unwrap();
    fs::set_permissions(private.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let source = private.path().join("inner");
    let (_user, container) = container(|user| {
        let bundle = Bundle::new().args(&["ls", "/mnt"]).rootless(user);
        bundle.mount("/mnt", "bind", &source, &["bind"])
    });
    let line = container.run().failed();
    assert!(line.to_lowercase().contains("permission denied"), "{line}");
    container.assert_nothing_left();
}

#[test]
fn a_bundle_that_the_user_cannot_read_is_refused() {
    needs_root!();
    let (_user, container) = container(|user| Bundle::new().args(&["true"]).rootless(user));
    let closed = fs::Permissions::from_mode(0o600);
    fs::set_permissions(container.bundle().config_file(), closed).unwrap();
    let line = container.run().failed();
    assert!(line.to_lowercase().contains("permission denied"), "{line}");
    container.assert_nothing_left();
}

#[test]
fn the_default_state_directory_is_the_users_own() {
    ours_only!("has another one");
    needs_root!();
    let (user, container) = container(|user| Bundle::new().args(&["true"]).rootless(user));
    let runtime = playground();
    std::os::unix::fs::chown(runtime.path(), Some(user.uid()), Some(user.gid())).unwrap();
    let call = outrigger_tests::Invocation::new(container.runtime().program()).arg("run");
    let call = call.bundle(container.bundle().path()).arg("--keep").arg(container.id());
    let call = call.user(&user).variable("XDG_RUNTIME_DIR", runtime.path().to_str().unwrap());
    let _ = call.finish().succeeded();
    let root = runtime.path().join("outrigger");
    let metadata = fs::metadata(&root).unwrap();
    assert_eq!((metadata.uid(), metadata.mode() & 0o7777), (user.uid(), 0o700));
    assert!(root.join(container.id()).join("state.json").exists());
}

#[test]
fn root_of_a_user_namespace_needs_no_other_one() {
    needs_program!("unshare");
    deviation!("runc", "wants the cgroups of the host");
    let (_user, container) = container(|_| {
        let script = "id -u; cat /proc/self/uid_map; echo x > /dev/null && echo fine";
        let bundle = Bundle::shell(script).without_mount("/sys/fs/cgroup");
        // There is no group 5.
        let bundle = bundle.without_mount("/dev/pts");
        bundle.mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666"])
    });
    let unshare = ["--user", "--map-root-user", "--mount", "--"];
    let text = container.foreground().by("unshare", &unshare).finish().succeeded().stdout();
    assert!(text.starts_with("0\n") && text.ends_with("fine\n"), "{text}");
    container.assert_nothing_left();
}

#[test]
fn n14_a_host_without_user_namespaces_is_a_clear_error() {
    needs_program!("unshare");
    ours_only!("has other words");
    let (_user, container) = container(|user| {
        Bundle::new().args(&["true"]).rootless(user).with(|config| {
            for map in ["uidMappings", "gidMappings"] {
                config["linux"][map] = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
            }
        })
    });
    // The limit is one of each user namespace.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces; exec \"$@\"";
    let unshare = ["--user", "--map-root-user", "--", "sh", "-c", script, "sh"];
    let line = container.foreground().by("unshare", &unshare).finish().failed();
    assert!(line.contains("user.max_"), "{line}");
    container.assert_nothing_left();
}
