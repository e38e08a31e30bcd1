// SPDX-License-Identifier: Apache-2.0
//! Files and directories made in the container's root.

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::identity::Id;
use crate::path::{ContainerPath, HostPath, LinkTarget};

/// Permission bits, at most 07777.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FileMode(u32);

impl FileMode {
    /// The mode, or `None` when bits above 07777 are set.
    #[must_use]
    pub const fn new(bits: u32) -> Option<Self> {
        if bits & !0o7777 == 0 { Some(Self(bits)) } else { None }
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl<'de> Deserialize<'de> for FileMode {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let bits = u32::deserialize(d)?;
        Self::new(bits).ok_or_else(|| de::Error::custom(format_args!("file mode {bits:#o}")))
    }
}

/// A directory; parents are created with mode 0755, one that exists is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mkdir {
    /// Where.
    pub path: ContainerPath,
    /// Its permissions, whatever the umask.
    pub mode: FileMode,
}

/// An empty regular file; one that exists is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touch {
    /// Where.
    pub path: ContainerPath,
    /// Its permissions, whatever the umask.
    pub mode: FileMode,
}

/// A symbolic link; whatever exists there is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Symlink {
    /// Where.
    pub path: ContainerPath,
    /// What it points at.
    pub target: LinkTarget,
}

/// The type of a node that mknod(2) makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeKind {
    /// A character device.
    Character,
    /// A block device.
    Block,
    /// A named pipe; major and minor are 0.
    Fifo,
}

/// A device number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceNumber {
    /// At most 12 bits.
    pub major: u32,
    /// At most 20 bits.
    pub minor: u32,
}

/// A device or named pipe. A node of the same type and number that exists is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mknod {
    /// Where.
    pub path: ContainerPath,
    /// Its type.
    pub kind: NodeKind,
    /// Its number.
    pub device: DeviceNumber,
    /// Its permissions, whatever the umask.
    pub mode: FileMode,
    /// Its owner, in the container.
    pub uid: Id,
    /// Its group, in the container.
    pub gid: Id,
    /// The host's node to bind where the user namespace forbids mknod(2); it must have the same type
    /// and number.
    pub stand_in: Option<HostPath>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_mode_has_twelve_bits() {
        assert!(crate::codec::decode::<FileMode>(&0o7777_u32.to_le_bytes()).is_ok());
        assert!(crate::codec::decode::<FileMode>(&0o10000_u32.to_le_bytes()).is_err());
    }
}
