// SPDX-License-Identifier: Apache-2.0
//! `process.capabilities`.

use oci_spec::runtime::{self as oci, Capability as C, LinuxCapabilities};
use outrigger_protocol::process::{Capabilities, CapabilitySet};

use super::problems::Problems;

/// By the kernel's numbers, linux/capability.h.
const CAPABILITIES: [C; 41] = [
    C::Chown,
    C::DacOverride,
    C::DacReadSearch,
    C::Fowner,
    C::Fsetid,
    C::Kill,
    C::Setgid,
    C::Setuid,
    C::Setpcap,
    C::LinuxImmutable,
    C::NetBindService,
    C::NetBroadcast,
    C::NetAdmin,
    C::NetRaw,
    C::IpcLock,
    C::IpcOwner,
    C::SysModule,
    C::SysRawio,
    C::SysChroot,
    C::SysPtrace,
    C::SysPacct,
    C::SysAdmin,
    C::SysBoot,
    C::SysNice,
    C::SysResource,
    C::SysTime,
    C::SysTtyConfig,
    C::Mknod,
    C::Lease,
    C::AuditWrite,
    C::AuditControl,
    C::Setfcap,
    C::MacOverride,
    C::MacAdmin,
    C::Syslog,
    C::WakeAlarm,
    C::BlockSuspend,
    C::AuditRead,
    C::Perfmon,
    C::Bpf,
    C::CheckpointRestore,
];

/// The five sets. As with runc a process whose config lists none has none.
pub(super) fn plan(
    sets: Option<&LinuxCapabilities>,
    problems: &mut Problems,
) -> Option<Capabilities> {
    let Some(sets) = sets else { return Some(Capabilities::default()) };
    let bounding = bits(sets.bounding());
    let effective = bits(sets.effective());
    let inheritable = bits(sets.inheritable());
    let permitted = bits(sets.permitted());
    // capabilities(7): what is not both permitted and inheritable cannot be ambient. Configs that list
    // more are common (runc's own default was one) and runc runs them.
    let listed = bits(sets.ambient());
    let ambient = CapabilitySet(listed.0 & permitted.0 & inheritable.0);
    if ambient != listed {
        log::debug!("process.capabilities.ambient: only what is permitted and inheritable is set");
    }
    // capset(2) would say only EPERM.
    for (name, set, outer, limit) in [
        ("effective", effective, "permitted", permitted),
        ("inheritable", inheritable, "bounding", bounding),
    ] {
        let excess = names(CapabilitySet(set.0 & !limit.0));
        if !excess.is_empty() {
            let text = format!(
                "has {}, which process.capabilities.{outer} lacks; add it there",
                excess.join(", ")
            );
            problems.add(format_args!("process.capabilities.{name}"), text);
        }
    }
    Some(Capabilities { bounding, effective, inheritable, permitted, ambient })
}

fn bits(set: &Option<oci::Capabilities>) -> CapabilitySet {
    let has = |capability| set.as_ref().is_some_and(|s| s.contains(capability));
    let numbers = (0..).zip(&CAPABILITIES).filter(|(_, c)| has(c)).map(|(n, _): (u32, _)| n);
    CapabilitySet(numbers.fold(0, |bits, n| bits | 1 << n))
}

/// The names, as the config has them.
pub(super) fn names(set: CapabilitySet) -> Vec<String> {
    let in_it = (0..).zip(&CAPABILITIES).filter(|(n, _)| set.contains(*n));
    in_it.map(|(_, capability)| format!("CAP_{capability}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn plan_of(sets: Value) -> (Capabilities, String) {
        let sets: LinuxCapabilities = serde_json::from_value(sets).unwrap();
        let mut problems = Problems::default();
        (plan(Some(&sets), &mut problems).unwrap(), problems.to_string())
    }

    #[test]
    fn numbers_are_the_kernels() {
        for (name, number) in [
            ("CAP_CHOWN", 0),
            ("CAP_KILL", 5),
            ("CAP_NET_BIND_SERVICE", 10),
            ("CAP_SYS_ADMIN", 21),
            ("CAP_MKNOD", 27),
            ("CAP_SETFCAP", 31),
            ("CAP_MAC_OVERRIDE", 32),
            ("CAP_AUDIT_READ", 37),
            ("CAP_CHECKPOINT_RESTORE", 40),
        ] {
            let (sets, problems) = plan_of(json!({ "bounding": [name] }));
            assert_eq!((sets.bounding.0, problems.as_str()), (1 << number, ""), "{name}");
            assert_eq!(names(sets.bounding), [name]);
        }
    }

    #[test]
    fn every_capability_of_the_kernel_has_a_number() {
        let all = names(CapabilitySet(u64::MAX));
        let (sets, problems) = plan_of(json!({"bounding": all, "inheritable": all}));
        assert_eq!((sets.inheritable.0, problems.as_str()), ((1 << 41) - 1, ""));
    }

    #[test]
    fn none_listed_is_none() {
        let mut problems = Problems::default();
        assert_eq!(plan(None, &mut problems), Some(Capabilities::default()));
        assert_eq!(plan_of(json!({})).0, Capabilities::default());
    }

    #[test]
    fn ambient_capabilities_are_those_that_can_be() {
        let (sets, problems) = plan_of(json!({
            "bounding": ["CAP_KILL"],
            "permitted": ["CAP_KILL", "CAP_CHOWN"],
            "inheritable": ["CAP_KILL"],
            "ambient": ["CAP_KILL", "CAP_CHOWN", "CAP_BPF"],
        }));
        assert_eq!((sets.ambient.0, problems.as_str()), (1 << 5, ""));
    }

    #[test]
    fn sets_lie_within_their_limits() {
        let (_, problems) = plan_of(json!({
            "permitted": ["CAP_KILL"],
            "effective": ["CAP_KILL", "CAP_CHOWN", "CAP_BPF"],
            "inheritable": ["CAP_KILL"],
        }));
        assert_eq!(
            problems,
            "process.capabilities.effective: has CAP_CHOWN, CAP_BPF, which \
             process.capabilities.permitted lacks; add it there; \
             process.capabilities.inheritable: has CAP_KILL, which process.capabilities.bounding \
             lacks; add it there"
        );
    }
}
