// SPDX-License-Identifier: Apache-2.0
//! Whole plans: those of the default configs, and what a config can get wrong.

use outrigger_protocol::cgroup::CgroupVersion;
use serde_json::{Value, json};

use super::*;
use crate::cgroup::layout::Hierarchy;

pub(super) fn hierarchy(version: CgroupVersion, name: &str, mount: &str) -> Hierarchy {
    let mount = mount.into();
    Hierarchy {
        version,
        name: name.into(),
        mount,
        own: "/".into(),
        writable: true,
        existing: 0,
        available: Vec::new(),
    }
}

/// Root of a host with the hybrid layout.
pub(super) fn root() -> Host {
    Host {
        euid: 0,
        egid: 0,
        mode: Mode::Root,
        in_initial_user_namespace: true,
        may_set_groups: true,
        cgroups: vec![
            hierarchy(CgroupVersion::V1, "devices", "/sys/fs/cgroup/devices"),
            hierarchy(CgroupVersion::V1, "cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct"),
            hierarchy(CgroupVersion::V2, "", "/sys/fs/cgroup/unified"),
        ],
    }
}

/// An ordinary user of a host with version 2, to whom nothing is delegated.
pub(super) fn user() -> Host {
    let unified = hierarchy(CgroupVersion::V2, "", "/sys/fs/cgroup");
    Host {
        euid: 1000,
        egid: 1000,
        mode: Mode::Rootless,
        in_initial_user_namespace: true,
        may_set_groups: true,
        cgroups: vec![Hierarchy { writable: false, own: "/user".into(), ..unified }],
    }
}

/// The least config.
pub(super) fn config() -> Value {
    json!({
        "ociVersion": "1.2.0",
        "root": {"path": "rootfs"},
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh"], "cwd": "/"},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
    })
}

/// The config with the value at a JSON pointer set, and objects made on the way to it.
pub(super) fn with(pointer: &str, value: Value) -> Value {
    let mut config = config();
    let mut place = &mut config;
    for key in pointer.split('/').skip(1) {
        if place.is_null() {
            *place = json!({});
        }
        place = &mut place[key];
    }
    *place = value;
    config
}

pub(super) fn plan(config: Value, host: &Host) -> Result<Plan, Problems> {
    let spec: Spec = serde_json::from_value(config).unwrap();
    let options = Options { id: "c".into(), dies_with_master: false, console_size: None };
    Plan::new(&spec, Path::new("/bundle"), host, &options)
}

#[allow(clippy::needless_pass_by_value, reason = "made in the call")]
pub(super) fn problems(config: Value) -> String {
    plan(config.clone(), &root()).expect_err(&config.to_string()).to_string()
}

fn kinds(plan: &Plan) -> Vec<ContainerKind> {
    plan.container.iter().map(ContainerRequest::kind).collect()
}

#[test]
fn default_configs_have_the_plans_on_record() {
    for (name, host, config) in [
        ("root", root(), include_str!("testdata/root.config.json")),
        ("rootless", user(), include_str!("testdata/rootless.config.json")),
    ] {
        let plan = plan(serde_json::from_str(config).unwrap(), &host).unwrap();
        let file = format!("{}/src/plan/testdata/{name}.plan.json", env!("CARGO_MANIFEST_DIR"));
        let json = format!("{}\n", plan.to_json().unwrap());
        if std::env::var_os("OUTRIGGER_RECORD_PLANS").is_some() {
            std::fs::write(&file, &json).unwrap();
        }
        assert_eq!(json, std::fs::read_to_string(&file).unwrap(), "{name}");
    }
}

