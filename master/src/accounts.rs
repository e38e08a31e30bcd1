// SPDX-License-Identifier: Apache-2.0
//! The host's users as its files list them. Name services beyond these files are not asked: a static
//! program cannot load their modules.

use anyhow::{Context, Result};
use nix::fcntl::AT_FDCWD;

use crate::file::{self, Link};

const LIMIT: u64 = 16 * 1024 * 1024;

/// A range of subordinate ids, subuid(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SubIds {
    pub(crate) start: u32,
    pub(crate) count: u32,
}

/// The user's name, `None` if /etc/passwd does not have it.
pub(crate) fn user_name(uid: u32) -> Option<String> {
    name_in(&read("/etc/passwd").ok()?, uid)
}

/// The user's first range in a file such as /etc/subuid, if it has one.
pub(crate) fn sub_ids(file: &str, uid: u32) -> Option<SubIds> {
    range_in(&read(file).ok()?, user_name(uid).as_deref(), uid)
}

fn read(path: &str) -> Result<String> {
    let content =
        file::read(AT_FDCWD, path, Link::Follow, LIMIT).with_context(|| path.to_owned())?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}

fn name_in(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, id) = (fields.next()?, fields.next()?, fields.next()?);
        (!name.is_empty() && id.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

fn range_in(content: &str, name: Option<&str>, uid: u32) -> Option<SubIds> {
    content.lines().find_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        let range =
            SubIds { start: fields.next()?.parse().ok()?, count: fields.next()?.parse().ok()? };
        let is_ours = Some(owner) == name || owner.parse() == Ok(uid);
        let fits = range.count > 0 && range.start.checked_add(range.count).is_some();
        (is_ours && fits && fields.next().is_none()).then_some(range)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_is_found_by_id() {
        let passwd =
            "root:x:0:0::/:/bin/sh\n# no\nbroken\n:x:7:7::/:\nann:x:1000:5::/:\nbob:x:1000:6::/:\n";
        assert_eq!(name_in(passwd, 0).as_deref(), Some("root"));
        assert_eq!(name_in(passwd, 1000).as_deref(), Some("ann"));
        assert_eq!(name_in(passwd, 7), None);
        assert_eq!(name_in(passwd, 5), None);
    }

    #[test]
    fn range_is_found_by_name_or_id() {
        let range = |start, count| Some(SubIds { start, count });
        let content = "bob:100000:65536\n1000:200000:10\nann:300000:5\n";
        assert_eq!(range_in(content, Some("bob"), 1001), range(100_000, 65_536));
        assert_eq!(range_in(content, Some("ann"), 1000), range(200_000, 10));
        assert_eq!(range_in(content, None, 1000), range(200_000, 10));
        assert_eq!(range_in(content, None, 1001), None);
    }

    #[test]
    fn range_that_makes_no_sense_is_passed_over() {
        for line in
            ["ann", "ann:1", "ann:x:1", "ann:1:0", "ann:4294967295:2", "ann:-1:5", "ann:1:2:3"]
        {
            assert_eq!(range_in(line, Some("ann"), 1000), None, "{line}");
            let content = format!("{line}\nann:5:6\n");
            assert_eq!(range_in(&content, Some("ann"), 1000), Some(SubIds { start: 5, count: 6 }));
        }
    }
}
