// SPDX-License-Identifier: Apache-2.0
//! Bundles: a root and a config.json that starts as the default one and is changed by closures.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::expect::has_capability;
use crate::rootfs::{self, Rootfs};
use crate::user::TempUser;

/// What `runc spec` writes, but for the name of the host.
const DEFAULT: &str = include_str!("config.json");

/// A bundle, removed when dropped.
#[derive(Debug)]
pub struct Bundle {
    directory: TempDir,
    rootfs: PathBuf,
    config: Value,
    /// Keeps the shared root from being removed.
    _shared: Option<Arc<Rootfs>>,
}

impl Bundle {
    /// The default config without a terminal, over the shared root.
    #[must_use]
    pub fn new() -> Self {
        let directory = directory();
        let shared = Rootfs::shared();
        let rootfs = shared.path().to_owned();
        let bundle = Self { directory, rootfs, config: default_config(), _shared: Some(shared) };
        bundle.with(|config| config["root"]["path"] = json!(Rootfs::shared().path()))
    }

    /// The same over a root of its own, which the test may change.
    #[must_use]
    pub fn with_own_rootfs() -> Self {
        let directory = directory();
        let rootfs = directory.path().join("rootfs");
        fs::create_dir(&rootfs).unwrap();
        rootfs::furnish(&rootfs);
        let bundle = Self { directory, rootfs, config: default_config(), _shared: None };
        bundle.with(|config| config["root"]["path"] = json!("rootfs"))
    }

    /// One whose process is a shell with this script.
    #[must_use]
    pub fn shell(script: &str) -> Self {
        Self::new().args(&["sh", "-c", script])
    }

    /// The same over a root of its own.
    #[must_use]
    pub fn shell_in_own_rootfs(script: &str) -> Self {
        Self::with_own_rootfs().args(&["sh", "-c", script])
    }

    /// With another process.
    #[must_use]
    pub fn args(self, args: &[&str]) -> Self {
        self.with(|config| config["process"]["args"] = json!(args))
    }

    /// With a changed config.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Value)) -> Self {
        change(&mut self.config);
        self.save();
        self
    }

    /// With one more mount, after the others.
    #[must_use]
    pub fn mount(
        self,
        destination: &str,
        kind: &str,
        source: impl AsRef<Path>,
        options: &[&str],
    ) -> Self {
        let mount = json!({
            "destination": destination,
            "type": kind,
            "source": source.as_ref(),
            "options": options,
        });
        self.with(|config| config["mounts"].as_array_mut().unwrap().push(mount))
    }

    /// Without the mount on this destination.
    #[must_use]
    pub fn without_mount(self, destination: &str) -> Self {
        self.with(|config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.retain(|m| m["destination"] != destination);
        })
    }

    /// With a root that its process may write.
    #[must_use]
    pub fn writable(self) -> Self {
        self.with(|config| config["root"]["readonly"] = json!(false))
    }

    /// With all capabilities that whoever runs the test has.
    #[must_use]
    pub fn privileged(self) -> Self {
        let all: Vec<&str> = CAPABILITIES.into_iter().filter(|n| has_capability(n)).collect();
        self.with(|config| {
            for set in ["bounding", "effective", "permitted"] {
                config["process"]["capabilities"][set] = json!(all);
            }
            config["process"]["capabilities"]["ambient"] = json!([]);
        })
    }

    /// For an ordinary user who is alone in the container's user namespace: as `runc spec --rootless`
    /// has it.
    #[must_use]
    pub fn rootless(self, user: &TempUser) -> Self {
        self.with(|config| make_rootless(config, user))
    }

    /// Its directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Its root.
    #[must_use]
    pub fn rootfs(&self) -> &Path {
        &self.rootfs
    }

    /// Its config.json.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.path().join("config.json")
    }

    /// What is in it.
    #[must_use]
    pub fn config(&self) -> &Value {
        &self.config
    }

    fn save(&self) {
        fs::write(self.config_file(), serde_json::to_vec_pretty(&self.config).unwrap()).unwrap();
    }
}

impl Default for Bundle {
    fn default() -> Self {
        Self::new()
    }
}

fn directory() -> TempDir {
    let directory = tempfile::Builder::new().prefix("outrigger-test-bundle").tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

fn default_config() -> Value {
    let mut config: Value = serde_json::from_str(DEFAULT).unwrap();
    config["process"]["terminal"] = json!(false);
    config
}

fn make_rootless(config: &mut Value, user: &TempUser) {
    let linux = &mut config["linux"];
    linux.as_object_mut().unwrap().remove("resources");
    let namespaces = linux["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|n| n["type"] != "network");
    namespaces.push(json!({"type": "user"}));
    linux["uidMappings"] = json!([{"containerID": 0, "hostID": user.uid(), "size": 1}]);
    linux["gidMappings"] = json!([{"containerID": 0, "hostID": user.gid(), "size": 1}]);
    let mounts = config["mounts"].as_array_mut().unwrap();
    // Without a network namespace of its own it may not mount sysfs.
    mounts.retain(|m| !m["destination"].as_str().unwrap().starts_with("/sys"));
    mounts.push(json!({
        "destination": "/sys",
        "type": "none",
        "source": "/sys",
        "options": ["rbind", "nosuid", "noexec", "nodev", "ro"],
    }));
    for mount in mounts {
        if let Some(options) = mount["options"].as_array_mut() {
            // There is no group 5 in it.
            options.retain(|o| !o.as_str().unwrap().starts_with("gid="));
        }
    }
}

/// The names of the capabilities, by number.
pub const CAPABILITIES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];
