// SPDX-License-Identifier: Apache-2.0
//! `linux.resources.network`: controllers that version 1 alone has.

use oci_spec::runtime::LinuxNetwork;
use outrigger_protocol::cgroup::CgroupVersion;

use super::{Limits, Meaning};

pub(super) fn plan(network: &LinuxNetwork, limits: &mut Limits<'_>) {
    if let Some(class) = network.class_id().filter(|c| *c != 0)
        && let Some(group) = find("net_cls", "network.classID", limits)
    {
        limits.set(group, "network.classID", Meaning::Limit, "net_cls.classid", class);
    }
    for (i, entry) in network.priorities().iter().flatten().enumerate() {
        let field = format!("network.priorities[{i}]");
        let name = entry.name();
        // The file is a list of names and numbers: a blank in a name would make it two entries.
        if name.is_empty() || name.len() > 15 || !name.bytes().all(|b| b.is_ascii_graphic()) {
            limits.refuse(&format!("{field}.name"), "is no name of a network interface");
            continue;
        }
        if let Some(group) = find("net_prio", &field, limits) {
            let value = format!("{name} {}", entry.priority());
            limits.set(group, &field, Meaning::Limit, "net_prio.ifpriomap", value);
        }
    }
}

fn find(controller: &str, field: &str, limits: &mut Limits<'_>) -> Option<u16> {
    let (group, version) = limits.find(controller, field, Meaning::Limit)?;
    (version == CgroupVersion::V1).then_some(group)
}
