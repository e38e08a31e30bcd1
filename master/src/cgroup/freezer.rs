// SPDX-License-Identifier: Apache-2.0
//! Whether a container stands still.

use std::fs;

use outrigger_protocol::cgroup::{Cgroup, CgroupVersion, Cgroups};

/// Whether the kernel holds a container's processes, or is about to. What cannot be read says no.
pub(crate) fn is_frozen(groups: &Cgroups) -> bool {
    groups.iter().any(is_held)
}

fn is_held(group: &Cgroup) -> bool {
    // Only one of version 1's hierarchies has the first file.
    let (file, thawed) = match group.version {
        CgroupVersion::V1 => ("freezer.state", "THAWED"),
        CgroupVersion::V2 => ("cgroup.freeze", "0"),
    };
    let file = group.mount.as_path().join(group.path.as_path()).join(file);
    fs::read_to_string(file).is_ok_and(|state| state.trim_end() != thawed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use outrigger_protocol::path::{HostPath, RelativePath};

    #[test]
    fn frozen_is_what_the_file_says() {
        let dir = tempfile::tempdir().unwrap();
        let group = |version| Cgroup {
            version,
            mount: HostPath::new(dir.path().as_os_str().as_encoded_bytes()).unwrap(),
            path: RelativePath::new("c").unwrap(),
            kept: 0,
        };
        fs::create_dir(dir.path().join("c")).unwrap();
        for (version, file, states) in [
            (
                CgroupVersion::V1,
                "freezer.state",
                [("THAWED\n", false), ("FREEZING\n", true), ("FROZEN\n", true)],
            ),
            (CgroupVersion::V2, "cgroup.freeze", [("0\n", false), ("1\n", true), ("1\n", true)]),
        ] {
            let groups = Cgroups::try_from(vec![group(version)]).unwrap();
            assert!(!is_frozen(&groups));
            for (state, expected) in states {
                fs::write(dir.path().join("c").join(file), state).unwrap();
                assert_eq!(is_frozen(&groups), expected, "{state}");
            }
        }
        assert!(!is_frozen(&Cgroups::default()));
    }
}
