// SPDX-License-Identifier: Apache-2.0
//! The default config. These types are only written, in the order in which people are used to see the
//! fields; reading is oci-spec's.

use std::borrow::Cow;

use serde::Serialize;

const CAPABILITIES: &[&str] = &["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
    "/proc/scsi",
];
const READONLY: &[&str] =
    &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Config {
    oci_version: &'static str,
    process: Process,
    pub(super) root: Root,
    hostname: &'static str,
    pub(super) mounts: Vec<Mount>,
    pub(super) linux: Linux,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    terminal: bool,
    user: User,
    args: &'static [&'static str],
    env: &'static [&'static str],
    cwd: &'static str,
    capabilities: Capabilities,
    rlimits: [Rlimit; 1],
    no_new_privileges: bool,
}

#[derive(Debug, Serialize)]
struct User {
    uid: u32,
    gid: u32,
}

#[derive(Debug, Serialize)]
struct Capabilities {
    bounding: &'static [&'static str],
    effective: &'static [&'static str],
    permitted: &'static [&'static str],
}

#[derive(Debug, Serialize)]
struct Rlimit {
    r#type: &'static str,
    hard: u64,
    soft: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct Root {
    pub(super) path: &'static str,
    readonly: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Mount {
    pub(super) destination: Cow<'static, str>,
    pub(super) r#type: &'static str,
    pub(super) source: Cow<'static, str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) options: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Linux {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) uid_mappings: Vec<IdMapping>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) gid_mappings: Vec<IdMapping>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resources: Option<Resources>,
    pub(super) namespaces: Vec<Namespace>,
    masked_paths: &'static [&'static str],
    readonly_paths: &'static [&'static str],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct IdMapping {
    #[serde(rename = "containerID")]
    pub(super) container: u32,
    #[serde(rename = "hostID")]
    pub(super) host: u32,
    pub(super) size: u32,
}

#[derive(Debug, Serialize)]
pub(super) struct Resources {
    devices: [DeviceRule; 1],
}

#[derive(Debug, Serialize)]
struct DeviceRule {
    allow: bool,
    access: &'static str,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Namespace {
    pub(super) r#type: &'static str,
}

impl Mount {
    pub(super) fn new(
        destination: impl Into<Cow<'static, str>>,
        r#type: &'static str,
        source: impl Into<Cow<'static, str>>,
        options: &[&'static str],
    ) -> Self {
        let (destination, source) = (destination.into(), source.into());
        Self { destination, r#type, source, options: options.to_vec() }
    }
}

impl Config {
    pub(super) fn new() -> Self {
        let capabilities = Capabilities {
            bounding: CAPABILITIES,
            effective: CAPABILITIES,
            permitted: CAPABILITIES,
        };
        let process = Process {
            terminal: true,
            user: User { uid: 0, gid: 0 },
            args: &["sh"],
            env: &[
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TERM=xterm",
            ],
            cwd: "/",
            capabilities,
            rlimits: [Rlimit { r#type: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }],
            no_new_privileges: true,
        };
        let namespaces = ["pid", "network", "ipc", "uts", "mount", "cgroup"];
        Self {
            oci_version: "1.2.0",
            process,
            root: Root { path: "rootfs", readonly: true },
            hostname: "outrigger",
            mounts: mounts(),
            linux: Linux {
                uid_mappings: Vec::new(),
                gid_mappings: Vec::new(),
                resources: Some(Resources {
                    devices: [DeviceRule { allow: false, access: "rwm" }],
                }),
                namespaces: namespaces.map(|r#type| Namespace { r#type }).into(),
                masked_paths: MASKED,
                readonly_paths: READONLY,
            },
        }
    }
}

fn mounts() -> Vec<Mount> {
    let dev = ["nosuid", "strictatime", "mode=755", "size=65536k"];
    let pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    let shm = ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"];
    let cgroup = ["nosuid", "noexec", "nodev", "relatime", "ro"];
    vec![
        Mount::new("/proc", "proc", "proc", &[]),
        Mount::new("/dev", "tmpfs", "tmpfs", &dev),
        Mount::new("/dev/pts", "devpts", "devpts", &pts),
        Mount::new("/dev/shm", "tmpfs", "shm", &shm),
        Mount::new("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        Mount::new("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
        Mount::new("/sys/fs/cgroup", "cgroup", "cgroup", &cgroup),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::runtime::Spec;

    #[test]
    fn default_is_read_back_without_loss() {
        let written = serde_json::to_value(Config::new()).unwrap();
        let spec: Spec = serde_json::from_value(written.clone()).unwrap();
        let mut read = serde_json::to_value(spec).unwrap();
        // A set has no order.
        for set in read["process"]["capabilities"].as_object_mut().unwrap().values_mut() {
            set.as_array_mut().unwrap().sort_by_key(|name| name.as_str().unwrap().to_owned());
        }
        assert_eq!(read, written);
    }

    #[test]
    fn no_capability_is_inheritable_or_ambient() {
        let written = serde_json::to_value(Config::new()).unwrap();
        let sets = written["process"]["capabilities"].as_object().unwrap();
        let names: Vec<_> = sets.keys().map(String::as_str).collect();
        assert_eq!(names, ["bounding", "effective", "permitted"]);
    }
}
