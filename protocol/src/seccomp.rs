// SPDX-License-Identifier: Apache-2.0
//! The filter of the container's system calls, seccomp(2).

use serde::{Deserialize, Deserializer, Serialize, de};

/// Most instructions of a filter (`BPF_MAXINSNS`).
pub const MAX_FILTER: usize = 4096;

/// `SECCOMP_FILTER_FLAG_*` that a container's filter may have: TSYNC, LOG, `SPEC_ALLOW`. A filter with a
/// listener cannot be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct FilterFlags(u32);

impl FilterFlags {
    const KNOWN: u32 = 0b111;

    /// The flags, or `None` when there is one that may not be asked for.
    #[must_use]
    pub const fn new(bits: u32) -> Option<Self> {
        if bits & !Self::KNOWN == 0 { Some(Self(bits)) } else { None }
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl<'de> Deserialize<'de> for FilterFlags {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let bits = u32::deserialize(d)?;
        Self::new(bits).ok_or_else(|| de::Error::custom(format_args!("seccomp flags {bits:#x}")))
    }
}

/// A filter: 1 to [`MAX_FILTER`] instructions of 8 bytes, `struct sock_filter` as the kernel has it, the
/// lowest byte first. The kernel checks every one of them before it takes the filter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawFilter", into = "RawFilter")]
pub struct Filter {
    flags: FilterFlags,
    instructions: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
struct RawFilter {
    flags: FilterFlags,
    instructions: Vec<u64>,
}

impl Filter {
    /// The filter, or `None` when it is empty or too long.
    #[must_use]
    pub fn new(flags: FilterFlags, instructions: Vec<u64>) -> Option<Self> {
        if instructions.is_empty() || instructions.len() > MAX_FILTER {
            return None;
        }
        Some(Self { flags, instructions })
    }

    /// How it is installed.
    #[must_use]
    pub fn flags(&self) -> FilterFlags {
        self.flags
    }

    /// The program.
    #[must_use]
    pub fn instructions(&self) -> &[u64] {
        &self.instructions
    }
}

impl TryFrom<RawFilter> for Filter {
    type Error = String;

    fn try_from(raw: RawFilter) -> Result<Self, String> {
        let length = raw.instructions.len();
        Self::new(raw.flags, raw.instructions)
            .ok_or_else(|| format!("filter of {length} instructions, not 1 to {MAX_FILTER}"))
    }
}

impl From<Filter> for RawFilter {
    fn from(filter: Filter) -> Self {
        Self { flags: filter.flags, instructions: filter.instructions }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_cannot_be_asked_for() {
        assert!(FilterFlags::new(0b111).is_some());
        // SECCOMP_FILTER_FLAG_NEW_LISTENER
        assert!(FilterFlags::new(1 << 3).is_none());
        assert!(crate::codec::decode::<FilterFlags>(&8_u32.to_le_bytes()).is_err());
    }

    #[test]
    fn the_longest_filter_fits_into_a_frame_and_no_longer_one_is_taken() {
        let flags = FilterFlags::default();
        let longest = Filter::new(flags, vec![6; MAX_FILTER]).unwrap();
        let mut bytes = Vec::new();
        crate::codec::encode(&longest, &mut bytes).unwrap();
        assert_eq!(crate::codec::decode::<Filter>(&bytes).unwrap(), longest);
        assert!(Filter::new(flags, vec![6; MAX_FILTER + 1]).is_none());
        assert!(Filter::new(flags, vec![]).is_none());
    }
}
