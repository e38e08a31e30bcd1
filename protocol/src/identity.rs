// SPDX-License-Identifier: Apache-2.0
//! User and group ids and how a user namespace maps them.

use serde::{Deserialize, Deserializer, Serialize, de};

/// Most lines of a map, as the kernel has it (`UID_GID_MAP_MAX_EXTENTS`).
pub const MAX_MAP: usize = 340;

/// A user or group id. 2³²-1 is none: system calls take it as "leave unchanged".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Id(u32);

impl Id {
    /// The superuser or its group.
    pub const ROOT: Self = Self(0);

    /// The id, or `None` for 2³²-1.
    #[must_use]
    pub const fn new(id: u32) -> Option<Self> {
        if id == u32::MAX { None } else { Some(Self(id)) }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let id = u32::deserialize(d)?;
        Self::new(id).ok_or_else(|| de::Error::custom("id 4294967295"))
    }
}

/// One line of a map: `size` ids from `container` on stand for those from `host` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(u32, u32, u32)", into = "(u32, u32, u32)")]
pub struct IdRange {
    container: u32,
    host: u32,
    size: u32,
}

impl IdRange {
    /// The range, or `None` when it is empty or goes beyond 2³²-2 on either side.
    #[must_use]
    pub fn new(container: u32, host: u32, size: u32) -> Option<Self> {
        if size == 0 || container.checked_add(size).is_none() || host.checked_add(size).is_none() {
            return None;
        }
        Some(Self { container, host, size })
    }

    /// First id in the container.
    #[must_use]
    pub fn container(&self) -> u32 {
        self.container
    }

    /// First id on the host.
    #[must_use]
    pub fn host(&self) -> u32 {
        self.host
    }

    /// Number of ids.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size
    }

    /// Whether the container's `id` is in it.
    #[must_use]
    pub fn contains(&self, id: Id) -> bool {
        id.get().checked_sub(self.container).is_some_and(|offset| offset < self.size)
    }
}

impl TryFrom<(u32, u32, u32)> for IdRange {
    type Error = String;

    fn try_from((container, host, size): (u32, u32, u32)) -> Result<Self, String> {
        Self::new(container, host, size)
            .ok_or_else(|| format!("id range {container} {host} {size} is empty or too large"))
    }
}

impl From<IdRange> for (u32, u32, u32) {
    fn from(r: IdRange) -> Self {
        (r.container, r.host, r.size)
    }
}

/// A user namespace's map: 1 to [`MAX_MAP`] ranges. The kernel refuses overlaps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<IdRange>", into = "Vec<IdRange>")]
pub struct IdMap(Vec<IdRange>);

impl IdMap {
    /// The ranges in order.
    #[must_use]
    pub fn ranges(&self) -> &[IdRange] {
        &self.0
    }

    /// Whether the container's `id` is mapped.
    #[must_use]
    pub fn contains(&self, id: Id) -> bool {
        self.0.iter().any(|r| r.contains(id))
    }
}

impl TryFrom<Vec<IdRange>> for IdMap {
    type Error = String;

    fn try_from(ranges: Vec<IdRange>) -> Result<Self, String> {
        if ranges.is_empty() || ranges.len() > MAX_MAP {
            return Err(format!("{} lines in an id map, not 1 to {MAX_MAP}", ranges.len()));
        }
        Ok(Self(ranges))
    }
}

impl From<IdMap> for Vec<IdRange> {
    fn from(map: IdMap) -> Self {
        map.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unchanged_id_is_none() {
        assert!(Id::new(u32::MAX).is_none());
        assert!(crate::codec::decode::<Id>(&u32::MAX.to_le_bytes()).is_err());
        assert_eq!(Id::new(u32::MAX - 1).unwrap().get(), u32::MAX - 1);
    }

    #[test]
    fn range_stays_within_the_ids() {
        assert!(IdRange::new(0, 1000, 1).is_some());
        assert!(IdRange::new(0, 0, u32::MAX).is_some());
        for (c, h, n) in [(0, 0, 0), (1, 0, u32::MAX), (0, 1, u32::MAX), (u32::MAX, 0, 1)] {
            assert!(IdRange::new(c, h, n).is_none(), "{c} {h} {n}");
        }
    }

    #[test]
    fn range_contains_its_ids_only() {
        let r = IdRange::new(10, 1000, 5).unwrap();
        let has = |id| r.contains(Id::new(id).unwrap());
        assert!(has(10) && has(14) && !has(9) && !has(15));
    }

    #[test]
    fn map_has_a_line_and_not_too_many() {
        let r = IdRange::new(0, 0, 1).unwrap();
        assert!(IdMap::try_from(vec![]).is_err());
        assert!(IdMap::try_from(vec![r; MAX_MAP]).is_ok());
        assert!(IdMap::try_from(vec![r; MAX_MAP + 1]).is_err());
    }
}
