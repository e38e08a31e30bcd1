// SPDX-License-Identifier: Apache-2.0
//! Mounts as a closed set of kinds, never mount(2)'s five raw arguments.

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::path::{ContainerPath, HostPath, MountWord, OptionName};

/// Most options of one file system.
pub const MAX_OPTIONS: usize = 64;

/// A file system that may be mounted new. The kernel's other file systems cannot be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FsType {
    /// proc(5)
    Proc,
    /// sysfs(5)
    Sysfs,
    /// tmpfs(5)
    Tmpfs,
    /// devpts, always a new instance
    Devpts,
    /// mqueue, see `mq_overview(7)`
    Mqueue,
    /// cgroups(7), version 2
    Cgroup2,
}

impl FsType {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Proc, Self::Sysfs, Self::Tmpfs, Self::Devpts, Self::Mqueue, Self::Cgroup2];

    /// The kernel's name, as in /proc/filesystems.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Proc => "proc",
            Self::Sysfs => "sysfs",
            Self::Tmpfs => "tmpfs",
            Self::Devpts => "devpts",
            Self::Mqueue => "mqueue",
            Self::Cgroup2 => "cgroup2",
        }
    }
}

/// Attributes of a mount, the `MOUNT_ATTR_*` bits of `mount_setattr(2)` that are plain switches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct MountAttr(u64);

impl MountAttr {
    /// `MOUNT_ATTR_RDONLY`
    pub const RDONLY: Self = Self(0x1);
    /// `MOUNT_ATTR_NOSUID`
    pub const NOSUID: Self = Self(0x2);
    /// `MOUNT_ATTR_NODEV`
    pub const NODEV: Self = Self(0x4);
    /// `MOUNT_ATTR_NOEXEC`
    pub const NOEXEC: Self = Self(0x8);
    /// `MOUNT_ATTR_NODIRATIME`
    pub const NODIRATIME: Self = Self(0x80);
    /// `MOUNT_ATTR_NOSYMFOLLOW`, Linux 5.14
    pub const NOSYMFOLLOW: Self = Self(0x20_0000);
    const KNOWN: u64 = 0x20_008f;

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Both together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This without `other`.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether no bit is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl<'de> Deserialize<'de> for MountAttr {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let bits = u64::deserialize(d)?;
        if bits & !Self::KNOWN != 0 {
            return Err(de::Error::custom(format_args!("mount attributes {bits:#x}")));
        }
        Ok(Self(bits))
    }
}

/// When reading a file updates its access time; one field of `mount_setattr(2)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Atime {
    /// `MOUNT_ATTR_RELATIME`, the kernel's default
    Relatime,
    /// `MOUNT_ATTR_NOATIME`
    Noatime,
    /// `MOUNT_ATTR_STRICTATIME`
    Strictatime,
}

/// A change to a mount's attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AttrChange {
    /// Switched on.
    pub set: MountAttr,
    /// Switched off.
    pub clear: MountAttr,
    /// The access-time rule, if it changes.
    pub atime: Option<Atime>,
}

impl AttrChange {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.clear.is_empty() && self.atime.is_none()
    }
}

/// How mount events pass between copies of a mount, `mount_namespaces(7)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PropagationKind {
    /// `MS_PRIVATE`
    Private,
    /// `MS_SLAVE`
    Slave,
    /// `MS_SHARED`
    Shared,
    /// `MS_UNBINDABLE`
    Unbindable,
}

/// A propagation type and how far it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Propagation {
    /// The type.
    pub kind: PropagationKind,
    /// Also on all mounts below (`MS_REC`).
    pub recursive: bool,
}

/// One option of a new file system, given to fsconfig(2) by itself so that it cannot smuggle in
/// another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FsOption {
    /// Its name.
    pub name: OptionName,
    /// Its value; a switch has none.
    pub value: Option<MountWord>,
}

/// The options of a new file system, at most [`MAX_OPTIONS`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<FsOption>", into = "Vec<FsOption>")]
pub struct FsOptions(Vec<FsOption>);

impl FsOptions {
    /// The options in order.
    pub fn iter(&self) -> std::slice::Iter<'_, FsOption> {
        self.0.iter()
    }
}

impl TryFrom<Vec<FsOption>> for FsOptions {
    type Error = String;

    fn try_from(options: Vec<FsOption>) -> Result<Self, String> {
        if options.len() > MAX_OPTIONS {
            return Err(format!("{} mount options, more than {MAX_OPTIONS}", options.len()));
        }
        Ok(Self(options))
    }
}

impl From<FsOptions> for Vec<FsOption> {
    fn from(options: FsOptions) -> Self {
        options.0
    }
}

/// A new file system on a directory, which is created if missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewMount {
    /// Where.
    pub target: ContainerPath,
    /// What.
    pub fs: FsType,
    /// What /proc/self/mountinfo shows as its source.
    pub source: Option<MountWord>,
    /// The file system's own options.
    pub options: FsOptions,
    /// The mount's attributes.
    pub attrs: AttrChange,
    /// Its propagation type, if not the kernel's default.
    pub propagation: Option<Propagation>,
}

/// A part of the host's file system, opened with the caller's credentials, seen at a second place.
/// A missing target is created: a directory for a directory, else an empty file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindMount {
    /// Where.
    pub target: ContainerPath,
    /// What.
    pub source: HostPath,
    /// Whether the mounts below the source come along.
    pub recursive: bool,
    /// Changes to the top mount's attributes.
    pub attrs: AttrChange,
    /// Changes to the attributes of all mounts of the tree.
    pub recursive_attrs: AttrChange,
    /// Its propagation type, if not the source's.
    pub propagation: Option<Propagation>,
}

/// A change to a mount that exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remount {
    /// Which.
    pub target: ContainerPath,
    /// Changes to its attributes.
    pub attrs: AttrChange,
    /// Changes to the attributes of it and all mounts below it.
    pub recursive_attrs: AttrChange,
    /// Its new propagation type.
    pub propagation: Option<Propagation>,
}

/// A request that makes or changes a mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mount {
    /// A new file system.
    New(NewMount),
    /// A bind mount.
    Bind(BindMount),
    /// A change to an existing mount.
    Remount(Remount),
}

impl Mount {
    /// Where it is.
    #[must_use]
    pub fn target(&self) -> &ContainerPath {
        match self {
            Self::New(m) => &m.target,
            Self::Bind(m) => &m.target,
            Self::Remount(m) => &m.target,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_attribute_bits_are_refused() {
        // MOUNT_ATTR__ATIME and MOUNT_ATTR_IDMAP are not plain switches.
        for bits in [0x10_u64, 0x70, 0x10_0000, 1 << 63] {
            assert!(crate::codec::decode::<MountAttr>(&bits.to_le_bytes()).is_err(), "{bits:#x}");
        }
        let all = crate::codec::decode::<MountAttr>(&MountAttr::KNOWN.to_le_bytes()).unwrap();
        assert_eq!(all.bits(), 0x20_008f);
    }

    #[test]
    fn options_are_counted() {
        let one = FsOption { name: OptionName::new("a").unwrap(), value: None };
        assert!(FsOptions::try_from(vec![one.clone(); MAX_OPTIONS]).is_ok());
        assert!(FsOptions::try_from(vec![one; MAX_OPTIONS + 1]).is_err());
    }
}
