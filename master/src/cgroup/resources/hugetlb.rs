// SPDX-License-Identifier: Apache-2.0
//! `linux.resources.hugepageLimits`

use oci_spec::runtime::LinuxHugepageLimit;
use outrigger_protocol::cgroup::CgroupVersion;

use super::{Limits, Meaning};

/// Of each size both what is used and what is reserved is limited: a process that reserved more than it
/// may use would be killed when it uses it. Reservations are counted since Linux 5.7 only.
pub(super) fn plan(list: &[LinuxHugepageLimit], limits: &mut Limits<'_>) {
    for (i, entry) in list.iter().enumerate() {
        let field = format!("hugepageLimits[{i}]");
        let size = entry.page_size();
        if !is_size(size) {
            let why = format!("{size:?} is no size of pages; write it as 64KB, 2MB or 1GB");
            limits.refuse(&format!("{field}.pageSize"), why);
            continue;
        }
        // The largest number stands for no limit, and is negative here.
        let (meaning, limit) = match entry.limit() {
            limit if limit < 0 => (Meaning::NoLimit, None),
            limit => (Meaning::Limit, Some(limit)),
        };
        let Some((group, version)) = limits.find("hugetlb", &field, meaning) else { continue };
        let (used, reserved, none) = match version {
            CgroupVersion::V1 => ("limit_in_bytes", "rsvd.limit_in_bytes", "-1"),
            CgroupVersion::V2 => ("max", "rsvd.max", "max"),
        };
        let value = limit.map_or_else(|| none.to_owned(), |l| l.to_string());
        limits.set(group, &field, meaning, format!("hugetlb.{size}.{used}"), &value);
        let file = format!("hugetlb.{size}.{reserved}");
        limits.set(group, &field, Meaning::NoLimit, file, &value);
    }
}

fn is_size(word: &str) -> bool {
    ["KB", "MB", "GB"].iter().filter_map(|unit| word.strip_suffix(unit)).any(|number| {
        !number.is_empty() && number.len() < 8 && number.bytes().all(|b| b.is_ascii_digit())
    })
}
