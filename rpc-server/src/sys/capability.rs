// SPDX-License-Identifier: Apache-2.0
use libc::{c_int, c_ulong};
use nix::errno::Errno;

use super::outcome;

/// `CAP_SETUID` of capabilities(7).
pub(crate) const SETUID: u32 = 7;

/// The three sets that capset(2) sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sets {
    pub(crate) effective: u64,
    pub(crate) permitted: u64,
    pub(crate) inheritable: u64,
}

#[repr(C)]
struct Header {
    version: u32,
    pid: c_int,
}

/// One half (32 capabilities) of the three sets, as `struct __user_cap_data_struct`.
#[repr(C)]
#[derive(Default, Clone, Copy)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const VERSION_3: u32 = 0x2008_0522;

fn halves(set: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = set.to_le_bytes();
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}

fn whole(low: u32, high: u32) -> u64 {
    u64::from(low) | (u64::from(high) << 32)
}

/// capget(2) of this process.
pub(crate) fn get() -> Result<Sets, Errno> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut data = [Half::default(); 2];
    // SAFETY: version 3 writes two structures, and there is room for two.
    outcome(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) })?;
    let [low, high] = data;
    Ok(Sets {
        effective: whole(low.effective, high.effective),
        permitted: whole(low.permitted, high.permitted),
        inheritable: whole(low.inheritable, high.inheritable),
    })
}

/// capset(2) of this process.
pub(crate) fn set(sets: Sets) -> Result<(), Errno> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let (effective_low, effective_high) = halves(sets.effective);
    let (permitted_low, permitted_high) = halves(sets.permitted);
    let (inheritable_low, inheritable_high) = halves(sets.inheritable);
    let data = [
        Half { effective: effective_low, permitted: permitted_low, inheritable: inheritable_low },
        Half {
            effective: effective_high,
            permitted: permitted_high,
            inheritable: inheritable_high,
        },
    ];
    // SAFETY: version 3 reads two structures, and there are two.
    outcome(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, data.as_ptr()) }).map(drop)
}

fn prctl(operation: c_int, a: u32, b: u32) -> Result<c_int, Errno> {
    let zero: c_ulong = 0;
    // SAFETY: the operations of this file take numbers only.
    let ret = unsafe { libc::prctl(operation, c_ulong::from(a), c_ulong::from(b), zero, zero) };
    outcome(ret.into()).map(|_| ret)
}

/// Whether a capability is in the bounding set; `EINVAL` for one that the kernel does not know.
pub(crate) fn bounding_has(capability: u32) -> Result<bool, Errno> {
    prctl(libc::PR_CAPBSET_READ, capability, 0).map(|n| n == 1)
}

/// Removes a capability from the bounding set.
pub(crate) fn bounding_drop(capability: u32) -> Result<(), Errno> {
    prctl(libc::PR_CAPBSET_DROP, capability, 0).map(drop)
}

/// Empties the ambient set.
pub(crate) fn ambient_clear() -> Result<(), Errno> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL.cast_unsigned(), 0).map(drop)
}

/// Adds a capability to the ambient set.
pub(crate) fn ambient_raise(capability: u32) -> Result<(), Errno> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE.cast_unsigned(), capability).map(drop)
}

/// `PR_SET_KEEPCAPS`: whether permitted capabilities survive the change to an ordinary user id.
pub(crate) fn keep(keep: bool) -> Result<(), Errno> {
    prctl(libc::PR_SET_KEEPCAPS, keep.into(), 0).map(drop)
}
