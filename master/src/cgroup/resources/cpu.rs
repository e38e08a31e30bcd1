// SPDX-License-Identifier: Apache-2.0
//! `linux.resources.cpu`

use oci_spec::runtime::LinuxCpu;
use outrigger_protocol::cgroup::CgroupVersion;

use super::{Limits, Meaning};

const CONTROLLER: &str = "cpu";
/// The kernel's limits of cpu.shares, which it applies without a word.
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;
/// The kernel's default period in microseconds.
pub(crate) const PERIOD: u64 = 100_000;

pub(super) fn plan(cpu: &LinuxCpu, limits: &mut Limits<'_>) {
    shares(cpu, limits);
    bandwidth(cpu, limits);
    if let Some(idle) = cpu.idle() {
        let meaning = if idle == 0 { Meaning::NoLimit } else { Meaning::Limit };
        if let Some((group, _)) = limits.find(CONTROLLER, "cpu.idle", meaning) {
            limits.set(group, "cpu.idle", meaning, "cpu.idle", idle);
        }
    }
    real_time(cpu, limits);
    for (field, file, list) in
        [("cpu.cpus", "cpuset.cpus", cpu.cpus()), ("cpu.mems", "cpuset.mems", cpu.mems())]
    {
        let Some(list) = list.as_deref().filter(|l| !l.is_empty()) else { continue };
        if let Some((group, _)) = limits.find("cpuset", field, Meaning::Limit) {
            limits.set(group, field, Meaning::Limit, file, list);
        }
    }
}

fn shares(cpu: &LinuxCpu, limits: &mut Limits<'_>) {
    let Some(shares) = cpu.shares().filter(|s| *s != 0) else { return };
    let field = "cpu.shares";
    match limits.find(CONTROLLER, field, Meaning::Limit) {
        Some((_, CgroupVersion::V1)) if !SHARES.contains(&shares) => {
            limits.refuse(
                field,
                format!("is {shares}, not from {} to {}", SHARES.start(), SHARES.end()),
            );
        }
        Some((group, CgroupVersion::V1)) => {
            limits.set(group, field, Meaning::Limit, "cpu.shares", shares);
        }
        Some((group, CgroupVersion::V2)) => {
            limits.set(group, field, Meaning::Limit, "cpu.weight", weight(shares));
        }
        None => {}
    }
}

/// Shares, 2 to 262144 with 1024 for the default, as a weight, 1 to 10000 with 100 for the default: the
/// parabola over the logarithm that goes through these three points. It is what runc and systemd
/// write, so that containers of different runtimes compare.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "from 1 to 10000, made from at most 18 bits"
)]
pub(super) fn weight(shares: u64) -> u64 {
    if shares <= *SHARES.start() {
        return 1;
    }
    if shares >= *SHARES.end() {
        return 10_000;
    }
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    10_f64.powf(exponent).ceil() as u64
}

/// Quota, period and burst. A quota below 0 is none.
fn bandwidth(cpu: &LinuxCpu, limits: &mut Limits<'_>) {
    let quota = cpu.quota().filter(|q| *q != 0);
    let period = cpu.period().filter(|p| *p != 0);
    let burst = cpu.burst();
    let is_limit = |set: bool| if set { Meaning::Limit } else { Meaning::NoLimit };
    let quota_meaning = is_limit(quota.is_some_and(|q| q > 0));
    let burst_meaning = is_limit(burst.is_some_and(|b| b > 0));
    if quota.is_some() || period.is_some() {
        let field = if quota.is_some() { "cpu.quota" } else { "cpu.period" };
        let meaning = if period.is_some() { Meaning::Limit } else { quota_meaning };
        match limits.find(CONTROLLER, field, meaning) {
            Some((group, CgroupVersion::V1)) => {
                if let Some(period) = period {
                    let file = "cpu.cfs_period_us";
                    limits.set(group, "cpu.period", Meaning::Limit, file, period);
                }
                if let Some(quota) = quota {
                    let value = quota.max(-1);
                    limits.set(group, "cpu.quota", quota_meaning, "cpu.cfs_quota_us", value);
                }
            }
            Some((group, CgroupVersion::V2)) => {
                let quota =
                    quota.filter(|q| *q > 0).map_or_else(|| "max".to_owned(), |q| q.to_string());
                let value = format!("{quota} {}", period.unwrap_or(PERIOD));
                limits.set(group, field, meaning, "cpu.max", value);
            }
            None => {}
        }
    }
    if let Some(burst) = burst {
        let field = "cpu.burst";
        if let Some((group, version)) = limits.find(CONTROLLER, field, burst_meaning) {
            let file = match version {
                CgroupVersion::V1 => "cpu.cfs_burst_us",
                CgroupVersion::V2 => "cpu.max.burst",
            };
            limits.set(group, field, burst_meaning, file, burst);
        }
    }
}

fn real_time(cpu: &LinuxCpu, limits: &mut Limits<'_>) {
    let period = cpu.realtime_period().filter(|p| *p != 0).map(|p| p.to_string());
    let runtime = cpu.realtime_runtime().filter(|r| *r != 0).map(|r| r.to_string());
    for (field, file, value) in [
        ("cpu.realtimePeriod", "cpu.rt_period_us", period),
        ("cpu.realtimeRuntime", "cpu.rt_runtime_us", runtime),
    ] {
        let Some(value) = value else { continue };
        match limits.find(CONTROLLER, field, Meaning::Limit) {
            Some((group, CgroupVersion::V1)) => {
                limits.set(group, field, Meaning::Limit, file, value);
            }
            Some((_, CgroupVersion::V2)) => {
                limits.refuse(field, "cannot be had with cgroup version 2; remove it");
            }
            None => {}
        }
    }
}
