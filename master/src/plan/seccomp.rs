// SPDX-License-Identifier: Apache-2.0
//! `linux.seccomp` as the filter that the helper installs.

use outrigger_protocol::ContainerRequest;
use outrigger_protocol::seccomp::{Filter, FilterFlags};

use super::Inputs;
use super::problems::Problems;
use crate::seccomp::{self, Arch};

/// Compiles the profile, if there is one.
pub(super) fn plan(inputs: &Inputs<'_>, out: &mut Vec<ContainerRequest>, problems: &mut Problems) {
    let Some(profile) = inputs.linux().and_then(|l| l.seccomp().as_ref()) else { return };
    let Some(native) = Arch::native() else {
        problems.unsupported("linux.seccomp: on this machine's architecture");
        return;
    };
    match seccomp::compile(profile, native) {
        Ok(program) if program.listener => problems.unsupported("linux.seccomp.listenerPath"),
        Ok(program) => {
            let filter = FilterFlags::new(program.flags)
                .and_then(|flags| Filter::new(flags, program.filter))
                .ok_or("has flags that only a listener can have");
            let filter = problems.check(format_args!("linux.seccomp.flags"), filter);
            out.extend(filter.map(ContainerRequest::Seccomp));
        }
        Err(wrong) => {
            for problem in wrong {
                problems.add(problem.field, problem.text);
            }
        }
    }
}
