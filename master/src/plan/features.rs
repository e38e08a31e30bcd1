// SPDX-License-Identifier: Apache-2.0
//! What of the specification is done, in the structure that it has for that (features.md). Nothing is said
//! here that the code does not say: each entry is asked of the part that would carry it out.

use oci_spec::runtime::{LinuxSeccomp, Spec};
use outrigger_protocol::process::CapabilitySet;
use outrigger_protocol::request::NamespaceType;
use serde_json::{Value, json};

use super::problems::Problems;
use super::{capabilities, options, unsupported};
use crate::bundle::version::SPEC;
use crate::seccomp::{self, Arch};

const HOOKS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// Words that change a mount's attributes, each also with `r` before it for all mounts below.
const ATTRIBUTES: [&str; 18] = [
    "atime",
    "dev",
    "diratime",
    "exec",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "relatime",
    "ro",
    "rw",
    "strictatime",
    "suid",
    "symfollow",
];
/// The other words, of mount(8) and of other runtimes.
const WORDS: [&str; 28] = [
    "async",
    "bind",
    "copy-symlink",
    "defaults",
    "dest-nofollow",
    "dirsync",
    "idmap",
    "iversion",
    "lazytime",
    "loud",
    "mand",
    "noiversion",
    "nolazytime",
    "nomand",
    "private",
    "rbind",
    "remount",
    "ridmap",
    "rprivate",
    "rshared",
    "rslave",
    "runbindable",
    "shared",
    "silent",
    "slave",
    "src-nofollow",
    "tmpcopyup",
    "unbindable",
];
/// Words that the kernel takes for every file system.
const OF_ALL_FILE_SYSTEMS: [&str; 3] = ["dirsync", "lazytime", "sync"];

const ACTIONS: [&str; 9] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];
const OPERATORS: [&str; 7] = [
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_LE",
    "SCMP_CMP_LT",
    "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
];
const FLAGS: [&str; 4] = [
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

/// The features as JSON.
pub(crate) fn features() -> Value {
    let hooks =
        HOOKS.into_iter().filter(|hook| is_done(json!({"hooks": {*hook: [{"path": "/h"}]}})));
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": SPEC,
        "hooks": hooks.collect::<Vec<_>>(),
        "mountOptions": mount_options(),
        "linux": {
            "namespaces": sorted(NamespaceType::ALL.map(|kind| kind.name().to_owned()).into()),
            "capabilities": capabilities::names(CapabilitySet(u64::MAX)),
            "cgroup": {"v1": true, "v2": true, "systemd": false, "systemdUser": false, "rdma": true},
            "seccomp": seccomp_features(),
            "apparmor": enabled(json!({"process": process(json!({"apparmorProfile": "p"}))})),
            "selinux": enabled(json!({"process": process(json!({"selinuxLabel": "l"}))})),
            "intelRdt": enabled(json!({"linux": {"intelRdt": {"closID": "c"}}})),
            "mountExtensions": {"idmap": enabled(idmapped())},
            "netDevices": enabled(json!({"linux": {"netDevices": {"eth0": {}}}})),
        },
        "annotations": {},
    })
}

fn sorted(mut words: Vec<String>) -> Vec<String> {
    words.sort();
    words
}

fn process(extra: Value) -> Value {
    let mut process = json!({"user": {"uid": 0, "gid": 0}, "cwd": "/"});
    if let (Value::Object(process), Value::Object(extra)) = (&mut process, extra) {
        process.extend(extra);
    }
    process
}

fn idmapped() -> Value {
    let map = || json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    let mount = json!({"destination": "/m", "uidMappings": map(), "gidMappings": map()});
    json!({"mounts": [mount]})
}

fn enabled(config: Value) -> Value {
    json!({ "enabled": is_done(config) })
}

/// Whether a plan would not refuse these fields as not done yet.
fn is_done(mut config: Value) -> bool {
    config["ociVersion"] = SPEC.into();
    let mut problems = Problems::default();
    let Ok(spec) = serde_json::from_value::<Spec>(config) else { return false };
    unsupported::refuse(&spec, &mut problems);
    problems.is_empty()
}

