// SPDX-License-Identifier: Apache-2.0
//! Namespaces, and what is set in them.

use std::fs;

use outrigger_tests::{Bundle, Container, deviation, needs_root, output, run};
use serde_json::{Value, json};

const KINDS: [&str; 7] = ["pid", "net", "ipc", "uts", "mnt", "user", "cgroup"];

/// The namespaces that a process of a container of this bundle is in, by [`KINDS`].
fn inside(bundle: Bundle) -> Vec<String> {
    let links = KINDS.map(|kind| format!("readlink /proc/self/ns/{kind}")).join("; ");
    output(bundle.args(&["sh", "-c", &links])).lines().map(str::to_owned).collect()
}

fn outside(kind: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{kind}")).unwrap().to_str().unwrap().to_owned()
}

/// Whether the kind is new in a container of the default config.
fn is_new(kind: &str) -> bool {
    !["user", "cgroup"].contains(&kind)
}

#[test]
fn namespaces_are_new_if_listed_and_the_callers_if_not() {
    needs_root!();
    for (kind, found) in KINDS.iter().zip(inside(Bundle::new())) {
        assert_eq!(found != outside(kind), is_new(kind), "{kind}");
    }
}

#[test]
fn a_cgroup_namespace_has_the_containers_cgroups_at_its_root() {
    needs_root!();
    let bundle = Bundle::shell("readlink /proc/self/ns/cgroup; cat /proc/self/cgroup");
    let text = output(bundle.with(|config| add(config, json!({"type": "cgroup"}))));
    let (link, groups) = text.split_once('\n').unwrap();
    assert_ne!(link, outside("cgroup"));
    assert!(groups.lines().all(|line| line.ends_with(":/")), "{groups}");
}

fn add(config: &mut Value, namespace: Value) {
    config["linux"]["namespaces"].as_array_mut().unwrap().push(namespace);
}

fn remove(config: &mut Value, kind: &str) {
    config["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != kind);
}

#[test]
fn a_namespace_of_another_container_is_joined() {
    needs_root!();
    let first = Container::of(Bundle::new().args(&["sleep", "1000"]));
    let _ = first.run_detached().succeeded();
    let file = |kind: &str| format!("/proc/{}/ns/{kind}", first.pid());
    let bundle = Bundle::new().with(|config| {
        for (kind, name) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")] {
            remove(config, kind);
            add(config, json!({"type": kind, "path": file(name)}));
        }
        config.as_object_mut().unwrap().remove("hostname");
    });
    for (kind, found) in KINDS.iter().zip(inside(bundle)) {
        let expected = fs::read_link(file(kind)).unwrap();
        assert_eq!(found == expected.to_str().unwrap(), *kind != "mnt", "{kind}");
    }
}

#[test]
fn a_namespace_path_of_another_kind_is_refused() {
    needs_root!();
    for path in ["/proc/self/ns/uts", "/dev/null", "/no/such/namespace"] {
        let bundle = Bundle::new().args(&["true"]).with(|config| {
            remove(config, "network");
            add(config, json!({"type": "network", "path": path}));
        });
        run(bundle).failed();
    }
}

#[test]
fn the_host_name_is_the_configs() {
    needs_root!();
    let bundle = Bundle::new().args(&["hostname"]);
    assert_eq!(output(bundle.with(|c| c["hostname"] = json!("test.example"))), "test.example\n");
}

#[test]
fn the_domain_name_is_the_configs() {
    needs_root!();
    deviation!("runc", "of this version knows no domainname");
    let bundle = Bundle::new().args(&["cat", "/proc/sys/kernel/domainname"]);
    assert_eq!(output(bundle.with(|c| c["domainname"] = json!("test.domain"))), "test.domain\n");
}

#[test]
fn a_host_name_needs_a_namespace_of_its_own() {
    needs_root!();
    let bundle = Bundle::new().args(&["true"]).with(|config| {
        remove(config, "uts");
        config["hostname"] = json!("taken-over");
    });
    run(bundle).failed_with("hostname");
}

#[test]
fn the_loopback_interface_is_up() {
    needs_root!();
    let text = output(
        Bundle::shell("ip -o link; ping -c 1 -W 1 127.0.0.1 | grep -c ' bytes from'").privileged(),
    );
    assert!(text.contains("LOOPBACK,UP"), "{text}");
    assert!(text.ends_with("\n1\n"), "{text}");
}

#[test]
fn kernel_parameters_are_set_in_the_containers_namespaces_only() {
    needs_root!();
    let files = ["net/ipv4/ip_unprivileged_port_start", "kernel/msgmax"];
    let read = |file| fs::read_to_string(format!("/proc/sys/{file}")).unwrap();
    let before = files.map(read);
    let script = files.map(|file| format!("cat /proc/sys/{file}")).join("; ");
    let bundle = Bundle::shell(&script).with(|config| {
        config["linux"]["sysctl"] =
            json!({"net.ipv4.ip_unprivileged_port_start": "77", "kernel.msgmax": "7777"});
    });
    assert_eq!(output(bundle), "77\n7777\n");
    assert_eq!(files.map(read), before);
}

#[test]
fn kernel_parameters_of_the_host_are_refused() {
    needs_root!();
    for name in ["vm.swappiness", "kernel.pid_max", "kernel.core_pattern", "fs.file-max"] {
        let file = format!("/proc/sys/{}", name.replace('.', "/"));
        let before = fs::read_to_string(&file).unwrap();
        let bundle = Bundle::new().args(&["true"]).with(|config| {
            config["linux"]["sysctl"] = json!({name: before.trim()});
        });
        run(bundle).failed_with(name);
        assert_eq!(fs::read_to_string(&file).unwrap(), before);
    }
}

#[test]
fn kernel_parameters_of_a_namespace_that_is_the_hosts_are_refused() {
    needs_root!();
    for (name, kind) in [("net.ipv4.ip_forward", "network"), ("kernel.msgmax", "ipc")] {
        let file = format!("/proc/sys/{}", name.replace('.', "/"));
        let before = fs::read_to_string(&file).unwrap();
        let bundle = Bundle::new().args(&["true"]).with(|config| {
            remove(config, kind);
            config["linux"]["sysctl"] = json!({name: before.trim()});
        });
        run(bundle).failed_with(name);
        assert_eq!(fs::read_to_string(&file).unwrap(), before);
    }
}

#[test]
fn a_container_without_a_pid_namespace_sees_the_hosts_processes() {
    needs_root!();
    let bundle = Bundle::shell("[ $$ -gt 1 ] && [ -d /proc/$PPID ] && echo yes");
    let bundle = bundle.with(|config| remove(config, "pid"));
    assert_eq!(output(bundle), "yes\n");
}

#[test]
fn without_a_mount_namespace_the_root_is_changed_by_chroot() {
    needs_root!();
    deviation!("runc", "mounts all the same, on the host");
    let bundle = Bundle::shell("ls /; cat /etc/passwd | head -1").with(|config| {
        config["linux"]["namespaces"] = json!([{"type": "pid"}]);
        config["mounts"] = json!([]);
        config["linux"]["maskedPaths"] = json!([]);
        config["linux"]["readonlyPaths"] = json!([]);
        config["root"]["readonly"] = json!(false);
        config.as_object_mut().unwrap().remove("hostname");
    });
    let text = output(bundle);
    assert!(text.contains("bin\n") && !text.contains("boot\n"), "{text}");
}
