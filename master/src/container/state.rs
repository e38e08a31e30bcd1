// SPDX-License-Identifier: Apache-2.0
//! What is recorded of a container, apart from its directory's existence. Whether it runs is not: that is
//! asked of the kernel ([`super::status`]).

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use outrigger_protocol::cgroup::Cgroups;
use serde::{Deserialize, Serialize};

use super::id::ContainerId;

/// Most bytes of the file.
pub(crate) const MAX_STATE: u64 = 1024 * 1024;

/// The content of `state.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// [`Self::SCHEMA`] of the program that wrote it.
    pub(crate) schema: u32,
    pub(crate) id: ContainerId,
    /// `ociVersion` of the config.
    pub(crate) oci_version: String,
    /// The bundle's directory, absolute.
    pub(crate) bundle: PathBuf,
    /// The container's root on the host, absolute.
    pub(crate) rootfs: PathBuf,
    pub(crate) annotations: BTreeMap<String, String>,
    /// When it was created, as in RFC 3339 with nanoseconds.
    pub(crate) created: String,
    /// User id of the one who created it.
    pub(crate) owner: u32,
    /// The boot that it belongs to: nothing of it is left after another.
    pub(crate) boot_id: String,
    pub(crate) intent: Intent,
    /// Its process, as soon as there is one.
    pub(crate) process: Option<ProcessIdentity>,
    /// Its cgroups, recorded before any is made.
    pub(crate) cgroups: Cgroups,
}

/// How far the creation had come when the state was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Intent {
    /// It is under way, or was cut short.
    Creating,
    /// It is complete.
    Created,
}

/// A process that cannot be mistaken for a later one with its pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessIdentity {
    pub(crate) pid: i32,
    /// Field 22 of `/proc/PID/stat`.
    pub(crate) start_time: u64,
}

impl State {
    /// Version of the file's structure.
    pub(crate) const SCHEMA: u32 = 1;

    /// The file's content.
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let text = serde_json::to_vec(self).context("encode the state")?;
        if text.len() as u64 > MAX_STATE {
            bail!(
                "the state would have {} bytes, more than {MAX_STATE}: annotations are too long",
                text.len()
            );
        }
        Ok(text)
    }

    /// Reads the file's content.
    pub(super) fn decode(text: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Schema {
            schema: u32,
        }
        let Schema { schema } = serde_json::from_slice(text)?;
        if schema != Self::SCHEMA {
            bail!(
                "was written by another version of outrigger (schema {schema}, not {})",
                Self::SCHEMA
            );
        }
        let state: Self = serde_json::from_slice(text)?;
        if state.process.is_some_and(|p| p.pid <= 0) {
            bail!("process.pid is not a process");
        }
        Ok(state)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use outrigger_protocol::cgroup::{Cgroup, CgroupVersion};
    use outrigger_protocol::path::{HostPath, RelativePath};

    pub(crate) fn example(id: &str) -> State {
        let cgroup = Cgroup {
            version: CgroupVersion::V1,
            mount: HostPath::new("/sys/fs/cgroup/pids").unwrap(),
            path: RelativePath::new("outrigger/x").unwrap(),
            kept: 1,
        };
        State {
            schema: State::SCHEMA,
            id: ContainerId::parse(id).unwrap(),
            oci_version: "1.2.0".into(),
            bundle: "/b".into(),
            rootfs: "/b/rootfs".into(),
            annotations: [("key".into(), "välue \"\n".into())].into(),
            created: "2026-01-01T00:00:00.000000001Z".into(),
            owner: 0,
            boot_id: super::super::status::boot_id().unwrap(),
            intent: Intent::Creating,
            process: Some(ProcessIdentity { pid: 1, start_time: u64::MAX }),
            cgroups: vec![cgroup].try_into().unwrap(),
        }
    }

    #[test]
    fn state_survives_its_file() {
        let state = example("x");
        assert_eq!(State::decode(&state.encode().unwrap()).unwrap(), state);
    }

    #[test]
    fn truncated_state_is_refused_at_every_byte() {
        let text = example("x").encode().unwrap();
        for length in 0..text.len() {
            assert!(State::decode(&text[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn state_of_another_schema_is_told_apart_from_a_broken_one() {
        let error = State::decode(br#"{"schema":2,"what":"ever"}"#).unwrap_err().to_string();
        assert!(error.contains("schema 2, not 1"), "{error}");
    }

    #[test]
    fn process_must_have_a_pid() {
        for pid in [0, -1, i32::MIN] {
            let process = Some(ProcessIdentity { pid, start_time: 1 });
            let text = State { process, ..example("x") }.encode().unwrap();
            assert!(State::decode(&text).is_err(), "{pid}");
        }
    }

    #[test]
    fn state_that_could_not_be_read_is_not_written() {
        let annotations = [("k".to_owned(), "x".repeat(1 << 20))].into();
        let error = State { annotations, ..example("x") }.encode().unwrap_err().to_string();
        assert!(error.contains("annotations"), "{error}");
    }
}
