// SPDX-License-Identifier: Apache-2.0
//! From `linux.resources` to the values of control files. Devices are not among them.
//!
//! As with runc 0 and what is absent set nothing, and -1 takes a limit away. What takes a limit away is
//! no problem where there is none: without the controller, or without the file.

mod block_io;
mod cpu;
mod hugetlb;
mod memory;
mod network;
mod pids;
mod rdma;
mod unified;

use std::fmt::Display;

use oci_spec::runtime::LinuxResources;
use outrigger_protocol::cgroup::{CgroupVersion, Cgroups};
use outrigger_protocol::limits::{Missing, Setting};
use outrigger_protocol::path::{ControlFile, ControlValue, FieldName};

use super::layout::Hierarchy;
use crate::plan::Problems;

/// Which cgroup of a container has which controller.
#[derive(Debug, Clone, Default)]
pub(crate) struct Controllers<'a>(Vec<(u16, &'a Hierarchy)>);

impl<'a> Controllers<'a> {
    /// Those of a container's cgroups, in the hierarchies of the host.
    pub(crate) fn of(groups: &Cgroups, host: &'a [Hierarchy]) -> Self {
        let hierarchies = (0..).zip(groups.iter()).filter_map(|(position, group)| {
            let hierarchy = host.iter().find(|h| h.mount == group.mount.as_path())?;
            Some((position, hierarchy))
        });
        Self(hierarchies.collect())
    }

    /// The cgroup's position and the version of its hierarchy.
    fn find(&self, controller: &str) -> Option<(u16, CgroupVersion)> {
        let (position, hierarchy) = self
            .0
            .iter()
            .find(|(_, h)| h.controls(controller))
            .or_else(|| self.0.iter().find(|(_, h)| h.hands_down(controller)))?;
        Some((*position, hierarchy.version))
    }

    /// The position of the unified hierarchy's cgroup, if it has the controller.
    fn unified(&self, controller: &str) -> Option<u16> {
        self.0.iter().find(|(_, h)| h.hands_down(controller)).map(|(position, _)| *position)
    }
}

/// All values, in the order in which they are written.
pub(crate) fn plan(
    resources: &LinuxResources,
    controllers: &Controllers<'_>,
    problems: &mut Problems,
) -> Vec<Setting> {
    let mut limits = Limits { controllers, problems, settings: Vec::new() };
    if let Some(memory) = resources.memory() {
        memory::plan(memory, &mut limits);
    }
    if let Some(cpu) = resources.cpu() {
        cpu::plan(cpu, &mut limits);
    }
    if let Some(pids) = resources.pids() {
        pids::plan(pids, &mut limits);
    }
    if let Some(io) = resources.block_io() {
        block_io::plan(io, &mut limits);
    }
    if let Some(list) = resources.hugepage_limits() {
        hugetlb::plan(list, &mut limits);
    }
    if let Some(network) = resources.network() {
        network::plan(network, &mut limits);
    }
    if let Some(devices) = resources.rdma() {
        rdma::plan(devices, &mut limits);
    }
    // Last, as with runc: they are the last word.
    if let Some(keys) = resources.unified() {
        unified::plan(keys, &mut limits);
    }
    limits.settings
}

/// Whether a value is a limit, or takes one away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Limit,
    NoLimit,
}

/// Collects the settings.
struct Limits<'a> {
    controllers: &'a Controllers<'a>,
    problems: &'a mut Problems,
    settings: Vec<Setting>,
}

impl Limits<'_> {
    /// Where a controller is. Without it no limit can be set; `None` then, noted unless nothing is lost.
    fn find(
        &mut self,
        controller: &str,
        field: &str,
        meaning: Meaning,
    ) -> Option<(u16, CgroupVersion)> {
        let found = self.controllers.find(controller);
        if found.is_none() && meaning == Meaning::Limit {
            self.refuse(
                field,
                format!(
                    "needs the cgroup controller {controller}, of which no cgroup can be made \
                     here; remove it, or run where cgroups are delegated"
                ),
            );
        }
        found
    }

    /// Notes a problem with a member of `linux.resources`.
    fn refuse(&mut self, field: &str, why: impl Into<String>) {
        self.problems.add(format_args!("linux.resources.{field}"), why);
    }

    /// Adds a setting. One that takes a limit away needs no file.
    fn set(
        &mut self,
        group: u16,
        field: &str,
        meaning: Meaning,
        file: impl Into<String>,
        value: impl Display,
    ) {
        let missing = match meaning {
            Meaning::Limit => Missing::Refuse,
            Meaning::NoLimit => Missing::Skip,
        };
        self.add(group, field, file.into(), value.to_string(), missing);
    }

    /// Adds a setting with an alternative where there is no such file.
    fn set_either(
        &mut self,
        group: u16,
        field: &str,
        (file, value): (&str, String),
        (other, other_value): (&str, String),
    ) {
        match (ControlFile::new(other), ControlValue::new(other_value)) {
            (Ok(other), Ok(value_of_other)) => {
                let missing = Missing::Instead(other, value_of_other);
                self.add(group, field, file.to_owned(), value, missing);
            }
            _ => self.refuse(field, "has a value that cannot be written"),
        }
    }

    fn add(&mut self, group: u16, field: &str, file: String, value: String, missing: Missing) {
        let checked = || {
            let name = FieldName::new(format!("linux.resources.{field}"))
                .map_err(|e| format!("the field's name {e}"))?;
            let shown = file.escape_default().to_string();
            let file = ControlFile::new(file).map_err(|e| format!("the file {shown:?} {e}"))?;
            let shown = value.escape_default().to_string();
            let value = ControlValue::new(value).map_err(|e| format!("the value {shown:?} {e}"))?;
            Ok::<_, String>(Setting { group, field: name, file, value, missing })
        };
        let field = format!("linux.resources.{field}");
        self.settings.extend(self.problems.check(format_args!("{field}"), checked()));
    }
}

#[cfg(test)]
pub(crate) mod tests;
