// SPDX-License-Identifier: Apache-2.0
//! What is in /dev: the default devices and links, and `linux.devices`.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};
use outrigger_protocol::ContainerRequest;
use outrigger_protocol::identity::Id;
use outrigger_protocol::node::{DeviceNumber, FileMode, Mknod, NodeKind, Symlink};
use outrigger_protocol::path::{ContainerPath, HostPath, Invalid, LinkTarget};

use super::problems::Problems;
use super::{Inputs, paths};

/// Devices that every container has, runtime-spec "Default Devices": path, major, minor.
const DEVICES: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Links that every container has, runtime-spec "/dev symbolic links".
const LINKS: [(&str, &str); 6] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
    ("/dev/core", "/proc/kcore"),
];

/// Permissions of a device that the config gives none.
const MODE: u32 = 0o666;

/// Plans all of them. A device of the config replaces the default one of its path.
pub(super) fn plan(inputs: &Inputs<'_>, out: &mut Vec<ContainerRequest>, problems: &mut Problems) {
    let listed = inputs.linux().and_then(|l| l.devices().as_deref()).unwrap_or_default();
    let start = out.len();
    for (i, device) in listed.iter().enumerate() {
        out.extend(from_config(i, device, problems).map(ContainerRequest::Mknod));
    }
    let is_listed = |path: &str| {
        out[start..].iter().any(
            |r| matches!(r, ContainerRequest::Mknod(m) if m.path.as_bytes() == path.as_bytes()),
        )
    };
    let missing: Vec<_> = DEVICES.into_iter().filter(|(path, ..)| !is_listed(path)).collect();
    for (path, major, minor) in missing {
        let device = default_device(path, DeviceNumber { major, minor });
        out.extend(problems.check(format_args!("{path}"), device));
    }
    for (path, target) in LINKS {
        out.extend(problems.check(format_args!("{path}"), link(path, target)));
    }
}

fn default_device(path: &str, device: DeviceNumber) -> Result<ContainerRequest, String> {
    let invalid = |e: Invalid| e.to_string();
    Ok(ContainerRequest::Mknod(Mknod {
        path: ContainerPath::new(path).map_err(invalid)?,
        kind: NodeKind::Character,
        device,
        mode: FileMode::new(MODE).ok_or("has odd permissions")?,
        uid: Id::ROOT,
        gid: Id::ROOT,
        stand_in: Some(HostPath::new(path).map_err(invalid)?),
    }))
}

fn link(path: &str, target: &str) -> Result<ContainerRequest, Invalid> {
    let (path, target) = (ContainerPath::new(path)?, LinkTarget::new(target)?);
    Ok(ContainerRequest::Symlink(Symlink { path, target }))
}

fn from_config(i: usize, device: &LinuxDevice, problems: &mut Problems) -> Option<Mknod> {
    let path = paths::absolute(device.path());
    let path = problems.check(format_args!("linux.devices[{i}].path"), path)?;
    let kind = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => NodeKind::Character,
        LinuxDeviceType::B => NodeKind::Block,
        LinuxDeviceType::P => NodeKind::Fifo,
        LinuxDeviceType::A => {
            problems.add(
                format_args!("linux.devices[{i}].type"),
                "is no type of a device; take c, b, u or p",
            );
            return None;
        }
    };
    let number = if kind == NodeKind::Fifo { (0, 0) } else { (device.major(), device.minor()) };
    let major = bounded(number.0, 12);
    let major = problems.check(format_args!("linux.devices[{i}].major"), major);
    let minor = bounded(number.1, 20);
    let minor = problems.check(format_args!("linux.devices[{i}].minor"), minor);
    // Some engines pass the whole st_mode.
    let mode = device.file_mode().map_or(MODE, |mode| mode & !0o170_000);
    let mode = FileMode::new(mode).ok_or("has bits that are no permissions");
    let mode = problems.check(format_args!("linux.devices[{i}].fileMode"), mode);
    let owner = |id: Option<u32>| Id::new(id.unwrap_or(0)).ok_or("is not an id");
    let uid = problems.check(format_args!("linux.devices[{i}].uid"), owner(device.uid()));
    let gid = problems.check(format_args!("linux.devices[{i}].gid"), owner(device.gid()));
    let stand_in = HostPath::new(Path::new(device.path()).as_os_str().as_bytes()).ok();
    let device = DeviceNumber { major: major?, minor: minor? };
    Some(Mknod { path, kind, device, mode: mode?, uid: uid?, gid: gid?, stand_in })
}

fn bounded(number: i64, bits: u32) -> Result<u32, String> {
    u32::try_from(number)
        .ok()
        .filter(|n| n >> bits == 0)
        .ok_or_else(|| format!("{number} is not a number of {bits} bits"))
}
