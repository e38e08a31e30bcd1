// SPDX-License-Identifier: Apache-2.0
//! `linux.resources` apart from devices. No limit is supported yet. Engines write members that set none
//! into every config (weight 0, limit -1): those ask for nothing.

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxNetwork, LinuxResources};

use super::problems::Problems;

/// Notes every limit by its name.
pub(super) fn refuse(resources: &LinuxResources, problems: &mut Problems) {
    let mut refuse = |object: &str, limits: &[(&str, bool)]| {
        for (limit, _) in limits.iter().filter(|(_, is_set)| *is_set) {
            problems.unsupported(format_args!("linux.resources{object}.{limit}"));
        }
    };
    refuse(
        "",
        &[
            ("hugepageLimits", has_items(resources.hugepage_limits())),
            ("rdma", resources.rdma().as_ref().is_some_and(|r| !r.is_empty())),
            ("unified", resources.unified().as_ref().is_some_and(|u| !u.is_empty())),
        ],
    );
    if let Some(memory) = resources.memory() {
        refuse(".memory", &of_memory(memory));
    }
    if let Some(cpu) = resources.cpu() {
        refuse(".cpu", &of_cpu(cpu));
    }
    if let Some(pids) = resources.pids() {
        refuse(".pids", &[("limit", is_limit(Some(pids.limit())))]);
    }
    if let Some(io) = resources.block_io() {
        refuse(".blockIO", &of_block_io(io));
    }
    if let Some(network) = resources.network() {
        refuse(".network", &of_network(network));
    }
}

/// 0 is not set, -1 is no limit.
fn is_limit(value: Option<i64>) -> bool {
    value.is_some_and(|v| v != 0 && v != -1)
}

fn is_nonzero<T: PartialEq + From<u8>>(value: Option<T>) -> bool {
    value.is_some_and(|v| v != T::from(0))
}

fn is_text(text: &Option<String>) -> bool {
    text.as_ref().is_some_and(|t| !t.is_empty())
}

fn has_items<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_some_and(|l| !l.is_empty())
}

/// `checkBeforeUpdate` is about how a limit is changed, so it asks for nothing by itself.
#[allow(deprecated, reason = "a config may still have the kernel's own limits")]
fn of_memory(memory: &LinuxMemory) -> [(&'static str, bool); 8] {
    [
        ("limit", is_limit(memory.limit())),
        ("reservation", is_limit(memory.reservation())),
        ("swap", is_limit(memory.swap())),
        ("kernel", is_limit(memory.kernel())),
        ("kernelTCP", is_limit(memory.kernel_tcp())),
        // 0 means never to swap.
        ("swappiness", memory.swappiness().is_some()),
        ("disableOOMKiller", memory.disable_oom_killer() == Some(true)),
        ("useHierarchy", memory.use_hierarchy() == Some(true)),
    ]
}

fn of_cpu(cpu: &LinuxCpu) -> [(&'static str, bool); 9] {
    [
        ("shares", is_nonzero(cpu.shares())),
        ("quota", is_limit(cpu.quota())),
        ("burst", is_nonzero(cpu.burst())),
        ("period", is_nonzero(cpu.period())),
        ("realtimeRuntime", is_limit(cpu.realtime_runtime())),
        ("realtimePeriod", is_nonzero(cpu.realtime_period())),
        ("cpus", is_text(cpu.cpus())),
        ("mems", is_text(cpu.mems())),
        ("idle", is_nonzero(cpu.idle())),
    ]
}

fn of_block_io(io: &LinuxBlockIo) -> [(&'static str, bool); 7] {
    [
        ("weight", is_nonzero(io.weight())),
        ("leafWeight", is_nonzero(io.leaf_weight())),
        ("weightDevice", has_items(io.weight_device())),
        ("throttleReadBpsDevice", has_items(io.throttle_read_bps_device())),
        ("throttleWriteBpsDevice", has_items(io.throttle_write_bps_device())),
        ("throttleReadIOPSDevice", has_items(io.throttle_read_iops_device())),
        ("throttleWriteIOPSDevice", has_items(io.throttle_write_iops_device())),
    ]
}

fn of_network(network: &LinuxNetwork) -> [(&'static str, bool); 2] {
    [("classID", is_nonzero(network.class_id())), ("priorities", has_items(network.priorities()))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn refused(resources: Value) -> String {
        let resources: LinuxResources = serde_json::from_value(resources).unwrap();
        let mut problems = Problems::default();
        refuse(&resources, &mut problems);
        problems.to_string()
    }

    #[test]
    fn every_limit_is_refused_by_name() {
        let weight = json!([{"major": 8, "minor": 0, "weight": 9}]);
        let rate = json!([{"major": 8, "minor": 0, "rate": 9}]);
        for (object, member, value) in [
            ("memory", "limit", json!(1)),
            ("memory", "reservation", json!(1)),
            ("memory", "swap", json!(1)),
            ("memory", "kernel", json!(1)),
            ("memory", "kernelTCP", json!(1)),
            ("memory", "swappiness", json!(0)),
            ("memory", "disableOOMKiller", json!(true)),
            ("memory", "useHierarchy", json!(true)),
            ("cpu", "shares", json!(1)),
            ("cpu", "quota", json!(1)),
            ("cpu", "burst", json!(1)),
            ("cpu", "period", json!(1)),
            ("cpu", "realtimeRuntime", json!(1)),
            ("cpu", "realtimePeriod", json!(1)),
            ("cpu", "cpus", json!("0")),
            ("cpu", "mems", json!("0")),
            ("cpu", "idle", json!(1)),
            ("pids", "limit", json!(1)),
            ("blockIO", "weight", json!(10)),
            ("blockIO", "leafWeight", json!(10)),
            ("blockIO", "weightDevice", weight),
            ("blockIO", "throttleReadBpsDevice", rate.clone()),
            ("blockIO", "throttleWriteBpsDevice", rate.clone()),
            ("blockIO", "throttleReadIOPSDevice", rate.clone()),
            ("blockIO", "throttleWriteIOPSDevice", rate),
            ("network", "classID", json!(1)),
            ("network", "priorities", json!([{"name": "eth0", "priority": 1}])),
        ] {
            let text = refused(json!({ object: { member: value } }));
            let field = format!("linux.resources.{object}.{member}");
            assert_eq!(text, format!("{field}: is not supported yet; remove it"));
        }
        for (member, value) in [
            ("hugepageLimits", json!([{"pageSize": "2MB", "limit": 1}])),
            ("rdma", json!({"mlx5_1": {"hcaHandles": 1}})),
            ("unified", json!({"memory.max": "1"})),
        ] {
            let text = refused(json!({ member: value }));
            let field = format!("linux.resources.{member}");
            assert_eq!(text, format!("{field}: is not supported yet; remove it"));
        }
    }

    #[test]
    fn members_that_set_no_limit_are_fine() {
        let resources = json!({
            "memory": {"limit": -1, "reservation": 0, "swap": -1, "disableOOMKiller": false,
                "useHierarchy": false, "checkBeforeUpdate": true},
            "cpu": {"shares": 0, "quota": -1, "period": 0, "cpus": "", "mems": "", "idle": 0},
            "pids": {"limit": 0},
            "blockIO": {"weight": 0, "weightDevice": []},
            "network": {"classID": 0, "priorities": []},
            "hugepageLimits": [], "rdma": {}, "unified": {}, "devices": [],
        });
        assert_eq!(refused(resources), "");
        assert_eq!(refused(json!({"pids": {"limit": -1}, "memory": {}, "cpu": {}})), "");
    }
}
