// SPDX-License-Identifier: Apache-2.0
//! Fields that are part of the specification and not done yet: each is refused by name, none is
//! silently left out.

use oci_spec::runtime::{Linux, Mount, Process, Spec};

use super::problems::Problems;

/// Notes every field that is set and cannot be honoured.
pub(super) fn refuse(spec: &Spec, problems: &mut Problems) {
    let mut refuse = |field: &str, is_set: bool| {
        if is_set {
            problems.unsupported(field);
        }
    };
    refuse("solaris", spec.solaris().is_some());
    refuse("windows", spec.windows().is_some());
    refuse("vm", spec.vm().is_some());
    refuse("zos", spec.zos().is_some());
    refuse("uidMappings", spec.uid_mappings().as_ref().is_some_and(|m| !m.is_empty()));
    refuse("gidMappings", spec.gid_mappings().as_ref().is_some_and(|m| !m.is_empty()));
    if let Some(hooks) = spec.hooks() {
        for (name, list) in [
            ("prestart", hooks.prestart()),
            ("createRuntime", hooks.create_runtime()),
            ("createContainer", hooks.create_container()),
            ("startContainer", hooks.start_container()),
            ("poststart", hooks.poststart()),
            ("poststop", hooks.poststop()),
        ] {
            let is_set = list.as_ref().is_some_and(|l| !l.is_empty());
            refuse(&format!("hooks.{name}"), is_set);
        }
    }
    if let Some(process) = spec.process() {
        refuse_process(process, problems);
    }
    if let Some(linux) = spec.linux() {
        refuse_linux(linux, problems);
    }
    for (i, mount) in spec.mounts().iter().flatten().enumerate() {
        refuse_mount(i, mount, problems);
    }
}

fn is_text(text: &Option<String>) -> bool {
    text.as_ref().is_some_and(|t| !t.is_empty())
}

pub(super) fn refuse_process(process: &Process, problems: &mut Problems) {
    for (field, is_set) in [
        ("process.commandLine", is_text(process.command_line())),
        ("process.user.username", is_text(process.user().username())),
        ("process.apparmorProfile", is_text(process.apparmor_profile())),
        ("process.selinuxLabel", is_text(process.selinux_label())),
        ("process.ioPriority", process.io_priority().is_some()),
        ("process.scheduler", process.scheduler().is_some()),
        ("process.execCPUAffinity", process.exec_cpu_affinity().is_some()),
    ] {
        if is_set {
            problems.unsupported(field);
        }
    }
}

fn refuse_linux(linux: &Linux, problems: &mut Problems) {
    for (field, is_set) in [
        ("linux.netDevices", linux.net_devices().as_ref().is_some_and(|d| !d.is_empty())),
        ("linux.mountLabel", is_text(linux.mount_label())),
        ("linux.intelRdt", linux.intel_rdt().is_some()),
        ("linux.memoryPolicy", linux.memory_policy().is_some()),
        ("linux.personality", linux.personality().is_some()),
        ("linux.timeOffsets", linux.time_offsets().as_ref().is_some_and(|o| !o.is_empty())),
    ] {
        if is_set {
            problems.unsupported(field);
        }
    }
}

fn refuse_mount(i: usize, mount: &Mount, problems: &mut Problems) {
    for (name, mappings) in
        [("uidMappings", mount.uid_mappings()), ("gidMappings", mount.gid_mappings())]
    {
        if mappings.as_ref().is_some_and(|m| !m.is_empty()) {
            problems.unsupported(format_args!("mounts[{i}].{name}"));
        }
    }
}
