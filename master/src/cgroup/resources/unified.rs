// SPDX-License-Identifier: Apache-2.0
//! `linux.resources.unified`: files of the unified hierarchy by name.

use std::collections::{BTreeMap, HashMap};

use outrigger_protocol::path::ControlFile;

use super::{Limits, Meaning};

pub(super) fn plan(keys: &HashMap<String, String>, limits: &mut Limits<'_>) {
    let sorted: BTreeMap<_, _> = keys.iter().collect();
    for (key, value) in sorted {
        let field = format!("unified.{}", key.escape_default());
        let Ok(file) = ControlFile::new(key.as_str()) else {
            limits.refuse(&field, "is no file of a controller; name one as memory.high");
            continue;
        };
        let Some(group) = limits.controllers.unified(file.controller()) else {
            let controller = file.controller();
            limits.refuse(
                &field,
                format!(
                    "needs the controller {controller} in cgroup version 2, of which no cgroup \
                     can be made here; remove it"
                ),
            );
            continue;
        };
        // A file such as io.max has a line for each device, and takes one a time.
        for line in value.lines().filter(|line| !line.is_empty()) {
            limits.set(group, &field, Meaning::Limit, key.as_str(), line);
        }
    }
}
