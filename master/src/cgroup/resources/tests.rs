// SPDX-License-Identifier: Apache-2.0
//! Conversions of every resource, for both versions.

#![allow(clippy::needless_pass_by_value, reason = "made in the call")]

use serde_json::{Value, json};

use super::*;

const NAMES: [&str; 10] = [
    "memory",
    "cpu,cpuacct",
    "cpuset",
    "pids",
    "blkio",
    "hugetlb",
    "net_cls,net_prio",
    "rdma",
    "freezer",
    "name=systemd",
];
const UNIFIED: [&str; 8] = ["memory", "cpu", "cpuset", "pids", "io", "hugetlb", "rdma", "misc"];

fn hierarchy(version: CgroupVersion, name: &str) -> Hierarchy {
    let available =
        if version == CgroupVersion::V2 { UNIFIED.map(str::to_owned).into() } else { vec![] };
    Hierarchy {
        version,
        name: name.into(),
        mount: format!("/cg/{name}").into(),
        own: "/".into(),
        writable: true,
        existing: 0,
        available,
    }
}

pub(crate) fn version_1() -> Vec<Hierarchy> {
    NAMES.iter().map(|name| hierarchy(CgroupVersion::V1, name)).collect()
}

pub(crate) fn version_2() -> Vec<Hierarchy> {
    vec![hierarchy(CgroupVersion::V2, "")]
}

/// What is written, as `FILE=VALUE`, then the problems.
fn planned(host: &[Hierarchy], resources: Value) -> (Vec<String>, String) {
    let resources: LinuxResources = serde_json::from_value(resources).unwrap();
    let mut problems = Problems::default();
    let controllers = Controllers((0..).zip(host).collect());
    let settings = plan(&resources, &controllers, &mut problems);
    let shown = settings.iter().map(|s| {
        let mark = match &s.missing {
            Missing::Refuse => String::new(),
            Missing::Skip => "?".to_owned(),
            Missing::Instead(file, value) => format!(" else {file}={value}"),
        };
        let hierarchy = &host[usize::from(s.group)];
        let controller = s.file.controller();
        assert!(hierarchy.controls(controller) || hierarchy.hands_down(controller), "{s:?}");
        format!("{}={}{mark}", s.file, s.value)
    });
    (shown.collect(), problems.to_string())
}

fn assert_planned(resources: Value, version_1_files: &[&str], version_2_files: &[&str]) {
    for (host, expected) in [(version_1(), version_1_files), (version_2(), version_2_files)] {
        let (files, problems) = planned(&host, resources.clone());
        assert_eq!(problems, "", "{resources}");
        assert_eq!(files, expected, "{resources}");
    }
}

fn assert_refused(host: &[Hierarchy], resources: Value, field: &str, why: &str) {
    let (_, problems) = planned(host, resources.clone());
    assert!(problems.starts_with(&format!("linux.resources.{field}: ")), "{resources}: {problems}");
    assert!(problems.contains(why), "{resources}: {problems}");
}

#[test]
fn memory() {
    let m = |value: Value| json!({ "memory": value });
    assert_planned(
        m(json!({"limit": 1000})),
        &["memory.limit_in_bytes=1000"],
        &["memory.max=1000"],
    );
    assert_planned(
        m(json!({"limit": 1000, "swap": 1500, "reservation": 700})),
        &[
            "memory.limit_in_bytes=1000",
            "memory.memsw.limit_in_bytes=1500",
            "memory.soft_limit_in_bytes=700",
        ],
        &["memory.max=1000", "memory.swap.max=500", "memory.low=700"],
    );
    assert_planned(
        m(json!({"limit": 1000, "swap": 1000})),
        &["memory.limit_in_bytes=1000", "memory.memsw.limit_in_bytes=1000"],
        &["memory.max=1000", "memory.swap.max=0?"],
    );
    assert_planned(
        m(json!({"limit": 1000, "swap": -1})),
        &["memory.limit_in_bytes=1000", "memory.memsw.limit_in_bytes=-1?"],
        &["memory.max=1000", "memory.swap.max=max?"],
    );
    assert_planned(
        m(json!({"limit": -1})),
        &["memory.limit_in_bytes=-1?", "memory.memsw.limit_in_bytes=-1?"],
        &["memory.max=max?", "memory.swap.max=max?"],
    );
    assert_planned(
        m(json!({"limit": 0, "swap": 0, "reservation": 0, "checkBeforeUpdate": true,
        "disableOOMKiller": false, "useHierarchy": true, "swappiness": u64::MAX})),
        &[],
        &[],
    );
    assert_planned(
        m(json!({"reservation": -1})),
        &["memory.soft_limit_in_bytes=-1?"],
        &["memory.low=max?"],
    );
}