fn mount_options() -> Vec<String> {
    let recursive = ATTRIBUTES.iter().map(|word| format!("r{word}"));
    let plain = ATTRIBUTES.iter().chain(&WORDS).chain(&OF_ALL_FILE_SYSTEMS);
    let mut words = sorted(plain.map(|w| (*w).to_owned()).chain(recursive).collect());
    words.dedup();
    words.retain(|word| {
        let alone = std::slice::from_ref(word);
        let parsed = options::parse(alone);
        let for_all = |w: &&str| OF_ALL_FILE_SYSTEMS.contains(w);
        parsed.wrong.is_empty() && parsed.file_system.iter().all(for_all)
    });
    words
}

fn seccomp_features() -> Value {
    let Some(native) = Arch::native() else { return json!({"enabled": false}) };
    let rule = |action: &str, operator: &str| {
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["kill"], "action": action,
            "args": [{"index": 0, "value": 1, "op": operator}]}]})
    };
    let actions = ACTIONS.into_iter().filter(|a| compiles(rule(a, "SCMP_CMP_EQ"), native));
    let operators = OPERATORS.into_iter().filter(|o| compiles(rule("SCMP_ACT_ERRNO", o), native));
    let flags: Vec<&str> = FLAGS
        .into_iter()
        .filter(|f| compiles(json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": [f]}), native))
        .collect();
    let archs: &[&str] = match native {
        Arch::Aarch64 | Arch::Arm => &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        Arch::X86_64 | Arch::X86 | Arch::X32 => {
            &["SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"]
        }
    };
    json!({
        "enabled": true,
        "actions": actions.collect::<Vec<_>>(),
        "operators": operators.collect::<Vec<_>>(),
        "archs": archs,
        "knownFlags": flags,
        // Every one that can be asked for is older than the oldest kernel that is supported.
        "supportedFlags": flags,
    })
}

/// Whether a profile becomes a filter that can be installed.
fn compiles(profile: Value, native: Arch) -> bool {
    let profile = serde_json::from_value::<LinuxSeccomp>(profile).ok();
    let program = profile.and_then(|profile| seccomp::compile(&profile, native).ok());
    program.is_some_and(|program| !program.listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list<'a>(features: &'a Value, pointer: &str) -> Vec<&'a str> {
        let list = features.pointer(pointer).and_then(Value::as_array);
        list.unwrap().iter().map(|v| v.as_str().unwrap()).collect()
    }

    #[test]
    fn what_is_done_is_listed() {
        let features = features();
        let options = list(&features, "/mountOptions");
        for word in ["ro", "rro", "rnosuid", "bind", "rbind", "nosymfollow", "sync", "rslave"] {
            assert!(options.contains(&word), "{word}: {options:?}");
        }
        assert!(options.is_sorted());
        assert!(list(&features, "/linux/namespaces").contains(&"user"));
        assert!(list(&features, "/linux/capabilities").contains(&"CAP_SYS_ADMIN"));
        assert!(list(&features, "/linux/seccomp/actions").contains(&"SCMP_ACT_ERRNO"));
        assert_eq!(list(&features, "/linux/seccomp/operators"), OPERATORS);
        assert!(list(&features, "/linux/seccomp/knownFlags").contains(&"SECCOMP_FILTER_FLAG_LOG"));
    }

    #[test]
    fn what_is_not_done_is_not_listed() {
        assert!(!is_done(json!({"solaris": {}})));
        assert!(is_done(json!({"hostname": "h"})));
        let listener = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/l",
            "syscalls": [{"names": ["kill"], "action": "SCMP_ACT_NOTIFY"}]});
        assert!(!compiles(listener, Arch::X86_64));
        assert!(!mount_options().iter().any(|word| word == "remount"));
    }

    #[test]
    fn every_probe_is_a_config() {
        for config in [
            json!({"process": process(json!({"apparmorProfile": "p"}))}),
            json!({"process": process(json!({"selinuxLabel": "l"}))}),
            json!({"linux": {"intelRdt": {"closID": "c"}}}),
            json!({"linux": {"netDevices": {"eth0": {}}}}),
            json!({"hooks": {"prestart": [{"path": "/h"}]}}),
            idmapped(),
        ] {
            let mut config = config;
            config["ociVersion"] = SPEC.into();
            serde_json::from_value::<Spec>(config).unwrap();
        }
    }
}