#[test]
fn same_input_gives_the_same_plan() {
    let sysctls = json!({"net.ipv4.ip_forward": "1", "net.core.somaxconn": "9", "net.ipv4.tcp_mtu_probing": "1"});
    let mut config = with("/linux/sysctl", sysctls);
    config["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "network"}]);
    let first = plan(config.clone(), &root()).unwrap();
    for _ in 0..20 {
        assert_eq!(plan(config.clone(), &root()).unwrap(), first);
    }
}

#[test]
fn requests_come_in_an_order_that_the_phase_table_permits() {
    for (host, config) in [
        (root(), include_str!("testdata/root.config.json")),
        (user(), include_str!("testdata/rootless.config.json")),
    ] {
        let plan = plan(serde_json::from_str(config).unwrap(), &host).unwrap();
        let mut tracker = phase::Tracker::<ContainerKind>::default();
        let whole = [vec![ContainerKind::Hello], kinds(&plan), vec![ContainerKind::Ready]].concat();
        for kind in whole {
            tracker.permit(kind).unwrap();
            tracker.carried_out(kind);
        }
    }
}

#[test]
fn mounts_keep_the_order_of_the_config() {
    let mounts: Vec<Value> = (0..1000)
        .map(|i| json!({"destination": format!("/m{}", 999 - i), "source": "/src", "options": ["bind"]}))
        .collect();
    let plan = plan(with("/mounts", json!(mounts)), &root()).unwrap();
    let targets: Vec<String> = plan
        .container
        .iter()
        .filter_map(|r| match r {
            ContainerRequest::Mount(m) => Some(m.target().to_string()),
            _ => None,
        })
        .collect();
    let expected: Vec<String> = (0..1000).map(|i| format!("/m{}", 999 - i)).collect();
    assert_eq!(targets, expected);
}

#[test]
fn every_problem_is_told_at_once() {
    let mut config = config();
    config["process"]["args"] = json!([]);
    config["process"]["cwd"] = json!("tmp");
    config["mounts"] =
        json!([{"destination": "/", "type": "tmpfs"}, {"destination": "/x", "type": "ext9"}]);
    config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_NOTIFY"});
    let text = problems(config);
    for field in [
        "process.args",
        "process.cwd",
        "mounts[0].destination",
        "mounts[1].type",
        "linux.seccomp.defaultAction",
    ] {
        assert!(text.contains(field), "{field}: {text}");
    }
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    let hook = json!([{"path": "/bin/true"}]);
    for (pointer, value) in [
        ("/hooks/prestart", hook.clone()),
        ("/hooks/createRuntime", hook.clone()),
        ("/hooks/createContainer", hook.clone()),
        ("/hooks/startContainer", hook.clone()),
        ("/hooks/poststart", hook.clone()),
        ("/hooks/poststop", hook),
        ("/process/commandLine", json!("x")),
        ("/process/user/username", json!("x")),
        ("/process/apparmorProfile", json!("x")),
        ("/process/selinuxLabel", json!("x")),
        ("/process/ioPriority", json!({"class": "IOPRIO_CLASS_BE", "priority": 1})),
        ("/process/scheduler", json!({"policy": "SCHED_BATCH"})),
        ("/process/execCPUAffinity", json!({"initial": "0"})),
        ("/linux/netDevices", json!({"eth0": {}})),
        ("/linux/mountLabel", json!("x")),
        ("/linux/intelRdt", json!({"closID": "x"})),
        ("/linux/memoryPolicy", json!({"mode": "MPOL_BIND", "nodes": "0"})),
        ("/linux/personality", json!({"domain": "LINUX32"})),
        ("/linux/timeOffsets", json!({"monotonic": {"secs": 1}})),
        ("/linux/rootfsPropagation", json!("shared")),
        ("/linux/cgroupsPath", json!("system.slice:outrigger:x")),
    ] {
        let text = problems(with(pointer, value));
        let field = pointer[1..].replace('/', ".");
        assert!(text.contains(&field), "{field}: {text}");
        assert!(text.contains("not supported"), "{field}: {text}");
    }
    for (field, mount) in [
        (
            "uidMappings",
            json!({"destination": "/x", "source": "/x", "options": ["bind"],
            "uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]}),
        ),
        ("options", json!({"destination": "/x", "type": "tmpfs", "options": ["tmpcopyup"]})),
        ("options", json!({"destination": "/x", "source": "/x", "options": ["bind", "idmap"]})),
    ] {
        let text = problems(with("/mounts", json!([mount])));
        assert!(text.contains(&format!("mounts[0].{field}")), "{text}");
    }
}

#[test]
fn objects_that_ask_for_nothing_are_fine() {
    for (pointer, value) in [
        ("/hooks", json!({"prestart": []})),
        ("/linux/resources", json!({"memory": {}, "cpu": {}, "unified": {}, "devices": []})),
        ("/linux/resources/pids/limit", json!(-1)),
        ("/linux/mountLabel", json!("")),
        ("/linux/rootfsPropagation", json!("rslave")),
        ("/process/apparmorProfile", json!("")),
        ("/annotations", json!({"a": "b"})),
    ] {
        plan(with(pointer, value.clone()), &root())
            .unwrap_or_else(|e| panic!("{pointer} {value}: {e}"));
    }
}

#[test]
fn wrong_values_are_told_by_their_field() {
    for (pointer, value, field) in [
        ("/root", Value::Null, "root"),
        ("/process", Value::Null, "process"),
        ("/root/path", json!("/"), "root.path"),
        ("/root/path", json!("../.."), "root.path"),
        ("/process/args", json!([""]), "process.args"),
        ("/process/args", json!(["a\u{0}b"]), "process.args[0]"),
        ("/process/env", json!(["A=\u{0}"]), "process.env[0]"),
        ("/process/env", json!(["A=1", "A"]), "process.env[1]"),
        ("/process/env", json!(["=1"]), "process.env[0]"),
        ("/process/user/umask", json!(0o1000), "process.user.umask"),
        ("/process/user/uid", json!(u32::MAX), "process.user.uid"),
        ("/process/oomScoreAdj", json!(1001), "process.oomScoreAdj"),
        ("/process/terminal", json!(true), "process.terminal"),
        (
            "/process/capabilities",
            json!({"effective": ["CAP_KILL"]}),
            "process.capabilities.effective",
        ),
        ("/hostname", json!("x"), "hostname"),
        ("/domainname", json!("x"), "domainname"),
        ("/linux/sysctl", json!({"net.ipv4.ip_forward": "1"}), "linux.sysctl"),
        ("/linux/sysctl", json!({"kernel.core_pattern": "|x"}), "linux.sysctl"),
        ("/linux/maskedPaths", json!(["proc/x"]), "linux.maskedPaths[0]"),
        ("/linux/readonlyPaths", json!(["", "/x"]), "linux.readonlyPaths[0]"),
        ("/linux/cgroupsPath", json!("/a/../../b"), "linux.cgroupsPath"),
        (
            "/linux/uidMappings",
            json!([{"containerID": 0, "hostID": 0, "size": 1}]),
            "linux.uidMappings",
        ),
        (
            "/linux/devices",
            json!([{"path": "x", "type": "c", "major": 1, "minor": 3}]),
            "linux.devices[0].path",
        ),
        (
            "/linux/devices",
            json!([{"path": "/x", "type": "c", "major": 4096, "minor": 3}]),
            "linux.devices[0].major",
        ),
        (
            "/linux/devices",
            json!([{"path": "/x", "type": "c", "major": 1, "minor": -1}]),
            "linux.devices[0].minor",
        ),
    ] {
        let text = problems(with(pointer, value.clone()));
        assert!(text.contains(field), "{pointer} {value}: {text}");
    }
}

#[test]
fn limits_of_the_process_are_checked() {
    let limit = |typ: &str, soft: u64, hard: u64| json!({"type": typ, "soft": soft, "hard": hard});
    let text = problems(with(
        "/process/rlimits",
        json!([
            limit("RLIMIT_CORE", 2, 1),
            limit("RLIMIT_NPROC", 1, 1),
            limit("RLIMIT_NPROC", 1, 1)
        ]),
    ));
    assert!(text.contains("process.rlimits[0].soft"), "{text}");
    assert!(text.contains("process.rlimits[2].type: RLIMIT_NPROC"), "{text}");
}

#[test]
fn ordinary_user_needs_a_user_namespace() {
    let text = plan(config(), &user()).unwrap_err().to_string();
    assert!(text.contains("linux.namespaces") && text.contains("spec --rootless"), "{text}");
}

#[test]
fn without_a_mount_namespace_nothing_is_mounted() {
    let mut config = config();
    config["linux"]["namespaces"] = json!([{"type": "pid"}]);
    let allowed = plan(config.clone(), &root()).unwrap();
    let expected = [
        ContainerKind::Rootfs,
        ContainerKind::Chroot,
        ContainerKind::Strings,
        ContainerKind::Process,
    ];
    assert_eq!(kinds(&allowed), expected);
    assert!(allowed.container.contains(&ContainerRequest::Chroot(Chroot::Chroot)));
    config["mounts"] = json!([{"destination": "/tmp", "type": "tmpfs"}]);
    config["root"]["readonly"] = json!(true);
    config["process"]["cwd"] = json!("tmp");
    let text = problems(config);
    assert!(text.contains("process.cwd"), "{text}");
    assert!(text.contains("mounts: would change the host's mounts"), "{text}");
    assert!(text.contains("root.readonly"), "{text}");
}

#[test]
fn device_of_the_config_replaces_the_default_of_its_path() {
    let device =
        json!([{"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600}]);
    let plan = plan(with("/linux/devices", device), &root()).unwrap();
    let modes: Vec<u32> = plan
        .container
        .iter()
        .filter_map(|r| match r {
            ContainerRequest::Mknod(m) if m.path.as_bytes() == b"/dev/null" => Some(m.mode.bits()),
            _ => None,
        })
        .collect();
    assert_eq!(modes, [0o600]);
}

#[test]
fn nothing_is_made_in_a_dev_of_the_host() {
    let device = |path| json!({"path": path, "type": "c", "major": 10, "minor": 200});
    let mut config = with("/linux/devices", json!([device("/dev/net/tun"), device("/tun")]));
    config["mounts"] = json!([{"destination": "/dev", "source": "/dev", "options": ["rbind"]}]);
    config["process"]["terminal"] = json!(true);
    let plan = plan(config, &root()).unwrap();
    let made: Vec<String> = plan
        .container
        .iter()
        .filter_map(|r| match r {
            ContainerRequest::Mknod(m) => Some(m.path.to_string()),
            ContainerRequest::Symlink(s) => Some(s.path.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(made, ["/tun"]);
    let text = problems(with("/linux/devices", json!([device("/x"), device("/y/../x")])));
    assert!(text.starts_with("linux.devices[1].path: /x is given twice"), "{text}");
}

#[test]
fn parameters_of_the_kernel_are_those_of_own_namespaces() {
    let sysctl = |parameters: Value, hostname: &str| {
        let mut config = with("/linux/sysctl", parameters);
        config["linux"]["namespaces"] =
            json!([{"type": "mount"}, {"type": "network"}, {"type": "uts"}]);
        config["hostname"] = json!(hostname);
        plan(config, &root()).map_err(|p| p.to_string()).map(|plan| {
            let set = plan.container.iter().filter_map(|r| match r {
                ContainerRequest::Sysctl(s) => Some(format!("{}={}", s.file, s.value)),
                _ => None,
            });
            set.collect::<Vec<_>>()
        })
    };
    assert_eq!(
        sysctl(
            json!({"net.ipv4.ip_forward": "1", "kernel/domainname": "d", "net/core/x.y": "2"}),
            "h"
        ),
        Ok(vec![
            "kernel/domainname=d".into(),
            "net/core/x.y=2".into(),
            "net/ipv4/ip_forward=1".into()
        ])
    );
    assert_eq!(sysctl(json!({"kernel.hostname": "h"}), ""), Ok(vec!["kernel/hostname=h".into()]));
    for (parameters, says) in [
        (json!({"net.a": "1", "net/a": "2"}), "linux.sysctl[\"net/a\"]: is given twice"),
        (
            json!({"kernel.hostname": "x"}),
            "linux.sysctl[\"kernel.hostname\"]: is what hostname sets",
        ),
        (
            json!({"kernel.msgmax": "1"}),
            "linux.sysctl[\"kernel.msgmax\"]: would be the host's; add a namespace of type ipc",
        ),
        (
            json!({"vm.swappiness": "1"}),
            "linux.sysctl[\"vm.swappiness\"]: is a parameter of the host",
        ),
        (json!({"net/../kernel/x": "1"}), "linux.sysctl[\"net/../kernel/x\"]: has a component"),
        (json!({"net.a": ""}), "linux.sysctl[\"net.a\"]: is empty"),
    ] {
        let text = sysctl(parameters, "h").unwrap_err();
        assert!(text.starts_with(says), "{text}");
    }
}

#[test]
fn more_than_the_helper_takes_is_refused_here() {
    let paths: Vec<String> = (0..10_001).map(|i| format!("/p{i}")).collect();
    for field in ["maskedPaths", "readonlyPaths"] {
        let text = problems(with(&format!("/linux/{field}"), json!(paths)));
        assert!(text.starts_with(&format!("linux.{field}: makes 10001 requests")), "{text}");
        plan(with(&format!("/linux/{field}"), json!(paths[1..])), &root()).unwrap();
    }
}

#[test]
fn long_environment_goes_in_pieces() {
    let long = "x".repeat(100_000);
    let plan = plan(with("/process/env", json!([format!("A={long}"), "B=1"])), &root()).unwrap();
    let mut whole: Vec<u8> = Vec::new();
    for request in &plan.container {
        if let ContainerRequest::Strings(s) = request
            && s.list == outrigger_protocol::process::StringList::Environment
        {
            assert!(s.piece.len() <= 32 * 1024);
            whole.extend(&s.piece);
        }
    }
    assert_eq!(whole, format!("A={long}\0B=1\0").as_bytes());
}

#[test]
fn json_of_a_plan_has_words_for_bits_and_bytes() {
    let mut config = with("/process/args", json!(["echo", "\u{e9}"]));
    config["process"]["capabilities"] = json!({"bounding": ["CAP_MKNOD"]});
    config["mounts"] = json!([{"destination": "/x", "source": "/y",
        "options": ["rbind", "rw", "nosuid", "rro"]}]);
    let plan = plan(config, &root()).unwrap();
    let json: Value = serde_json::from_str(&plan.to_json().unwrap()).unwrap();
    let requests = json["container"].as_array().unwrap();
    assert_eq!(requests.len(), plan.container.len());
    let find = |kind: &str| requests.iter().find_map(|r| r.get(kind)).unwrap();
    assert_eq!(find("Strings")["strings"], json!(["echo", "\u{e9}"]));
    assert_eq!(find("Process")["capabilities"]["bounding"], json!(["CAP_MKNOD"]));
    assert_eq!(find("Process")["umask"], json!("022"));
    assert_eq!(find("Mount")["Bind"]["attrs"], json!(["rw", "nosuid"]));
    assert_eq!(find("Mount")["Bind"]["recursive_attrs"], json!(["ro"]));
    assert_eq!(find("Mknod")["mode"], json!("0666"));
}

#[test]
fn table_has_a_line_for_every_request() {
    let plan =
        plan(serde_json::from_str(include_str!("testdata/root.config.json")).unwrap(), &root());
    let plan = plan.unwrap();
    let table = plan.to_table();
    for request in &plan.container {
        let name = request.kind().name();
        assert!(table.lines().any(|line| line.contains(name)), "{name}");
    }
    assert!(table.lines().count() > plan.container.len());
    assert!(table.contains("devices: none but c *:* m, c 1:3 rwm"), "{table}");
}

#[test]
fn groups_are_left_where_they_cannot_be_set() {
    let groups = |mode, map: Value, gids: Value| {
        let mut config = config();
        config["linux"]["namespaces"] =
            json!([{"type": "mount"}, {"type": "pid"}, {"type": "user"}]);
        if map.is_null() {
            config["linux"]["namespaces"][2]["path"] = json!("/proc/7/ns/user");
        } else {
            config["linux"]["uidMappings"] = map.clone();
            config["linux"]["gidMappings"] = map;
        }
        config["process"]["user"]["additionalGids"] = gids;
        plan(config, &Host { mode, ..user() }).map_err(|p| p.to_string()).map(|plan| {
            match plan.container.last() {
                Some(ContainerRequest::Process(p)) => {
                    p.groups.as_ref().map(|g| g.iter().map(|id| id.get()).collect::<Vec<_>>())
                }
                other => panic!("{other:?}"),
            }
        })
    };
    let line = |container: u32, host: u32, size: u32| json!([{"containerID": container, "hostID": host, "size": size}]);
    assert_eq!(groups(Mode::Rootless, line(0, 1000, 1), json!([])), Ok(None));
    assert_eq!(groups(Mode::Rootless, line(0, 100_000, 10), json!([])), Ok(Some(vec![])));
    assert_eq!(groups(Mode::Rootless, line(0, 100_000, 10), json!([7])), Ok(Some(vec![7])));
    assert_eq!(groups(Mode::Rootless, Value::Null, json!([])), Ok(None));
    assert_eq!(groups(Mode::Rootless, Value::Null, json!([7])), Ok(Some(vec![7])));
    assert_eq!(groups(Mode::Root, line(0, 1000, 1), json!([])), Ok(Some(vec![])));
    assert_eq!(groups(Mode::Root, Value::Null, json!([])), Ok(Some(vec![])));
    for (map, field) in [
        (line(0, 1000, 1), "process.user.additionalGids: cannot be set"),
        (line(0, 100_000, 10), "process.user.additionalGids[0]: 70 is not mapped"),
    ] {
        let text = groups(Mode::Rootless, map, json!([70])).unwrap_err();
        assert!(text.starts_with(field), "{text}");
    }
}
