// SPDX-License-Identifier: Apache-2.0
//! Whatever decodes must encode to the very same bytes: there is one form of every value only.
#![no_main]

use libfuzzer_sys::fuzz_target;
use outrigger_protocol::{Reply, codec};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(value) = codec::decode::<Reply>(bytes) {
        let mut again = Vec::new();
        codec::encode(&value, &mut again).expect("what was decoded fits into a frame");
        assert_eq!(again, bytes, "{value:?}");
    }
});
