// SPDX-License-Identifier: Apache-2.0
//! The fixed header in front of every message, and the limits.

use crate::ProtocolError;

/// Bytes of a header.
pub const HEADER: usize = 12;
/// Most bytes of a body. What can be larger travels in pieces.
pub const MAX_BODY: usize = 64 * 1024;
/// Most descriptors attached to one frame.
pub const MAX_FDS: usize = 8;

/// What a frame's body is. Each end takes exactly one kind, so that a side of the helper cannot
/// even decode the other side's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// A [`crate::HostRequest`].
    Host = 1,
    /// A [`crate::ContainerRequest`].
    Container = 2,
    /// A [`crate::Reply`].
    Reply = 3,
}

/// A decoded header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What the body is.
    pub kind: FrameKind,
    /// Number of descriptors attached, at most [`MAX_FDS`].
    pub fds: u8,
    /// Number of the request, counted from 0 in each conversation; a reply repeats it.
    pub sequence: u32,
    /// Bytes of the body, at most [`MAX_BODY`].
    pub length: u32,
}

impl Header {
    /// The header as it goes onto the wire: version, kind, descriptors, 0, sequence and length in
    /// little-endian order.
    #[must_use]
    pub fn encode(self) -> [u8; HEADER] {
        let [s0, s1, s2, s3] = self.sequence.to_le_bytes();
        let [l0, l1, l2, l3] = self.length.to_le_bytes();
        [VERSION_BYTE, self.kind as u8, self.fds, 0, s0, s1, s2, s3, l0, l1, l2, l3]
    }

    /// Reads a header, refusing everything that this end does not take.
    ///
    /// # Errors
    /// [`ProtocolError::Version`], [`ProtocolError::Kind`] (anything but `expected`),
    /// [`ProtocolError::TooLong`], [`ProtocolError::Descriptors`] (over [`MAX_FDS`]),
    /// [`ProtocolError::Malformed`] (reserved byte set).
    pub fn decode(bytes: &[u8; HEADER], expected: FrameKind) -> Result<Self, ProtocolError> {
        let [version, kind, fds, reserved, s0, s1, s2, s3, l0, l1, l2, l3] = *bytes;
        if version != VERSION_BYTE {
            return Err(ProtocolError::Version(version));
        }
        if kind != expected as u8 {
            return Err(ProtocolError::Kind(kind));
        }
        if reserved != 0 {
            return Err(ProtocolError::Malformed(format!("reserved header byte is {reserved}")));
        }
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        if usize::try_from(length).map_or(true, |n| n > MAX_BODY) {
            return Err(ProtocolError::TooLong(length));
        }
        if usize::from(fds) > MAX_FDS {
            return Err(ProtocolError::Descriptors { announced: fds.into(), attached: 0 });
        }
        Ok(Self { kind: expected, fds, sequence: u32::from_le_bytes([s0, s1, s2, s3]), length })
    }
}

#[allow(clippy::cast_possible_truncation, reason = "a constant, 1")]
const VERSION_BYTE: u8 = crate::VERSION as u8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_survives_the_wire() {
        let header =
            Header { kind: FrameKind::Container, fds: 8, sequence: 0xdead_beef, length: 65_536 };
        assert_eq!(Header::decode(&header.encode(), FrameKind::Container).unwrap(), header);
    }

    #[test]
    fn header_of_the_other_side_is_refused() {
        let header = Header { kind: FrameKind::Host, fds: 0, sequence: 0, length: 0 };
        assert!(matches!(
            Header::decode(&header.encode(), FrameKind::Container),
            Err(ProtocolError::Kind(1))
        ));
    }

    #[test]
    fn every_header_field_out_of_bounds_is_refused() {
        let good = Header { kind: FrameKind::Reply, fds: 0, sequence: 1, length: 4 }.encode();
        for (at, value) in [(0, 0), (0, 2), (1, 0), (1, 9), (2, 9), (2, 255), (3, 1)] {
            let mut bad = good;
            bad[at] = value;
            assert!(Header::decode(&bad, FrameKind::Reply).is_err(), "byte {at} = {value}");
        }
        for length in [65_537_u32, 1 << 31, u32::MAX] {
            let mut bad = good;
            bad[8..].copy_from_slice(&length.to_le_bytes());
            assert!(matches!(
                Header::decode(&bad, FrameKind::Reply),
                Err(ProtocolError::TooLong(n)) if n == length
            ));
        }
    }
}
