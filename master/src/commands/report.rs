// SPDX-License-Identifier: Apache-2.0
use std::collections::BTreeMap;

use serde::Serialize;

use crate::accounts;
use crate::container::id::ContainerId;
use crate::container::state::State;
use crate::container::status::Status;
use crate::container::store::Container;

/// What callers learn of a container, with runc's keys.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    oci_version: String,
    pub(super) id: String,
    /// 0 without a process.
    pub(super) pid: i32,
    pub(super) status: &'static str,
    pub(super) bundle: String,
    rootfs: String,
    pub(super) created: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
    pub(super) owner: String,
}

impl Report {
    pub(super) fn new(container: &Container, state: State) -> Self {
        let status = container.status(&state);
        let process = state.process.filter(|_| status != Status::Stopped);
        Self {
            oci_version: state.oci_version,
            id: state.id.into(),
            pid: process.map_or(0, |p| p.pid),
            status: status.name(),
            bundle: state.bundle.to_string_lossy().into_owned(),
            rootfs: state.rootfs.to_string_lossy().into_owned(),
            created: state.created,
            annotations: state.annotations,
            owner: accounts::user_name(state.owner).unwrap_or_else(|| format!("#{}", state.owner)),
        }
    }

    /// Of a container whose state cannot be read.
    pub(super) fn unknown(id: ContainerId) -> Self {
        Self {
            oci_version: String::new(),
            id: id.into(),
            pid: 0,
            status: "unknown",
            bundle: String::new(),
            rootfs: String::new(),
            // What callers written in Go take for "no time"; they fail on an empty string.
            created: "0001-01-01T00:00:00Z".to_owned(),
            annotations: BTreeMap::new(),
            owner: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::state::tests::example;
    use crate::container::state::{Intent, ProcessIdentity};
    use crate::container::status::start_time;
    use crate::container::store::Store;

    #[test]
    fn report_has_the_pid_of_a_live_process_only() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(Some(dir.path())).unwrap();
        let container = store.create(&ContainerId::parse("x").unwrap()).unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        let process = Some(ProcessIdentity { pid, start_time: start_time(pid).unwrap() });
        let state = State { process, intent: Intent::Created, ..example("x") };
        let report = serde_json::to_value(Report::new(&container, state.clone())).unwrap();
        let expected = serde_json::json!({
            "ociVersion": "1.2.0",
            "id": "x",
            "pid": pid,
            "status": "running",
            "bundle": "/b",
            "rootfs": "/b/rootfs",
            "created": "2026-01-01T00:00:00.000000001Z",
            "annotations": { "key": "välue \"\n" },
            "owner": "root",
        });
        assert_eq!(report, expected);
        let process = Some(ProcessIdentity { pid, start_time: 1 });
        let report = Report::new(&container, State { process, owner: u32::MAX, ..state });
        assert_eq!((report.pid, report.status), (0, "stopped"));
        assert_eq!(report.owner, "#4294967295");
    }
}
