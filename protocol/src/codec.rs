// SPDX-License-Identifier: Apache-2.0
//! The one place that names bincode: fixed-width integers, a size limit, no trailing bytes.
//!
//! The limit does not bound a collection of zero-sized elements nor the depth of a recursive type,
//! so no message has either.

use bincode::Options;
use serde::{Serialize, de::DeserializeOwned};

use crate::ProtocolError;
use crate::frame::MAX_BODY;

fn options() -> impl Options {
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_limit(MAX_BODY as u64)
        .reject_trailing_bytes()
}

/// Appends the encoded value to `out`.
///
/// # Errors
/// [`ProtocolError::Oversized`] if it is longer than a frame's body may be.
pub fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), ProtocolError> {
    let size = bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .serialized_size(value)
        .map_err(|e| ProtocolError::Malformed(e.to_string()))?;
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size > MAX_BODY {
        return Err(ProtocolError::Oversized(size));
    }
    options().serialize_into(out, value).map_err(|e| ProtocolError::Malformed(e.to_string()))
}

/// Decodes exactly one value.
///
/// # Errors
/// [`ProtocolError::Malformed`] for everything that is not exactly one valid `T`.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ProtocolError> {
    options().deserialize(bytes).map_err(|e| ProtocolError::Malformed(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_byte_is_refused() {
        let mut bytes = Vec::new();
        encode(&7_u32, &mut bytes).unwrap();
        bytes.push(0);
        assert!(decode::<u32>(&bytes).is_err());
    }

    #[test]
    fn announced_length_without_content_is_refused_before_allocating() {
        let mut bytes = u64::MAX.to_le_bytes().to_vec();
        bytes.extend([0; 4]);
        assert!(decode::<Vec<u8>>(&bytes).is_err());
        assert!(decode::<String>(&bytes).is_err());
    }

    #[test]
    fn value_larger_than_a_frame_is_refused_by_the_sender() {
        let mut out = Vec::new();
        let value = vec![0_u8; MAX_BODY];
        assert!(matches!(encode(&value, &mut out), Err(ProtocolError::Oversized(_))));
        assert!(out.is_empty());
    }
}