#[test]
fn memory_of_version_1_alone() {
    for (member, value, file) in [
        ("kernel", json!(5), "memory.kmem.limit_in_bytes=5"),
        ("kernelTCP", json!(6), "memory.kmem.tcp.limit_in_bytes=6"),
        ("swappiness", json!(0), "memory.swappiness=0"),
        ("disableOOMKiller", json!(true), "memory.oom_control=1"),
    ] {
        let resources = json!({"memory": {member: value}});
        assert_eq!(
            planned(&version_1(), resources.clone()),
            (vec![file.to_owned()], String::new())
        );
        assert_refused(&version_2(), resources, &format!("memory.{member}"), "version 2");
    }
}

#[test]
fn memory_that_makes_no_sense_is_refused() {
    let swap = |limit: i64, swap: i64| json!({"memory": {"limit": limit, "swap": swap}});
    assert_refused(&version_2(), swap(0, 5), "memory.swap", "memory.limit");
    assert_refused(&version_2(), swap(6, 5), "memory.swap", "less than");
    assert_refused(&version_2(), swap(-1, 5), "memory.swap", "none");
    assert_refused(&version_1(), swap(-2, 0), "memory.limit", "negative");
    assert_refused(
        &version_1(),
        json!({"memory": {"swappiness": 101}}),
        "memory.swappiness",
        "100",
    );
}

#[test]
fn cpu() {
    let c = |value: Value| json!({ "cpu": value });
    assert_planned(c(json!({"shares": 1024})), &["cpu.shares=1024"], &["cpu.weight=100"]);
    assert_planned(
        c(json!({"quota": 50_000, "period": 20_000, "burst": 1000})),
        &["cpu.cfs_period_us=20000", "cpu.cfs_quota_us=50000", "cpu.cfs_burst_us=1000"],
        &["cpu.max=50000 20000", "cpu.max.burst=1000"],
    );
    assert_planned(
        c(json!({"quota": 50_000})),
        &["cpu.cfs_quota_us=50000"],
        &["cpu.max=50000 100000"],
    );
    assert_planned(c(json!({"quota": -1})), &["cpu.cfs_quota_us=-1?"], &["cpu.max=max 100000?"]);
    assert_planned(
        c(json!({"period": 20_000})),
        &["cpu.cfs_period_us=20000"],
        &["cpu.max=max 20000"],
    );
    assert_planned(c(json!({"idle": 1})), &["cpu.idle=1"], &["cpu.idle=1"]);
    assert_planned(
        c(json!({"idle": 0, "burst": 0})),
        &["cpu.cfs_burst_us=0?", "cpu.idle=0?"],
        &["cpu.max.burst=0?", "cpu.idle=0?"],
    );
    assert_planned(
        c(json!({"cpus": "0-1", "mems": "0"})),
        &["cpuset.cpus=0-1", "cpuset.mems=0"],
        &["cpuset.cpus=0-1", "cpuset.mems=0"],
    );
    assert_planned(
        c(json!({"shares": 0, "quota": 0, "period": 0, "realtimeRuntime": 0,
        "realtimePeriod": 0, "cpus": "", "mems": ""})),
        &[],
        &[],
    );
    let real_time = c(json!({"realtimeRuntime": 5, "realtimePeriod": 10}));
    let (files, _) = planned(&version_1(), real_time.clone());
    assert_eq!(files, ["cpu.rt_period_us=10", "cpu.rt_runtime_us=5"]);
    assert_refused(&version_2(), real_time, "cpu.realtimePeriod", "version 2");
    assert_refused(&version_1(), c(json!({"shares": 1})), "cpu.shares", "from 2");
    assert_refused(&version_1(), c(json!({"cpus": "0\n1"})), "cpu.cpus", "character");
}

#[test]
fn shares_become_weights_that_grow_with_them() {
    for (shares, weight) in [(1, 1), (2, 1), (512, 59), (1024, 100), (2048, 174), (262_144, 10_000)]
    {
        assert_eq!(cpu::weight(shares), weight, "{shares}");
    }
    let weights: Vec<u64> = (2..=262_144).step_by(7).map(cpu::weight).collect();
    assert!(weights.windows(2).all(|w| w[0] <= w[1]));
    assert!(weights.iter().all(|w| (1..=10_000).contains(w)));
    assert_eq!(cpu::weight(u64::MAX), 10_000);
}

#[test]
fn pids() {
    for (limit, file) in [(5, &["pids.max=5"][..]), (-1, &["pids.max=max?"]), (0, &[])] {
        assert_planned(json!({"pids": {"limit": limit}}), file, file);
    }
}

