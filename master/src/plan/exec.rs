// SPDX-License-Identifier: Apache-2.0
//! The requests that make one more process of a container.

use std::path::Path;

use oci_spec::runtime::{Process, Spec};
use outrigger_protocol::ContainerRequest;
use outrigger_protocol::process::OomScoreAdj;
use outrigger_protocol::request::Console;

use super::{Inputs, Options, Problems, process, unsupported};
use crate::container::defaults::Defaults;
use crate::host::Host;

/// What will be asked of the helper for a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExecPlan {
    /// What it is born with.
    pub(crate) oom_score_adj: Option<OomScoreAdj>,
    /// What the container side does, in order.
    pub(crate) container: Vec<ContainerRequest>,
}

impl ExecPlan {
    /// Plans a process of the container that has these defaults.
    ///
    /// # Errors
    /// Everything in it that cannot be carried out.
    pub(crate) fn new(
        process: &Process,
        defaults: &Defaults,
        host: &Host,
        options: &Options,
    ) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        unsupported::refuse_process(process, &mut problems);
        let (spec, bundle) = (Spec::default(), Path::new("/"));
        let inputs = Inputs { spec: &spec, bundle, host, spawn: &defaults.spawn, options };
        let mut container = Vec::new();
        if process.terminal() == Some(true) {
            let wanted = process::console_size(process, &mut problems);
            let size = options.console_size.or(wanted);
            container.push(ContainerRequest::Console(Console { size }));
        }
        container.extend(defaults.filter.clone().map(ContainerRequest::Seccomp));
        process::plan(&inputs, Some(process), &mut container, &mut problems);
        let oom_score_adj = container.iter_mut().find_map(|request| match request {
            // The new process is hidden from the start, so that it could not write its own.
            ContainerRequest::Process(process) => process.oom_score_adj.take(),
            _ => None,
        });
        if problems.is_empty() { Ok(Self { oom_score_adj, container }) } else { Err(problems) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::tests::root;
    use outrigger_protocol::ContainerKind;
    use outrigger_protocol::request::{Namespaces, Spawn};
    use serde_json::{Value, json};

    fn plan(process: Value) -> Result<ExecPlan, Problems> {
        let process: Process = serde_json::from_value(process).unwrap();
        let spawn = Spawn { namespaces: Namespaces::default(), uid_map: None, gid_map: None };
        let defaults = Defaults { process: process.clone(), spawn, filter: None };
        let options = Options { id: "x".into(), dies_with_master: true, console_size: None };
        ExecPlan::new(&process, &defaults, &root(), &options)
    }

    #[test]
    fn terminal_comes_first_and_the_process_last() {
        let plan = plan(json!({"user": {}, "cwd": "/", "args": ["a"], "env": ["A=1"],
            "terminal": true, "oomScoreAdj": 7}))
        .unwrap();
        let kinds: Vec<_> = plan.container.iter().map(ContainerRequest::kind).collect();
        use ContainerKind::{Console, Process, Strings};
        assert_eq!(kinds, [Console, Strings, Strings, Process]);
        assert_eq!(plan.oom_score_adj.map(OomScoreAdj::get), Some(7));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_field() {
        let process = json!({"user": {"uid": u32::MAX}, "cwd": "a", "args": []});
        let problems = plan(process).unwrap_err().to_string();
        for field in ["process.args", "process.user.uid", "process.cwd"] {
            assert!(problems.contains(field), "{problems}");
        }
    }
}
