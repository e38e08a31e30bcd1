// SPDX-License-Identifier: Apache-2.0
//! Control groups: where they are, which devices their members may use.

use serde::{Deserialize, Serialize};

use crate::path::{HostPath, RelativePath};

/// Most hierarchies that a host can have.
pub const MAX_HIERARCHIES: usize = 32;
/// Most device rules of one container.
pub const MAX_DEVICE_RULES: usize = 1024;
/// Most instructions of a device program, the kernel's limit for an unprivileged one.
pub const MAX_INSTRUCTIONS: usize = 4096;

/// Version of a hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CgroupVersion {
    /// One hierarchy per controller.
    V1,
    /// The unified hierarchy.
    V2,
}

/// A cgroup of the container in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    /// Version of the hierarchy; the helper verifies it at `mount`.
    pub version: CgroupVersion,
    /// Where the hierarchy is mounted.
    pub mount: HostPath,
    /// The cgroup below that.
    pub path: RelativePath,
    /// How many leading components of `path` are not the container's: removal leaves them.
    pub kept: u16,
}

/// The container's cgroups: one a hierarchy, at most [`MAX_HIERARCHIES`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<Cgroup>", into = "Vec<Cgroup>")]
pub struct Cgroups(Vec<Cgroup>);

impl Cgroups {
    /// In order.
    pub fn iter(&self) -> std::slice::Iter<'_, Cgroup> {
        self.0.iter()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<Vec<Cgroup>> for Cgroups {
    type Error = String;

    fn try_from(groups: Vec<Cgroup>) -> Result<Self, String> {
        if groups.len() > MAX_HIERARCHIES {
            return Err(format!("{} cgroups, more than {MAX_HIERARCHIES}", groups.len()));
        }
        Ok(Self(groups))
    }
}

impl From<Cgroups> for Vec<Cgroup> {
    fn from(groups: Cgroups) -> Self {
        groups.0
    }
}

/// Which devices a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceClass {
    /// Both block and character devices; numbers are wildcards then.
    All,
    /// Block devices.
    Block,
    /// Character devices.
    Character,
}

/// One rule of the devices controller, in the order of the config: a later one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// Whether it allows or denies.
    pub allow: bool,
    /// Type of the devices.
    pub class: DeviceClass,
    /// Major number, `None` for all.
    pub major: Option<u32>,
    /// Minor number, `None` for all.
    pub minor: Option<u32>,
    /// Reading.
    pub read: bool,
    /// Writing.
    pub write: bool,
    /// Making nodes.
    pub mknod: bool,
}

/// How the devices of a cgroup are controlled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawDevices", into = "RawDevices")]
pub enum Devices {
    /// Version 1: rules for devices.allow and devices.deny, at most [`MAX_DEVICE_RULES`].
    Rules(Vec<DeviceRule>),
    /// Version 2: a BPF program of type `BPF_PROG_TYPE_CGROUP_DEVICE`, 1 to [`MAX_INSTRUCTIONS`]
    /// instructions of 8 bytes as the kernel has them. The kernel's verifier checks it.
    Program(Vec<u64>),
}

#[derive(Serialize, Deserialize)]
enum RawDevices {
    Rules(Vec<DeviceRule>),
    Program(Vec<u64>),
}

impl TryFrom<RawDevices> for Devices {
    type Error = String;

    fn try_from(raw: RawDevices) -> Result<Self, String> {
        match raw {
            RawDevices::Rules(r) if r.len() > MAX_DEVICE_RULES => {
                Err(format!("{} device rules, more than {MAX_DEVICE_RULES}", r.len()))
            }
            RawDevices::Rules(r) => Ok(Self::Rules(r)),
            RawDevices::Program(p) if p.is_empty() || p.len() > MAX_INSTRUCTIONS => {
                Err(format!("{} BPF instructions, not 1 to {MAX_INSTRUCTIONS}", p.len()))
            }
            RawDevices::Program(p) => Ok(Self::Program(p)),
        }
    }
}

impl From<Devices> for RawDevices {
    fn from(devices: Devices) -> Self {
        match devices {
            Devices::Rules(r) => Self::Rules(r),
            Devices::Program(p) => Self::Program(p),
        }
    }
}

/// Creates the container's cgroups and restricts their devices. The next process to be spawned is
/// born in them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateCgroup {
    /// The cgroups.
    pub groups: Cgroups,
    /// The devices their members may use; `None` leaves them as the parent has them.
    pub devices: Option<Devices>,
}

/// Removes the container's cgroups and, while they are empty, the parents made for them. Processes
/// still in them are killed. What does not exist is no error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveCgroup {
    /// The cgroups.
    pub groups: Cgroups,
}
