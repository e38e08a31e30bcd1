// SPDX-License-Identifier: Apache-2.0
//! `linux.resources.pids`

use oci_spec::runtime::LinuxPids;

use super::{Limits, Meaning};

/// The file is the same in both versions. Any negative number is no limit.
pub(super) fn plan(pids: &LinuxPids, limits: &mut Limits<'_>) {
    let (meaning, value) = match pids.limit() {
        0 => return,
        limit if limit < 0 => (Meaning::NoLimit, "max".to_owned()),
        limit => (Meaning::Limit, limit.to_string()),
    };
    if let Some((group, _)) = limits.find("pids", "pids.limit", meaning) {
        limits.set(group, "pids.limit", meaning, "pids.max", value);
    }
}
