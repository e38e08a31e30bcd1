// SPDX-License-Identifier: Apache-2.0
//! The process that the container side becomes.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::identity::Id;
use crate::path::ContainerPath;

/// Most supplementary groups (`NGROUPS_MAX`); what fits into a frame is less.
pub const MAX_GROUPS: usize = 15_000;
/// Most bytes of all arguments, and of the whole environment.
pub const MAX_STRINGS: usize = 4 * 1024 * 1024;

/// A set of capabilities, bit n for capability n of capabilities(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CapabilitySet(pub u64);

impl CapabilitySet {
    /// Whether capability `n` is in it.
    #[must_use]
    pub fn contains(self, n: u32) -> bool {
        self.0.checked_shr(n).is_some_and(|bits| bits & 1 == 1)
    }
}

/// The five sets of a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Capabilities {
    /// The limit of what execve(2) can give.
    pub bounding: CapabilitySet,
    /// In force.
    pub effective: CapabilitySet,
    /// Kept over execve(2) by a file that has them.
    pub inheritable: CapabilitySet,
    /// The limit of the effective set.
    pub permitted: CapabilitySet,
    /// Kept over execve(2); within permitted and inheritable.
    pub ambient: CapabilitySet,
}

/// A resource of setrlimit(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "setrlimit(2) documents RLIMIT_* each")]
pub enum Resource {
    As,
    Core,
    Cpu,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    Nice,
    Nofile,
    Nproc,
    Rss,
    Rtprio,
    Rttime,
    Sigpending,
    Stack,
}

impl Resource {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::As,
        Self::Core,
        Self::Cpu,
        Self::Data,
        Self::Fsize,
        Self::Locks,
        Self::Memlock,
        Self::Msgqueue,
        Self::Nice,
        Self::Nofile,
        Self::Nproc,
        Self::Rss,
        Self::Rtprio,
        Self::Rttime,
        Self::Sigpending,
        Self::Stack,
    ];

    /// The name of the config and of setrlimit(2).
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::As => "RLIMIT_AS",
            Self::Core => "RLIMIT_CORE",
            Self::Cpu => "RLIMIT_CPU",
            Self::Data => "RLIMIT_DATA",
            Self::Fsize => "RLIMIT_FSIZE",
            Self::Locks => "RLIMIT_LOCKS",
            Self::Memlock => "RLIMIT_MEMLOCK",
            Self::Msgqueue => "RLIMIT_MSGQUEUE",
            Self::Nice => "RLIMIT_NICE",
            Self::Nofile => "RLIMIT_NOFILE",
            Self::Nproc => "RLIMIT_NPROC",
            Self::Rss => "RLIMIT_RSS",
            Self::Rtprio => "RLIMIT_RTPRIO",
            Self::Rttime => "RLIMIT_RTTIME",
            Self::Sigpending => "RLIMIT_SIGPENDING",
            Self::Stack => "RLIMIT_STACK",
        }
    }
}

/// A limit of setrlimit(2); 2⁶⁴-1 is `RLIM_INFINITY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// Of what.
    pub resource: Resource,
    /// In force.
    pub soft: u64,
    /// Up to which the process may raise it.
    pub hard: u64,
}

/// `oom_score_adj` of proc(5), -1000 to 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct OomScoreAdj(i32);

impl OomScoreAdj {
    /// The value, or `None` when out of range.
    #[must_use]
    pub fn new(value: i64) -> Option<Self> {
        if (-1000..=1000).contains(&value) { i32::try_from(value).ok().map(Self) } else { None }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> i32 {
        self.0
    }
}

impl<'de> Deserialize<'de> for OomScoreAdj {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let value = i32::deserialize(d)?;
        Self::new(value.into())
            .ok_or_else(|| de::Error::custom(format_args!("oom_score_adj {value}")))
    }
}

/// Which list a piece of strings belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StringList {
    /// `process.args`
    Arguments,
    /// `process.env`
    Environment,
}

/// A piece of a list of strings, each of which ends with a NUL byte; appended to the pieces before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strings {
    /// Which list.
    pub list: StringList,
    /// The piece.
    #[serde(serialize_with = "as_bytes_or_text")]
    pub piece: Vec<u8>,
}

/// As bytes on the wire; in a plan that people read, as text.
fn as_bytes_or_text<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
    if s.is_human_readable() {
        s.serialize_str(&String::from_utf8_lossy(bytes))
    } else {
        s.serialize_bytes(bytes)
    }
}

/// What the container side becomes, apart from its arguments and environment ([`Strings`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// User, in the container.
    pub uid: Id,
    /// Group, in the container.
    pub gid: Id,
    /// Supplementary groups, in the container; `None` leaves them, where the user namespace forbids
    /// setgroups(2).
    pub groups: Option<Vec<Id>>,
    /// File mode creation mask, at most 0777.
    pub umask: u16,
    /// Working directory; created when missing.
    pub cwd: ContainerPath,
    /// Capabilities; `None` leaves what the user id has.
    pub capabilities: Option<Capabilities>,
    /// Limits, set while privilege to raise them is there.
    pub rlimits: Vec<Rlimit>,
    /// `PR_SET_NO_NEW_PRIVS`
    pub no_new_privileges: bool,
    /// How soon the kernel kills it when memory runs out.
    pub oom_score_adj: Option<OomScoreAdj>,
    /// Whether stdin, stdout and stderr are the terminal made before, which also becomes the
    /// controlling one.
    pub terminal: bool,
    /// Whether it is killed when the master dies.
    pub dies_with_master: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oom_score_adj_has_its_range() {
        assert!(OomScoreAdj::new(1000).is_some() && OomScoreAdj::new(-1000).is_some());
        assert!(OomScoreAdj::new(1001).is_none() && OomScoreAdj::new(i64::MIN).is_none());
        assert!(crate::codec::decode::<OomScoreAdj>(&1001_i32.to_le_bytes()).is_err());
    }

    #[test]
    fn piece_survives_the_wire_and_can_be_read() {
        let strings = Strings { list: StringList::Arguments, piece: b"a\0\xff\0".to_vec() };
        let mut bytes = Vec::new();
        crate::codec::encode(&strings, &mut bytes).unwrap();
        assert_eq!(crate::codec::decode::<Strings>(&bytes).unwrap(), strings);
    }

    #[test]
    fn capability_above_63_is_in_no_set() {
        assert!(CapabilitySet(u64::MAX).contains(63));
        assert!(!CapabilitySet(u64::MAX).contains(64));
    }
}