#[test]
fn block_io() {
    let b = |value: Value| json!({ "blockIO": value });
    assert_planned(
        b(json!({"weight": 500})),
        &["blkio.bfq.weight=500"],
        &["io.bfq.weight=500 else io.weight=4950"],
    );
    assert_planned(
        b(json!({"weightDevice": [{"major": 8, "minor": 16, "weight": 10}]})),
        &["blkio.bfq.weight_device=8:16 10"],
        &["io.bfq.weight=8:16 10 else io.weight=8:16 1"],
    );
    for (member, file, key) in [
        ("throttleReadBpsDevice", "read_bps", "rbps"),
        ("throttleWriteBpsDevice", "write_bps", "wbps"),
        ("throttleReadIOPSDevice", "read_iops", "riops"),
        ("throttleWriteIOPSDevice", "write_iops", "wiops"),
    ] {
        assert_planned(
            b(json!({member: [{"major": 8, "minor": 0, "rate": 9}, {"major": 8, "minor": 1}]})),
            &[
                &format!("blkio.throttle.{file}_device=8:0 9"),
                &format!("blkio.throttle.{file}_device=8:1 0?"),
            ],
            &[&format!("io.max=8:0 {key}=9"), &format!("io.max=8:1 {key}=max?")],
        );
    }
    assert_planned(b(json!({"weight": 0, "leafWeight": 0, "weightDevice": []})), &[], &[]);
    for host in [version_1(), version_2()] {
        assert_refused(&host, b(json!({"weight": 9})), "blockIO.weight", "from 10");
        assert_refused(&host, b(json!({"leafWeight": 10})), "blockIO.leafWeight", "no kernel");
    }
    assert_eq!([10, 1000].map(block_io::io_weight), [1, 10_000]);
}

#[test]
fn huge_pages() {
    assert_planned(
        json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}]}),
        &["hugetlb.2MB.limit_in_bytes=4194304", "hugetlb.2MB.rsvd.limit_in_bytes=4194304?"],
        &["hugetlb.2MB.max=4194304", "hugetlb.2MB.rsvd.max=4194304?"],
    );
    for size in ["", "2", "MB", "2mb", "../2MB", "2 MB"] {
        let list = json!({"hugepageLimits": [{"pageSize": size, "limit": 1}]});
        assert_refused(&version_1(), list, "hugepageLimits[0].pageSize", "no size");
    }
}

#[test]
fn network() {
    let resources = json!({"network": {"classID": 1_048_577,
        "priorities": [{"name": "eth0", "priority": 7}]}});
    let (files, problems) = planned(&version_1(), resources.clone());
    assert_eq!(
        (files, problems.as_str()),
        (vec!["net_cls.classid=1048577".to_owned(), "net_prio.ifpriomap=eth0 7".to_owned()], "")
    );
    assert_refused(&version_2(), resources, "network.classID", "net_cls");
    let blank = json!({"network": {"priorities": [{"name": "a b", "priority": 1}]}});
    assert_refused(&version_1(), blank, "network.priorities[0].name", "no name");
    assert_planned(json!({"network": {"classID": 0, "priorities": []}}), &[], &[]);
}

#[test]
fn rdma() {
    let file = &["rdma.max=mlx5_1 hca_handle=3 hca_object=4"];
    assert_planned(json!({"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 4}}}), file, file);
    assert_planned(json!({"rdma": {"mlx5_1": {}}}), &[], &[]);
    assert_refused(
        &version_1(),
        json!({"rdma": {"a b": {"hcaHandles": 3}}}),
        "rdma.a b",
        "no name",
    );
}

#[test]
fn unified() {
    let keys = json!({"unified": {"memory.high": "5", "io.max": "8:0 rbps=1\n8:1 rbps=2\n"}});
    let (files, problems) = planned(&version_2(), keys.clone());
    assert_eq!(problems, "");
    assert_eq!(files, ["io.max=8:0 rbps=1", "io.max=8:1 rbps=2", "memory.high=5"]);
    assert_refused(&version_1(), keys, "unified.io.max", "version 2");
    for key in ["cgroup.procs", "memory", "../memory.max", "perf_event.x", "memory.max/"] {
        let keys = json!({"unified": {key: "1"}});
        assert_refused(&version_2(), keys, &format!("unified.{key}"), "no file");
    }
}

#[test]
fn without_a_controller_a_limit_is_refused_and_no_limit_is_not() {
    for (resources, field) in [
        (json!({"memory": {"limit": 5}}), "memory.limit"),
        (json!({"memory": {"swappiness": 5}}), "memory.swappiness"),
        (json!({"cpu": {"shares": 5}}), "cpu.shares"),
        (json!({"cpu": {"quota": 5}}), "cpu.quota"),
        (json!({"cpu": {"burst": 5}}), "cpu.burst"),
        (json!({"cpu": {"cpus": "0"}}), "cpu.cpus"),
        (json!({"cpu": {"realtimeRuntime": 5}}), "cpu.realtimeRuntime"),
        (json!({"pids": {"limit": 5}}), "pids.limit"),
        (json!({"blockIO": {"weight": 50}}), "blockIO.weight"),
        (json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 5}]}), "hugepageLimits[0]"),
        (json!({"network": {"classID": 5}}), "network.classID"),
        (json!({"rdma": {"x": {"hcaHandles": 5}}}), "rdma.x"),
        (json!({"unified": {"pids.max": "5"}}), "unified.pids.max"),
    ] {
        assert_refused(&[], resources, field, "no cgroup can be made");
    }
    let nothing = json!({
        "memory": {"limit": -1, "swap": -1, "reservation": -1, "kernel": -1},
        "cpu": {"quota": -1, "idle": 0, "burst": 0}, "pids": {"limit": -1},
    });
    assert_eq!(planned(&[], nothing), (vec![], String::new()));
}
