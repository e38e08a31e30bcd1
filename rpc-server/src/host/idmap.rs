// SPDX-License-Identifier: Apache-2.0
//! The id maps of a new user namespace, `user_namespaces(7)`.

use std::ffi::{CStr, CString};

use nix::sys::wait::WaitStatus;
use nix::unistd::{getegid, geteuid};
use outrigger_protocol::identity::IdMap;
use outrigger_protocol::request::Spawn;

use crate::error::{Context, OpError, Result};
use crate::procfs::Procfs;
use crate::sys::{capability, spawn};

/// The set-up of the container's user namespace, if it gets a new one.
pub(super) struct IdMaps<'a> {
    uid: &'a IdMap,
    gid: &'a IdMap,
}

impl<'a> IdMaps<'a> {
    /// The maps of a request; both or none.
    pub(super) fn of(request: &'a Spawn) -> Result<Option<Self>> {
        match (&request.uid_map, &request.gid_map) {
            (Some(uid), Some(gid)) => Ok(Some(Self { uid, gid })),
            (None, None) => Ok(None),
            _ => Err(OpError::refused("only one of the two id maps is given")),
        }
    }

    /// Writes them for a process in its new user namespace: directly where the kernel lets us, else by
    /// the system's newuidmap and newgidmap, which know what /etc/subuid and /etc/subgid grant.
    pub(super) fn write(&self, pid: i32) -> Result<()> {
        let proc = Procfs::mounted()?;
        let capable = capability::get()
            .during(|| "capget")?
            .effective
            .checked_shr(capability::SETUID)
            .is_some_and(|bits| bits & 1 == 1);
        if capable || is_own_id(self.uid, geteuid().as_raw()) {
            proc.write(&format!("{pid}/uid_map"), &lines(self.uid))?;
        } else {
            by_program(c"/usr/bin/newuidmap", pid, self.uid)?;
        }
        if capable {
            proc.write(&format!("{pid}/gid_map"), &lines(self.gid))
        } else if is_own_id(self.gid, getegid().as_raw()) {
            // Without this an ordinary user could drop a group that denies access.
            proc.write(&format!("{pid}/setgroups"), b"deny")?;
            proc.write(&format!("{pid}/gid_map"), &lines(self.gid))
        } else {
            by_program(c"/usr/bin/newgidmap", pid, self.gid)
        }
    }
}

/// Whether the map has one id only, that of the caller, which needs no privilege.
fn is_own_id(map: &IdMap, own: u32) -> bool {
    matches!(map.ranges(), [range] if range.size() == 1 && range.host() == own)
}

fn lines(map: &IdMap) -> Vec<u8> {
    map.ranges()
        .iter()
        .map(|r| format!("{} {} {}\n", r.container(), r.host(), r.size()))
        .collect::<String>()
        .into_bytes()
}

fn by_program(program: &CStr, pid: i32, map: &IdMap) -> Result<()> {
    let numbers = map.ranges().iter().flat_map(|r| [r.container(), r.host(), r.size()]);
    let words: Vec<String> =
        std::iter::once(pid.to_string()).chain(numbers.map(|n| n.to_string())).collect();
    let name = program.to_string_lossy();
    let command = || format!("{name} {}", words.join(" "));
    let arguments: Vec<CString> =
        words.iter().filter_map(|w| CString::new(w.as_str()).ok()).collect();
    match spawn::run(program, &arguments).during(command)? {
        WaitStatus::Exited(_, 0) => Ok(()),
        status => Err(OpError::refused(format!(
            "{} failed ({status:?}): are these ids granted in /etc/subuid and /etc/subgid?",
            command()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_protocol::identity::IdRange;

    fn map(ranges: &[(u32, u32, u32)]) -> IdMap {
        let ranges: Option<Vec<_>> =
            ranges.iter().map(|(c, h, n)| IdRange::new(*c, *h, *n)).collect();
        ranges.and_then(|r| IdMap::try_from(r).ok()).unwrap_or_else(|| unreachable!())
    }

    #[test]
    fn map_is_written_as_the_kernel_reads_it() {
        assert_eq!(
            lines(&map(&[(0, 1000, 1), (1, 100_000, 65_536)])),
            b"0 1000 1\n1 100000 65536\n"
        );
    }

    #[test]
    fn own_id_alone_needs_no_privilege() {
        assert!(is_own_id(&map(&[(0, 1000, 1)]), 1000));
        assert!(!is_own_id(&map(&[(0, 1000, 2)]), 1000));
        assert!(!is_own_id(&map(&[(0, 1001, 1)]), 1000));
        assert!(!is_own_id(&map(&[(0, 1000, 1), (1, 5, 1)]), 1000));
    }
}
