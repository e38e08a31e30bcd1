// SPDX-License-Identifier: Apache-2.0
//! `linux.resources.blockIO`: blkio in version 1, io in version 2.

use oci_spec::runtime::{LinuxBlockIo, LinuxThrottleDevice};
use outrigger_protocol::cgroup::CgroupVersion;

use super::{Limits, Meaning};

/// Weights of the config.
const WEIGHTS: std::ops::RangeInclusive<u16> = 10..=1000;

pub(super) fn plan(io: &LinuxBlockIo, limits: &mut Limits<'_>) {
    weight(io, limits);
    device_weights(io, limits);
    let throttles = [
        ("throttleReadBpsDevice", "read_bps", "rbps", io.throttle_read_bps_device()),
        ("throttleWriteBpsDevice", "write_bps", "wbps", io.throttle_write_bps_device()),
        ("throttleReadIOPSDevice", "read_iops", "riops", io.throttle_read_iops_device()),
        ("throttleWriteIOPSDevice", "write_iops", "wiops", io.throttle_write_iops_device()),
    ];
    for (member, file, key, devices) in throttles {
        for (i, device) in devices.iter().flatten().enumerate() {
            throttle(&format!("blockIO.{member}[{i}]"), file, key, device, limits);
        }
    }
}

/// The controller where it is, whatever its name there.
fn find(field: &str, meaning: Meaning, limits: &mut Limits<'_>) -> Option<(u16, CgroupVersion)> {
    if limits.controllers.find("blkio").is_some() {
        limits.find("blkio", field, meaning)
    } else {
        limits.find("io", field, meaning)
    }
}

fn is_weight(field: &str, weight: u16, limits: &mut Limits<'_>) -> bool {
    let fits = WEIGHTS.contains(&weight);
    if !fits {
        let (least, most) = (WEIGHTS.start(), WEIGHTS.end());
        limits.refuse(field, format!("is {weight}, not from {least} to {most}"));
    }
    fits
}

fn weight(io: &LinuxBlockIo, limits: &mut Limits<'_>) {
    if io.leaf_weight().is_some_and(|w| w != 0) {
        limits.refuse("blockIO.leafWeight", LEAF);
    }
    let field = "blockIO.weight";
    let Some(weight) = io.weight().filter(|w| *w != 0) else { return };
    if !is_weight(field, weight, limits) {
        return;
    }
    match find(field, Meaning::Limit, limits) {
        Some((group, CgroupVersion::V1)) => {
            limits.set(group, field, Meaning::Limit, "blkio.bfq.weight", weight);
        }
        Some((group, CgroupVersion::V2)) => {
            let bfq = ("io.bfq.weight", weight.to_string());
            limits.set_either(group, field, bfq, ("io.weight", io_weight(weight).to_string()));
        }
        None => {}
    }
}

/// Leaf weights went with the CFQ scheduler in Linux 5.0.
const LEAF: &str = "is known to no kernel that outrigger runs on; remove it";

/// From 10..1000 to 1..10000, linearly.
pub(super) fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight.saturating_sub(10)) * 9999 / 990
}

fn device_weights(io: &LinuxBlockIo, limits: &mut Limits<'_>) {
    for (i, device) in io.weight_device().iter().flatten().enumerate() {
        let field = format!("blockIO.weightDevice[{i}]");
        if device.leaf_weight().is_some_and(|w| w != 0) {
            limits.refuse(&format!("{field}.leafWeight"), LEAF);
        }
        let Some(weight) = device.weight().filter(|w| *w != 0) else { continue };
        if !is_weight(&field, weight, limits) {
            continue;
        }
        let numbers = format!("{}:{}", device.major(), device.minor());
        match find(&field, Meaning::Limit, limits) {
            Some((group, CgroupVersion::V1)) => {
                let value = format!("{numbers} {weight}");
                limits.set(group, &field, Meaning::Limit, "blkio.bfq.weight_device", value);
            }
            Some((group, CgroupVersion::V2)) => {
                let bfq = ("io.bfq.weight", format!("{numbers} {weight}"));
                let other = format!("{numbers} {}", io_weight(weight));
                limits.set_either(group, &field, bfq, ("io.weight", other));
            }
            None => {}
        }
    }
}

/// A rate of 0 is no limit.
fn throttle(
    field: &str,
    file: &str,
    key: &str,
    device: &LinuxThrottleDevice,
    limits: &mut Limits<'_>,
) {
    let rate = device.rate();
    let meaning = if rate == 0 { Meaning::NoLimit } else { Meaning::Limit };
    let numbers = format!("{}:{}", device.major(), device.minor());
    match find(field, meaning, limits) {
        Some((group, CgroupVersion::V1)) => {
            let file = format!("blkio.throttle.{file}_device");
            limits.set(group, field, meaning, file, format!("{numbers} {rate}"));
        }
        Some((group, CgroupVersion::V2)) => {
            let rate = if rate == 0 { "max".to_owned() } else { rate.to_string() };
            limits.set(group, field, meaning, "io.max", format!("{numbers} {key}={rate}"));
        }
        None => {}
    }
}
