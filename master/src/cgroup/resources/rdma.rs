// SPDX-License-Identifier: Apache-2.0
//! `linux.resources.rdma`

use std::collections::{BTreeMap, HashMap};

use oci_spec::runtime::LinuxRdma;

use super::{Limits, Meaning};

/// The file is the same in both versions.
pub(super) fn plan(devices: &HashMap<String, LinuxRdma>, limits: &mut Limits<'_>) {
    let sorted: BTreeMap<_, _> = devices.iter().collect();
    for (name, device) in sorted {
        let field = format!("rdma.{}", name.escape_default());
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) {
            limits.refuse(&field, "is no name of a device");
            continue;
        }
        let parts: Vec<String> =
            [("hca_handle", device.hca_handles()), ("hca_object", device.hca_objects())]
                .into_iter()
                .filter_map(|(key, limit)| limit.map(|limit| format!("{key}={limit}")))
                .collect();
        if parts.is_empty() {
            continue;
        }
        if let Some((group, _)) = limits.find("rdma", &field, Meaning::Limit) {
            let value = format!("{name} {}", parts.join(" "));
            limits.set(group, &field, Meaning::Limit, "rdma.max", value);
        }
    }
}
