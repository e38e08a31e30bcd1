// SPDX-License-Identifier: Apache-2.0
//! Where oci-spec's types differ from the specification, the JSON is adapted before it meets them.

use std::collections::BTreeSet;

use oci_spec::runtime::Capability;
use serde_json::{Map, Value, json};

/// Adapts the config. Returns what the user should know about it.
pub(super) fn apply(config: &mut Value) -> Vec<String> {
    default_user(config);
    scheduler_flags(config);
    pids_without_limit(config);
    unknown_capabilities(config)
}

/// `process.user` may be left out; its ids are 0 then.
fn default_user(config: &mut Value) {
    let Some(Value::Object(process)) = config.get_mut("process") else { return };
    let user = process.entry("user").or_insert(Value::Null);
    if user.is_null() {
        *user = json!({ "uid": 0, "gid": 0 });
    }
}

/// Two flags have other names in oci-spec.
fn scheduler_flags(config: &mut Value) {
    let Some(Value::Array(flags)) = config.pointer_mut("/process/scheduler/flags") else { return };
    for flag in flags {
        let name = match flag.as_str() {
            Some("SCHED_FLAG_RESET_ON_FORK") => "SCHED_RESET_ON_FORK",
            Some("SCHED_FLAG_DL_OVERRUN") => "SCHED_FLAG_D_L_OVERRUN",
            _ => continue,
        };
        *flag = Value::from(name);
    }
}

/// A `pids` without a limit sets none. oci-spec would make it a limit of 0.
fn pids_without_limit(config: &mut Value) {
    let Some(Value::Object(resources)) = config.pointer_mut("/linux/resources") else { return };
    let has_none = |pids: &Map<_, _>| pids.get("limit").is_none_or(Value::is_null);
    if resources.get("pids").and_then(Value::as_object).is_some_and(has_none) {
        resources.remove("pids");
    }
}

/// A capability that is not known, perhaps of a later kernel, is not given and no reason to fail.
fn unknown_capabilities(config: &mut Value) -> Vec<String> {
    let mut unknown = BTreeSet::new();
    if let Some(Value::Object(sets)) = config.pointer_mut("/process/capabilities") {
        for set in sets.values_mut().filter_map(Value::as_array_mut) {
            set.retain(|name| match name {
                Value::String(text) if !is_capability(name) => {
                    unknown.insert(text.clone());
                    false
                }
                // What is not even a string is left for the decoder to complain about.
                _ => true,
            });
        }
    }
    let warning = |name| format!("process.capabilities: {name:?} is not known and is not given");
    unknown.into_iter().map(warning).collect()
}

fn is_capability(name: &Value) -> bool {
    serde_json::from_value::<Capability>(name.clone()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The config after the fix-ups, which must have had nothing to say.
    fn fixed(mut config: Value) -> Value {
        assert_eq!(apply(&mut config), Vec::<String>::new());
        config
    }

    #[test]
    fn user_defaults_to_root() {
        let user = json!({ "uid": 0, "gid": 0 });
        for process in [json!({}), json!({ "user": null })] {
            assert_eq!(
                fixed(json!({ "process": process })),
                json!({ "process": { "user": user } })
            );
        }
        for config in [
            json!({}),
            json!([]),
            json!({ "process": null }),
            json!({ "process": 1 }),
            json!({ "process": { "user": { "uid": 7 } } }),
            json!({ "process": { "user": "root" } }),
        ] {
            assert_eq!(fixed(config.clone()), config);
        }
    }

    #[test]
    fn scheduler_flags_get_the_names_of_oci_spec() {
        let config = |flags: Value| {
            json!({ "process": { "user": {}, "cwd": "/",
                    "scheduler": { "policy": "SCHED_BATCH", "flags": flags } } })
        };
        let names = json!([
            "SCHED_FLAG_RESET_ON_FORK",
            "SCHED_FLAG_RECLAIM",
            "SCHED_FLAG_DL_OVERRUN",
            "SCHED_FLAG_KEEP_POLICY",
            "SCHED_FLAG_KEEP_PARAMS",
            "SCHED_FLAG_UTIL_CLAMP_MIN",
            "SCHED_FLAG_UTIL_CLAMP_MAX",
        ]);
        let spec: oci_spec::runtime::Spec = serde_json::from_value(fixed(config(names))).unwrap();
        let scheduler = spec.process().as_ref().unwrap().scheduler().as_ref().unwrap();
        assert_eq!(scheduler.flags().as_ref().unwrap().len(), 7);
        assert_eq!(fixed(config(json!([1, "X"]))), config(json!([1, "X"])));
        assert_eq!(fixed(config(json!("X"))), config(json!("X")));
    }

    #[test]
    fn pids_without_a_limit_is_no_limit() {
        let config = |pids: Value| json!({ "linux": { "resources": { "pids": pids } } });
        for pids in [json!({}), json!({ "limit": null })] {
            assert_eq!(fixed(config(pids)), json!({ "linux": { "resources": {} } }));
        }
        for pids in [json!({ "limit": 0 }), json!({ "limit": -1 }), json!([]), json!(null)] {
            assert_eq!(fixed(config(pids.clone())), config(pids));
        }
    }

    #[test]
    fn unknown_capability_is_dropped_with_one_warning() {
        let mut config = json!({ "process": { "user": {}, "capabilities": {
            "bounding": ["CAP_FUTURE", "CAP_CHOWN", 7],
            "effective": ["CAP_FUTURE"],
            "ambient": "CAP_KILL",
        } } });
        let warnings = apply(&mut config);
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("\"CAP_FUTURE\""), "{warnings:?}");
        let left = json!({ "bounding": ["CAP_CHOWN", 7], "effective": [], "ambient": "CAP_KILL" });
        assert_eq!(config["process"]["capabilities"], left);
    }
}
