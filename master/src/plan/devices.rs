// SPDX-License-Identifier: Apache-2.0
//! What is in /dev: the default devices and links, and `linux.devices`.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;

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

/// Plans all of them. A device of the config replaces the default one of its path. Where /dev is a
/// directory of the host nothing is made in it: it has the host's.
pub(super) fn plan(
    inputs: &Inputs<'_>,
    dev_is_bound: bool,
    out: &mut Vec<ContainerRequest>,
    problems: &mut Problems,
) {
    let listed = inputs.linux().and_then(|l| l.devices().as_deref()).unwrap_or_default();
    let mut paths = HashSet::with_capacity(listed.len());
    for (i, device) in listed.iter().enumerate() {
        let Some(device) = from_config(i, device, problems) else { continue };
        if !paths.insert(device.path.clone()) {
            let text = format!("{} is given twice; remove one", device.path);
            problems.add(format_args!("linux.devices[{i}].path"), text);
        }
        if !(dev_is_bound && device.path.as_bytes().starts_with(b"/dev/")) {
            out.push(ContainerRequest::Mknod(device));
        }
    }
    if dev_is_bound {
        return;
    }
    let is_listed = |path: &str| paths.iter().any(|p| p.as_bytes() == path.as_bytes());
    for (path, major, minor) in DEVICES.into_iter().filter(|(path, ..)| !is_listed(path)) {
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
    if path == ContainerPath::root() {
        problems.add(format_args!("linux.devices[{i}].path"), "is the container's root");
        return None;
    }
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
    let mode = FileMode::new(mode).filter(|m| m.bits() <= 0o777);
    let mode = mode.ok_or("has bits that mean nothing for a device; take at most 0777");
    let mode = problems.check(format_args!("linux.devices[{i}].fileMode"), mode);
    let owner = |id: Option<u32>| Id::new(id.unwrap_or(0)).ok_or("is not an id");
    let uid = problems.check(format_args!("linux.devices[{i}].uid"), owner(device.uid()));
    let gid = problems.check(format_args!("linux.devices[{i}].gid"), owner(device.gid()));
    // Named pipes can be made everywhere.
    let stand_in = (kind != NodeKind::Fifo)
        .then(|| HostPath::new(device.path().as_os_str().as_bytes()).ok())
        .flatten();
    let device = DeviceNumber { major: major?, minor: minor? };
    Some(Mknod { path, kind, device, mode: mode?, uid: uid?, gid: gid?, stand_in })
}

fn bounded(number: i64, bits: u32) -> Result<u32, String> {
    u32::try_from(number)
        .ok()
        .filter(|n| n >> bits == 0)
        .ok_or_else(|| format!("{number} is not a number of {bits} bits"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn device(json: Value) -> Result<Mknod, String> {
        let device: LinuxDevice = serde_json::from_value(json).unwrap();
        let mut problems = Problems::default();
        from_config(0, &device, &mut problems).ok_or_else(|| problems.to_string())
    }

    #[test]
    fn device_of_the_config_is_made_as_it_says() {
        let given = json!({"path": "/dev/x/../sda", "type": "b", "major": 8, "minor": 1_048_575,
            "fileMode": 0o60_640, "uid": 1, "gid": 6});
        let expected = Mknod {
            path: ContainerPath::new("/dev/sda").unwrap(),
            kind: NodeKind::Block,
            device: DeviceNumber { major: 8, minor: 1_048_575 },
            mode: FileMode::new(0o640).unwrap(),
            uid: Id::new(1).unwrap(),
            gid: Id::new(6).unwrap(),
            stand_in: Some(HostPath::new("/dev/x/../sda").unwrap()),
        };
        assert_eq!(device(given), Ok(expected));
        let plain = device(json!({"path": "/x", "type": "u", "major": 1, "minor": 3})).unwrap();
        assert_eq!((plain.kind, plain.mode.bits()), (NodeKind::Character, 0o666));
        assert_eq!((plain.uid, plain.gid), (Id::ROOT, Id::ROOT));
    }

    #[test]
    fn named_pipe_has_no_number_and_no_stand_in() {
        let pipe = json!({"path": "/run/p", "type": "p", "major": -1, "minor": 7});
        let pipe = device(pipe).unwrap();
        assert_eq!(pipe.kind, NodeKind::Fifo);
        assert_eq!(pipe.device, DeviceNumber { major: 0, minor: 0 });
        assert_eq!(pipe.stand_in, None);
    }

    #[test]
    fn odd_device_is_told_by_its_field() {
        for (given, field) in [
            (json!({"path": "", "type": "c"}), "path"),
            (json!({"path": "/dev/..", "type": "c"}), "path"),
            (json!({"path": "dev/x", "type": "c"}), "path"),
            (json!({"path": "/x", "type": "a"}), "type"),
            (json!({"path": "/x", "type": "c", "major": 4096}), "major"),
            (json!({"path": "/x", "type": "c", "minor": 1_048_576}), "minor"),
            (json!({"path": "/x", "type": "b", "minor": -1}), "minor"),
            (json!({"path": "/x", "type": "c", "fileMode": 0o4666}), "fileMode"),
            (json!({"path": "/x", "type": "c", "fileMode": 0o1_000_000}), "fileMode"),
            (json!({"path": "/x", "type": "c", "uid": u32::MAX}), "uid"),
            (json!({"path": "/x", "type": "c", "gid": u32::MAX}), "gid"),
        ] {
            let text = device(given).unwrap_err();
            assert!(text.starts_with(&format!("linux.devices[0].{field}: ")), "{text}");
        }
    }
}
