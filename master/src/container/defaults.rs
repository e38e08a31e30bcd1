// SPDX-License-Identifier: Apache-2.0
//! What a later `exec` needs of the config, as it was when the container was created: the bundle may have
//! been changed since, and not by those who may enter the container.

use anyhow::{Context, Result, bail};
use oci_spec::runtime::{Process, Spec};
use outrigger_protocol::ContainerRequest;
use outrigger_protocol::request::Spawn;
use outrigger_protocol::seccomp::Filter;
use serde::{Deserialize, Serialize};

use crate::plan::Plan;

/// Most bytes of the file. Arguments and environment are most of it.
pub(super) const MAX_DEFAULTS: u64 = 16 * 1024 * 1024;

/// The content of `exec.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Defaults {
    /// The container's own process.
    pub(crate) process: Process,
    /// Its namespaces and how their ids are mapped.
    pub(crate) spawn: Spawn,
    /// The filter that every process of it has.
    pub(crate) filter: Option<Filter>,
}

impl Defaults {
    /// Those of a container that is about to be made.
    pub(crate) fn new(spec: &Spec, plan: &Plan) -> Result<Self> {
        let filter = plan.container.iter().find_map(|request| match request {
            ContainerRequest::Seccomp(filter) => Some(filter.clone()),
            _ => None,
        });
        let process = spec.process().clone().context("process: is missing")?;
        Ok(Self { process, spawn: plan.spawn.clone(), filter })
    }

    /// The file's content.
    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let text = serde_json::to_vec(self).context("encode the defaults of exec")?;
        if text.len() as u64 > MAX_DEFAULTS {
            bail!("process: has more than {MAX_DEFAULTS} bytes");
        }
        Ok(text)
    }
}
