// SPDX-License-Identifier: Apache-2.0
//! Which devices the members of a cgroup may use.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use outrigger_protocol::cgroup::{CgroupVersion, DeviceClass, DeviceRule, Devices};

use crate::error::{Context, OpError, Result};
use crate::sys::bpf;

/// Restricts the devices of new cgroups: by rules in the version 1 hierarchy that has the devices
/// controller, by a program in the unified one.
pub(super) fn restrict<'a>(
    devices: &Devices,
    mut groups: impl Iterator<Item = (CgroupVersion, BorrowedFd<'a>)>,
) -> Result<()> {
    match devices {
        Devices::Rules(rules) => {
            let files = groups
                .filter(|(version, _)| *version == CgroupVersion::V1)
                .find_map(|(_, dir)| RuleFiles::open(dir).transpose())
                .ok_or_else(|| OpError::refused("no cgroup has the devices controller"))?
                .during(|| "open(devices.allow)")?;
            rules.iter().try_for_each(|rule| files.write(rule))
        }
        Devices::Program(program) => {
            let (_, dir) = groups
                .find(|(version, _)| *version == CgroupVersion::V2)
                .ok_or_else(|| OpError::refused("there is no cgroup for a device program"))?;
            let program = bpf::load_device_program(program)
                .during(|| format!("bpf(BPF_PROG_LOAD, {} instructions)", program.len()))?;
            use std::os::fd::AsFd;
            bpf::attach_device_program(dir, program.as_fd()).during(|| "bpf(BPF_PROG_ATTACH)")
        }
    }
}

struct RuleFiles {
    allow: std::os::fd::OwnedFd,
    deny: std::os::fd::OwnedFd,
}

impl RuleFiles {
    /// The files of a cgroup, `None` if its hierarchy has another controller.
    fn open(dir: BorrowedFd<'_>) -> Result<Option<Self>, Errno> {
        let file = |name| openat(dir, name, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty());
        match file("devices.allow") {
            Err(Errno::ENOENT) => Ok(None),
            allow => Ok(Some(Self { allow: allow?, deny: file("devices.deny")? })),
        }
    }

    fn write(&self, rule: &DeviceRule) -> Result<()> {
        let (file, name) =
            if rule.allow { (&self.allow, "devices.allow") } else { (&self.deny, "devices.deny") };
        let line = line(rule);
        nix::unistd::write(file, line.as_bytes())
            .during(|| format!("write({name}, \"{line}\")"))?;
        Ok(())
    }
}

/// A rule as the version 1 controller reads it.
fn line(rule: &DeviceRule) -> String {
    let all = rule.read && rule.write && rule.mknod;
    if rule.class == DeviceClass::All && rule.major.is_none() && rule.minor.is_none() && all {
        return "a".to_owned();
    }
    let class = match rule.class {
        DeviceClass::All => 'a',
        DeviceClass::Block => 'b',
        DeviceClass::Character => 'c',
    };
    let number = |n: Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
    let access: String = [(rule.read, 'r'), (rule.write, 'w'), (rule.mknod, 'm')]
        .into_iter()
        .filter_map(|(set, letter)| set.then_some(letter))
        .collect();
    format!("{class} {}:{} {access}", number(rule.major), number(rule.minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NULL: DeviceRule = DeviceRule {
        allow: true,
        class: DeviceClass::Character,
        major: Some(1),
        minor: Some(3),
        read: true,
        write: true,
        mknod: false,
    };

    #[test]
    fn rules_are_written_as_the_controller_reads_them() {
        assert_eq!(line(&NULL), "c 1:3 rw");
        let pts = DeviceRule { major: Some(136), minor: None, mknod: true, ..NULL };
        assert_eq!(line(&pts), "c 136:* rwm");
        let all =
            DeviceRule { class: DeviceClass::All, major: None, minor: None, mknod: true, ..NULL };
        assert_eq!(line(&all), "a");
    }
}
